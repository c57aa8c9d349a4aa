/**
 * What goes wrong with single requests to a fake of an object store, as data: rules that can be added and taken away at any
 * time. What a fault is, each fake says.
 *
 * Each request draws once, when its headers are there. The first rule that applies decides; a `delay` lets the next one
 * apply too. Nothing is random: whoever wants chance draws rules from a seed.
 */

export interface FaultRule<Fault, Operation extends string = string> {
  /** The store's name of the operation; all where it is left out. */
  readonly operation?: Operation
  readonly keyPrefix?: string
  /** Lets so many matching requests pass first. */
  readonly skip?: number
  /** Applies so often, then is gone. */
  readonly times?: number
  readonly fault: Fault
}

export class FaultPlan<Fault extends { readonly kind: string }, Operation extends string = string> {
  #rules: ReadonlyArray<{
    readonly rule: FaultRule<Fault, Operation>
    skipLeft: number
    timesLeft: number
  }> = []

  /** The answer takes the rule away again. */
  add(rule: FaultRule<Fault, Operation>): () => void {
    const active = { rule, skipLeft: rule.skip ?? 0, timesLeft: rule.times ?? Number.POSITIVE_INFINITY }
    this.#rules = [...this.#rules, active]
    return () => {
      this.#rules = this.#rules.filter((other) => other !== active)
    }
  }

  clear(): void {
    this.#rules = []
  }

  draw(operation: Operation, key: string): ReadonlyArray<Fault> {
    const faults: Array<Fault> = []
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
