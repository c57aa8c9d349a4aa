/**
 * The part of the metadata store's contract that is about the log's past: trimming, index pages, notes. Checkpoints are in
 * metadata-store-checkpoints.contract.ts.
 *
 * Method: as metadata-store.contract.ts, which runs this. What only a database can hold, such as an incomplete checkpoint, is
 * tested beside its adapter.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type IndexPage, type IndexPageQuery, type MetadataError, type ShardNote } from "#core/ports/metadata-store.ts"
import { assertDies, fill, type Make, nonceOf, readAll, rowOf, type Store } from "./metadata-store-rows.ts"

const seqsOf = (store: Store, after = 0) => Effect.map(readAll(store, after), (rows) => rows.map(({ seq }) => seq))

const upTo = (first: number, last: number): ReadonlyArray<number> =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

export const trimming = (make: Make): void => {
  describe("trim", () => {
    it.live("deletes rows up to the seq, says how many, and nothing the second time", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* fill(store, 10)
        assert.equal(yield* store.trim({ shard: 0, through: 4 }), 4)
        assert.deepEqual(yield* seqsOf(store), upTo(5, 10))
        assert.equal(yield* store.trim({ shard: 0, through: 4 }), 0)
        assert.equal(yield* store.trim({ shard: 0, through: 2 }), 0)
        assert.equal(yield* store.trim({ shard: 0, through: 5 }), 1)
        assert.deepEqual(yield* seqsOf(store), upTo(6, 10))
      })
    )

    it.live("lets reads from before what is left begin there, and leaves tail and appends as they are", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* fill(store, 6)
        yield* store.trim({ shard: 0, through: 3 })
        assert.deepEqual(yield* seqsOf(store, 1), [4, 5, 6])
        assert.deepEqual(yield* seqsOf(store, 3), [4, 5, 6])
        assert.deepEqual(yield* seqsOf(store, 4), [5, 6])
        assert.deepEqual(yield* store.tail(0), { seq: 6, nonce: nonceOf(6) })
        assert.equal(yield* store.append(rowOf(7)), "appended")
        assert.deepEqual(yield* seqsOf(store, 5), [6, 7])
        const [row] = yield* readAll(store, 3, 1)
        assert.deepEqual([row!.nonce, Buffer.from(row!.entry).toString()], [nonceOf(4), "entry 4"])
      })
    )

    it.live("never deletes the newest row, nor anything of an empty log", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.equal(yield* store.trim({ shard: 0, through: 100 }), 0)
        yield* fill(store, 1)
        assert.equal(yield* store.trim({ shard: 0, through: 1 }), 0)
        yield* store.append(rowOf(2))
        yield* store.append(rowOf(3))
        assert.equal(yield* store.trim({ shard: 0, through: 1_000 }), 2)
        assert.deepEqual(yield* seqsOf(store), [3])
        assert.deepEqual(yield* store.tail(0), { seq: 3, nonce: nonceOf(3) })
        assert.equal(yield* store.append(rowOf(4)), "appended")
      })
    )

    it.live("leaves rows that are kept, and their slots taken: who slept through it gets none of them", () =>
      Effect.gen(function* () {
        const store = yield* make
        for (const seq of upTo(1, 8)) yield* store.append(rowOf(seq, { isKept: seq === 1 || seq === 4 }))
        assert.equal(yield* store.trim({ shard: 0, through: 6 }), 4)
        assert.deepEqual(yield* seqsOf(store), [1, 4, 7, 8])
        assert.equal(yield* store.trim({ shard: 0, through: 6 }), 0)
        for (const seq of [1, 4, 7, 8]) {
          assert.equal(yield* store.append(rowOf(seq, { nonce: nonceOf(1_000 + seq) })), "taken", `seq ${seq}`)
        }
        const rows = yield* readAll(store)
        assert.deepEqual(
          rows.map(({ seq, isKept }) => [seq, isKept]),
          [
            [1, true],
            [4, true],
            [7, false],
            [8, false]
          ]
        )
        assert.deepEqual(yield* seqsOf(store, 2), [4, 7, 8])
        assert.deepEqual(yield* store.tail(0), { seq: 8, nonce: nonceOf(8) })
      })
    )

    it.live("keeps shards apart", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* fill(store, 3, 0)
        yield* fill(store, 3, 1)
        assert.equal(yield* store.trim({ shard: 1, through: 2 }), 2)
        assert.deepEqual(yield* seqsOf(store), [1, 2, 3])
        assert.equal(yield* store.trim({ shard: 2, through: 2 }), 0)
        const left = yield* store.read({ shard: 1, after: 0, limit: 10 })
        assert.deepEqual(
          left.map(({ seq }) => seq),
          [3]
        )
      })
    )

    it.live("deletes at most so many rows in one call, the oldest first", () =>
      Effect.gen(function* () {
        const store = yield* make
        const rows = limits.logRowsPerTrim + 3
        yield* fill(store, rows)
        assert.equal(yield* store.trim({ shard: 0, through: rows - 1 }), limits.logRowsPerTrim)
        assert.deepEqual(yield* seqsOf(store), upTo(rows - 2, rows))
        assert.equal(yield* store.trim({ shard: 0, through: rows - 1 }), 2)
        assert.deepEqual(yield* seqsOf(store), [rows])
      })
    )
  })
}

const TOPIC = nonceOf(0xabc)
const OTHER_TOPIC = nonceOf(0xabd)

const pageOf = (
  baseOffset: number,
  nextOffset: number,
  maxTimestampMs: number,
  change: Partial<IndexPage> = {}
): IndexPage => ({
  topicId: TOPIC,
  partition: 0,
  baseOffset,
  nextOffset,
  maxTimestampMs,
  page: Buffer.from(`page ${baseOffset}`),
  ...change
})

/** The base offset of the page that is found. */
const found = (
  store: Store,
  query: IndexPageQuery,
  { topicId = TOPIC, partition = 0 }: { readonly topicId?: string; readonly partition?: number } = {}
): Effect.Effect<number | undefined, MetadataError> =>
  Effect.map(store.findIndexPage({ topicId, partition, query }), (page) => page?.baseOffset)

const atOffset = (offset: number): IndexPageQuery => ({ kind: "offset", offset })
const since = (timestampMs: number): IndexPageQuery => ({ kind: "since", timestampMs })
const LARGEST: IndexPageQuery = { kind: "largest-timestamp" }

export const indexPages = (make: Make): void => {
  findingPages(make)
  writingPages(make)
  deletingPages(make)
}

const findingPages = (make: Make): void => {
  describe("an index page is found", () => {
    it.live("by an offset: the last that begins at or before it", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.equal(yield* found(store, atOffset(0)), undefined)
        yield* store.writeIndexPages([pageOf(10, 20, 1), pageOf(20, 25, 1), pageOf(25, 2 ** 40, 1)])
        const expected: ReadonlyArray<readonly [offset: number, baseOffset: number | undefined]> = [
          [0, undefined],
          [9, undefined],
          [10, 10],
          [19, 10],
          [20, 20],
          [24, 20],
          [25, 25],
          [2 ** 40 - 1, 25],
          [2 ** 40, 25],
          [Number.MAX_SAFE_INTEGER, 25]
        ]
        for (const [offset, base] of expected) assert.equal(yield* found(store, atOffset(offset)), base, `at ${offset}`)
      })
    )

    it.live("by a timestamp: the first, by offset, that holds it or a later one", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.equal(yield* found(store, since(0)), undefined)
        // Timestamps of producers are not in order.
        yield* store.writeIndexPages([
          pageOf(0, 10, 100),
          pageOf(10, 20, 300),
          pageOf(20, 30, 200),
          pageOf(30, 40, 300),
          pageOf(40, 50, 400)
        ])
        const expected: ReadonlyArray<readonly [timestampMs: number, baseOffset: number | undefined]> = [
          [-1, 0],
          [0, 0],
          [100, 0],
          [101, 10],
          [200, 10],
          [300, 10],
          [301, 40],
          [400, 40],
          [401, undefined]
        ]
        for (const [ms, base] of expected) assert.equal(yield* found(store, since(ms)), base, `since ${ms}`)
      })
    )

    it.live("by the largest timestamp: of equals the first by offset", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.equal(yield* found(store, LARGEST), undefined)
        yield* store.writeIndexPages([pageOf(0, 10, -1)])
        assert.equal(yield* found(store, LARGEST), 0)
        yield* store.writeIndexPages([pageOf(10, 20, 500), pageOf(20, 30, 500), pageOf(30, 40, 499)])
        assert.equal(yield* found(store, LARGEST), 10)
        yield* store.writeIndexPages([pageOf(40, 50, 501)])
        assert.equal(yield* found(store, LARGEST), 40)
      })
    )

    it.live("among those of its own topic and partition", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.writeIndexPages([
          pageOf(0, 10, 100),
          pageOf(1, 11, 900, { partition: 1 }),
          pageOf(2, 12, 800, { topicId: OTHER_TOPIC }),
          pageOf(3, 13, 700, { partition: 10 })
        ])
        const queries = [atOffset(50), since(0), LARGEST]
        for (const query of queries) {
          assert.equal(yield* found(store, query), 0)
          assert.equal(yield* found(store, query, { partition: 1 }), 1)
          assert.equal(yield* found(store, query, { topicId: OTHER_TOPIC }), 2)
          assert.equal(yield* found(store, query, { partition: 10 }), 3)
          assert.equal(yield* found(store, query, { partition: 2 }), undefined)
          assert.equal(yield* found(store, query, { topicId: OTHER_TOPIC, partition: 1 }), undefined)
          assert.equal(yield* found(store, query, { topicId: UUID_ZERO }), undefined)
        }
        assert.equal(yield* found(store, since(101)), undefined)
      })
    )
  })
}

const writingPages = (make: Make): void => {
  describe("index pages", () => {
    it.live("are written once, in any order: what is there stays", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.writeIndexPages([])
        yield* store.writeIndexPages([pageOf(10, 20, 5), pageOf(0, 10, 4)])
        yield* store.writeIndexPages([pageOf(10, 20, 5), pageOf(20, 30, 6)])
        yield* store.writeIndexPages([pageOf(10, 99, 99, { page: Buffer.from("other") })])
        const page = yield* store.findIndexPage({ topicId: TOPIC, partition: 0, query: atOffset(15) })
        assert.deepEqual(
          { ...page!, page: Buffer.from(page!.page) },
          { ...pageOf(10, 20, 5), page: Buffer.from("page 10") }
        )
        assert.equal(yield* found(store, atOffset(25)), 20)
        assert.equal(yield* found(store, LARGEST), 20)
      })
    )

    it.live("keep the largest size, and the caller its bytes", () =>
      Effect.gen(function* () {
        const store = yield* make
        const around = Buffer.alloc(limits.indexPageBytesMax + 20, 3)
        around.write("first", 10)
        const expected = Buffer.from(around.subarray(10, -10))
        yield* store.writeIndexPages([
          pageOf(0, 1, 1, { page: around.subarray(10, -10) }),
          pageOf(1, 2, 1, { page: around.subarray(0, 3) })
        ])
        around.fill("x")
        assert.equal(around.toString("latin1", 0, 3), "xxx")
        for (const _ of [1, 2]) {
          const { page } = (yield* store.findIndexPage({ topicId: TOPIC, partition: 0, query: atOffset(0) }))!
          assert.isTrue(expected.equals(Buffer.from(page)))
          page.fill(0)
        }
      })
    )

    it.live("of unsound size or number are a programmer's error, and nothing is written", () =>
      Effect.gen(function* () {
        const store = yield* make
        const tooMany = upTo(0, limits.indexPagesPerWrite).map((offset) => pageOf(offset, offset + 1, 0))
        const unsound: ReadonlyArray<ReadonlyArray<IndexPage>> = [
          tooMany,
          [pageOf(5, 6, 0), pageOf(0, 1, 0, { topicId: "x" })],
          [pageOf(0, 1, 0, { partition: -1 })],
          [pageOf(0, 0, 0)],
          [pageOf(-1, 1, 0)],
          [pageOf(0, 1, 0, { page: Buffer.alloc(0) })],
          [pageOf(0, 1, 0, { page: Buffer.alloc(limits.indexPageBytesMax + 1) })]
        ]
        for (const pages of unsound) yield* assertDies(store.writeIndexPages(pages))
        assert.equal(yield* found(store, LARGEST), undefined)
      })
    )
  })
}

const deletingPages = (make: Make): void => {
  it.live("index pages of a topic are deleted some at a time, with how many, and no other topic's", () =>
    Effect.gen(function* () {
      const store = yield* make
      const full = limits.indexPagesPerWrite
      assert.equal(yield* store.deleteIndexPages(TOPIC), 0)
      yield* store.writeIndexPages(upTo(1, full).map((offset) => pageOf(offset, offset + 1, offset)))
      yield* store.writeIndexPages(upTo(1, 5).map((offset) => pageOf(offset, offset + 1, offset, { partition: 7 })))
      yield* store.writeIndexPages([pageOf(0, 1, 0, { topicId: OTHER_TOPIC })])
      assert.equal(yield* store.deleteIndexPages(TOPIC), full)
      assert.equal(yield* store.deleteIndexPages(TOPIC), 5)
      assert.equal(yield* store.deleteIndexPages(TOPIC), 0)
      assert.equal(yield* found(store, LARGEST), undefined)
      assert.equal(yield* found(store, LARGEST, { partition: 7 }), undefined)
      assert.equal(yield* found(store, LARGEST, { topicId: OTHER_TOPIC }), 0)
    })
  )
}

const noteOf = (epoch: number, trimmedSeq: number, change: Partial<ShardNote> = {}): ShardNote => ({
  shard: 0,
  epoch,
  holder: "east-1",
  holderRegion: "east",
  homeRegion: "west",
  trimmedSeq,
  ...change
})

export const shardNotes = (make: Make): void => {
  describe("notes of shards", () => {
    it.live("go forward only: a lower epoch, or a lower trimmed seq of the same, changes nothing", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.deepEqual(yield* store.shardNotes, [])
        const first = noteOf(5, 100)
        yield* store.noteShard(first)
        assert.deepEqual(yield* store.shardNotes, [first])
        const behind = [noteOf(4, 100), noteOf(4, 900), noteOf(5, 99), noteOf(0, 0)]
        for (const note of behind) {
          yield* store.noteShard({ ...note, holder: "late", holderRegion: "late", homeRegion: "late" })
          assert.deepEqual(yield* store.shardNotes, [first])
        }
        const ahead = [
          noteOf(5, 100, { holder: "north-1", holderRegion: "north", homeRegion: "north" }),
          noteOf(5, 101),
          noteOf(6, 101, { holder: "other" }),
          noteOf(7, 50)
        ]
        for (const note of ahead) {
          yield* store.noteShard(note)
          assert.deepEqual(yield* store.shardNotes, [note])
        }
      })
    )

    it.live("are listed by ascending shard, each by itself", () =>
      Effect.gen(function* () {
        const store = yield* make
        const notes = [10, 2, 0].map((shard) => noteOf(2 ** 40 + shard, 2 ** 50, { shard }))
        for (const note of notes) yield* store.noteShard(note)
        assert.deepEqual(yield* store.shardNotes, notes.toReversed())
        yield* store.noteShard(noteOf(2 ** 41, 0, { shard: 2 }))
        assert.deepEqual(yield* store.shardNotes, [notes[2]!, noteOf(2 ** 41, 0, { shard: 2 }), notes[0]!])
      })
    )

    it.live("with numbers below 0 are a programmer's error", () =>
      Effect.gen(function* () {
        const store = yield* make
        for (const note of [noteOf(-1, 0), noteOf(0, -1), noteOf(0, 0, { shard: -1 })]) {
          yield* assertDies(store.noteShard(note))
        }
        assert.deepEqual(yield* store.shardNotes, [])
      })
    )
  })
}
