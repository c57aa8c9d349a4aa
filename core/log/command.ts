/**
 * Commands: what an agent asks of a shard's log, and the answers [pure types].
 *
 * A command is judged against the fold by whoever appends (today the agent itself, later the shard's sequencer, to whom
 * commands travel over peer connections: so they are plain data). Judging yields effects (effect.ts), which go into an
 * entry; the answer is given only after that entry is settled. Every command is settled by an entry, also one whose
 * verdict is "no": a verdict computed on a fold that is behind would otherwise be a lie.
 */
import { type Uuid } from "#core/model/uuid.ts"
import { type SegmentAddress } from "#core/ports/segment-store.ts"
import { type Verdict } from "./verdict.ts"

/** One record batch of a run, by what its header says. */
export interface BatchSummary {
  /** lastOffsetDelta + 1: offsets that it takes. */
  readonly offsetCount: number
  readonly maxTimestampMs: number
  /** -1 without idempotence; then epoch and sequence are -1 too. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

/** All batches of one topic-partition in one segment: one byte range. */
export interface RunSummary {
  readonly topicId: Uuid
  readonly partition: number
  /** From the segment's first byte. */
  readonly byteOffset: number
  readonly byteLength: number
  /** CRC-32C of the run's bytes as stored. */
  readonly crc: number
  /** `append`: the batches carry the commit's time (LogAppendTime), stamped when they are read. */
  readonly timestampType: "create" | "append"
  readonly batches: ReadonlyArray<BatchSummary>
}

export interface CommitSegment extends SegmentAddress {
  readonly kind: "commit-segment"
  readonly ackedBuckets: ReadonlyArray<string>
  readonly segmentBytes: number
  /**
   * Where the segment's cache blocks begin (limits.blockBytes): ascending byte offsets of runs, the first run's first,
   * then the end of the data. A block holds whole runs.
   */
  readonly blockOffsets: ReadonlyArray<number>
  readonly runs: ReadonlyArray<RunSummary>
}

export interface BatchAnswer {
  readonly verdict: Verdict
  /** Of the batch, or of its first acceptance where `verdict` is "duplicate"; else -1, also of an older duplicate. */
  readonly baseOffset: number
  /** LogAppendTime topics: the commit's time; else -1. */
  readonly appendTimeMs: number
}

/** Answers in the order of the command's runs and their batches. */
export interface CommitSegmentAnswer {
  readonly runs: ReadonlyArray<ReadonlyArray<BatchAnswer>>
}

export interface CreateTopic {
  readonly kind: "create-topic"
  /** Made by the asker, so that a retried command is recognised. */
  readonly topicId: Uuid
  readonly name: string
  readonly partitions: number
  readonly configs: ReadonlyArray<readonly [key: string, value: string]>
}
export interface CreateTopicAnswer {
  /** `collides`: differs only in `.` and `_` from a topic that exists (Kafka's rule). */
  readonly result: "created" | "exists" | "collides"
  /** The existing topic's id where `exists`. */
  readonly topicId: Uuid
}

export interface DeleteTopic {
  readonly kind: "delete-topic"
  readonly topicId: Uuid
  /** An earlier attempt may have taken effect: then a topic that is deleted already is answered as `deleted`. */
  readonly mayBeDone: boolean
}
export interface DeleteTopicAnswer {
  readonly result: "deleted" | "unknown"
}

export interface CreatePartitions {
  readonly kind: "create-partitions"
  readonly topicId: Uuid
  /** The new total. */
  readonly partitions: number
  /** An earlier attempt may have taken effect: then a topic of just so many partitions is answered as `created`. */
  readonly mayBeDone: boolean
}
export interface CreatePartitionsAnswer {
  readonly result: "created" | "unknown" | "not-more"
  readonly partitions: number
}

/** A block of limits.producerIdBlock producer ids for the asker alone. */
export interface AllocateProducerIds {
  readonly kind: "allocate-producer-ids"
}
export interface AllocateProducerIdsAnswer {
  readonly first: number
  readonly count: number
}

/** The sequencer's own: the runs of entries up to this seq lie in index pages, so that folds may let go of them. */
export interface MarkMaterialized {
  readonly kind: "materialized"
  readonly throughSeq: number
}
export interface MarkMaterializedAnswer {
  /** `behind`: that was known already, or the seq is not settled yet. */
  readonly result: "materialized" | "behind"
}

export type Command =
  | CommitSegment
  | CreateTopic
  | DeleteTopic
  | CreatePartitions
  | AllocateProducerIds
  | MarkMaterialized

export interface AnswerByKind {
  readonly "commit-segment": CommitSegmentAnswer
  readonly "create-topic": CreateTopicAnswer
  readonly "delete-topic": DeleteTopicAnswer
  readonly "create-partitions": CreatePartitionsAnswer
  readonly "allocate-producer-ids": AllocateProducerIdsAnswer
  readonly materialized: MarkMaterializedAnswer
}
export type AnswerOf<C extends Command> = AnswerByKind[C["kind"]]
