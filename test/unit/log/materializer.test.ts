/**
 * Goal: whatever happens to whoever materializes, every record is found where the fold or a page says it is, all agents
 * hold the same in memory, an agent can start from what is left, and nothing that anyone needs is deleted.
 * Method: seeded histories over a store in memory; a second fold of the same effects that never drops anything says where
 * each run is. The store ends an agent's calls at each step in turn, before and after they took effect, and another agent
 * goes on. Frozen agents with old folds write and delete late.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { digest } from "#core/log/digest.ts"
import { encodeCheckpoint } from "#core/log/checkpoint.ts"
import { applyRow, createFold } from "#core/log/fold.ts"
import { loadNewestCheckpoint } from "#core/log/load-checkpoint.ts"
import { limits } from "#core/model/limits.ts"
import { type LogRow, MetadataError } from "#core/ports/metadata-store.ts"
import { temporaryFile } from "../../contract/metadata-store-files.ts"
import { deleteCheckpoints, writeCheckpoint } from "../../contract/metadata-store-rows.ts"
import { batchOf, commitOf, createTopicOf, foldWithTopic, idOf, NOW_MS, runOf, TOPIC } from "./log-builders.ts"
import { memoryStore, type Store } from "./log-harness.ts"
import { historyOf } from "./log-history.ts"
import {
  appendEffects,
  appendJudged,
  catchUp,
  effectsOf,
  materializeAlong,
  oldestTrimmable,
  sequencerOf,
  sequencerWith,
  Shadow,
  step,
  type TestSequencer
} from "./materializer-harness.ts"

describe("a materializer", () => {
  for (const seed of [1, 2, 3, 4]) {
    it.effect(`leaves every record findable, and agents that start now or follow along the same, seed ${seed}`, () =>
      Effect.flatMap(memoryStore, (store) => materializeAlong(store, seed))
    )
  }

  it.live("does so on SQLite, whose rows, numbers and limits are a database's", () =>
    Effect.gen(function* () {
      yield* materializeAlong(yield* sqlite.make({ file: yield* temporaryFile, fsync: false }), 2)
    })
  )

  it.effect("keeps in memory what is young, and not more", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store), { keepEntries: 10, keepMs: 1_000 })
      const { fold } = agent
      for (let n = 1; n <= 30; n += 1) {
        yield* commit(agent, n)
        yield* agent.materializer.turn
      }
      assert.equal(fold.materializedSeq, 0, "no second has passed")
      yield* TestClock.adjust(1_000)
      yield* agent.materializer.turn
      assert.deepEqual([fold.materializedSeq, fold.residentRuns], [1, 30], "the first window ends with the first entry")
      const before = fold.seq
      for (let n = 31; n <= 45; n += 1) yield* commit(agent, n)
      yield* agent.materializer.turn
      assert.equal(fold.residentRuns, 45)
      yield* TestClock.adjust(1_000)
      yield* agent.materializer.turn
      assert.deepEqual([fold.materializedSeq, fold.residentRuns], [before, 15])
    })
  )

  it.effect("does not wait where memory would grow over its bound", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const options = { keepEntries: 1_000_000, keepMs: 1_000_000, residentRunsMax: 20 }
      const agent = sequencerWith(store, yield* logWithTopic(store), options)
      for (let n = 1; n <= 200; n += 1) {
        yield* commit(agent, n)
        yield* agent.materializer.turn
        assert.isAtMost(agent.fold.residentRuns, 40)
      }
    })
  )

  it.effect("does nothing in a shard where nothing happens", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store))
      for (let n = 1; n <= 40; n += 1) yield* commit(agent, n)
      const turns = Effect.forEach(Array.from({ length: 50 }), () =>
        Effect.andThen(TestClock.adjust(60_000), agent.materializer.turn)
      )
      yield* turns
      const { seq } = agent.fold
      yield* turns
      assert.equal(agent.fold.seq, seq)
    })
  )

  it.effect("deletes the pages of deleted topics", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store))
      const { fold } = agent
      const pageOf = (topicId: string) =>
        store.findIndexPage({ topicId, partition: 0, query: { kind: "offset", offset: 0 } })
      yield* appendJudged(store, fold, [createTopicOf("kept", 2, 1)])
      for (let n = 1; n <= 30; n += 1) {
        const runs = [runOf([batchOf()]), runOf([batchOf()], { topicId: idOf("topic", 2) })]
        yield* appendJudged(store, fold, [commitOf(n, runs)], NOW_MS)
        yield* agent.materializer.turn
      }
      assert.isDefined(yield* pageOf(TOPIC))
      yield* appendJudged(store, fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
      for (let n = 31; n <= 60; n += 1) {
        yield* appendJudged(store, fold, [commitOf(n, [runOf([batchOf()], { topicId: idOf("topic", 2) })])])
        yield* agent.materializer.turn
      }
      assert.isUndefined(yield* pageOf(TOPIC))
      assert.isDefined(yield* pageOf(idOf("topic", 2)))
    })
  )
})

/** A log in the store with the cluster's beginning and the topic "orders". */
const logWithTopic = Effect.fnUntraced(function* (store: Store) {
  const fold = createFold(0)
  yield* appendEffects(store, fold, [{ kind: "genesis", clusterId: idOf("cluster", 1) }])
  yield* appendJudged(store, fold, [createTopicOf("orders")], NOW_MS)
  assert.equal(fold.topicById(TOPIC)!.partitions.length, foldWithTopic().topicById(TOPIC)!.partitions.length)
  return fold
})

const commit = (agent: TestSequencer, n: number) =>
  appendJudged(agent.store, agent.fold, [commitOf(n, [runOf([batchOf()])], { createdAtMs: NOW_MS + n })], NOW_MS + n)

/** Of the materializer's: a crash ends it at one of these. */
const OPERATIONS = [
  "writeIndexPages",
  "deleteIndexPages",
  "append",
  "writeCheckpointChunk",
  "checkpoints",
  "readCheckpointChunk",
  "deleteCheckpoints",
  "noteShard",
  "trim"
] as const

/** `half`: of the pages of one write only the first ones took effect; else as `after`. */
type When = "before" | "half" | "after"

/** The store for an agent whose n-th call dies, before or after it took effect. */
const crashing = (store: Store, at: { readonly call: number; readonly when: When }, seen: Array<string>): Store => {
  let calls = 0
  const crash = new MetadataError({ reason: "Unavailable", outcome: "indefinite", operation: "crash", cause: "crash" })
  const wrapped: Record<string, unknown> = { ...store }
  for (const operation of OPERATIONS) {
    const call = store[operation] as (argument: unknown) => Effect.Effect<unknown, MetadataError>
    const halved = (argument: unknown) => (Array.isArray(argument) ? argument.slice(0, argument.length >> 1) : argument)
    wrapped[operation] = (argument: unknown) =>
      Effect.suspend(() => {
        calls += 1
        if (calls < at.call) return call(argument)
        if (calls > at.call) return Effect.fail(crash)
        seen.push(operation)
        if (at.when === "before") return Effect.fail(crash)
        return Effect.andThen(call(at.when === "half" ? halved(argument) : argument), Effect.fail(crash))
      })
  }
  return wrapped as unknown as Store
}

/** Of a history, those with many records up to the end: without them there are no windows to cut differently. */
const denseHistory = (seed: number) => {
  const history = effectsOf(seed, 130)
  const runsAt = (count: number): number => {
    const shadow = createFold(0)
    for (const row of history.slice(0, count)) {
      const prevNonce = shadow.nonce
      applyRow(shadow, { ...row, seq: shadow.seq + 1, prevNonce })
    }
    return shadow.residentRuns
  }
  assert.isAtLeast(runsAt(90) - runsAt(70), 18, "records in what the agent that dies may cut")
  assert.isAtLeast(runsAt(115) - runsAt(90), 18, "records in what the next one goes on with")
  return history
}

describe("a crash", () => {
  for (const [seed, when] of [18, 22, 30].flatMap((each) =>
    (["before", "half", "after"] as const).map((w) => [each, w] as const)
  )) {
    it.effect(
      `${when} each step takes effect loses nothing: another agent, of other options, goes on, seed ${seed}`,
      () =>
        Effect.gen(function* () {
          const history = denseHistory(seed)
          const seen: Array<string> = []
          for (let call = 1; ; call += 1) {
            const before = seen.length
            const isCutOff = yield* crashAndGoOn(history, { call, when }, seen)
            if (!isCutOff && seen.length === before) break
          }
          for (const operation of [
            "writeIndexPages",
            "append",
            "writeCheckpointChunk",
            "readCheckpointChunk",
            "trim"
          ]) {
            assert.include(seen, operation, "it was cut off there")
          }
        })
    )
  }
})

/** One agent dies at its n-th call, another goes on; whether it died. */
const crashAndGoOn = Effect.fnUntraced(function* (
  history: ReadonlyArray<LogRow>,
  at: { readonly call: number; readonly when: When },
  seen: Array<string>
) {
  const store = yield* memoryStore
  const shadow = new Shadow()
  const healthy = yield* sequencerOf(store)
  for (const [index, row] of history.slice(0, 90).entries()) {
    yield* step(healthy, shadow, row)
    if (index < 70) yield* healthy.materializer.turn
  }
  const { fold } = yield* sequencerOf(store)
  // More patient than the next one: a window of its own would end earlier.
  const options = { keepEntries: 14 }
  const doomed = yield* Effect.exit(sequencerWith(crashing(store, at, seen), fold, options).materializer.turn)
  const next = yield* sequencerOf(store, { keepEntries: 3, checkpointEntries: 5, keepRows: 7 })
  for (const row of history.slice(90, 115)) {
    yield* step(next, shadow, row)
    yield* next.materializer.turn
  }
  assert.isAbove(yield* shadow.assertFound(store, next.fold), 20)
  assert.equal(digest((yield* sequencerOf(store)).fold), digest(next.fold), `call ${at.call}`)
  assert.equal(digest(yield* catchUp(store, healthy.fold)), digest(next.fold))
  return Exit.isFailure(doomed)
})

describe("an agent that only believes to sequence", () => {
  for (const seed of [7, 8, 9]) {
    it.effect(`writes what is there, or what will be, and deletes nothing that anyone needs, seed ${seed}`, () =>
      Effect.gen(function* () {
        const store = yield* memoryStore
        const shadow = new Shadow()
        const agent = yield* sequencerOf(store)
        // Less patient and more patient than the agent: windows of their own would end later, or earlier.
        const others = [2, 14].map((keepEntries) => ({ keepEntries, checkpointEntries: 3 }))
        const frozen: Array<TestSequencer> = []
        let deposed = 0
        for (const [index, row] of effectsOf(seed).entries()) {
          const late = yield* sequencerOf(store, others[index % 2]!)
          yield* step(agent, shadow, row)
          // It writes its pages beside the agent's own; its entry comes too late.
          if (index % 3 === 0) {
            const ended = yield* Effect.exit(late.materializer.turn)
            if (Exit.isFailure(ended)) {
              assert.include(String(ended.cause), "is taken")
              deposed += 1
            }
          } else if (index % 17 === 16) frozen.push(late)
          // Now and then only: in between there is something to be done, and the others do it first.
          if (index % 11 === 10) yield* agent.materializer.turn
        }
        assert.isAbove(deposed, 5)
        for (const late of frozen) yield* Effect.exit(late.materializer.turn)
        assert.isAbove(yield* shadow.assertFound(store, agent.fold), 100)
        assert.equal(digest((yield* sequencerOf(store)).fold), digest(agent.fold))
      })
    )
  }
})

describe("trimming", () => {
  it.effect("keeps the entries of all remembered segments, so that a retried commit gets its first answer", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store), { keepRows: 0 })
      for (let n = 1; n <= 100; n += 1) {
        yield* commit(agent, n)
        yield* agent.materializer.turn
      }
      const oldest = agent.fold.segments.oldestSeq()!
      const oldestRow = yield* oldestTrimmable(store)
      assert.equal(oldest, 3, "all are within the orphan horizon")
      assert.equal(oldestRow, oldest)
      yield* appendJudged(
        store,
        agent.fold,
        [commitOf(900, [runOf([batchOf()])], { createdAtMs: NOW_MS + 700_000 })],
        NOW_MS + 700_000
      )
      for (let n = 0; n < 40; n += 1) {
        yield* appendEffects(store, agent.fold, [])
        yield* agent.materializer.turn
      }
      const first = yield* oldestTrimmable(store)
      assert.isAbove(first, 50)
      assert.isAtMost(first, agent.fold.segments.oldestSeq()!)
    })
  )

  it.effect("goes no further than the older checkpoint, and not at all with one that cannot be read", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const damaged = { ...store } as { -readonly [K in keyof Store]: Store[K] }
      damaged.readCheckpointChunk = (at) =>
        Effect.map(store.readCheckpointChunk(at), (bytes) => {
          if (bytes !== undefined) bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1
          return bytes
        })
      const agent = sequencerWith(damaged, yield* logWithTopic(store), { keepRows: 0 })
      for (let n = 1; n <= 60; n += 1) {
        yield* appendJudged(store, agent.fold, [], NOW_MS)
        yield* agent.materializer.turn
      }
      assert.isAbove((yield* store.checkpoints(0)).length, 0)
      assert.equal(yield* oldestTrimmable(store), 2)
      const healthy = sequencerWith(store, agent.fold, { keepRows: 0 })
      for (let n = 1; n <= 60; n += 1) {
        yield* appendEffects(store, agent.fold, [])
        yield* healthy.materializer.turn
      }
      const kept = yield* store.checkpoints(0)
      assert.equal(kept.length, 2)
      const first = yield* oldestTrimmable(store)
      assert.equal(first, kept[1]!.seq + 1)
    })
  )

  it.effect("does not go by checkpoints that are there as they were written, and that no agent would take", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store), { keepRows: 0 })
      const { fold } = agent
      const goOn = Effect.fnUntraced(function* () {
        for (let n = 1; n <= 60; n += 1) {
          yield* appendJudged(store, fold, [], NOW_MS)
          yield* agent.materializer.turn
        }
      })
      // A state that cannot be: whatever made it so, its checkpoint is refused.
      fold.deletedTopicIds.set(TOPIC, 0)
      yield* goOn()
      assert.equal(yield* oldestTrimmable(store), 2)
      const written = yield* store.checkpoints(0)
      assert.isAbove(written.length, 2)
      assert.isBelow(written.length, 6, "one that does not count is not followed by another at once")
      fold.deletedTopicIds.delete(TOPIC)
      yield* goOn()
      assert.isAbove(yield* oldestTrimmable(store), 60)
      assert.equal(digest((yield* sequencerOf(store)).fold), digest(fold))
    })
  )

  it.effect("keeps the newest rows, for agents that lag behind", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const agent = sequencerWith(store, yield* logWithTopic(store), { keepRows: 40 })
      for (let n = 1; n <= 150; n += 1) {
        yield* appendEffects(store, agent.fold, [])
        yield* agent.materializer.turn
        const first = yield* oldestTrimmable(store)
        assert.isAtMost(first, Math.max(2, agent.fold.seq - 40 + 1))
      }
      assert.isAbove(yield* oldestTrimmable(store), 50)
    })
  )

  it.effect("is noted before anything is gone", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logWithTopic(store)
      const holder = { name: "agent-1", session: idOf("nonce", 1), region: "east" }
      yield* appendEffects(store, fold, [{ kind: "epoch-begun", holder }])
      const agent = sequencerWith(store, fold, { keepRows: 3, homeRegion: "west" })
      for (let n = 1; n <= 80; n += 1) {
        yield* appendEffects(store, fold, [])
        yield* agent.materializer.turn
      }
      const first = yield* oldestTrimmable(store)
      const [note] = yield* store.shardNotes
      const expected = { shard: 0, epoch: 1, holder: "agent-1", holderRegion: "east", homeRegion: "west" }
      assert.deepEqual(note, { ...expected, trimmedSeq: first - 1 })
    })
  )
})

describe("the newest checkpoint", () => {
  const storeWithCheckpoints = Effect.gen(function* () {
    const store = yield* memoryStore
    const { rows } = historyOf(3)
    const fold = createFold(0)
    for (const row of rows.slice(0, 100)) applyRow(fold, row)
    yield* writeCheckpoint(store, { shard: 0, seq: 100, chunks: encodeCheckpoint(fold) })
    for (const row of rows.slice(100, 200)) applyRow(fold, row)
    return { store, chunks: encodeCheckpoint(fold) }
  })

  it.effect("is the newest sound one after a seq", () =>
    Effect.gen(function* () {
      const { store, chunks } = yield* storeWithCheckpoints
      const seqAfter = (after: number) =>
        Effect.map(loadNewestCheckpoint({ store, shard: 0, after }), (loaded) => loaded?.seq)
      assert.equal(yield* seqAfter(0), 100)
      assert.isUndefined(yield* seqAfter(100))
      yield* writeCheckpoint(store, { shard: 0, seq: 200, chunks })
      assert.equal(yield* seqAfter(0), 200)
      assert.equal(yield* seqAfter(150), 200)
      assert.isUndefined(yield* loadNewestCheckpoint({ store, shard: 1, after: 0 }))
    })
  )

  it.effect("is the one before where it is damaged, or of a newer program, or under a wrong seq", () =>
    Effect.gen(function* () {
      const { chunks } = yield* storeWithCheckpoints
      const flipped = Buffer.from(chunks[0]!)
      flipped[flipped.length >> 1] = flipped[flipped.length >> 1]! ^ 4
      const newer = Buffer.from(chunks[0]!)
      newer[4] = 9
      for (const [seq, bad] of [
        [200, [flipped]],
        [200, [newer]],
        [201, chunks]
      ] as const) {
        const { store } = yield* storeWithCheckpoints
        yield* writeCheckpoint(store, { shard: 0, seq, chunks: bad })
        assert.equal((yield* loadNewestCheckpoint({ store, shard: 0, after: 0 }))?.seq, 100)
      }
    })
  )

  it.effect("is looked for again where it was deleted while it was read", () =>
    Effect.gen(function* () {
      const { store, chunks } = yield* storeWithCheckpoints
      let isFirst = true
      const racing: Store = {
        ...store,
        readCheckpointChunk: (at) =>
          Effect.suspend(() => {
            if (!isFirst) return store.readCheckpointChunk(at)
            isFirst = false
            return Effect.andThen(
              Effect.andThen(
                writeCheckpoint(store, { shard: 0, seq: 200, chunks }),
                deleteCheckpoints(store, { shard: 0, before: 200 })
              ),
              store.readCheckpointChunk(at)
            )
          })
      }
      assert.equal((yield* loadNewestCheckpoint({ store: racing, shard: 0, after: 0 }))?.seq, 200)
    })
  )
})

describe("the loop", () => {
  it.effect("goes on after failures, more slowly, and ends when it is interrupted", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const fold = yield* logWithTopic(store)
      let isAway = true
      let attempts = 0
      const away: Store = {
        ...store,
        writeIndexPages: (pages) =>
          Effect.suspend(() => {
            attempts += 1
            const error = { reason: "Unavailable", outcome: "definite", operation: "x", cause: "away" } as const
            return isAway ? Effect.fail(new MetadataError(error)) : store.writeIndexPages(pages)
          })
      }
      const agent = sequencerWith(away, fold, { keepEntries: 2 })
      for (let n = 1; n <= 30; n += 1) yield* commit(agent, n)
      const fiber = yield* Effect.forkChild(agent.materializer.run, { startImmediately: true })
      for (let n = 31; n <= 40; n += 1) yield* commit(agent, n)
      yield* TestClock.adjust(limits.materializeBackoffMaxMs * 10)
      assert.isAtLeast(attempts, 5)
      assert.isAtMost(attempts, 40)
      isAway = false
      yield* TestClock.adjust(limits.materializeBackoffMaxMs)
      assert.isAbove(fold.materializedSeq, 20)
      yield* Fiber.interrupt(fiber)
    })
  )
})
