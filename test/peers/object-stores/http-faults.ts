/**
 * What goes wrong with single requests to an HTTP store, as data: rules that can be added and taken away at any time.
 *
 * Each request draws once, when its headers are there. The first rule that applies decides; a `delay` lets the next one
 * apply too. Nothing is random: whoever wants chance draws rules from a seed.
 */

export type HttpFault =
  /** Waits, then goes on. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Never answers, before or after the request took effect. */
  | { readonly kind: "hang"; readonly when: "before" | "after" }
  /** Ends the connection instead of answering. `after` is a lost reply. */
  | { readonly kind: "cut"; readonly when: "before" | "after" }
  /** Ends the connection when so many bytes of the request's body came; nothing took effect. */
  | { readonly kind: "cut-body"; readonly afterBytes: number }
  /** Flips all bits of one byte of the request's body on its way. */
  | { readonly kind: "corrupt-request"; readonly byteIndex: number }
  /** An error, before or after the request took effect. */
  | {
      readonly kind: "answer"
      readonly when: "before" | "after"
      readonly status: number
      readonly code: string
      /** Further elements of the error document. */
      readonly fields?: Readonly<Record<string, string>>
      readonly headers?: Readonly<Record<string, string>>
    }
  /** Answers with an error at once, does not read the body, and closes. */
  | { readonly kind: "answer-early"; readonly status: number; readonly code: string }
  /** A success whose body is none of the store's: a proxy's page. */
  | { readonly kind: "page"; readonly status: number }
  /** Flips all bits of one byte of the answer's body. */
  | { readonly kind: "corrupt"; readonly byteIndex: number }
  /** Sends the first bytes of the answer's body only, then ends the connection. */
  | { readonly kind: "truncate"; readonly bytes: number }
  /** Answers as if the object ended after so many bytes, without a word. */
  | { readonly kind: "shorten"; readonly bytes: number }
  /** Sets or (undefined) leaves out headers of the answer. */
  | { readonly kind: "headers"; readonly headers: Readonly<Record<string, string | undefined>> }

export interface HttpFaultRule {
  /** The store's name of the operation; all where it is left out. */
  readonly operation?: string
  readonly keyPrefix?: string
  /** Lets so many matching requests pass first. */
  readonly skip?: number
  /** Applies so often, then is gone. */
  readonly times?: number
  readonly fault: HttpFault
}

export class HttpFaultPlan {
  #rules: ReadonlyArray<{ readonly rule: HttpFaultRule; skipLeft: number; timesLeft: number }> = []

  add(rule: HttpFaultRule): () => void {
    const active = { rule, skipLeft: rule.skip ?? 0, timesLeft: rule.times ?? Number.POSITIVE_INFINITY }
    this.#rules = [...this.#rules, active]
    return () => {
      this.#rules = this.#rules.filter((other) => other !== active)
    }
  }

  clear(): void {
    this.#rules = []
  }

  draw(operation: string, key: string): ReadonlyArray<HttpFault> {
    const faults: Array<HttpFault> = []
    for (const active of this.#rules) {
      const { rule } = active
      if (rule.operation !== undefined && rule.operation !== operation) continue
      if (rule.keyPrefix !== undefined && !key.startsWith(rule.keyPrefix)) continue
      if (active.skipLeft > 0) {
        active.skipLeft--
        continue
      }
      active.timesLeft--
      faults.push(rule.fault)
      if (rule.fault.kind !== "delay") break
    }
    this.#rules = this.#rules.filter(({ timesLeft }) => timesLeft > 0)
    return faults
  }
}
