/**
 * The 61 header bytes of a Kafka RecordBatch v2 [pure], read in place: no object per batch.
 *
 * Accessors take the buffer and the offset of the batch's first byte, and trust that BATCH_HEADER_BYTES are there:
 * whoever takes bytes from elsewhere walks them with `walkBatches` first. Import this file as a namespace
 * (`import * as batchHeader`), its names are those of the fields.
 *
 *   off len field                          off len field
 *     0   8 baseOffset                      27   8 baseTimestamp
 *     8   4 batchLength (whole - 12)        35   8 maxTimestamp
 *    12   4 partitionLeaderEpoch            43   8 producerId
 *    16   1 magic = 2                       51   2 producerEpoch
 *    17   4 crc, CRC-32C of 21..end         53   4 baseSequence
 *    21   2 attributes                      57   4 recordCount
 *    23   4 lastOffsetDelta                 61     records, as one block if compressed
 *
 * attributes: bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 baseTimestamp is a delete horizon.
 * baseOffset, batchLength, partitionLeaderEpoch and magic are outside the CRC: a server may change them.
 */
import { crc32c } from "./crc32c.ts"
import { RecordError } from "./record-error.ts"

export const BATCH_HEADER_BYTES = 61
/** baseOffset and batchLength: what batchLength does not count. */
export const BATCH_LENGTH_OVERHEAD_BYTES = 12
export const MAGIC_V2 = 2

export const AT_BASE_OFFSET = 0
export const AT_BATCH_LENGTH = 8
export const AT_LEADER_EPOCH = 12
export const AT_MAGIC = 16
export const AT_CRC = 17
/** Also the first byte that the CRC covers. */
export const AT_ATTRIBUTES = 21
export const AT_LAST_OFFSET_DELTA = 23
export const AT_BASE_TIMESTAMP = 27
export const AT_MAX_TIMESTAMP = 35
export const AT_PRODUCER_ID = 43
export const AT_PRODUCER_EPOCH = 51
export const AT_BASE_SEQUENCE = 53
export const AT_RECORD_COUNT = 57

export const CODEC_MASK = 0x07
export const LOG_APPEND_TIME_BIT = 0x08
export const TRANSACTIONAL_BIT = 0x10
export const CONTROL_BIT = 0x20
export const DELETE_HORIZON_BIT = 0x40

export type TimestampType = "create" | "append"

const TWO_TO_32 = 2 ** 32

/** Whole length of the batch, from its first byte to the next batch's. */
export const batchBytes = (bytes: Buffer, at: number): number =>
  bytes.readInt32BE(at + AT_BATCH_LENGTH) + BATCH_LENGTH_OVERHEAD_BYTES

export const baseOffset = (bytes: Buffer, at: number): number => readInt64(bytes, at + AT_BASE_OFFSET)
export const leaderEpoch = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + AT_LEADER_EPOCH)
export const magic = (bytes: Buffer, at: number): number => bytes.readInt8(at + AT_MAGIC)
export const crc = (bytes: Buffer, at: number): number => bytes.readUInt32BE(at + AT_CRC)
export const attributes = (bytes: Buffer, at: number): number => bytes.readInt16BE(at + AT_ATTRIBUTES)
export const codec = (bytes: Buffer, at: number): number => attributes(bytes, at) & CODEC_MASK
export const timestampType = (bytes: Buffer, at: number): TimestampType =>
  (attributes(bytes, at) & LOG_APPEND_TIME_BIT) === 0 ? "create" : "append"
export const isTransactional = (bytes: Buffer, at: number): boolean => (attributes(bytes, at) & TRANSACTIONAL_BIT) !== 0
export const isControl = (bytes: Buffer, at: number): boolean => (attributes(bytes, at) & CONTROL_BIT) !== 0
export const hasDeleteHorizon = (bytes: Buffer, at: number): boolean =>
  (attributes(bytes, at) & DELETE_HORIZON_BIT) !== 0
export const lastOffsetDelta = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + AT_LAST_OFFSET_DELTA)
/** Offset after the batch's last one. */
export const nextOffset = (bytes: Buffer, at: number): number => baseOffset(bytes, at) + lastOffsetDelta(bytes, at) + 1
export const baseTimestamp = (bytes: Buffer, at: number): number => readInt64(bytes, at + AT_BASE_TIMESTAMP)
export const maxTimestamp = (bytes: Buffer, at: number): number => readInt64(bytes, at + AT_MAX_TIMESTAMP)
export const producerId = (bytes: Buffer, at: number): number => readInt64(bytes, at + AT_PRODUCER_ID)
export const producerEpoch = (bytes: Buffer, at: number): number => bytes.readInt16BE(at + AT_PRODUCER_EPOCH)
export const baseSequence = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + AT_BASE_SEQUENCE)
/** Records in the batch; fewer than its offsets after a compaction. */
export const recordCount = (bytes: Buffer, at: number): number => bytes.readInt32BE(at + AT_RECORD_COUNT)

/** The CRC that the batch's bytes have, which need not be the one that its header states. */
export const computeCrc = (bytes: Buffer, at: number): number =>
  crc32c(bytes.subarray(at + AT_ATTRIBUTES, at + batchBytes(bytes, at)))

export const writeCrc = (bytes: Buffer, at: number): void => {
  bytes.writeUInt32BE(computeCrc(bytes, at), at + AT_CRC)
}

/** Beyond 2^53 the number is the nearest double: compare it with Number.isSafeInteger before it is relied on. */
export const readInt64 = (bytes: Buffer, at: number): number =>
  bytes.readInt32BE(at) * TWO_TO_32 + bytes.readUInt32BE(at + 4)

export const writeInt64 = (bytes: Buffer, value: number, at: number): void => {
  const high = Math.floor(value / TWO_TO_32)
  bytes.writeInt32BE(high, at)
  bytes.writeUInt32BE(value - high * TWO_TO_32, at + 4)
}

/**
 * Visits concatenated batches in order: `visit(at, bytes)` with the batch's first byte and whole length. Ends early
 * where it returns false. Every visited batch lies inside the buffer, has a whole header and magic 2; the CRC is not
 * looked at. Throws RecordError at the first batch of which that is not true.
 */
export const walkBatches = (bytes: Buffer, visit: (at: number, batchLength: number) => boolean | void): void => {
  let at = 0
  while (at < bytes.length) {
    const length = checkedBatchBytes(bytes, at)
    if (visit(at, length) === false) return
    at += length
  }
}

/** Whole length of the batch at `at`, after checking that it lies inside the buffer and is of magic 2. */
export const checkedBatchBytes = (bytes: Buffer, at: number): number => {
  const rest = bytes.length - at
  if (rest < BATCH_HEADER_BYTES) {
    throw new RecordError("truncated", `${rest} bytes at ${at} are too few for a batch header (${BATCH_HEADER_BYTES})`)
  }
  const found = magic(bytes, at)
  if (found !== MAGIC_V2) throw new RecordError("malformed", `batch at ${at} has magic ${found}, only 2 is supported`)
  const length = batchBytes(bytes, at)
  if (length < BATCH_HEADER_BYTES) {
    throw new RecordError("malformed", `batch at ${at} states ${length} bytes, less than its header`)
  }
  if (length > rest) throw new RecordError("truncated", `batch at ${at} states ${length} bytes, only ${rest} are left`)
  return length
}
