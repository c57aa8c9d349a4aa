/**
 * The part of the metadata store's contract that is about checkpoints: what is complete, what is deleted.
 *
 * Method: as metadata-store.contract.ts, which runs this.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { assertDies, deleteCheckpoints, type Make, type Store, writeCheckpoint } from "./metadata-store-rows.ts"

const upTo = (first: number, last: number): ReadonlyArray<number> =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

const chunksOf = (store: Store, seq: number, count: number, shard = 0) =>
  Effect.forEach(upTo(0, count - 1), (chunk) =>
    Effect.map(store.readCheckpointChunk({ shard, seq, chunk }), (bytes) =>
      bytes === undefined ? undefined : Buffer.from(bytes).toString()
    )
  )

const textChunks = (...texts: ReadonlyArray<string>): ReadonlyArray<Uint8Array> =>
  texts.map((text) => Buffer.from(text))

export const checkpoints = (make: Make): void => {
  describe("checkpoints", () => {
    it.live("come back chunk by chunk, with their size", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.deepEqual(yield* store.checkpoints(0), [])
        assert.deepEqual(yield* chunksOf(store, 5, 1), [undefined])
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks: textChunks("one", "two", "three") })
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 5, chunkCount: 3, bytes: 11 }])
        assert.deepEqual(yield* chunksOf(store, 5, 4), ["one", "two", "three", undefined])
        assert.deepEqual(yield* chunksOf(store, 4, 1), [undefined])
      })
    )

    it.live("are listed the newest first, each shard's apart", () =>
      Effect.gen(function* () {
        const store = yield* make
        for (const seq of [20, 5, 100]) {
          yield* writeCheckpoint(store, { shard: 0, seq, chunks: textChunks(`at ${seq}`) })
        }
        yield* writeCheckpoint(store, { shard: 1, seq: 20, chunks: textChunks("other", "shard") })
        const listed = yield* store.checkpoints(0)
        assert.deepEqual(
          listed.map(({ seq }) => seq),
          [100, 20, 5]
        )
        assert.deepEqual(yield* store.checkpoints(1), [{ seq: 20, chunkCount: 2, bytes: 10 }])
        assert.deepEqual(yield* chunksOf(store, 20, 1), ["at 20"])
        assert.deepEqual(yield* chunksOf(store, 20, 2, 1), ["other", "shard"])
      })
    )

    it.live("are written once: what is there stays", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks: textChunks("one", "two") })
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks: textChunks("one", "two") })
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks: textChunks("ONE", "TWO") })
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 5, chunkCount: 2, bytes: 6 }])
        assert.deepEqual(yield* chunksOf(store, 5, 2), ["one", "two"])
      })
    )

    it.live("are written by many at once as by one", () =>
      Effect.gen(function* () {
        const store = yield* make
        const chunks = textChunks("a", "b", "c", "d")
        yield* Effect.forEach(upTo(1, 6), () => writeCheckpoint(store, { shard: 0, seq: 7, chunks }), {
          concurrency: "unbounded"
        })
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 7, chunkCount: 4, bytes: 4 }])
        assert.deepEqual(yield* chunksOf(store, 7, 4), ["a", "b", "c", "d"])
      })
    )

    it.live("are deleted below a seq, however often that is asked", () =>
      Effect.gen(function* () {
        const store = yield* make
        for (const seq of [1, 2, 3]) {
          yield* writeCheckpoint(store, { shard: 0, seq, chunks: textChunks("a", "b") })
          yield* writeCheckpoint(store, { shard: 1, seq, chunks: textChunks("a") })
        }
        yield* deleteCheckpoints(store, { shard: 0, before: 3 })
        yield* deleteCheckpoints(store, { shard: 0, before: 3 })
        yield* deleteCheckpoints(store, { shard: 9, before: 3 })
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 3, chunkCount: 2, bytes: 2 }])
        assert.deepEqual(yield* chunksOf(store, 2, 2), [undefined, undefined])
        assert.equal((yield* store.checkpoints(1)).length, 3)
        yield* writeCheckpoint(store, { shard: 0, seq: 2, chunks: textChunks("again") })
        assert.deepEqual(yield* chunksOf(store, 2, 1), ["again"])
      })
    )

    it.live("of many chunks are deleted as a whole", () =>
      Effect.gen(function* () {
        const store = yield* make
        const chunks = Array.from({ length: 200 }, (_, chunk) => Buffer.from([chunk]))
        yield* writeCheckpoint(store, { shard: 0, seq: 1, chunks })
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 1, chunkCount: 200, bytes: 200 }])
        assert.equal(
          yield* store.deleteCheckpoints({ shard: 0, before: 2, which: "all" }),
          limits.checkpointChunksPerDelete
        )
        assert.deepEqual(yield* store.checkpoints(0), [], "what is left of it is none")
        assert.equal(yield* deleteCheckpoints(store, { shard: 0, before: 2 }), 200 - limits.checkpointChunksPerDelete)
        const left = yield* Effect.forEach(upTo(0, 199), (chunk) =>
          store.readCheckpointChunk({ shard: 0, seq: 1, chunk })
        )
        assert.deepEqual(new Set(left), new Set([undefined]))
      })
    )

    it.live("are complete with the last chunk, in whatever order they come, and no checkpoint before", () =>
      Effect.gen(function* () {
        const store = yield* make
        const put = (chunk: number, body: string) =>
          store.writeCheckpointChunk({ shard: 0, seq: 5, chunk, chunkCount: 3, body: Buffer.from(body) })
        yield* writeCheckpoint(store, { shard: 0, seq: 4, chunks: textChunks("whole") })
        for (const [chunk, body] of [
          [2, "three"],
          [0, "one"],
          [2, "THREE"]
        ] as const) {
          yield* put(chunk, body)
          assert.deepEqual(yield* store.checkpoints(0), [{ seq: 4, chunkCount: 1, bytes: 5 }])
        }
        assert.deepEqual(yield* chunksOf(store, 5, 3), ["one", undefined, "three"])
        yield* put(1, "two")
        assert.deepEqual((yield* store.checkpoints(0))[0], { seq: 5, chunkCount: 3, bytes: 11 })
        assert.deepEqual(yield* chunksOf(store, 5, 3), ["one", "two", "three"])
      })
    )

    it.live("that are incomplete are deleted apart from the others, but for the one that is written", () =>
      Effect.gen(function* () {
        const store = yield* make
        const put = (seq: number, chunk: number, shard = 0) =>
          store.writeCheckpointChunk({ shard, seq, chunk, chunkCount: 200, body: Buffer.from("a") })
        for (const seq of [10, 20, 30, 40])
          yield* writeCheckpoint(store, { shard: 0, seq, chunks: textChunks("a", "b") })
        // Without its first chunk; with its first only; one of many; one that is written; one further on; another shard's.
        yield* put(5, 7)
        yield* put(15, 0)
        for (const chunk of upTo(0, 99)) yield* put(25, chunk)
        for (const [seq, shard] of [[28], [45], [15, 1]] as const) yield* put(seq, 0, shard)
        const options = { shard: 0, before: 45, which: "incomplete", except: 28 } as const
        assert.equal(yield* deleteCheckpoints(store, options), 102)
        assert.equal(yield* deleteCheckpoints(store, options), 0)
        assert.deepEqual(
          (yield* store.checkpoints(0)).map(({ seq }) => seq),
          [40, 30, 20, 10]
        )
        for (const seq of [5, 15, 25]) {
          assert.deepEqual(new Set(yield* chunksOf(store, seq, 100)), new Set([undefined]), `seq ${seq}`)
        }
        for (const [seq, shard] of [[28], [45], [15, 1]] as const) {
          assert.deepEqual(yield* chunksOf(store, seq, 1, shard), ["a"], `seq ${seq}`)
        }
        assert.equal(yield* deleteCheckpoints(store, { ...options, except: 29 }), 1)
        assert.deepEqual(yield* chunksOf(store, 28, 1), [undefined])
      })
    )

    it.live("keep chunks of the largest size, and the caller its bytes", () =>
      Effect.gen(function* () {
        const store = yield* make
        const around = Buffer.alloc(limits.checkpointChunkBytesMax + 20, 3)
        around.write("first", 10)
        const chunk = around.subarray(10, -10)
        yield* writeCheckpoint(store, { shard: 0, seq: 1, chunks: [chunk, around.subarray(0, 3)] })
        const expected = Buffer.from(chunk)
        around.fill("x")
        assert.equal(around.toString("latin1", 0, 3), "xxx")
        for (const _ of [1, 2]) {
          const read = yield* store.readCheckpointChunk({ shard: 0, seq: 1, chunk: 0 })
          assert.isTrue(expected.equals(Buffer.from(read!)))
          read!.fill(0)
        }
        assert.deepEqual(yield* store.checkpoints(0), [{ seq: 1, chunkCount: 2, bytes: expected.length + 3 }])
      })
    )

    it.live("of unsound size are a programmer's error, and nothing is written", () =>
      Effect.gen(function* () {
        const store = yield* make
        const sound = { shard: 0, seq: 1, chunk: 0, chunkCount: 1, body: Buffer.from("a") }
        const unsound = [
          { ...sound, chunkCount: 0 },
          { ...sound, chunkCount: limits.checkpointChunksMax + 1 },
          { ...sound, chunk: 1 },
          { ...sound, chunk: -1 },
          { ...sound, body: Buffer.alloc(0) },
          { ...sound, body: Buffer.alloc(limits.checkpointChunkBytesMax + 1) },
          { ...sound, seq: 0 },
          { ...sound, shard: -1 }
        ]
        for (const chunk of unsound) yield* assertDies(store.writeCheckpointChunk(chunk))
        assert.deepEqual(yield* store.checkpoints(0), [])
        assert.deepEqual(yield* chunksOf(store, 1, 1), [undefined])
      })
    )
  })
}
