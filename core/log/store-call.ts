/** Calls to the metadata store with an end, and pauses between attempts. */
import { Effect, Random } from "effect"
import { limits } from "#core/model/limits.ts"
import { MetadataError } from "#core/ports/metadata-store.ts"

const BACKOFF_FIRST_MS = 10

/** Pauses longer with each failure, by chance shorter, at most limits.logBackoffMaxMs. */
export const backoff = (failures: number): Effect.Effect<void> => {
  const longestMs = Math.min(limits.logBackoffMaxMs, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 20))
  return Effect.flatMap(Random.nextIntBetween(longestMs / 2, longestMs), Effect.sleep)
}

/** Gives up a call that even its adapter does not end. */
export const guarded = <A>(operation: string, call: Effect.Effect<A, MetadataError>): Effect.Effect<A, MetadataError> =>
  Effect.timeoutOrElse(call, {
    duration: limits.metadataHungMs,
    orElse: () => {
      const cause = new Error(`no answer within ${limits.metadataHungMs} ms`)
      const outcome = operation === "append" ? "indefinite" : "definite"
      return Effect.fail(new MetadataError({ reason: "TimedOut", outcome, operation, cause }))
    }
  })
