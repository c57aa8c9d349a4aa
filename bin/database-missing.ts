/**
 * Keeps an agent from beginning a new log where an old one has been lost.
 *
 * A database that is not there is made at the first start. Where buckets hold segments it was there before, and an empty one
 * would hide every record from then on: only an operator can say what is meant. So the start ends.
 *
 * Invariant: agents that start together on empty buckets all start. Whoever wrote a segment had the database open, so where
 * a segment is found and the file is there by then, it is that agent's.
 */
import { existsSync } from "node:fs"
import { Effect } from "effect"
import { type Bucket } from "#core/ports/object-store.ts"
import { type CommandFailed, invalid } from "./command-failed.ts"

/** A bucket that does not answer by then may hold anything. */
const BUCKET_ANSWER_MS = 2_000
const SEGMENTS_PREFIX = "segments/"

/** To be called before the database is opened. Fails where it is missing and any bucket holds segments. */
export const refuseMissingDatabase = Effect.fnUntraced(function* (
  file: string,
  buckets: ReadonlyArray<{ readonly bucket: Bucket }>
): Effect.fn.Return<void, CommandFailed> {
  if (existsSync(file)) return
  const answers = yield* Effect.forEach(buckets, ({ bucket }) => lookInto(bucket), { concurrency: "unbounded" })
  if (existsSync(file)) return
  const namesOf = (wanted: Contents): string =>
    answers
      .filter(({ contents }) => contents === wanted)
      .map(({ name }) => name)
      .join(", ")
  const withSegments = namesOf("segments")
  if (withSegments !== "") {
    return yield* invalid(
      `the metadata database ${file} does not exist, but these buckets hold segments of an existing cluster: ` +
        `${withSegments}; restore the database, or give empty buckets to begin a new cluster`
    )
  }
  const unknown = namesOf("unknown")
  if (unknown === "") return
  yield* Effect.logWarning("a new metadata database is made, though not all buckets could be asked for segments", {
    file,
    unknown
  })
})

type Contents = "segments" | "none" | "unknown"

const lookInto = ({ name, store }: Bucket): Effect.Effect<{ readonly name: string; readonly contents: Contents }> =>
  Effect.match(Effect.timeout(store.list({ prefix: SEGMENTS_PREFIX, limit: 1 }), BUCKET_ANSWER_MS), {
    onSuccess: (found) => ({ name, contents: found.length > 0 ? "segments" : "none" }),
    onFailure: () => ({ name, contents: "unknown" })
  })
