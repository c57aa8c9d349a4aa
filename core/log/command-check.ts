/**
 * Checks of commands before they are judged [pure].
 *
 * A command that breaks its own contract is a programmer's error of the asker: it must end that one call, not the append
 * of everyone's commands that wait with it, nor become an entry that no fold can read. So what the entry's codec and the
 * fold assert is asserted here first, for one command alone.
 */
import { assert, assertCount } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { isUuid } from "#core/model/uuid.ts"
import { type BatchSummary, type Command, type CommitSegment, type CreateTopic, type RunSummary } from "./command.ts"
import { SEQUENCE_MAX } from "./producer-states.ts"

const EPOCH_MAX = 0x7fff
/** An entry holds it plus one. */
const PRODUCER_ID_MAX = Number.MAX_SAFE_INTEGER - 1

/** What an entry takes for itself: version, dictionary counts, checksum, with room to spare. */
const ENTRY_BASE_BYTES = 64
/** At most: index, partition, offsets, sizes, checksum, and its topic's id in the dictionary. */
const RUN_BYTES_MAX = 72
const BATCH_BYTES_MAX = 32
/** A refused batch as well is listed. */
const EXCLUDED_BYTES_MAX = 24
const SEGMENT_BYTES_MAX = 96
const VARINT_BYTES_MAX = 8

/** Throws AssertionFailed unless the command is sound and fits into an entry. */
export const assertCommand = (command: Command): void => {
  assert(ENTRY_BASE_BYTES + commandBytesMax(command) <= limits.entryBytesMax, "a command must fit into one entry")
  switch (command.kind) {
    case "commit-segment":
      return assertCommitSegment(command)
    case "create-topic":
      return assertCreateTopic(command)
    case "delete-topic":
      return assert(isUuid(command.topicId), "topicId must be a UUID")
    case "create-partitions":
      assert(isUuid(command.topicId), "topicId must be a UUID")
      return assertPartitions(command.partitions)
    case "allocate-producer-ids":
      return
    case "materialized":
      return assertCount(command.throughSeq, "throughSeq")
  }
}

/** An upper bound of what the command's effects take in an entry. */
export const commandBytesMax = (command: Command): number => {
  switch (command.kind) {
    case "commit-segment": {
      let bytes = SEGMENT_BYTES_MAX + stringBytesMax(command.bucketSet) + command.blockOffsets.length * VARINT_BYTES_MAX
      for (const bucket of command.ackedBuckets) bytes += VARINT_BYTES_MAX + stringBytesMax(bucket)
      for (const run of command.runs) {
        bytes += RUN_BYTES_MAX + run.batches.length * (BATCH_BYTES_MAX + EXCLUDED_BYTES_MAX)
      }
      return bytes
    }
    case "create-topic": {
      let bytes = SEGMENT_BYTES_MAX + stringBytesMax(command.name)
      for (const [key, value] of command.configs) bytes += stringBytesMax(key) + stringBytesMax(value)
      return bytes
    }
    default:
      return SEGMENT_BYTES_MAX
  }
}

/** Of one that holds these commands, at most. */
export const entryBytesMaxOf = (commandsBytesMax: number): number => ENTRY_BASE_BYTES + commandsBytesMax

const stringBytesMax = (value: string): number => VARINT_BYTES_MAX + value.length * 3

const assertPartitions = (partitions: number): void =>
  assert(
    Number.isSafeInteger(partitions) && partitions >= 1 && partitions <= limits.partitionsPerTopicMax,
    `partitions must be 1 to ${limits.partitionsPerTopicMax}, got ${partitions}`
  )

const assertCreateTopic = (command: CreateTopic): void => {
  assert(isUuid(command.topicId), "topicId must be a UUID")
  assert(command.name.length >= 1 && command.name.length <= limits.topicNameLengthMax, "a topic needs a name")
  assertPartitions(command.partitions)
}

const assertCommitSegment = (command: CommitSegment): void => {
  assert(isUuid(command.segmentId), "segmentId must be a UUID")
  assertCount(command.createdAtMs, "createdAtMs")
  assert(command.createdAtMs <= limits.timestampMsMax, "createdAtMs is no time")
  assertCount(command.segmentBytes, "segmentBytes")
  assert(command.blockOffsets.length <= limits.segmentBlocksMax, `${command.blockOffsets.length} blocks of a segment`)
  let blockBefore = 0
  for (const blockOffset of command.blockOffsets) {
    assertCount(blockOffset, "blockOffsets")
    assert(blockOffset >= blockBefore, "blockOffsets must be ascending")
    blockBefore = blockOffset
  }
  for (const run of command.runs) assertRun(run)
}

const assertRun = (run: RunSummary): void => {
  assert(isUuid(run.topicId), "topicId must be a UUID")
  assert(run.partition >>> 0 === run.partition, `partition must be a whole number >= 0, got ${run.partition}`)
  assert(run.byteOffset >>> 0 === run.byteOffset, `byteOffset must be within a segment, got ${run.byteOffset}`)
  assert(run.byteLength >>> 0 === run.byteLength, `byteLength must be within a segment, got ${run.byteLength}`)
  assert(run.crc >>> 0 === run.crc, "crc must be an unsigned 32-bit number")
  assert(run.batches.length > 0, "a run has batches")
  for (const batch of run.batches) assertBatch(batch)
}

const assertBatch = (batch: BatchSummary): void => {
  const { offsetCount, maxTimestampMs, producerId, producerEpoch, baseSequence } = batch
  assert(offsetCount > 0 && offsetCount <= SEQUENCE_MAX && Number.isInteger(offsetCount), "a batch has records")
  assert(
    Number.isSafeInteger(maxTimestampMs) && Math.abs(maxTimestampMs) <= limits.timestampMsMax,
    `maxTimestampMs must be within 2^51 of 1970, got ${maxTimestampMs}`
  )
  if (producerId === -1) {
    assert(producerEpoch === -1 && baseSequence === -1, "without a producer id there is no epoch and no sequence")
    return
  }
  assertCount(producerId, "producerId")
  assert(producerId <= PRODUCER_ID_MAX, `producerId must be at most ${PRODUCER_ID_MAX}, got ${producerId}`)
  assert(Number.isInteger(producerEpoch) && producerEpoch >= 0 && producerEpoch <= EPOCH_MAX, "an epoch is an int16")
  assert(Number.isInteger(baseSequence) && baseSequence >= 0 && baseSequence <= SEQUENCE_MAX, "a sequence is an int32")
}
