/**
 * Goal: a slot is taken only by who has just looked at the log, and a row in a slot of long ago harms nobody.
 * Method: a memory store that trims as SQL does, tails that were left behind, calls that fail when they are told to.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { encodeCheckpoint } from "#core/log/checkpoint.ts"
import { type LogEffect } from "#core/log/effect.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { LogTail } from "#core/log/log-tail.ts"
import { SlotWriter } from "#core/log/slot-writer.ts"
import { type LogRow, MetadataError } from "#core/ports/metadata-store.ts"
import { idOf, rowAfter } from "./log-builders.ts"
import { entropyOf, inTime, memoryStore, setClock, type Store } from "./log-harness.ts"

const begun = (name: string): ReadonlyArray<LogEffect> => [
  { kind: "epoch-begun", holder: { name, session: idOf("nonce", 999), region: "far" } }
]

interface History {
  readonly store: Store
  readonly fold: Fold
  readonly rows: ReadonlyArray<LogRow>
}

/** What one sequencer appends: as many rows as are asked for, in epoch 1. */
const historyOf = Effect.gen(function* () {
  const store = yield* memoryStore
  const fold = createFold(0)
  const rows: Array<LogRow> = []
  const append = (effects: ReadonlyArray<LogEffect>, change: Partial<LogRow>) => {
    const row = rowAfter(fold, effects, change)
    rows.push(row)
    applyRow(fold, row)
    return store.append(row)
  }
  yield* append([{ kind: "genesis", clusterId: idOf("cluster", 1) }], { epoch: 0, isKept: true })
  yield* append(begun("sequencer"), { epoch: 1, isKept: true })
  const goOn = Effect.fnUntraced(function* (throughSeq: number) {
    while (fold.seq < throughSeq) yield* append([], { epoch: 1 })
  })
  return { store, fold, rows, goOn }
})

const tailAt = Effect.fnUntraced(function* ({ store, rows }: Pick<History, "store" | "rows">, seq: number) {
  const tail = new LogTail({ store, shard: 0, pollIntervalMs: 100, clock: yield* Clock.Clock })
  tail.foldRows(rows.slice(0, seq))
  return tail
})

const failure = (operation: string): MetadataError =>
  new MetadataError({ reason: "Unavailable", outcome: "indefinite", operation, cause: new Error("cut off") })

describe("a row in a slot whose row was trimmed long ago", () => {
  it.effect("is passed over by its author, and by whoever has folded it", () =>
    Effect.gen(function* () {
      yield* setClock
      const history = yield* historyOf
      yield* history.goOn(50)
      const candidate = yield* tailAt(history, 50)
      const bystander = yield* tailAt(history, 50)
      yield* history.goOn(90)
      const [body] = encodeCheckpoint(history.fold)
      yield* history.store.writeCheckpointChunk({ shard: 0, seq: 90, chunk: 0, chunkCount: 1, body: body! })
      yield* history.goOn(100)
      yield* history.store.trim({ shard: 0, through: 80 })
      const writer = new SlotWriter({ store: history.store, tail: candidate, entropy: entropyOf(1) })
      const { outcome } = yield* writer.append(encodeEntry(begun("candidate")), { epoch: 2, isKept: true })
      assert.strictEqual(outcome, "mine", "the slot was free")
      for (const tail of [candidate, bystander]) {
        for (let read = 0; read < 3; read++) yield* tail.readOnce
        assert.strictEqual(tail.ended, undefined)
        assert.strictEqual(tail.fold.seq, 100)
        assert.strictEqual(tail.fold.epoch, 1)
        assert.strictEqual(tail.fold.holder?.name, "sequencer")
      }
    })
  )
})

describe("a row in doubt", () => {
  it.effect("is not issued again before the log was read", () =>
    Effect.gen(function* () {
      yield* setClock
      const history = yield* historyOf
      const calls: Array<string> = []
      let isCut = true
      const through = <A>(operation: string, call: Effect.Effect<A, MetadataError>) =>
        Effect.suspend(() => {
          calls.push(operation)
          return isCut ? Effect.fail(failure(operation)) : call
        })
      const store: Store = {
        ...history.store,
        append: (row) => through("append", history.store.append(row)),
        read: (options) => through("read", history.store.read(options))
      }
      const tail = yield* tailAt({ store, rows: history.rows }, 2)
      const writer = new SlotWriter({ store, tail, entropy: entropyOf(1) })
      const doubts: Array<unknown> = []
      const appending = yield* Effect.forkChild(
        writer.append(encodeEntry([]), { epoch: 1, onDoubt: (cause) => doubts.push(cause) }),
        { startImmediately: true }
      )
      yield* inTime(Effect.sleep(10_000))
      assert.strictEqual(calls.filter((call) => call === "append").length, 1)
      assert.isAbove(calls.length, 5, "it goes on asking")
      isCut = false
      const { outcome } = yield* inTime(Fiber.join(appending))
      assert.strictEqual(outcome, "mine")
      assert.deepStrictEqual(calls.slice(-2), ["read", "append"])
    })
  )
})
