/** How the S3 fake can be wrong: with single requests (fault-plan.ts says when), or until it is told otherwise. */

export type S3Operation = "put" | "get" | "head" | "list" | "delete" | "session" | "create"

export type S3Fault =
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

export interface S3FakeSettings {
  /** Who may not do what; answered AccessDenied. */
  isDenied: (operation: S3Operation, key: string) => boolean
  clockAheadMs: number
  /** As stores do that do not know conditional writes: takes `If-None-Match` for any header, and overwrites. */
  ignoresConditions: boolean
  /** Lists in no order, as some stores do, of plain buckets too. */
  listsUnordered: boolean
  /** Buckets that are in another region. */
  readonly elsewhere: Map<string, string>
}
