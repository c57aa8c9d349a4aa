/**
 * Goal: over a database that takes little at a time, or fails again and again, the log's past gets there all the same, and
 * nothing is left over that grows with failures.
 * Method: stores in memory of which each turn gets so many calls of a kind and no more; chunks and writes made small. What
 * others left behind, or do meanwhile, is put into the store beside.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { encodeCheckpoint } from "#core/log/checkpoint.ts"
import { digest } from "#core/log/digest.ts"
import { createFold, type Fold } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { type CheckpointChunk, MetadataError } from "#core/ports/metadata-store.ts"
import { batchOf, commitOf, createTopicOf, idOf, NOW_MS, runOf } from "./log-builders.ts"
import { memoryStore, type Store, withLimits } from "./log-harness.ts"
import { writeCheckpoint } from "../../contract/metadata-store-rows.ts"
import {
  appendEffects,
  appendJudged,
  catchUp,
  findRun,
  oldestTrimmable,
  sequencerOf,
  sequencerWith
} from "./materializer-harness.ts"

const timedOut = (operation: string): MetadataError =>
  new MetadataError({ reason: "TimedOut", outcome: "indefinite", operation, cause: "slow" })

interface Slow {
  readonly store: Store
  /** Calls that get through before one times out; after it the next ones do again. */
  allowance: number
  /** Whether the call that times out takes effect all the same. */
  isLostAnswer: boolean
  readonly chunks: Array<CheckpointChunk>
  deletes: number
}

/** The operation gets through so many times, then fails once, and so on. */
const slowly = (store: Store, operation: keyof Store, allowance: number): Slow => {
  let left = allowance
  const call = store[operation] as (argument: unknown) => Effect.Effect<unknown, MetadataError>
  const slow: Slow = {
    allowance,
    isLostAnswer: false,
    chunks: [],
    deletes: 0,
    store: {
      ...store,
      [operation]: (argument: unknown) =>
        Effect.suspend(() => {
          if (operation === "writeCheckpointChunk") slow.chunks.push(argument as CheckpointChunk)
          left -= 1
          if (left >= 0) return call(argument)
          left = slow.allowance
          const failed = Effect.fail(timedOut(operation))
          return slow.isLostAnswer ? Effect.andThen(call(argument), failed) : failed
        }),
      deleteCheckpoints: (options) =>
        Effect.suspend(() => {
          slow.deletes += 1
          return store.deleteCheckpoints(options)
        })
    } as Store
  }
  return slow
}

/** A log with a topic of so many partitions and runs in each, beyond the first window. */
const logOf = Effect.fnUntraced(function* (store: Store, partitions: number, rounds: number) {
  const fold = createFold(0)
  yield* appendEffects(store, fold, [{ kind: "genesis", clusterId: idOf("cluster", 1) }])
  yield* appendJudged(store, fold, [createTopicOf("orders", 1, partitions)], NOW_MS)
  yield* produce(store, fold, { first: 1, rounds })
  return fold
})

const produce = Effect.fnUntraced(function* (
  store: Store,
  fold: Fold,
  { first, rounds }: { readonly first: number; readonly rounds: number }
) {
  for (let n = first; n < first + rounds; n += 1) {
    const runs = fold.topics()[0]!.partitions.map(({ partition }) => runOf([batchOf()], { partition }))
    yield* appendJudged(store, fold, [commitOf(n, runs, { createdAtMs: NOW_MS + n })], NOW_MS + n)
  }
})

const seqsOf = (chunks: ReadonlyArray<CheckpointChunk>): ReadonlyArray<number> => [
  ...new Set(chunks.map(({ seq }) => seq))
]

/** Chunks in the store, whole checkpoints or not. */
const chunksIn = Effect.fnUntraced(function* (store: Store, seqMax: number) {
  const found = new Map<number, number>()
  for (let seq = 1; seq <= seqMax; seq += 1) {
    for (let chunk = 0; chunk < 60; chunk += 1) {
      if ((yield* store.readCheckpointChunk({ shard: 0, seq, chunk })) === undefined) continue
      found.set(seq, (found.get(seq) ?? 0) + 1)
    }
  }
  return found
})

describe("a checkpoint", () => {
  for (const isLostAnswer of [false, true]) {
    const how = isLostAnswer ? "got through without an answer" : "did not get through"
    it.effect(`that takes many turns, because a chunk ${how}, is gone on with until it is there`, () =>
      Effect.gen(function* () {
        yield* withLimits({ checkpointChunkBytesMax: 200 })
        const store = yield* memoryStore
        const slow = slowly(store, "writeCheckpointChunk", 3)
        slow.isLostAnswer = isLostAnswer
        const agent = sequencerWith(slow.store, yield* logOf(store, 2, 40))
        let failed = 0
        for (let turn = 0; (yield* store.checkpoints(0)).length === 0; turn += 1) {
          assert.isBelow(turn, 60, "it comes to an end")
          const exit = yield* Effect.exit(agent.materializer.turn)
          if (Exit.isFailure(exit)) failed += 1
          yield* produce(store, agent.fold, { first: 1_000 + turn, rounds: 1 })
        }
        assert.isAbove(failed, 5, "over many turns")
        assert.equal(seqsOf(slow.chunks).length, 1, "it was one checkpoint all the time")
        const again = slow.chunks.length - slow.chunks[0]!.chunkCount
        assert.isAtMost(again, failed, "what got through is not written again")
        // What it holds is what the fold was: another agent starts from it.
        assert.equal(digest(yield* catchUp(store, createFold(0))), digest(agent.fold))
        for (let n = 0; n < 80; n += 1) {
          yield* appendJudged(store, agent.fold, [], NOW_MS + 900_000)
          yield* Effect.exit(agent.materializer.turn)
        }
        assert.isAbove(yield* oldestTrimmable(store), 2, "and the log is trimmed")
      })
    )
  }

  it.effect("that is read back over many turns is read once", () =>
    Effect.gen(function* () {
      yield* withLimits({ checkpointChunkBytesMax: 200 })
      const store = yield* memoryStore
      const agent = sequencerWith(slowly(store, "readCheckpointChunk", 4).store, yield* logOf(store, 2, 40))
      let failed = 0
      for (let turn = 0; turn < 40; turn += 1)
        if (Exit.isFailure(yield* Effect.exit(agent.materializer.turn))) failed += 1
      assert.isAbove(failed, 3)
      assert.isBelow(failed, 30)
      assert.equal((yield* store.checkpoints(0)).length, 1)
    })
  )

  it.effect("that never gets through leaves one behind, and the log is tidied all the same", () =>
    Effect.gen(function* () {
      yield* withLimits({ checkpointChunkBytesMax: 80 })
      const store = yield* memoryStore
      const fold = yield* logOf(store, 2, 20)
      const healthy = sequencerWith(store, fold)
      for (let n = 0; n < 60; n += 1) {
        yield* appendJudged(store, fold, [], NOW_MS + 30)
        yield* healthy.materializer.turn
      }
      assert.equal((yield* store.checkpoints(0)).length, 2)
      const oldest = yield* oldestTrimmable(store)
      // Its segments are forgotten from now on, so that the older checkpoint alone bounds trimming.
      yield* appendJudged(
        store,
        fold,
        [commitOf(900, [runOf([batchOf()])], { createdAtMs: NOW_MS + 900_000 })],
        NOW_MS + 900_000
      )
      const slow = slowly(store, "writeCheckpointChunk", 2)
      const never = {
        ...slow.store,
        writeCheckpointChunk: (chunk: CheckpointChunk) =>
          chunk.chunk < 2 ? slow.store.writeCheckpointChunk(chunk) : Effect.fail(timedOut("x"))
      }
      const agent = sequencerWith(never, fold)
      let failed = 0
      for (let turn = 0; turn < 60; turn += 1) {
        yield* appendJudged(store, fold, [], NOW_MS + 900_001)
        if (Exit.isFailure(yield* Effect.exit(agent.materializer.turn))) failed += 1
      }
      assert.isAbove(failed, 20)
      const left = yield* chunksIn(store, fold.seq)
      assert.equal(left.size, 3, "two whole ones, and the one that is written")
      assert.equal(seqsOf(slow.chunks).length, 1)
      assert.isAbove(slow.deletes, failed - 2)
      assert.isAbove(yield* oldestTrimmable(store), oldest, "the log goes on to be trimmed")
    })
  )

  it.effect("that a former sequencer left half written is deleted; one that a later one writes is not", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logOf(store, 2, 40)
      const put = (seq: number) =>
        store.writeCheckpointChunk({ shard: 0, seq, chunk: 0, chunkCount: 9, body: Buffer.from("a") })
      for (const seq of [3, 17, fold.seq, fold.seq + 100]) yield* put(seq)
      const agent = sequencerWith(store, fold)
      yield* agent.materializer.turn
      const whole = (yield* store.checkpoints(0)).map(({ seq }) => seq)
      const left = yield* chunksIn(store, fold.seq + 100)
      assert.deepEqual([...left.keys()], [...whole, fold.seq - 1 + 100])
    })
  )

  it.effect("whose chunks were deleted while it was written does not count, whoever wrote them", () =>
    Effect.gen(function* () {
      yield* withLimits({ checkpointChunkBytesMax: 200 })
      const store = yield* memoryStore
      const slow = slowly(store, "writeCheckpointChunk", 5)
      // From its second turn on nothing holds it up.
      slow.allowance = 1_000
      const deposed = sequencerWith(slow.store, yield* logOf(store, 2, 40))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(deposed.materializer.turn)))
      const { seq } = slow.chunks[0]!
      const next = yield* sequencerOf(store)
      yield* produce(store, next.fold, { first: 1_000, rounds: 1 })
      yield* next.materializer.turn
      assert.isUndefined(yield* store.readCheckpointChunk({ shard: 0, seq, chunk: 0 }), "its successor tidied up")
      const kept = yield* store.checkpoints(0)
      const oldest = yield* oldestTrimmable(store)
      yield* Effect.exit(deposed.materializer.turn)
      assert.isAtLeast(slow.chunks.length, slow.chunks[0]!.chunkCount, "it wrote the rest")
      assert.deepEqual(yield* store.checkpoints(0), kept)
      assert.equal(yield* oldestTrimmable(store), oldest)
      assert.equal(digest((yield* sequencerOf(store)).fold), digest(next.fold))
    })
  )

  it.effect("that went after its chunks were read back, before the last of them was, does not count", () =>
    Effect.gen(function* () {
      yield* withLimits({ checkpointChunkBytesMax: 200 })
      const store = yield* memoryStore
      const fold = yield* logOf(store, 2, 40)
      let reads = 0
      const racing: Store = {
        ...store,
        readCheckpointChunk: (at) =>
          Effect.suspend(() => {
            reads += 1
            if (reads !== 4) return store.readCheckpointChunk(at)
            // Of three that are read already. A database that lost them, or an operator: who tidies up leaves whole ones.
            const gone = store.deleteCheckpoints({ shard: 0, before: at.seq + 1, which: "all" })
            const chunks = encodeCheckpoint(fold)
            const again = Effect.forEach([...chunks.entries()].slice(3), ([chunk, body]) =>
              store.writeCheckpointChunk({ shard: 0, seq: at.seq, chunk, chunkCount: chunks.length, body })
            )
            return gone.pipe(Effect.andThen(again), Effect.andThen(store.readCheckpointChunk(at)))
          })
      }
      yield* sequencerWith(racing, fold, { checkpointEntries: 40 }).materializer.turn
      assert.isAbove(reads, 4)
      assert.deepEqual(yield* store.checkpoints(0), [])
      assert.equal((yield* chunksIn(store, fold.seq)).size, 0, "what was left of it is gone")
    })
  )

  it.effect("is given up where another agent's is newer, and where this agent no longer sequences", () =>
    Effect.gen(function* () {
      yield* withLimits({ checkpointChunkBytesMax: 200 })
      const store = yield* memoryStore
      const slow = slowly(store, "writeCheckpointChunk", 2)
      const agent = sequencerWith(slow.store, yield* logOf(store, 2, 40))
      const fiber = yield* Effect.forkChild(agent.materializer.run, { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.equal(seqsOf(slow.chunks).length, 1)
      yield* produce(store, agent.fold, { first: 1_000, rounds: 1 })
      yield* Effect.exit(agent.materializer.turn)
      assert.equal(seqsOf(slow.chunks).length, 2, "another one, of the fold as it is now")
      yield* produce(store, agent.fold, { first: 2_000, rounds: 1 })
      const newest = { shard: 0, seq: agent.fold.seq, chunks: encodeCheckpoint(agent.fold) }
      yield* writeCheckpoint(store, newest)
      yield* Effect.exit(agent.materializer.turn)
      const left = yield* chunksIn(store, agent.fold.seq)
      assert.deepEqual([...left.keys()], [newest.seq])
      const { length } = slow.chunks
      yield* agent.materializer.turn
      assert.equal(slow.chunks.length, length)
    })
  )
})

describe("a window", () => {
  const PARTITIONS = 40

  const assertAllFound = Effect.fnUntraced(function* (store: Store, fold: Fold) {
    let paged = 0
    for (const topic of fold.topics()) {
      for (const state of topic.partitions) {
        for (let offset = 0; offset < state.highWatermark; offset += 1) {
          if (offset < state.residentOffset) paged += 1
          assert.equal((yield* findRun(store, state, offset))?.baseOffset, offset, `${state.partition} at ${offset}`)
        }
      }
    }
    return paged
  })

  /** Its first window, of the topic's creation, is over; the second has runs in each partition. */
  const withWindow = Effect.fnUntraced(function* (store: Store) {
    const fold = yield* logOf(store, PARTITIONS, 10)
    yield* sequencerWith(store, fold, { checkpointEntries: 1_000_000 }).materializer.turn
    assert.equal(fold.residentRuns, PARTITIONS * 10)
    yield* produce(store, fold, { first: 1_000, rounds: 10 })
    return fold
  })

  it.effect("of more pages than one attempt gets through is gone on with, each page once", () =>
    Effect.gen(function* () {
      yield* withLimits({ indexPagesPerWrite: 3 })
      const store = yield* memoryStore
      const fold = yield* withWindow(store)
      const slow = slowly(store, "writeIndexPages", 2)
      const agent = sequencerWith(slow.store, fold, { checkpointEntries: 1_000_000 })
      const before = fold.materializedSeq
      let failed = 0
      while (fold.materializedSeq === before) {
        assert.isBelow(failed, 100, "it comes to an end")
        if (Exit.isFailure(yield* Effect.exit(agent.materializer.turn))) failed += 1
      }
      // Four pages of three runs at most per partition, three pages per write, two writes per failure.
      assert.equal(failed, Math.floor((PARTITIONS * 4 - 1) / 3 / 2))
      assert.equal(yield* assertAllFound(store, fold), PARTITIONS * 10)
    })
  )

  it.effect("is gone on with by an agent that did not sequence meanwhile, while topics come and go", () =>
    Effect.gen(function* () {
      yield* withLimits({ indexPagesPerWrite: 3 })
      const store = yield* memoryStore
      const fold = yield* withWindow(store)
      let calls = 0
      const hanging: Store = {
        ...store,
        writeIndexPages: (pages) =>
          Effect.suspend(() => {
            calls += 1
            return calls % 3 === 0 ? Effect.never : store.writeIndexPages(pages)
          })
      }
      const agent = sequencerWith(hanging, fold, { checkpointEntries: 1_000_000 })
      const before = fold.materializedSeq
      for (let stint = 0; fold.materializedSeq === before; stint += 1) {
        assert.isBelow(stint, 60, "it comes to an end")
        const fiber = yield* Effect.forkChild(agent.materializer.run, { startImmediately: true })
        yield* TestClock.adjust(20)
        yield* Fiber.interrupt(fiber)
        yield* appendJudged(store, fold, [
          createTopicOf(`a-${stint}`, 100 + stint),
          createTopicOf(`z-${stint}`, 200 + stint)
        ])
        if (stint % 2 === 0) continue
        yield* appendJudged(store, fold, [
          { kind: "delete-topic", topicId: idOf("topic", 99 + stint), mayBeDone: false }
        ])
        yield* appendJudged(store, fold, [createTopicOf(`a-${stint - 1}`, 300 + stint)])
      }
      assert.isAbove(calls, 60)
      assert.isAtLeast(yield* assertAllFound(store, fold), PARTITIONS * 10)
    })
  )

  it.effect("whose topics were deleted deletes the pages of each once", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logOf(store, 2, 1)
      const topics = Array.from({ length: 30 }, (_, n) => createTopicOf(`t-${n}`, 100 + n))
      yield* appendJudged(store, fold, topics)
      yield* appendJudged(
        store,
        fold,
        topics.map(({ topicId }) => ({ kind: "delete-topic", topicId, mayBeDone: false }))
      )
      const healthy = sequencerWith(store, fold, { keepEntries: 0, checkpointEntries: 1_000_000 })
      yield* healthy.materializer.turn
      yield* appendJudged(store, fold, [])
      const slow = slowly(store, "deleteIndexPages", 4)
      const agent = sequencerWith(slow.store, fold, { keepEntries: 0, checkpointEntries: 1_000_000 })
      const before = fold.materializedSeq
      let failed = 0
      while (fold.materializedSeq === before) {
        assert.isBelow(failed, 30, "it comes to an end")
        if (Exit.isFailure(yield* Effect.exit(agent.materializer.turn))) failed += 1
      }
      assert.equal(failed, 7)
    })
  )

  it.effect("begins, where memory is full, also when nothing came after the last one", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logOf(store, 10, 10)
      const patient = { keepEntries: 1_000_000, keepMs: 1_000_000, residentRunsMax: 50 }
      const agent = sequencerWith(store, fold, patient)
      yield* agent.materializer.turn
      assert.equal(fold.residentRuns, 100, "the first window was before them")
      yield* agent.materializer.turn
      assert.equal(fold.residentRuns, 0)
      const { seq } = fold
      yield* agent.materializer.turn
      assert.equal(fold.seq, seq)
      assert.equal(yield* assertAllFound(store, fold), 100)
    })
  )

  it.effect("is tried again soon while memory is full: segments wait for it", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logOf(store, 10, 10)
      let attempts = 0
      const away: Store = {
        ...store,
        writeIndexPages: () => Effect.suspend(() => ((attempts += 1), Effect.fail(timedOut("writeIndexPages"))))
      }
      const agent = sequencerWith(away, fold, { residentRunsMax: 50 })
      const fiber = yield* Effect.forkChild(agent.materializer.run, { startImmediately: true })
      yield* TestClock.adjust(limits.materializeBackoffFullMs * 100)
      yield* Fiber.interrupt(fiber)
      assert.isAtLeast(attempts, 100)
      assert.isAtMost(attempts, 120)
    })
  )
})
