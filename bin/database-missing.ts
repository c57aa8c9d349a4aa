/**
 * Keeps an agent from beginning a new log where an old one has been lost.
 *
 * A database that is not there, or has no tables, is made at the first start. Where buckets hold segments it was there before,
 * and an empty one would hide every record from then on: only an operator can say what is meant. So none is made.
 *
 * Invariant: agents that start together on empty buckets all start. Whoever wrote a segment had the database open, so where
 * a segment is found and the database is there by then, it is that agent's.
 */
import { existsSync } from "node:fs"
import { Effect } from "effect"
import { type Bucket } from "#core/ports/object-store.ts"
import { type CommandFailed, invalid } from "./command-failed.ts"

/** A bucket that does not answer by then may hold anything. */
const BUCKET_ANSWER_MS = 2_000
const SEGMENTS_PREFIX = "segments/"

type Buckets = ReadonlyArray<{ readonly bucket: Bucket }>

/** To be called before the database file is opened. Fails where it is missing and any bucket holds segments. */
export const refuseMissingDatabase = Effect.fnUntraced(function* (
  file: string,
  buckets: Buckets
): Effect.fn.Return<void, CommandFailed> {
  if (existsSync(file)) return
  const isThere = Effect.sync(() => existsSync(file))
  const withSegments = yield* bucketsWithSegments({ database: file, buckets, isThere })
  if (withSegments === "") return
  return yield* invalid(
    `the metadata database ${file} does not exist, but these buckets hold segments of an existing cluster: ` +
      `${withSegments}; restore the database, or give empty buckets to begin a new cluster`
  )
})

/**
 * To be called where `database` is about to be made. Names of the buckets that hold segments; none where the database has come
 * into being meanwhile.
 */
export const bucketsWithSegments = Effect.fnUntraced(function* <E>(options: {
  readonly database: string
  readonly buckets: Buckets
  readonly isThere: Effect.Effect<boolean, E>
}): Effect.fn.Return<string, E> {
  const { database, buckets, isThere } = options
  const answers = yield* Effect.forEach(buckets, ({ bucket }) => lookInto(bucket), { concurrency: "unbounded" })
  if (yield* isThere) return ""
  const namesOf = (wanted: Contents): string =>
    answers
      .filter(({ contents }) => contents === wanted)
      .map(({ name }) => name)
      .join(", ")
  const withSegments = namesOf("segments")
  const unknown = namesOf("unknown")
  if (withSegments === "" && unknown !== "") {
    yield* Effect.logWarning("a new metadata database is made, though not all buckets could be asked for segments", {
      database,
      unknown
    })
  }
  return withSegments
})

type Contents = "segments" | "none" | "unknown"

const lookInto = ({ name, store }: Bucket): Effect.Effect<{ readonly name: string; readonly contents: Contents }> =>
  Effect.match(Effect.timeout(store.list({ prefix: SEGMENTS_PREFIX, limit: 1 }), BUCKET_ANSWER_MS), {
    onSuccess: (found) => ({ name, contents: found.length > 0 ? "segments" : "none" }),
    onFailure: () => ({ name, contents: "unknown" })
  })
