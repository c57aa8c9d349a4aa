/**
 * Effects: what log entries hold [pure types]. The fold applies them without judging again.
 *
 * Kinds are persisted by number in entry.ts: never reuse one. An unknown kind stops the fold, loudly.
 */
import { type Uuid } from "#core/model/uuid.ts"
import { type RunSummary, type CommitSegment } from "./command.ts"
import { type Verdict } from "./verdict.ts"

/** Seq 1 of shard 0: the cluster begins. */
export interface Genesis {
  readonly kind: "genesis"
  readonly clusterId: Uuid
}

export interface TopicCreated {
  readonly kind: "topic-created"
  readonly topicId: Uuid
  readonly name: string
  readonly partitions: number
  readonly configs: ReadonlyArray<readonly [key: string, value: string]>
  readonly createdAtMs: number
}

export interface TopicDeleted {
  readonly kind: "topic-deleted"
  readonly topicId: Uuid
}

export interface PartitionsCreated {
  readonly kind: "partitions-created"
  readonly topicId: Uuid
  /** The new total. */
  readonly partitions: number
}

export interface ProducerIdsAllocated {
  readonly kind: "producer-ids-allocated"
  readonly first: number
  readonly count: number
}

/** A batch of a run that was not accepted. */
export interface ExcludedBatch {
  /** Its index in the run. */
  readonly index: number
  readonly verdict: Exclude<Verdict, "accepted">
  /** For duplicates the first answer's base offset, else -1. */
  readonly baseOffset: number
  /** For duplicates the first answer's append time, else -1. */
  readonly appendTimeMs: number
}

export interface CommittedRun extends RunSummary {
  /** Offset of the first accepted batch; the others follow without gaps, in the run's order. -1 where none is. */
  readonly baseOffset: number
  /** Ascending by index. */
  readonly excluded: ReadonlyArray<ExcludedBatch>
}

export interface SegmentCommitted extends Omit<CommitSegment, "kind" | "runs"> {
  readonly kind: "segment-committed"
  /** The appender's clock: the time that LogAppendTime batches carry. */
  readonly appendTimeMs: number
  readonly runs: ReadonlyArray<CommittedRun>
}

/** The agent that sequences a shard. */
export interface Holder {
  readonly name: string
  /** Of its process: an agent that was started anew is another holder. */
  readonly session: Uuid
  readonly region: string
}

/** An epoch begins with its row, which carries the epoch's number: from here on only its holder appends. */
export interface EpochBegun {
  readonly kind: "epoch-begun"
  readonly holder: Holder
}

/** Runs of entries up to this seq lie in index pages: no fold holds them in memory from here on. */
export interface Materialized {
  readonly kind: "materialized"
  readonly throughSeq: number
}

export type LogEffect =
  | Genesis
  | TopicCreated
  | TopicDeleted
  | PartitionsCreated
  | ProducerIdsAllocated
  | SegmentCommitted
  | EpochBegun
  | Materialized
