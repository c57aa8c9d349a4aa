/**
 * Goal: readers of old offsets share what is read, hold no more than the cache's bound, find out quickly that the database
 * is away, and get runs without gaps although the boundary between pages and memory moves while they wait.
 * Method: a partition whose runs are in pages of a store that the test answers by hand, on the test clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { type PlannedFetch, planFetch } from "#core/agent/fetch-plan.ts"
import { IndexPages, type IndexPageUnreadable } from "#core/agent/index-pages.ts"
import { stampRun } from "#core/agent/run-bytes.ts"
import { firstAtOrAfter, type SearchServices, withLargestTimestamp } from "#core/agent/timestamp-search.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { type FoldState, type PartitionState, type RunRef, type SegmentRef } from "#core/log/fold.ts"
import { encodeIndexPage } from "#core/log/index-page.ts"
import { limits } from "#core/model/limits.ts"
import { type IndexPage, type IndexPageQuery, MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { makeCounters, Metrics, type Observation, type ObservedName } from "#core/telemetry/metrics.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { buildBatch } from "#core/records/build-batch.ts"

const TOPIC_ID = "a".repeat(32)
const START_MS = 1_790_000_000_000

const batchAt = (timestampMs: number): Buffer =>
  buildBatch({ records: [{ key: null, value: Buffer.alloc(50) }], timestampMs })

/** One record each; of a segment of its own where it is one of many. */
const runOf = (offset: number, timestampMs = START_MS + offset): RunRef => {
  const bytes = batchAt(timestampMs)
  const segment: SegmentRef = {
    segmentId: offset.toString(16).padStart(32, "0"),
    seq: offset + 1,
    createdAtMs: START_MS,
    bucketSet: "quorum",
    ackedBuckets: ["east"],
    segmentBytes: bytes.length,
    blockOffsets: [0, bytes.length],
    appendTimeMs: START_MS
  }
  const place = { segment, byteOffset: 0, byteLength: bytes.length, crc: crc32c(bytes) }
  const times = { maxTimestampMs: timestampMs, timestampType: "create" as const }
  return { ...place, ...times, baseOffset: offset, nextOffset: offset + 1, excluded: [] }
}

/** As the run reader answers it. */
const stampedRun = (run: RunRef): Buffer => {
  const bytes = batchAt(run.maxTimestampMs)
  stampRun(bytes, run)
  return bytes
}

/** A partition whose boundary between pages and memory the test moves. */
const makePartition = (runs: Array<RunRef>, partition = 0) => {
  let residentOffset = 0
  let highWatermark = runs.length
  const state = {
    topic: { topicId: TOPIC_ID, name: "t" },
    partition,
    logStartOffset: 0,
    get highWatermark() {
      return highWatermark
    },
    get residentOffset() {
      return residentOffset
    },
    get runCount() {
      return highWatermark - residentOffset
    },
    run: (index: number) => {
      assert.isTrue(index >= 0 && index < highWatermark - residentOffset, `run ${index} is in memory`)
      return runs[residentOffset + index]!
    },
    runIndexOf: (offset: number) => {
      assert.isTrue(offset >= residentOffset && offset < highWatermark, `offset ${offset} is in memory`)
      return offset - residentOffset
    }
  } as unknown as PartitionState
  return {
    state,
    dropTo: (offset: number) => void (residentOffset = offset),
    foldTo: (offset: number) => void (highWatermark = offset)
  }
}

interface Question {
  readonly query: IndexPageQuery
  readonly partition: number
  readonly answer: Deferred.Deferred<IndexPage | undefined, MetadataError>
}

const AWAY = new MetadataError({ reason: "TimedOut", outcome: "definite", operation: "findIndexPage", cause: "away" })

const setUp = (options: { readonly isGone?: boolean } = {}) =>
  Effect.gen(function* () {
    const questions: Array<Question> = []
    const store = {
      findIndexPage: ({ query, partition }: { readonly query: IndexPageQuery; readonly partition: number }) =>
        Effect.suspend(() => {
          const answer = Deferred.makeUnsafe<IndexPage | undefined, MetadataError>()
          questions.push({ query, partition, answer })
          return Deferred.await(answer)
        })
    } as unknown as MetadataStore["Service"]
    let barriers = 0
    let onBarrier = (): void => {}
    const log = {
      fold: { topicById: () => (options.isGone === true ? undefined : {}) } as unknown as FoldState,
      barrier: Effect.sync(() => {
        barriers += 1
        onBarrier()
      })
    } as unknown as CommitLog["Service"]
    const observed = new Map<ObservedName, () => Iterable<Observation>>()
    const metrics = Layer.succeed(
      Metrics,
      Metrics.of({
        counters: makeCounters(),
        record: {} as Metrics["Service"]["record"],
        observe: (name, read) => Effect.sync(() => void observed.set(name, read))
      })
    )
    const shown = (name: ObservedName) => Array.from(observed.get(name)!(), ({ value }) => value)
    const context = yield* Layer.build(
      IndexPages.layer.pipe(
        Layer.provide([Layer.succeed(MetadataStore, store), Layer.succeed(CommitLog, log), metrics])
      )
    )
    const pages = context.mapUnsafe.get(IndexPages.key) as IndexPages["Service"]
    const settle = Effect.repeat(TestClock.adjust(0), { times: 5 })
    const start = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })
    const services = { pages, log, runs: { read: stampedRun } } as unknown as SearchServices
    const answer = (index: number, page: IndexPage | undefined) => Deferred.succeed(questions[index]!.answer, page)
    const setOnBarrier = (call: () => void) => void (onBarrier = call)
    return { pages, questions, settle, start, services, answer, setOnBarrier, barriers: () => barriers, shown }
  })

const pageOf = (runs: ReadonlyArray<RunRef>, partition = 0): IndexPage =>
  encodeIndexPage({ topicId: TOPIC_ID, partition, runCount: runs.length, run: (index) => runs[index]! }, 0).page

const RUNS = Array.from({ length: 30 }, (_, offset) => runOf(offset))

describe("readers of one partition", () => {
  it.effect("share one read of a page, whichever of its offsets they want, and later ones have it at once", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(20)
      const readers = yield* Effect.forEach([3, 3, 7, 0, 9], (offset) => start(pages.load(state, offset)))
      yield* settle
      assert.strictEqual(questions.length, 1)
      yield* answer(0, pageOf(RUNS.slice(0, 10)))
      for (const reader of readers) assert.strictEqual((yield* Fiber.join(reader)).baseOffset, 0)
      assert.strictEqual(questions.length, 1)
      assert.isDefined(pages.cached(state, 9))
      assert.isUndefined(pages.cached(state, 10))
      assert.isUndefined(pages.cached(makePartition(RUNS, 1).state, 3), "of another partition")
    })
  )

  it.effect("who want another page read it when the first is there", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer, shown } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(20)
      const first = yield* start(pages.load(state, 3))
      const second = yield* start(pages.load(state, 12))
      yield* settle
      yield* answer(0, pageOf(RUNS.slice(0, 10)))
      yield* Fiber.join(first)
      yield* settle
      assert.deepStrictEqual(questions[1]!.query, { kind: "offset", offset: 12 })
      yield* answer(1, pageOf(RUNS.slice(10, 20)))
      assert.strictEqual((yield* Fiber.join(second)).baseOffset, 10)
      yield* pages.load(state, 13)
      assert.deepStrictEqual(shown("indexPageHits"), [1])
      assert.deepStrictEqual(shown("indexPageReads"), [2])
      assert.deepStrictEqual(shown("indexPageReadsFailed"), [0])
      assert.deepStrictEqual(shown("indexPageCacheBytes"), [pages.cacheBytes()])
      assert.isAbove(pages.cacheBytes(), 0)
    })
  )

  it.effect("who are interrupted leave the read to the others", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(20)
      const first = yield* start(pages.load(state, 3))
      const second = yield* start(pages.load(state, 4))
      yield* settle
      yield* Fiber.interrupt(first)
      yield* answer(0, pageOf(RUNS.slice(0, 10)))
      assert.strictEqual((yield* Fiber.join(second)).baseOffset, 0)
      assert.strictEqual(questions.length, 1)
    })
  )

  it.effect("have the error of their own page only, and of a database that is away all", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(20)
      const reasonOf = (exit: Exit.Exit<unknown, IndexPageUnreadable>) =>
        /Damaged|Missing|Unavailable/.exec(String(exit))?.[0]
      const damaged = yield* start(Effect.exit(pages.load(state, 3)))
      const sound = yield* start(Effect.exit(pages.load(state, 12)))
      yield* settle
      yield* answer(0, { ...pageOf(RUNS.slice(0, 10)), nextOffset: 11 })
      yield* settle
      yield* answer(1, pageOf(RUNS.slice(10, 20)))
      assert.strictEqual(reasonOf(yield* Fiber.join(damaged)), "Damaged")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(sound)))
      const away = yield* Effect.forEach([1, 5, 8], (offset) => start(Effect.exit(pages.load(state, offset))))
      yield* settle
      assert.strictEqual(questions.length, 3)
      yield* Deferred.fail(questions[2]!.answer, AWAY)
      for (const fiber of away) assert.strictEqual(reasonOf(yield* Fiber.join(fiber)), "Unavailable")
      // Others do not each find out for themselves.
      assert.strictEqual(reasonOf(yield* Effect.exit(pages.load(makePartition(RUNS, 1).state, 1))), "Unavailable")
      assert.strictEqual(questions.length, 3)
      yield* TestClock.adjust(limits.indexPageAwayMs)
      const again = yield* start(pages.load(state, 1))
      yield* settle
      yield* answer(3, pageOf(RUNS.slice(0, 10)))
      assert.strictEqual((yield* Fiber.join(again)).baseOffset, 0)
    })
  )
})

describe("a page that ends before the offset", () => {
  it.effect("is none: the reader has an error, and neither an empty answer nor another page's records", () =>
    Effect.gen(function* () {
      const { pages, services, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(20)
      const short = pageOf(RUNS.slice(0, 5))
      const loading = yield* start(Effect.exit(pages.load(state, 7)))
      yield* settle
      yield* answer(0, short)
      const exit = yield* Fiber.join(loading)
      assert.include(String(exit), "at offset 7: Missing")
      const planned = yield* start(
        planFetch(pages, [{ state, offset: 7, bytesMax: 1_000 }], 1_000) as Effect.Effect<PlannedFetch>
      )
      yield* settle
      yield* answer(1, short)
      const { runs, errorCode } = (yield* Fiber.join(planned)).partitions[0]!
      assert.deepStrictEqual([runs.length, errorCode], [0, errorCodes.KAFKA_STORAGE_ERROR])
      // Its own records are found; what follows is not there.
      const search = yield* start(Effect.exit(firstAtOrAfter(services, state, START_MS + 7)))
      yield* settle
      yield* answer(2, { ...short, maxTimestampMs: short.maxTimestampMs })
      yield* settle
      yield* answer(3, short)
      assert.include(String(yield* Fiber.join(search)), "at offset 5: Missing")
    })
  )
})

describe("the cache of pages", () => {
  it.effect("holds at most its bytes, the pages that were used last", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer } = yield* setUp()
      const runs = Array.from({ length: limits.indexPageRuns * 2 }, (_, offset) => runOf(offset))
      const page = (partition: number) => pageOf(runs.slice(0, limits.indexPageRuns), partition)
      const states = Array.from({ length: 400 }, (_, partition) => {
        const { state, dropTo } = makePartition(runs, partition)
        dropTo(runs.length)
        return state
      })
      for (const [index, state] of states.entries()) {
        const reader = yield* start(pages.load(state, 5))
        yield* settle
        yield* answer(index, page(state.partition))
        yield* Fiber.join(reader)
        assert.isAtMost(pages.cacheBytes(), limits.indexPageCacheBytes)
        // The first is used again and again.
        assert.isDefined(pages.cached(states[0]!, 0))
      }
      assert.isAbove(pages.cacheBytes(), limits.indexPageCacheBytes / 2)
      assert.isUndefined(pages.cached(states[1]!, 5))
      assert.isDefined(pages.cached(states.at(-1)!, 5))
      assert.strictEqual(questions.length, states.length)
    })
  )
})

describe("a fetch", () => {
  const offsetsOf = (planned: PlannedFetch) => planned.partitions.map(({ runs }) => runs.map((run) => run.baseOffset))
  const wantedOf = (state: PartitionState, offset: number, bytesMax = 1_000_000) => ({ state, offset, bytesMax })

  it.effect("goes on without a gap where runs leave memory while it waits for a page", () =>
    Effect.gen(function* () {
      const { pages, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(10)
      const planned = planFetch(pages, [wantedOf(state, 4)], 1_000_000)
      assert.isTrue(Effect.isEffect(planned))
      const fiber = yield* start(planned as Effect.Effect<PlannedFetch>)
      yield* settle
      dropTo(25)
      yield* answer(0, pageOf(RUNS.slice(0, 10)))
      yield* settle
      yield* answer(1, pageOf(RUNS.slice(10, 25)))
      const expected = Array.from({ length: 26 }, (_, index) => 4 + index)
      assert.deepStrictEqual(offsetsOf(yield* Fiber.join(fiber)), [expected])
    })
  )

  it.effect("reads a bounded number of pages, and the first partition gets on", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start, answer } = yield* setUp()
      const all = Array.from({ length: 50 }, (_, partition) => {
        const made = makePartition(RUNS, partition)
        made.dropTo(30)
        return made.state
      })
      const planned = planFetch(
        pages,
        all.map((state) => wantedOf(state, 0)),
        1_000_000
      )
      const fiber = yield* start(planned as Effect.Effect<PlannedFetch>)
      yield* settle
      assert.strictEqual(questions.length, limits.fetchIndexPagesMax)
      for (const [index, { partition }] of questions.entries())
        yield* answer(index, pageOf(RUNS.slice(0, 5), partition))
      const offsets = offsetsOf(yield* Fiber.join(fiber))
      assert.strictEqual(questions.length, limits.fetchIndexPagesMax)
      assert.deepStrictEqual(offsets[0], [0, 1, 2, 3, 4])
      assert.deepStrictEqual(offsets[49], [])
    })
  )

  it.effect("takes turns with others in holding pages", () =>
    Effect.gen(function* () {
      const { pages, questions, settle, start } = yield* setUp()
      yield* Effect.forEach(Array.from({ length: limits.pagedPlansInFlight * 3 }), (_, partition) => {
        const { state, dropTo } = makePartition(RUNS, partition)
        dropTo(30)
        return start(planFetch(pages, [wantedOf(state, 0)], 1_000) as Effect.Effect<PlannedFetch>)
      })
      yield* settle
      assert.isAtMost(questions.length, limits.indexPageReadsInFlight)
    })
  )

  it.effect("needs no page, and waits for nothing, for what is in memory or cached", () =>
    Effect.gen(function* () {
      const { pages, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(10)
      assert.isFalse(Effect.isEffect(planFetch(pages, [wantedOf(state, 10)], 1_000_000)))
      const reader = yield* start(pages.load(state, 0))
      yield* settle
      yield* answer(0, pageOf(RUNS.slice(0, 10)))
      yield* Fiber.join(reader)
      const planned = planFetch(pages, [wantedOf(state, 8)], 1_000_000)
      assert.isFalse(Effect.isEffect(planned))
      assert.deepStrictEqual(offsetsOf(planned as PlannedFetch)[0]!.slice(0, 4), [8, 9, 10, 11])
    })
  )
})

describe("a search by time", () => {
  it.effect("finds the record whose run leaves memory while the pages are asked", () =>
    Effect.gen(function* () {
      const { services, settle, start, answer, questions } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(10)
      const search = yield* start(firstAtOrAfter(services, state, START_MS + 15))
      yield* settle
      // Asked before the second page was there; by the time of the answer its runs are in memory no more.
      dropTo(20)
      yield* answer(0, undefined)
      yield* settle
      assert.deepStrictEqual(questions[1]!.query, { kind: "offset", offset: 9 })
      yield* answer(1, pageOf(RUNS.slice(0, 10)))
      yield* settle
      yield* answer(2, pageOf(RUNS.slice(10, 20)))
      assert.deepStrictEqual(yield* Fiber.join(search), { offset: 15, timestampMs: START_MS + 15 })
    })
  )

  it.effect("does not take a page of a window that is being written for the first: there may be gaps before it", () =>
    Effect.gen(function* () {
      const { services, settle, start, answer } = yield* setUp()
      const { state, dropTo } = makePartition(RUNS)
      dropTo(10)
      const search = yield* start(firstAtOrAfter(services, state, START_MS + 12))
      yield* settle
      yield* answer(0, pageOf(RUNS.slice(16, 20)))
      yield* settle
      yield* answer(1, pageOf(RUNS.slice(0, 10)))
      assert.deepStrictEqual(yield* Fiber.join(search), { offset: 12, timestampMs: START_MS + 12 })
    })
  )

  it.effect("for the largest timestamp answers nothing that is not folded here", () =>
    Effect.gen(function* () {
      const { services, settle, start, answer, setOnBarrier, barriers } = yield* setUp()
      const { state, dropTo, foldTo } = makePartition(RUNS)
      dropTo(10)
      foldTo(15)
      const search = yield* start(withLargestTimestamp(services, state))
      yield* settle
      setOnBarrier(() => foldTo(30))
      yield* answer(0, pageOf(RUNS.slice(15, 20)))
      yield* settle
      yield* answer(1, pageOf(RUNS.slice(15, 20)))
      assert.strictEqual(barriers(), 1)
      assert.deepStrictEqual(yield* Fiber.join(search), { offset: 29, timestampMs: START_MS + 29 })
    })
  )

  it.effect("for the largest timestamp gives up where the fold does not get there", () =>
    Effect.gen(function* () {
      const { services, settle, start, answer, questions } = yield* setUp()
      const { state, dropTo, foldTo } = makePartition(RUNS)
      dropTo(10)
      foldTo(15)
      const search = yield* start(Effect.exit(withLargestTimestamp(services, state)))
      for (let index = 0; index < 3; index += 1) {
        yield* settle
        yield* answer(index, pageOf(RUNS.slice(15, 20)))
      }
      const exit = yield* Fiber.join(search)
      assert.isTrue(Exit.isFailure(exit) && String(exit.cause).includes("pages go to offset 20, the fold to 15"))
      assert.strictEqual(questions.length, 3)
    })
  )
})
