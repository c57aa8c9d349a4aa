/** What the parts of the metadata store contract share: rows of a log, and how a store is asked for them. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type LogRow, type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"

export type Store = MetadataStore["Service"]

/** An empty store of its own for each test. */
export type Make = Effect.Effect<Store, MetadataError, Scope.Scope>

export const nonceOf = (n: number): string => n.toString(16).padStart(32, "0")

export const rowOf = (seq: number, change: Partial<LogRow> = {}): LogRow => ({
  shard: 0,
  seq,
  epoch: 0,
  nonce: nonceOf(seq),
  prevNonce: nonceOf(seq - 1),
  isKept: false,
  entry: Buffer.from(`entry ${seq}`),
  ...change
})

/** Rows 1 to `count`. */
export const fill = (store: Store, count: number, shard = 0): Effect.Effect<void, MetadataError> =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => rowOf(index + 1, { shard })),
    (row) => store.append(row),
    { discard: true }
  )

export const readAll = (store: Store, after = 0, limit: number = limits.logRowsPerRead) =>
  store.read({ shard: 0, after, limit })

/** A programmer's error, not one of the port's. */
export const assertDies = (call: Effect.Effect<unknown, MetadataError>): Effect.Effect<void> =>
  Effect.map(Effect.exit(call), (exit) => assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause)))

/** A whole checkpoint, chunk by chunk. */
export const writeCheckpoint = (
  store: Store,
  checkpoint: { readonly shard: number; readonly seq: number; readonly chunks: ReadonlyArray<Uint8Array> }
): Effect.Effect<void, MetadataError> => {
  const { shard, seq, chunks } = checkpoint
  return Effect.forEach(
    chunks,
    (body, chunk) => store.writeCheckpointChunk({ shard, seq, chunk, chunkCount: chunks.length, body }),
    { discard: true }
  )
}

/** All that is meant, portion by portion. */
export const deleteCheckpoints = Effect.fnUntraced(function* (
  store: Store,
  options: { readonly shard: number; readonly before: number; readonly which?: "incomplete"; readonly except?: number }
) {
  let deleted = 0
  for (;;) {
    const some = yield* store.deleteCheckpoints({ which: "all", ...options })
    assert.isAtMost(some, limits.checkpointChunksPerDelete)
    deleted += some
    if (some < limits.checkpointChunksPerDelete) return deleted
  }
})
