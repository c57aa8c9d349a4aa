/**
 * Hands missing copies over to the metadata store, for repair.
 *
 * Never in anyone's way: reporting is synchronous and never fails; a bounded queue waits while the database is away, and
 * what does not fit is counted and dropped. That loses nothing for good: a log entry's ackedBuckets is the crash-safe
 * record of where a segment surely is, and a scrub finds the rest. Recording is idempotent, so batches are simply retried.
 */
import { Effect, Queue, Schedule, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { MetadataError, MetadataStore, type MissingCopy } from "#core/ports/metadata-store.ts"
import { type QuorumCounters } from "./bucket-state.ts"

export interface MissingCopies {
  readonly report: (copy: MissingCopy) => void
}

export const make = Effect.fnUntraced(function* (
  counters: QuorumCounters
): Effect.fn.Return<MissingCopies, never, MetadataStore | Scope.Scope> {
  const store = yield* MetadataStore
  const queue = yield* Queue.dropping<MissingCopy>(limits.missingCopiesQueue)
  const told = { dropping: false }
  yield* record(store, queue, counters, told).pipe(Effect.forkScoped)
  return {
    report: (copy) => {
      const bucket = counters.buckets[copy.bucket]
      if (bucket !== undefined) bucket.missingCopies++
      if (Queue.offerUnsafe(queue, copy)) counters.missingQueued++
      else counters.missingDropped++
    }
  }
})

const record = Effect.fnUntraced(function* (
  store: MetadataStore["Service"],
  queue: Queue.Queue<MissingCopy>,
  counters: QuorumCounters,
  told: { dropping: boolean }
) {
  while (true) {
    const copies = yield* Queue.takeBetween(queue, 1, limits.missingCopiesPerBatch)
    yield* recordBatch(store, copies)
    counters.missingQueued -= copies.length
    counters.missingRecorded += copies.length
    if (counters.missingDropped > 0 && !told.dropping) {
      told.dropping = true
      yield* Effect.logWarning("missing copies were dropped: too many waited for the database").pipe(
        Effect.annotateLogs({ dropped: counters.missingDropped })
      )
    }
  }
})

/** Until it is recorded, or never where the database refuses for good: then this one batch is given up, loudly. */
const recordBatch = (store: MetadataStore["Service"], copies: ReadonlyArray<MissingCopy>): Effect.Effect<void> => {
  const pauses = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced(limits.missingCopiesRetryMs)])
  return store.recordMissingCopies(copies).pipe(
    Effect.timeoutOrElse({
      duration: limits.metadataTimeoutMs,
      orElse: () =>
        Effect.fail(
          new MetadataError({
            reason: "TimedOut",
            outcome: "indefinite",
            operation: "recordMissingCopies",
            cause: new Error(`no answer in ${limits.metadataTimeoutMs} ms`)
          })
        )
    }),
    Effect.retry({ while: (error) => error.isRetryable, schedule: Schedule.jittered(pauses) }),
    Effect.catch((error) =>
      Effect.logError("missing copies cannot be recorded", error.message).pipe(
        Effect.annotateLogs({ copies: copies.length })
      )
    )
  )
}
