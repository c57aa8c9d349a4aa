/**
 * Makes an object store fail as real ones do: a decorator for tests, drills and simulation.
 *
 * Faults are data. A FaultPlan holds rules, which can be added and taken away while calls are under way; each call
 * looks at the plan once, when it begins. What a fault does to the store (before or after the effect took place, or in
 * the bytes) is in the fault itself, so that a test can show what a caller makes of each case. Where no rule applies it
 * changes nothing. It draws nothing at random: whoever wants chance draws rules from a seed.
 */
import { Effect } from "effect"
import {
  type ObjectBytes,
  type ObjectStore,
  ObjectStoreError,
  type ObjectStoreReason
} from "#core/ports/object-store.ts"
import { type ObjectOperation } from "./request-check.ts"

export type Fault =
  /** Fails; `when` says whether the store does its work first. The outcome is what the error claims, true or not. */
  | {
      readonly kind: "fail"
      readonly when: "before" | "after"
      readonly reason: ObjectStoreReason
      readonly outcome: "definite" | "indefinite"
    }
  /** Never answers, before or after the work is done. */
  | { readonly kind: "hang"; readonly when: "before" | "after" }
  /** Waits, then goes on with the next rule that applies. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Does its work, but the answer is lost: Unavailable and indefinite. */
  | { readonly kind: "lose-reply" }
  /** Flips all bits of the byte at `byteIndex` (modulo the length): put stores it so, get answers so. */
  | { readonly kind: "corrupt"; readonly byteIndex: number }
  /** put stores, and get answers, only the first `bytes` bytes, and says nothing. */
  | { readonly kind: "truncate"; readonly bytes: number }
  /** put fails with StorageFull; everything else works. */
  | { readonly kind: "storage-full" }
  /** Everything fails with Unavailable, and nothing is done. */
  | { readonly kind: "bucket-vanished" }

export interface FaultRule {
  /** Which calls; all where it is left out. */
  readonly operation?: ObjectOperation
  /** Calls whose key (list: prefix; delete: first key) begins so; all where it is left out. */
  readonly keyPrefix?: string
  /** Lets so many matching calls pass first. */
  readonly skip?: number
  /** Applies to so many calls, then is gone; until it is removed where it is left out. */
  readonly times?: number
  readonly fault: Fault
}

/** The rules in force. The first one that applies decides; only delays let the next one apply too. */
export class FaultPlan {
  #rules: ReadonlyArray<ActiveRule> = []

  /** Adds a rule behind those that are there; the answer takes it away again. */
  add(rule: FaultRule): () => void {
    const active: ActiveRule = { rule, skipLeft: rule.skip ?? 0, timesLeft: rule.times ?? Number.POSITIVE_INFINITY }
    this.#rules = [...this.#rules, active]
    return () => {
      this.#rules = this.#rules.filter((other) => other !== active)
    }
  }

  clear(): void {
    this.#rules = []
  }

  /** Rules that can still apply. */
  get size(): number {
    return this.#rules.length
  }

  /** Faults of one call, in order; counts the call. At most one, the last, is not a delay. */
  draw(operation: ObjectOperation, key: string): ReadonlyArray<Fault> {
    const faults: Array<Fault> = []
    for (const active of this.#rules) {
      const { rule } = active
      if (rule.operation !== undefined && rule.operation !== operation) continue
      if (rule.keyPrefix !== undefined && !key.startsWith(rule.keyPrefix)) continue
      if (!concerns(rule.fault, operation)) continue
      if (active.skipLeft > 0) {
        active.skipLeft--
        continue
      }
      active.timesLeft--
      faults.push(rule.fault)
      if (rule.fault.kind !== "delay") break
    }
    this.#rules = this.#rules.filter((active) => active.timesLeft > 0)
    return faults
  }
}

export const make = (inner: ObjectStore, plan: FaultPlan): ObjectStore => {
  const { bucket } = inner
  return {
    bucket,
    put: (key, chunks) =>
      faulty({ plan, bucket, operation: "put", key }, (fault) => inner.put(key, stored(chunks, fault))),
    get: (key, range) =>
      faulty({ plan, bucket, operation: "get", key }, (fault) =>
        Effect.map(inner.get(key, range), (answer) => answered(answer, fault))
      ),
    head: (key) => faulty({ plan, bucket, operation: "head", key }, () => inner.head(key)),
    list: (options) => faulty({ plan, bucket, operation: "list", key: options.prefix }, () => inner.list(options)),
    deleteMany: (keys) =>
      faulty({ plan, bucket, operation: "delete", key: keys[0] ?? "" }, () => inner.deleteMany(keys))
  }
}

interface ActiveRule {
  readonly rule: FaultRule
  skipLeft: number
  timesLeft: number
}

interface Call {
  readonly plan: FaultPlan
  readonly bucket: string
  readonly operation: ObjectOperation
  readonly key: string
}

const faulty = <A>(
  call: Call,
  work: (fault: Fault | undefined) => Effect.Effect<A, ObjectStoreError>
): Effect.Effect<A, ObjectStoreError> =>
  Effect.suspend(() => {
    const faults = call.plan.draw(call.operation, call.key)
    let delayMs = 0
    for (const fault of faults) if (fault.kind === "delay") delayMs += fault.ms
    const last = faults[faults.length - 1]
    const rest = last === undefined || last.kind === "delay" ? work(undefined) : withFault(call, last, work)
    return delayMs > 0 ? Effect.andThen(Effect.sleep(delayMs), rest) : rest
  })

const withFault = <A>(
  call: Call,
  fault: Exclude<Fault, { readonly kind: "delay" }>,
  work: (fault: Fault | undefined) => Effect.Effect<A, ObjectStoreError>
): Effect.Effect<A, ObjectStoreError> => {
  switch (fault.kind) {
    case "fail": {
      const failure = fail(call, fault.reason, fault.outcome)
      return fault.when === "before" ? failure : Effect.andThen(work(undefined), failure)
    }
    case "hang":
      return fault.when === "before" ? Effect.never : Effect.andThen(work(undefined), Effect.never)
    case "lose-reply":
      return Effect.andThen(work(undefined), fail(call, "Unavailable", "indefinite"))
    case "storage-full":
      return fail(call, "StorageFull", "definite")
    case "bucket-vanished":
      return fail(call, "Unavailable", "definite")
    case "corrupt":
    case "truncate":
      return work(fault)
  }
}

const fail = (call: Call, reason: ObjectStoreReason, outcome: "definite" | "indefinite") => {
  const { operation, bucket, key } = call
  return Effect.fail(
    new ObjectStoreError({ reason, outcome, operation, bucket, key, cause: new Error("injected fault") })
  )
}

/** Faults of bytes concern only calls that carry bytes, a full store only puts. */
const concerns = (fault: Fault, operation: ObjectOperation): boolean => {
  if (fault.kind === "storage-full") return operation === "put"
  if (fault.kind === "corrupt" || fault.kind === "truncate") return operation === "put" || operation === "get"
  return true
}

const stored = (chunks: ReadonlyArray<Uint8Array>, fault: Fault | undefined): ReadonlyArray<Uint8Array> =>
  fault === undefined ? chunks : [damaged(Buffer.concat(chunks), fault)]

const answered = (answer: ObjectBytes, fault: Fault | undefined): ObjectBytes =>
  fault === undefined ? answer : { ...answer, bytes: damaged(answer.bytes, fault) }

/** Changes bytes that are its own: a concatenation, or an answer of a get. */
const damaged = (bytes: Buffer, fault: Fault): Buffer => {
  if (fault.kind === "truncate") return bytes.subarray(0, fault.bytes)
  if (fault.kind === "corrupt" && bytes.length > 0) bytes[fault.byteIndex % bytes.length]! ^= 0xff
  return bytes
}
