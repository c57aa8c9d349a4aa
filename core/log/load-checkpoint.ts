/**
 * Reads checkpoints from the database: the newest sound one, for an agent that starts or that the log was trimmed under.
 *
 * Invariant: what is answered was read whole, belongs together and can be restored (checkpoint.ts). A damaged one is told
 * of, and the one before taken: the log is not trimmed beyond it. One that is deleted meanwhile is none: there are newer
 * ones then, and the list is read again.
 */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type CheckpointInfo, type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { CheckpointError, checkSlices, type FoldCheckpoint } from "./checkpoint.ts"
import { guarded } from "./store-call.ts"

type Store = MetadataStore["Service"]

/** Undefined where there is none with a seq after this one. */
export const loadNewestCheckpoint = Effect.fnUntraced(function* (options: {
  readonly store: Store
  readonly shard: number
  readonly after: number
}): Effect.fn.Return<FoldCheckpoint | undefined, MetadataError> {
  const { store, shard, after } = options
  for (let list = 1; list <= limits.checkpointListsMax; list += 1) {
    const loaded = yield* loadFirstSound(store, shard, after)
    if (loaded !== "gone") return loaded
  }
  return undefined
})

const loadFirstSound = Effect.fnUntraced(function* (store: Store, shard: number, after: number) {
  const infos = yield* guarded("checkpoints", store.checkpoints(shard))
  for (const info of infos) {
    if (info.seq <= after) break
    const loaded = yield* readCheckpoint(store, shard, info)
    if (loaded === "gone") return "gone" as const
    if (loaded !== "damaged") return loaded
  }
  return undefined
})

/** One of the list, checked whole. `gone`: deleted meanwhile. `damaged`: that was told of. */
export const readCheckpoint = Effect.fnUntraced(function* (
  store: Store,
  shard: number,
  { seq, chunkCount }: Pick<CheckpointInfo, "seq" | "chunkCount">
): Effect.fn.Return<FoldCheckpoint | "gone" | "damaged", MetadataError> {
  const chunks: Array<Uint8Array> = []
  for (let chunk = 0; chunk < chunkCount; chunk += 1) {
    const bytes = yield* guarded("readCheckpointChunk", store.readCheckpointChunk({ shard, seq, chunk }))
    if (bytes === undefined) return "gone"
    chunks.push(bytes)
  }
  return (yield* isRestorable(chunks, { shard, seq })) ? { seq, chunks } : "damaged"
})

/** Whether an agent would take it; where not, that is told. */
export const isRestorable = Effect.fnUntraced(function* (
  chunks: ReadonlyArray<Uint8Array>,
  expected: { readonly shard: number; readonly seq: number }
) {
  const problem = yield* problemOf(chunks, expected)
  if (problem === undefined) return true
  yield* Effect.logError("a checkpoint is damaged").pipe(
    Effect.annotateLogs({ ...expected, chunkCount: chunks.length, error: problem.message })
  )
  return false
})

/** In slices, so that an agent that serves clients goes on meanwhile. */
const problemOf = Effect.fnUntraced(function* (
  chunks: ReadonlyArray<Uint8Array>,
  expected: { readonly shard: number; readonly seq: number }
) {
  const slices = checkSlices(chunks, expected)
  for (;;) {
    try {
      if (slices.next().done === true) return undefined
    } catch (error) {
      if (error instanceof CheckpointError) return error
      throw error
    }
    yield* Effect.yieldNow
  }
})
