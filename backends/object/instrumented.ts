/**
 * Counts what is asked of an object store: a decorator.
 *
 * The counters are plain numbers in one struct, so that counting costs nothing to speak of; whoever publishes metrics
 * reads them at its own pace (and must not write them). It changes no answer. An interrupted call is counted as such:
 * it is neither a success nor an error, since nobody knows.
 */
import { type Clock, Effect, Exit } from "effect"
import { type ObjectStore, type ObjectStoreError, ObjectStoreReason } from "#core/ports/object-store.ts"
import { bytesOf } from "./chunk-bytes.ts"

/** Upper bounds of the duration histogram in milliseconds; one more bucket takes the rest. */
export const DURATION_BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] as const

export interface OperationCounters {
  /** Begun. */
  requests: number
  /** Begun and not yet ended. */
  inFlight: number
  succeeded: number
  /** Given up by the caller (or ended by a defect). */
  interrupted: number
  errors: Record<ObjectStoreReason, number>
  /** Of succeeded calls: put, get: bytes of the bodies; list: keys; delete: keys asked. */
  bytes: number
  keys: number
  /** Of all calls that ended, whatever way. */
  durationMsSum: number
  durationMsMax: number
  /** Counts per bucket of DURATION_BOUNDS_MS, not cumulative; the last is above all bounds. */
  durationBuckets: Array<number>
}

export interface ObjectStoreCounters {
  readonly bucket: string
  readonly put: OperationCounters
  readonly get: OperationCounters
  readonly head: OperationCounters
  readonly list: OperationCounters
  readonly delete: OperationCounters
}

export interface InstrumentedObjectStore {
  readonly store: ObjectStore
  readonly counters: ObjectStoreCounters
}

export const make = (inner: ObjectStore): InstrumentedObjectStore => {
  const counters: ObjectStoreCounters = {
    bucket: inner.bucket,
    put: emptyCounters(),
    get: emptyCounters(),
    head: emptyCounters(),
    list: emptyCounters(),
    delete: emptyCounters()
  }
  const store: ObjectStore = {
    bucket: inner.bucket,
    put: (key, chunks) =>
      counted(counters.put, inner.put(key, chunks), (into) => {
        into.bytes += bytesOf(chunks)
        into.keys++
      }),
    get: (key, range) =>
      counted(counters.get, inner.get(key, range), (into, answer) => {
        into.bytes += answer.bytes.length
        into.keys++
      }),
    head: (key) => counted(counters.head, inner.head(key), (into) => into.keys++),
    list: (options) => counted(counters.list, inner.list(options), (into, answer) => (into.keys += answer.length)),
    deleteMany: (keys) => counted(counters.delete, inner.deleteMany(keys), (into) => (into.keys += keys.length))
  }
  return { store, counters }
}

const counted = <A>(
  into: OperationCounters,
  call: Effect.Effect<A, ObjectStoreError>,
  onSuccess: (into: OperationCounters, answer: A) => void
): Effect.Effect<A, ObjectStoreError> =>
  Effect.clockWith((clock: Clock.Clock) => {
    const startedAtNs = clock.monotonicTimeNanosUnsafe()
    into.requests++
    into.inFlight++
    return Effect.onExit(call, (exit) =>
      Effect.sync(() => {
        into.inFlight--
        addDuration(into, Number(clock.monotonicTimeNanosUnsafe() - startedAtNs) / 1e6)
        if (Exit.isSuccess(exit)) {
          into.succeeded++
          onSuccess(into, exit.value)
          return
        }
        const error = Exit.findErrorOption(exit)
        if (error._tag === "Some") into.errors[error.value.reason]++
        else into.interrupted++
      })
    )
  })

const addDuration = (into: OperationCounters, durationMs: number): void => {
  into.durationMsSum += durationMs
  if (durationMs > into.durationMsMax) into.durationMsMax = durationMs
  let bucket = 0
  while (bucket < DURATION_BOUNDS_MS.length && durationMs > DURATION_BOUNDS_MS[bucket]!) bucket++
  into.durationBuckets[bucket]!++
}

const emptyCounters = (): OperationCounters => ({
  requests: 0,
  inFlight: 0,
  succeeded: 0,
  interrupted: 0,
  errors: Object.fromEntries(ObjectStoreReason.literals.map((reason) => [reason, 0])) as Record<
    ObjectStoreReason,
    number
  >,
  bytes: 0,
  keys: 0,
  durationMsSum: 0,
  durationMsMax: 0,
  durationBuckets: Array.from({ length: DURATION_BOUNDS_MS.length + 1 }, () => 0)
})
