/**
 * The fold: state' = fold(state, entry) [pure]. The in-memory state that every agent builds, the same on all of them.
 *
 * STATE SHAPES ARE THE CONTRACT; the functions below them are being written.
 */
import { type Uuid } from "#core/model/uuid.ts"
import { type LogEffect } from "./effect.ts"

/** A committed segment, shared by all its runs. */
export interface SegmentRef {
  readonly segmentId: Uuid
  readonly createdAtMs: number
  readonly bucketSet: string
  readonly ackedBuckets: ReadonlyArray<string>
  readonly segmentBytes: number
  /** See CommitSegment.blockOffsets. */
  readonly blockOffsets: ReadonlyArray<number>
  readonly appendTimeMs: number
}

/** Where the records of one partition from `baseOffset` to `nextOffset` (half-open) are. */
export interface RunRef {
  readonly segment: SegmentRef
  readonly byteOffset: number
  readonly byteLength: number
  readonly crc: number
  readonly baseOffset: number
  readonly nextOffset: number
  /** Largest of its accepted batches (the append time for `append`). */
  readonly maxTimestampMs: number
  readonly timestampType: "create" | "append"
  /** Indexes of batches in the run that were not accepted: not served, no offsets. Nearly always empty. */
  readonly excluded: ReadonlyArray<number>
}

export interface PartitionState {
  readonly topic: TopicState
  readonly partition: number
  readonly logStartOffset: number
  /** Offset after the last committed record; equals the log end offset. Never retreats. */
  readonly highWatermark: number
  readonly runCount: number
  /** 0 <= index < runCount, ascending by offset. */
  readonly run: (index: number) => RunRef
  /** Index of the run that holds the offset (logStartOffset <= offset < highWatermark). */
  readonly runIndexOf: (offset: number) => number
}

export interface TopicState {
  readonly topicId: Uuid
  readonly name: string
  readonly createdAtMs: number
  readonly configs: ReadonlyMap<string, string>
  readonly partitions: ReadonlyArray<PartitionState>
}

export interface FoldState {
  /** The last folded seq of the shard; 0 before the first. */
  readonly seq: number
  /** Of the genesis entry; undefined before it is folded. */
  readonly clusterId: Uuid | undefined
  readonly topicByName: (name: string) => TopicState | undefined
  readonly topicById: (topicId: Uuid) => TopicState | undefined
  /** Live topics in order of their names. */
  readonly topics: () => ReadonlyArray<TopicState>
}

/** What one entry changed, for those who wait. */
export interface Folded {
  readonly seq: number
  readonly effects: ReadonlyArray<LogEffect>
  /** Partitions that got records. */
  readonly grown: ReadonlyArray<PartitionState>
}
