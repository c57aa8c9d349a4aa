/**
 * Agents that sequence one shard in turns over one store: each has its own fold of the store's log. A second fold of the
 * same entries that never drops anything says where each run is.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { type Command } from "#core/log/command.ts"
import { digest } from "#core/log/digest.ts"
import { type LogEffect } from "#core/log/effect.ts"
import { applyRow, createFold, type Fold, type PartitionState, type RunRef } from "#core/log/fold.ts"
import { decodeIndexPage } from "#core/log/index-page.ts"
import { judge } from "#core/log/judge.ts"
import { restoreFold } from "#core/log/checkpoint.ts"
import { loadNewestCheckpoint } from "#core/log/load-checkpoint.ts"
import { makeMaterializer, type Materializer, type MaterializerOptions } from "#core/log/materializer.ts"
import { limits } from "#core/model/limits.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { idOf, rowAfter } from "./log-builders.ts"
import { type Store } from "./log-harness.ts"
import { historyOf } from "./log-history.ts"

export interface TestSequencer {
  readonly fold: Fold
  readonly store: Store
  readonly materializer: Materializer
}

/** Small enough that a short log has many windows, checkpoints and trims. */
export const SMALL: MaterializerOptions = {
  homeRegion: "east",
  keepEntries: 8,
  keepMs: 0,
  intervalMs: 10,
  checkpointEntries: 12,
  keepRows: 5,
  pageRuns: 3
}

/** An agent that has read the whole log, from the newest checkpoint where there is one. */
export const sequencerOf = Effect.fnUntraced(function* (store: Store, options: Partial<MaterializerOptions> = {}) {
  const fold = createFold(0)
  yield* catchUp(store, fold)
  return sequencerWith(store, fold, options)
})

export const sequencerWith = (store: Store, fold: Fold, options: Partial<MaterializerOptions> = {}): TestSequencer => {
  const materializer = makeMaterializer({
    store,
    fold: () => fold,
    shard: 0,
    submit: (command) =>
      Effect.map(
        appendJudged(store, fold, [command]),
        ([answer]) => answer as { readonly result: "materialized" }
      ).pipe(Effect.orDie),
    options: { ...SMALL, ...options }
  })
  return { fold, store, materializer }
}

/**
 * Follows the log to its end; over a checkpoint where there is a gap because what comes next was trimmed. (Rows that begin
 * the log or an epoch are never trimmed, so a gap may come behind some of them.)
 */
export const catchUp = Effect.fnUntraced(function* (store: Store, fold: Fold) {
  for (;;) {
    const rows = yield* store.read({ shard: 0, after: fold.seq, limit: limits.logRowsPerRead })
    if (rows.length === 0) return fold
    const { seq } = fold
    for (const row of rows) if (row.seq === fold.seq + 1) applyRow(fold, row)
    if (fold.seq > seq) continue
    const checkpoint = yield* loadNewestCheckpoint({ store, shard: 0, after: fold.seq })
    if (checkpoint === undefined) return yield* Effect.die(new Error(`seq ${fold.seq + 1} is gone, and no checkpoint`))
    restoreFold(fold, checkpoint.chunks)
  }
})

/** The oldest row that may be trimmed. */
export const oldestTrimmable = (store: Store) =>
  Effect.map(
    store.read({ shard: 0, after: 0, limit: limits.logRowsPerRead }),
    (rows) => rows.find((row) => !row.isKept)!.seq
  )

let nonces = 5_000_000

/** Judges into one entry, appends and folds. */
export const appendJudged = Effect.fnUntraced(function* (
  store: Store,
  fold: Fold,
  commands: ReadonlyArray<Command>,
  nowMs: number = fold.timeMs
) {
  const { effects, answers } = judge(fold, commands, { nowMs })
  yield* appendEffects(store, fold, effects)
  return answers
})

export const appendEffects = Effect.fnUntraced(function* (store: Store, fold: Fold, effects: ReadonlyArray<LogEffect>) {
  const begins = effects[0]?.kind === "epoch-begun" ? 1 : 0
  const isKept = fold.seq === 0 || begins === 1
  const row = rowAfter(fold, effects, { nonce: idOf("nonce", ++nonces), epoch: fold.epoch + begins, isKept })
  const outcome = yield* store.append(row)
  if (outcome !== "appended") return yield* Effect.die(new Error(`seq ${row.seq} is taken`))
  applyRow(fold, row)
})

/** The run that holds the offset, wherever it is: what a reader would use. */
export const findRun = Effect.fnUntraced(function* (store: Store, state: PartitionState, offset: number) {
  if (offset >= state.residentOffset) return state.run(state.runIndexOf(offset))
  const { topicId } = state.topic
  const query = { kind: "offset", offset } as const
  const row = yield* store.findIndexPage({ topicId, partition: state.partition, query })
  if (row === undefined) return undefined
  const page = decodeIndexPage(row)
  return offset < page.nextOffset ? page.runs.run(page.runs.runIndexOf(offset)) : undefined
})

/** Every run of a fold that drops nothing, by topic and partition. */
export const allRuns = (fold: Fold): ReadonlyMap<string, ReadonlyArray<RunRef>> => {
  const runs = new Map<string, ReadonlyArray<RunRef>>()
  for (const topic of fold.topics()) {
    for (const partition of topic.partitions) {
      const key = `${topic.topicId}/${partition.partition}`
      runs.set(
        key,
        Array.from({ length: partition.runCount }, (_, index) => partition.run(index))
      )
    }
  }
  return runs
}

/** A log's effects without materialization, to be appended by whoever sequences. */
export const effectsOf = (seed: number, entries = 200) => {
  const { rows } = historyOf(seed, { entries, stepMs: 20_000, isMaterialized: false })
  return rows.filter((row, index) => index === 0 || row.epoch >= rows[index - 1]!.epoch)
}

/** The same log without dropping: its entries, less those that say that something was materialized. */
export class Shadow {
  private readonly fold = createFold(0)
  private nonce = 9_000_000

  follow(entry: Uint8Array, epoch: number): void {
    const nonce = idOf("nonce", ++this.nonce)
    applyRow(this.fold, {
      shard: 0,
      isKept: false,
      seq: this.fold.seq + 1,
      epoch,
      nonce,
      prevNonce: this.fold.nonce,
      entry
    })
  }

  /** Every offset of every partition is found in the run that holds it. */
  readonly assertFound = Effect.fnUntraced(function* (this: Shadow, store: Store, fold: Fold) {
    let paged = 0
    for (const [key, runs] of allRuns(this.fold)) {
      const [topicId, partition] = key.split("/") as [string, string]
      const state = fold.topicById(topicId)!.partitions[Number(partition)]!
      assert.equal(state.highWatermark, runs.at(-1)?.nextOffset ?? 0, key)
      for (const run of runs) {
        const { segment, ...expected } = run
        for (const offset of new Set([run.baseOffset, run.nextOffset - 1])) {
          if (offset < state.residentOffset) paged += 1
          const found = yield* findRun(store, state, offset)
          const { segment: foundSegment, ...rest } = found!
          assert.deepEqual(rest, expected, `${key} at ${offset}`)
          // The seq is of the log that has entries of its own for what was materialized.
          assert.deepEqual({ ...foundSegment, seq: 0 }, { ...segment, seq: 0 })
        }
      }
    }
    return paged
  })
}

/** Appends the next entry of a history to the agent's log, and to the shadow. */
export const step = Effect.fnUntraced(function* (agent: TestSequencer, shadow: Shadow, row: LogRow) {
  const { fold, store } = agent
  const nonce = idOf("nonce", 20_000_000 + row.seq)
  const own = { ...row, seq: fold.seq + 1, nonce, prevNonce: fold.nonce }
  assert.equal(yield* store.append(own), "appended")
  applyRow(fold, own)
  shadow.follow(row.entry, row.epoch)
})

/** A history that is materialized as it grows; agents that follow, and that start in the end, have the same. */
export const materializeAlong = Effect.fnUntraced(function* (store: Store, seed: number) {
  const agent = yield* sequencerOf(store)
  const follower = createFold(0)
  const shadow = new Shadow()
  let paged = 0
  for (const [index, row] of effectsOf(seed).entries()) {
    yield* step(agent, shadow, row)
    yield* agent.materializer.turn
    if (index % 10 === 0) yield* catchUp(store, follower)
    if (index % 50 === 49) paged += yield* shadow.assertFound(store, agent.fold)
  }
  assert.isAbove(paged, 100)
  assert.equal(digest(yield* catchUp(store, follower)), digest(agent.fold), "a follower")
  const fresh = (yield* sequencerOf(store)).fold
  assert.equal(digest(fresh), digest(agent.fold), "an agent that starts from a checkpoint")
  assert.isAbove(yield* oldestTrimmable(store), 50, "the log was trimmed")
  const kept = (yield* store.read({ shard: 0, after: 0, limit: 500 })).filter((row) => row.isKept)
  assert.equal(kept.length, 1 + agent.fold.epoch, "but for the rows that begin the log and epochs")
  assert.equal((yield* store.checkpoints(0)).length, 2)
})
