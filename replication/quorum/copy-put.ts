/**
 * One copy of a segment into one bucket: a put with its few retries.
 *
 * Invariant: it succeeds only when the bucket acknowledged the whole segment: by a put that succeeded, or by answering
 * "there already" at its size after an attempt of this very call whose outcome was unknown. That an object can be seen is no
 * acknowledgement: puts that fail may leave one that the store cannot keep (a directory that is not on disk yet). A key that
 * is taken before any such attempt belongs to someone else: ids are unique, so that is trouble, told loudly.
 * Retries of a put live here and nowhere else. The caller bounds the whole in time.
 */
import { Effect, Random, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { type BucketCounters } from "./bucket-state.ts"

export interface CopyPut {
  readonly store: ObjectStore
  readonly key: string
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly byteLength: number
  readonly counters: BucketCounters
}

export const putCopy = Effect.fnUntraced(function* (copy: CopyPut): Effect.fn.Return<void, ObjectStoreError> {
  let mayBeStored = false
  for (let attempt = 1; ; attempt++) {
    const answer = yield* Effect.result(copy.store.put(copy.key, copy.chunks))
    if (Result.isSuccess(answer)) return
    let error = answer.failure
    if (error.reason === "AlreadyExists") {
      if (!mayBeStored) return yield* foreignObject(copy, error)
      const head = yield* Effect.result(copy.store.head(copy.key))
      if (Result.isSuccess(head)) {
        if (head.success.objectBytes === copy.byteLength) return
        return yield* foreignObject(copy, error)
      }
      // The object may be there or not: only an answer tells, and another put is as good a question as another head.
      error = head.failure
    } else mayBeStored ||= error.outcome === "indefinite"
    if (attempt >= limits.putAttemptsMax || !isWorthAnotherAttempt(error)) return yield* error
    copy.counters.putRetries++
    yield* Effect.sleep(limits.putRetryDelayMs * 2 ** (attempt - 1) * (0.5 + (yield* Random.next)))
  }
})

/** A full store does not empty itself within a deadline of seconds. */
const isWorthAnotherAttempt = (error: ObjectStoreError): boolean => error.isRetryable && error.reason !== "StorageFull"

const foreignObject = (copy: CopyPut, error: ObjectStoreError) =>
  Effect.logError("a segment's key holds an object that this agent did not write").pipe(
    Effect.annotateLogs({ bucket: copy.store.bucket, key: copy.key, expectedBytes: copy.byteLength }),
    Effect.andThen(Effect.fail(error))
  )
