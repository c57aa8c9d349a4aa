/** Random histories of a log, the same for the same seed, that use everything an entry can hold. */
import { type Command } from "#core/log/command.ts"
import { type LogEffect } from "#core/log/effect.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { judge } from "#core/log/judge.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { nextSequenceOf, SEQUENCE_MAX } from "#core/log/producer-states.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import {
  batchOf,
  commitOf,
  createTopicOf,
  idempotent,
  idOf,
  NOW_MS,
  randomOf,
  rowAfter,
  runOf
} from "./log-builders.ts"

export interface History {
  /** From seq 1. */
  readonly rows: ReadonlyArray<LogRow>
  /** What they come to. */
  readonly fold: Fold
}

/**
 * `stepMs` is the time between two entries: the longer, the more is forgotten. With `isSteady` there is also a producer that
 * goes on and on, so that its older batches are forgotten.
 */
export const historyOf = (
  seed: number,
  options: {
    readonly entries?: number
    readonly stepMs?: number
    readonly isMaterialized?: boolean
    readonly isSteady?: boolean
  } = {}
): History => {
  const { entries = 300, stepMs = 5_000, isMaterialized = true, isSteady = false } = options
  const random = randomOf(seed)
  const whole = (max: number): number => Math.floor(random() * max)
  const fold = createFold(0)
  const rows: Array<LogRow> = []
  const add = (effects: ReadonlyArray<LogEffect>, change: Partial<LogRow> = {}): void => {
    const isKept = fold.seq === 0 || effects[0]?.kind === "epoch-begun"
    const row = rowAfter(fold, effects, { isKept, ...change })
    rows.push(row)
    applyRow(fold, row)
  }
  add([{ kind: "genesis", clusterId: idOf("cluster", 1) }])
  for (let n = 1; n <= entries; n += 1) {
    const nowMs = NOW_MS + n * stepMs + whole(1_000)
    const draw = random()
    if (draw < 0.01) {
      const holder = { name: `agent-${whole(3)}`, session: idOf("nonce", 1_000_000 + n), region: `region-${whole(3)}` }
      add([{ kind: "epoch-begun", holder }], { epoch: fold.epoch + 1 })
    } else if (draw < 0.02 && fold.epoch > 0) add([], { epoch: fold.epoch - 1 })
    else if (draw < 0.05 && isMaterialized) {
      add([{ kind: "materialized", throughSeq: Math.max(1, fold.materializedAtSeq) }])
    } else add(judge(fold, commandsOf({ fold, isSteady }, n, nowMs, random), { nowMs }).effects)
  }
  return { rows, fold }
}

const STEADY_PRODUCER = 100

/** The next batch of a producer that goes on and on, over the largest sequence soon after it has begun. */
const steadyBatch = (fold: Fold, at: { readonly topicId: Uuid; readonly partition: number }, count: number) => {
  const batches = fold.topicById(at.topicId)?.partitions[at.partition]?.producers?.get(STEADY_PRODUCER)?.batches ?? []
  const next = batches.length === 0 ? SEQUENCE_MAX - 3 : nextSequenceOf(batches[batches.length - 3]!)
  return idempotent(STEADY_PRODUCER, 0, next, count)
}

const commandsOf = (
  { fold, isSteady }: { readonly fold: Fold; readonly isSteady: boolean },
  n: number,
  nowMs: number,
  random: () => number
): ReadonlyArray<Command> => {
  const whole = (max: number): number => Math.floor(random() * max)
  const topicId = idOf("topic", 1 + whole(6))
  const runs = Array.from({ length: 1 + whole(4) }, (_, index) => {
    const some = Array.from({ length: 1 + whole(3) }, () =>
      random() < 0.4
        ? batchOf({ offsetCount: 1 + whole(50), maxTimestampMs: nowMs - whole(100_000) })
        : idempotent(whole(20), whole(2), whole(4), 1 + whole(2))
    )
    const place = { byteOffset: index * 1_000, byteLength: 1 + whole(1_000), crc: whole(2 ** 32) }
    const timestampType = random() < 0.2 ? ("append" as const) : ("create" as const)
    const at = { topicId: idOf("topic", 1 + whole(6)), partition: whole(4) }
    const batches = isSteady && random() < 0.3 ? [...some, steadyBatch(fold, at, 1 + whole(3))] : some
    return runOf(batches, { ...at, timestampType, ...place })
  })
  const commit = commitOf(random() < 0.1 ? whole(n) : n, runs, {
    createdAtMs: random() < 0.03 ? nowMs - limits.orphanHorizonMs - whole(5_000) : nowMs - whole(3_000),
    bucketSet: random() < 0.9 ? "quorum" : "express",
    ackedBuckets: random() < 0.8 ? ["east", "west"] : ["west", "größer"],
    segmentBytes: 1 + whole(9_000_000),
    blockOffsets: [0, 2_000 + whole(1_000), 4_000]
  })
  return [
    commit,
    ...(random() < 0.1 ? [createTopicOf(`topic-${whole(5)}`, 1 + whole(6), 1 + whole(4))] : []),
    ...(random() < 0.01 ? [{ kind: "delete-topic", topicId, mayBeDone: false } as const] : []),
    ...(random() < 0.03
      ? [{ kind: "create-partitions", topicId, partitions: 1 + whole(5), mayBeDone: false } as const]
      : []),
    ...(random() < 0.05 ? [{ kind: "allocate-producer-ids" } as const] : [])
  ]
}

/** The fold after so many of the rows. */
export const foldOf = (rows: ReadonlyArray<LogRow>, count: number = rows.length): Fold => {
  const fold = createFold(0)
  for (const row of rows.slice(0, count)) applyRow(fold, row)
  return fold
}
