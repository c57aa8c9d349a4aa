/** Small commands, rows and seeded randomness for the tests of the log. */
import { type BatchSummary, type CommitSegment, type CreateTopic, type RunSummary } from "#core/log/command.ts"
import { type LogEffect } from "#core/log/effect.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold, type Folded } from "#core/log/fold.ts"
import { type Answer, judge } from "#core/log/judge.ts"
import { type Command } from "#core/log/command.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { type Uuid } from "#core/model/uuid.ts"

export const NOW_MS = 1_790_000_000_000

/** The n-th id of a kind, readable in failures. */
export const idOf = (kind: "segment" | "topic" | "nonce" | "cluster", n: number): Uuid =>
  `${{ segment: "5e", topic: "70", nonce: "40", cluster: "c1" }[kind]}${n.toString(16).padStart(30, "0")}`

export const TOPIC = idOf("topic", 1)

export const batchOf = (options: Partial<BatchSummary> = {}): BatchSummary => ({
  offsetCount: 1,
  maxTimestampMs: NOW_MS - 5,
  producerId: -1,
  producerEpoch: -1,
  baseSequence: -1,
  ...options
})

export const idempotent = (
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
  offsetCount = 1
): BatchSummary => batchOf({ producerId, producerEpoch, baseSequence, offsetCount })

export const runOf = (batches: ReadonlyArray<BatchSummary>, options: Partial<RunSummary> = {}): RunSummary => ({
  topicId: TOPIC,
  partition: 0,
  byteOffset: 0,
  byteLength: 1_000,
  crc: 0xdeadbeef,
  timestampType: "create",
  batches,
  ...options
})

export const commitOf = (
  segment: number,
  runs: ReadonlyArray<RunSummary>,
  options: Partial<CommitSegment> = {}
): CommitSegment => ({
  kind: "commit-segment",
  segmentId: idOf("segment", segment),
  createdAtMs: NOW_MS - 100,
  bucketSet: "quorum",
  ackedBuckets: ["east", "west"],
  segmentBytes: 1_100,
  blockOffsets: [0, 1_000],
  runs,
  ...options
})

export const createTopicOf = (name: string, topic = 1, partitions = 2): CreateTopic => ({
  kind: "create-topic",
  topicId: idOf("topic", topic),
  name,
  partitions,
  configs: [["cleanup.policy", "delete"]]
})

/** The row that would follow the fold. */
export const rowAfter = (fold: Fold, effects: ReadonlyArray<LogEffect>, change: Partial<LogRow> = {}): LogRow => ({
  shard: fold.shard,
  seq: fold.seq + 1,
  epoch: fold.epoch,
  nonce: idOf("nonce", fold.seq + 1),
  prevNonce: fold.nonce,
  isKept: false,
  entry: encodeEntry(effects),
  ...change
})

export const foldEffects = (fold: Fold, effects: ReadonlyArray<LogEffect>): Folded =>
  applyRow(fold, rowAfter(fold, effects))

/** Judges the commands into one entry and folds it. */
export const settle = (fold: Fold, commands: ReadonlyArray<Command>, nowMs = NOW_MS): ReadonlyArray<Answer> => {
  const { effects, answers } = judge(fold, commands, { nowMs })
  foldEffects(fold, effects)
  return answers
}

/** A fold with one topic "orders" of two partitions. */
export const foldWithTopic = (): Fold => {
  const fold = createFold(0)
  foldEffects(fold, [{ kind: "genesis", clusterId: idOf("cluster", 1) }])
  settle(fold, [createTopicOf("orders")])
  return fold
}

/** Numbers in [0, 1), the same for the same seed. */
export const randomOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
