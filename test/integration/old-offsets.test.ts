// Goal: records whose runs have left the memory of all agents are served from index pages as if they had not: fetched whole
// across the boundary, found by time on either side of it; and what cannot be had is an error that clients try again, never
// wrong data.
// Method: three agents in one process; the test materializes what it has produced, from one agent's fold, and reads in the
// others' regions. The database behind them is damaged, taken away and given back.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { make as makeMemoryMetadata } from "#backends/metadata/memory.ts"
import { type Fold, type PartitionState } from "#core/log/fold.ts"
import { makeMaterializer } from "#core/log/materializer.ts"
import { type IndexPage, MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { startCluster, type TestCluster } from "./cluster.ts"
import { connected, type PromisedClient, recordsOf, type SeenRecord } from "./promised-client.ts"

type Store = MetadataStore["Service"]

const MAX_TIMESTAMP = -3
const EARLIEST = -2
const LATEST = -1
const START_MS = 1_790_000_000_000

/** The store, whose index pages the test may damage, hold back or take away. */
interface Meddling {
  readonly store: Store
  change: (page: IndexPage | undefined) => IndexPage | undefined
  isAway: boolean
  pageReads: number
}

const meddling = Effect.gen(function* () {
  const inner = yield* makeMemoryMetadata
  const state: Meddling = {
    store: {
      ...inner,
      findIndexPage: (asked) =>
        Effect.suspend(() => {
          state.pageReads++
          const error = {
            reason: "Unavailable",
            outcome: "definite",
            operation: "findIndexPage",
            cause: "away"
          } as const
          if (state.isAway) return Effect.fail(new MetadataError(error))
          return Effect.map(inner.findIndexPage(asked), (page) => state.change(page))
        })
    },
    change: (page) => page,
    isAway: false,
    pageReads: 0
  }
  return state
})

/** Moves all runs but those of the last few entries to pages of so many runs; all agents have folded it. */
const materialize = Effect.fnUntraced(function* ({ agents, metadata }: TestCluster, pageRuns = 3) {
  const [first] = agents
  const materializer = makeMaterializer({
    store: metadata,
    fold: () => first!.log.fold as Fold,
    submit: (command) => first!.log.submit(command),
    shard: 0,
    options: { homeRegion: "us-east-1", keepEntries: 0, keepMs: 0, checkpointEntries: 1_000_000, pageRuns }
  })
  yield* materializer.turn
  yield* Effect.forEach(agents, ({ log }) => log.barrier)
})

const produceOne = (client: PromisedClient, n: number, timestampMs = START_MS + n * 1_000) =>
  Effect.promise(async () => {
    const records = buildBatch({ records: [{ key: null, value: Buffer.from(`value ${n}`) }], timestampMs })
    const { errorCode, baseOffset } = await client.produce("t", records)
    assert.strictEqual(errorCode, errorCodes.NONE)
    assert.strictEqual(baseOffset, n)
  })

const partitionOf = (cluster: TestCluster, agent: number): PartitionState =>
  cluster.agents[agent]!.log.fold.topicByName("t")!.partitions[0]!

interface Story {
  readonly cluster: TestCluster
  readonly clients: ReadonlyArray<PromisedClient>
  readonly database: Meddling
}

/** A topic of 20 records, one run each; 0 to 13 are in pages, the rest in memory. */
const withOldRecords = Effect.gen(function* () {
  const database = yield* meddling
  const cluster = yield* startCluster({ metadata: database.store })
  const clients = yield* Effect.forEach(cluster.agents, ({ port }) => connected(port))
  yield* Effect.promise(() => clients[0]!.createTopic("t"))
  for (let n = 0; n < 14; n += 1) yield* produceOne(clients[n % 3]!, n)
  // The first window ends with the log's first entry, the next one where that was said.
  yield* materialize(cluster)
  for (let n = 14; n < 20; n += 1) yield* produceOne(clients[n % 3]!, n)
  yield* materialize(cluster)
  for (const index of cluster.agents.keys()) assert.strictEqual(partitionOf(cluster, index).residentOffset, 14)
  return { cluster, clients, database } satisfies Story
})

/** As a consumer does it: from the offset on, until the end. */
const readFrom = async (client: PromisedClient, from: number, end = 20): Promise<ReadonlyArray<SeenRecord>> => {
  const seen: Array<SeenRecord> = []
  for (let offset = from; offset < end; offset = seen.at(-1)!.offset + 1) {
    const { errorCode, records, highWatermark } = await client.fetch("t", { offset })
    assert.strictEqual(errorCode, errorCodes.NONE)
    assert.strictEqual(highWatermark, end)
    const more = recordsOf(records).filter((record) => record.offset >= offset)
    assert.isAbove(more.length, 0, `from ${offset}`)
    seen.push(...more)
  }
  return seen
}

const expectedFrom = (from: number, end = 20): ReadonlyArray<SeenRecord> =>
  Array.from({ length: end - from }, (_, index) => {
    const offset = from + index
    return { offset, timestampMs: START_MS + offset * 1_000, value: `value ${offset}` }
  })

describe("records in index pages", () => {
  it.live("are fetched from every offset, in every region, together with those in memory", () =>
    Effect.gen(function* () {
      const { clients } = yield* withOldRecords
      for (const client of clients) {
        for (let from = 0; from < 20; from += 1) {
          assert.deepStrictEqual(yield* Effect.promise(() => readFrom(client, from)), expectedFrom(from))
        }
      }
      const { records } = yield* Effect.promise(() => clients[1]!.fetch("t", { offset: 5 }))
      assert.strictEqual(recordsOf(records).at(-1)!.offset, 19, "one answer holds both")
    })
  )

  it.live("are answered at once, also to those who would wait for more bytes", () =>
    Effect.gen(function* () {
      const { clients } = yield* withOldRecords
      const startedMs = performance.now()
      const { records } = yield* Effect.promise(() => clients[2]!.fetch("t", { offset: 0, maxWaitMs: 30_000 }))
      assert.isAbove(recordsOf(records).length, 0)
      assert.isBelow(performance.now() - startedMs, 10_000)
    })
  )

  it.live("cost one read of the database for all who want the same page", () =>
    Effect.gen(function* () {
      const { clients, cluster, database } = yield* withOldRecords
      database.pageReads = 0
      const more = yield* Effect.forEach(Array.from({ length: 20 }), () => connected(cluster.agents[1]!.port))
      yield* Effect.promise(() => Promise.all(more.map((client) => client.fetch("t", { offset: 12 }))))
      assert.strictEqual(database.pageReads, 1)
      yield* Effect.promise(() => clients[1]!.fetch("t", { offset: 13 }))
      assert.strictEqual(database.pageReads, 1, "cached")
    })
  )

  it.live("are found by time on both sides of the boundary, and the first of equals is", () =>
    Effect.gen(function* () {
      const { clients } = yield* withOldRecords
      for (const client of clients) {
        for (let n = 0; n < 20; n += 1) {
          for (const early of [0, 1, 999]) {
            const found = yield* Effect.promise(() => client.listOffset("t", START_MS + n * 1_000 - early))
            assert.deepStrictEqual(found, { errorCode: 0, offset: n, timestamp: START_MS + n * 1_000 })
          }
        }
        const listed = (timestamp: number) => Effect.promise(() => client.listOffset("t", timestamp))
        assert.deepInclude(yield* listed(START_MS + 19_001), { errorCode: 0, offset: -1 })
        assert.deepStrictEqual(yield* listed(MAX_TIMESTAMP), { errorCode: 0, offset: 19, timestamp: START_MS + 19_000 })
        assert.deepInclude(yield* listed(EARLIEST), { offset: 0 })
        assert.deepInclude(yield* listed(LATEST), { offset: 20 })
      }
    })
  )

  it.live("with the largest timestamp are found wherever it is, the first of equals across the boundary", () =>
    Effect.gen(function* () {
      const database = yield* meddling
      const cluster = yield* startCluster({ metadata: database.store })
      const clients = yield* Effect.forEach(cluster.agents, ({ port }) => connected(port))
      yield* Effect.promise(() => clients[0]!.createTopic("t"))
      // The largest twice in pages, and once more in memory.
      const times = [5, 9, 9, 3, 9, 4]
      for (const [n, time] of times.slice(0, 4).entries()) yield* produceOne(clients[0]!, n, START_MS + time)
      yield* materialize(cluster, 2)
      for (const [n, time] of times.slice(4).entries()) yield* produceOne(clients[0]!, n + 4, START_MS + time)
      yield* materialize(cluster, 2)
      assert.strictEqual(partitionOf(cluster, 2).residentOffset, 4)
      const found = yield* Effect.promise(() => clients[2]!.listOffset("t", MAX_TIMESTAMP))
      assert.deepStrictEqual(found, { errorCode: 0, offset: 1, timestamp: START_MS + 9 })
      yield* produceOne(clients[1]!, 6, START_MS + 10)
      const newer = yield* Effect.promise(() => clients[2]!.listOffset("t", MAX_TIMESTAMP))
      assert.deepStrictEqual(newer, { errorCode: 0, offset: 6, timestamp: START_MS + 10 })
      const since = yield* Effect.promise(() => clients[2]!.listOffset("t", START_MS + 6))
      assert.deepStrictEqual(since, { errorCode: 0, offset: 1, timestamp: START_MS + 9 })
    })
  )

  it.live("of a topic that was deleted are gone, as all of it", () =>
    Effect.gen(function* () {
      const { clients, cluster } = yield* withOldRecords
      assert.strictEqual(yield* Effect.promise(() => clients[0]!.deleteTopic("t")), errorCodes.NONE)
      yield* Effect.forEach(cluster.agents, ({ log }) => log.barrier)
      const { errorCode } = yield* Effect.promise(() => clients[1]!.fetch("t", { offset: 0 }))
      assert.strictEqual(errorCode, errorCodes.UNKNOWN_TOPIC_OR_PARTITION)
    })
  )
})

describe("index pages that cannot be had", () => {
  const expectRefused = (client: PromisedClient, offset: number) =>
    Effect.promise(async () => {
      const { errorCode, records } = await client.fetch("t", { offset })
      assert.strictEqual(errorCode, errorCodes.KAFKA_STORAGE_ERROR)
      assert.strictEqual(recordsOf(records).length, 0)
    })

  it.live("are an error that clients try again; what is in memory is served; and it goes by", () =>
    Effect.gen(function* () {
      const { clients, database } = yield* withOldRecords
      database.isAway = true
      yield* expectRefused(clients[0]!, 3)
      assert.deepStrictEqual(yield* Effect.promise(() => readFrom(clients[0]!, 14)), expectedFrom(14))
      const found = yield* Effect.promise(() => clients[0]!.listOffset("t", START_MS))
      assert.strictEqual(found.errorCode, errorCodes.KAFKA_STORAGE_ERROR)
      database.isAway = false
      yield* Effect.sleep(1_100)
      assert.deepStrictEqual(yield* Effect.promise(() => readFrom(clients[0]!, 3)), expectedFrom(3))
    })
  )

  const damages: Readonly<Record<string, (page: IndexPage) => IndexPage | undefined>> = {
    "damaged in a bit": (page) => {
      const bytes = Buffer.from(page.page)
      bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 1
      return { ...page, page: bytes }
    },
    "cut short": (page) => ({ ...page, page: page.page.subarray(0, -1) }),
    "of a newer program": (page) => ({ ...page, page: Buffer.concat([Buffer.from([2]), page.page.subarray(1)]) }),
    "under another offset": (page) => ({ ...page, baseOffset: page.baseOffset + 1 }),
    "under another partition": (page) => ({ ...page, partition: 7 }),
    "under another topic": (page) => ({ ...page, topicId: "f".repeat(32) }),
    "longer than they say": (page) => ({ ...page, nextOffset: page.nextOffset + 5 }),
    gone: () => undefined
  }
  for (const [what, damage] of Object.entries(damages)) {
    it.live(`because they are ${what} are never served, by offset or by time`, () =>
      Effect.gen(function* () {
        const { clients, database } = yield* withOldRecords
        database.change = (page) => (page === undefined ? undefined : damage(page))
        for (const offset of [0, 7, 13]) yield* expectRefused(clients[1]!, offset)
        const found = yield* Effect.promise(() => clients[1]!.listOffset("t", START_MS))
        assert.strictEqual(found.errorCode, errorCodes.KAFKA_STORAGE_ERROR)
        const largest = yield* Effect.promise(() => clients[1]!.listOffset("t", MAX_TIMESTAMP))
        assert.strictEqual(largest.errorCode, errorCodes.KAFKA_STORAGE_ERROR)
        assert.deepStrictEqual(yield* Effect.promise(() => readFrom(clients[1]!, 14)), expectedFrom(14))
      })
    )
  }

  it.live("behind others end the answer there; the next one has the error", () =>
    Effect.gen(function* () {
      const { clients, database } = yield* withOldRecords
      database.change = (page) => (page?.baseOffset === 6 ? damages["cut short"]!(page) : page)
      const { errorCode, records } = yield* Effect.promise(() => clients[2]!.fetch("t", { offset: 1 }))
      assert.strictEqual(errorCode, errorCodes.NONE)
      assert.deepStrictEqual(
        recordsOf(records).map(({ offset }) => offset),
        [1, 2, 3, 4, 5]
      )
      yield* expectRefused(clients[2]!, 6)
    })
  )
})
