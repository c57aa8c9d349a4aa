/**
 * The judge [pure]: what commands do to a shard, and what is answered.
 *
 * Invariant: the verdicts hold for exactly the fold that was given. They may be answered only after an entry with these
 * effects took the very next slot of the log. The commands of one entry are judged in order and see each other. Nothing is
 * changed: the fold changes when the entry is folded, here as on every other agent. An answer to a segment is derived from
 * its effect alone, so that a retried command, judged long after, gets the first answer.
 */
import { limits } from "#core/model/limits.ts"
import {
  type AnswerByKind,
  type BatchAnswer,
  type BatchSummary,
  type Command,
  type CommitSegment,
  type CommitSegmentAnswer,
  type CreatePartitions,
  type CreatePartitionsAnswer,
  type CreateTopic,
  type CreateTopicAnswer,
  type DeleteTopic,
  type DeleteTopicAnswer,
  type MarkMaterialized,
  type MarkMaterializedAnswer,
  type RunSummary
} from "./command.ts"
import { type CommittedRun, type ExcludedBatch, type LogEffect, type SegmentCommitted } from "./effect.ts"
import { type Fold } from "./fold.ts"
import { LogDraft, type PartitionDraft } from "./log-draft.ts"
import { duplicateIndexOf, rememberBatch, sequenceVerdict } from "./producer-states.ts"
import { type Verdict } from "./verdict.ts"

export type Answer = AnswerByKind[keyof AnswerByKind]

export interface Judged {
  /** For one entry; empty where nothing changes. */
  readonly effects: ReadonlyArray<LogEffect>
  /** In the order of the commands. */
  readonly answers: ReadonlyArray<Answer>
}

export interface JudgeOptions {
  /** The appender's clock. The time of the append is never before the fold's. */
  readonly nowMs: number
  /** By seq: those that `entriesNeeded` asked for. */
  readonly entries?: ReadonlyMap<number, Uint8Array>
}

const NO_ENTRIES: ReadonlyMap<number, Uint8Array> = new Map()

/** Throws where an entry that is needed is not given, or is not what the fold remembers. */
export const judge = (fold: Fold, commands: ReadonlyArray<Command>, options: JudgeOptions): Judged => {
  const { nowMs, entries = NO_ENTRIES } = options
  const bench: Bench = { draft: new LogDraft(fold), effects: [], nowMs: Math.max(nowMs, fold.timeMs), entries }
  return { answers: commands.map((command) => judgeCommand(bench, command)), effects: bench.effects }
}

/**
 * Entries that must be read from the log, by seq, before these commands can be judged: first answers of retried commands
 * whose bytes are not in memory any more. Nearly always none. They are in the log: it is not trimmed so far.
 */
export const entriesNeeded = (fold: Fold, commands: ReadonlyArray<Command>): ReadonlyArray<number> => {
  const needed = new Set<number>()
  for (const command of commands) {
    if (command.kind !== "commit-segment") continue
    const seq = fold.segments.entryNeeded(command.segmentId)
    if (seq !== undefined) needed.add(seq)
  }
  return [...needed]
}

/** What the log says of a segment, as its author is told. */
export const answerOfSegment = (effect: SegmentCommitted): CommitSegmentAnswer => ({
  runs: effect.runs.map((run) => answerOfRun(run, effect.appendTimeMs))
})

interface Bench {
  readonly draft: LogDraft
  readonly effects: Array<LogEffect>
  /** The time of the append. */
  readonly nowMs: number
  readonly entries: ReadonlyMap<number, Uint8Array>
}

const judgeCommand = (bench: Bench, command: Command): Answer => {
  switch (command.kind) {
    case "commit-segment":
      return commitSegment(bench, command)
    case "create-topic":
      return createTopic(bench, command)
    case "delete-topic":
      return deleteTopic(bench, command)
    case "create-partitions":
      return createPartitions(bench, command)
    case "allocate-producer-ids": {
      const first = bench.draft.nextProducerId
      const count = limits.producerIdBlock
      bench.draft.nextProducerId += count
      bench.effects.push({ kind: "producer-ids-allocated", first, count })
      return { first, count }
    }
    case "materialized":
      return markMaterialized(bench, command)
  }
}

/** An id that is known to have been used is refused as existing, unless it is the asker's own command again. */
const createTopic = ({ draft, effects, nowMs }: Bench, command: CreateTopic): CreateTopicAnswer => {
  const { topicId, name, partitions, configs } = command
  const live = draft.topic(topicId)
  if (live !== undefined) return { result: live.name === name ? "created" : "exists", topicId }
  if (draft.isTopicIdUsed(topicId)) return { result: "exists", topicId }
  const named = draft.topicNamed(name)
  if (named !== undefined) return { result: "exists", topicId: named.topicId }
  const colliding = draft.topicColliding(name)
  if (colliding !== undefined) return { result: "collides", topicId: colliding.topicId }
  draft.createTopic(command)
  effects.push({ kind: "topic-created", topicId, name, partitions, configs, createdAtMs: nowMs })
  return { result: "created", topicId }
}

const deleteTopic = ({ draft, effects }: Bench, { topicId, mayBeDone }: DeleteTopic): DeleteTopicAnswer => {
  const topic = draft.topic(topicId)
  if (topic === undefined) return { result: mayBeDone && draft.isTopicDeleted(topicId) ? "deleted" : "unknown" }
  draft.deleteTopic(topic)
  effects.push({ kind: "topic-deleted", topicId })
  return { result: "deleted" }
}

const createPartitions = ({ draft, effects }: Bench, command: CreatePartitions): CreatePartitionsAnswer => {
  const { topicId, partitions, mayBeDone } = command
  const topic = draft.topic(topicId)
  if (topic === undefined) return { result: "unknown", partitions: 0 }
  if (mayBeDone && partitions === topic.partitionCount) return { result: "created", partitions }
  if (partitions <= topic.partitionCount) return { result: "not-more", partitions: topic.partitionCount }
  topic.partitionCount = partitions
  effects.push({ kind: "partitions-created", topicId, partitions })
  return { result: "created", partitions }
}

const markMaterialized = ({ draft, effects }: Bench, { throughSeq }: MarkMaterialized): MarkMaterializedAnswer => {
  if (throughSeq <= draft.materializedSeq || throughSeq > draft.foldedSeq) return { result: "behind" }
  draft.materializedSeq = throughSeq
  effects.push({ kind: "materialized", throughSeq })
  return { result: "materialized" }
}

const commitSegment = ({ draft, effects, nowMs, entries }: Bench, command: CommitSegment): CommitSegmentAnswer => {
  const first = draft.segment(command.segmentId, entries)
  if (first !== undefined) return answerOfSegment(first)
  if (command.createdAtMs > nowMs + limits.segmentAheadMaxMs) return refuseUnsettled(command, "clockAhead")
  const isTooLate = command.createdAtMs + limits.orphanHorizonMs < nowMs || !draft.isCommittable(command.createdAtMs)
  const runs = command.runs.map((run) => (isTooLate ? refuseRun(run, "tooLate") : judgeRun(draft, run, nowMs)))
  const { segmentId, createdAtMs, bucketSet, ackedBuckets, segmentBytes, blockOffsets } = command
  const effect: SegmentCommitted = {
    kind: "segment-committed",
    segmentId,
    createdAtMs,
    bucketSet,
    ackedBuckets,
    segmentBytes,
    blockOffsets,
    appendTimeMs: nowMs,
    runs
  }
  draft.addSegment(effect)
  effects.push(effect)
  return answerOfSegment(effect)
}

/** Said without an entry: it is no verdict for ever. */
const refuseUnsettled = (command: CommitSegment, verdict: "clockAhead"): CommitSegmentAnswer => ({
  runs: command.runs.map((run) => run.batches.map(() => ({ verdict, baseOffset: -1, appendTimeMs: -1 })))
})

const NOTHING_EXCLUDED: ReadonlyArray<ExcludedBatch> = []

const judgeRun = (draft: LogDraft, run: RunSummary, nowMs: number): CommittedRun => {
  const topic = draft.topic(run.topicId)
  if (topic === undefined) return refuseRun(run, "unknownTopic")
  const partition = topic.partition(run.partition)
  if (partition === undefined) return refuseRun(run, "unknownPartition")
  const baseOffset = partition.nextOffset
  const appendTimeMs = run.timestampType === "append" ? nowMs : -1
  let excluded: Array<ExcludedBatch> | undefined
  for (let index = 0; index < run.batches.length; index += 1) {
    const refused = judgeBatch(partition, run.batches[index]!, appendTimeMs)
    if (refused === undefined) continue
    excluded ??= []
    excluded.push({ index, ...refused })
  }
  const isAnyAccepted = partition.nextOffset > baseOffset
  return committed(run, isAnyAccepted ? baseOffset : -1, excluded ?? NOTHING_EXCLUDED)
}

/** Undefined where the batch is accepted: then the draft has it. */
const judgeBatch = (
  partition: PartitionDraft,
  batch: BatchSummary,
  appendTimeMs: number
): Omit<ExcludedBatch, "index"> | undefined => {
  const { producerId, producerEpoch, baseSequence, offsetCount } = batch
  if (producerId >= 0) {
    const known = partition.producer(producerId)
    if (known !== undefined) {
      const at = duplicateIndexOf(known, batch)
      if (at >= 0)
        return { verdict: "duplicate", baseOffset: known.batches[at + 2]!, appendTimeMs: known.batches[at + 3]! }
      const verdict = sequenceVerdict(known, batch)
      if (verdict !== "accepted") return refusal(verdict)
    }
    const baseOffset = partition.nextOffset
    const accepted = { producerEpoch, baseSequence, offsetCount, baseOffset, appendTimeMs }
    rememberBatch(partition.producerToChange(producerId, producerEpoch), accepted, 0)
  }
  partition.nextOffset += offsetCount
  return undefined
}

const refusal = (verdict: Exclude<Verdict, "accepted">): Omit<ExcludedBatch, "index"> => ({
  verdict,
  baseOffset: -1,
  appendTimeMs: -1
})

const refuseRun = (run: RunSummary, verdict: Exclude<Verdict, "accepted">): CommittedRun =>
  committed(
    run,
    -1,
    run.batches.map((_batch, index) => ({ index, ...refusal(verdict) }))
  )

const committed = (run: RunSummary, baseOffset: number, excluded: ReadonlyArray<ExcludedBatch>): CommittedRun => ({
  topicId: run.topicId,
  partition: run.partition,
  byteOffset: run.byteOffset,
  byteLength: run.byteLength,
  crc: run.crc,
  timestampType: run.timestampType,
  batches: run.batches,
  baseOffset,
  excluded
})

/** What the log says of a run's batches, in their order. */
export const answerOfRun = (run: CommittedRun, appendTimeMs: number): ReadonlyArray<BatchAnswer> => {
  const acceptedTimeMs = run.timestampType === "append" ? appendTimeMs : -1
  let nextOffset = run.baseOffset
  let excludedAt = 0
  return run.batches.map((batch, index) => {
    const excluded = run.excluded[excludedAt]
    if (excluded?.index === index) {
      excludedAt += 1
      return { verdict: excluded.verdict, baseOffset: excluded.baseOffset, appendTimeMs: excluded.appendTimeMs }
    }
    const baseOffset = nextOffset
    nextOffset += batch.offsetCount
    return { verdict: "accepted", baseOffset, appendTimeMs: acceptedTimeMs }
  })
}
