/**
 * What Kafka checks of a produced batch before it appends it [pure], in Kafka's order and with its error codes, so that
 * clients meet the broker that they know. test/goldens/records/broker-verdicts.json holds what a real one answered.
 *
 * Accepted bytes are the client's own, trimmed to the batch, except where Kafka rewrites them too: a header that lies about
 * maxTimestamp or its type is set right in place, and a topic with its own compression.type gets a re-compressed copy.
 *
 * Stricter than Kafka, because what is stored must be readable and countable for all time:
 * - offset deltas must be 0, 1, 2 … (Kafka takes any in an uncompressed batch and fails with -1 in a compressed one);
 * - lengths inside compressed records must add up (Kafka skips them unread, its consumers then fail);
 * - timestamps and producer ids must be whole numbers below 2^53, and a producer's epoch at least 0 (Kafka takes -1);
 * - a batch may not unfold beyond `uncompressedBytesMax` (MESSAGE_TOO_LARGE: the Java client then splits it).
 */
import { limits } from "#core/model/limits.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import * as batchHeader from "./batch-header.ts"
import { CODEC_BY_NAME, CODEC_NONE, CODEC_ZSTD, type CodecName, isKnownCodec } from "./codec-id.ts"
import { compress, decompress } from "./compression.ts"
import { RecordCursor } from "./record-cursor.ts"
import { RecordError } from "./record-error.ts"
import { setTimestamps } from "./stamp-batch.ts"

export interface BatchRules {
  /** Of the Produce request. */
  readonly apiVersion: number
  /** `max.message.bytes`. */
  readonly maxBytes: number
  /** `cleanup.policy` contains compact: every record needs a key. */
  readonly isCompacted: boolean
  readonly timestampType: batchHeader.TimestampType
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly nowMs: number
  readonly compressionType: "producer" | CodecName
  readonly uncompressedBytesMax: number
}

export interface BatchAccepted {
  readonly ok: true
  readonly offsetCount: number
  /** Largest of the records, -1 if none has one. Where the topic is `append` the commit's time takes its place. */
  readonly maxTimestampMs: number
  /** -1 without idempotence; then epoch and sequence are -1 too. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
  /** What the records take without compression. */
  readonly uncompressedBytes: number
  /** A view of the client's bytes (lives as long as they do), or a re-compressed copy. */
  readonly batch: Buffer
}

export interface RecordRefusal {
  /** Of the record in its batch, from 0. */
  readonly batchIndex: number
  readonly message: string
}

export interface BatchRefused {
  readonly ok: false
  readonly errorCode: number
  readonly message: string
  /** At most limits.recordErrorsMax, in order. */
  readonly recordErrors: ReadonlyArray<RecordRefusal>
}

export type BatchSummaryResult = BatchAccepted | BatchRefused

/** Kafka's smallest record, of any magic: what it demands of batchLength before it looks further. */
const LEGACY_RECORD_BYTES_MIN = 14
const BYTES_UP_TO_MAGIC = 17
const NO_TIMESTAMP = -1
const TIMESTAMP_REFUSED = "one or more records have an invalid timestamp"

/** Changes `records` in place only where it accepts them. Never throws on any input. */
export const validateProduced = (records: Buffer | null, rules: BatchRules): BatchSummaryResult => {
  if (records === null || records.length === 0) return refused(errorCodes.INVALID_RECORD, "there is no record batch")
  try {
    const batch = onlyBatch(records, rules)
    if (!Buffer.isBuffer(batch)) return batch
    return checkEnvelope(batch, rules) ?? checkHeader(batch) ?? checkRecords(batch, rules)
  } catch (cause) {
    if (cause instanceof RecordError) return refused(codeOf(cause), cause.message)
    throw cause
  } finally {
    cursor.release()
  }
}

/** Shared by all calls: they are synchronous. */
const cursor = new RecordCursor()

/** The first batch, if nothing whole follows it. A cut-off rest is dropped, as Kafka does. */
const onlyBatch = (records: Buffer, rules: BatchRules): Buffer | BatchRefused => {
  const length = batchBytesAt(records, 0)
  if (typeof length !== "number") return length
  if (length === 0) return refused(errorCodes.INVALID_RECORD, "the record batch is cut off")
  if (batchHeader.magic(records, 0) !== batchHeader.MAGIC_V2) {
    return refused(errorCodes.INVALID_RECORD, "only record batches of magic 2 are supported")
  }
  // The smallest batchLength leaves room for attributes, but not for a whole header: the CRC check comes to that.
  if (rules.apiVersion < 7 && batchHeader.codec(records, 0) === CODEC_ZSTD) {
    return refused(errorCodes.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs produce version 7 or newer")
  }
  const following = batchBytesAt(records, length)
  if (typeof following !== "number") return following
  if (following > 0) return refused(errorCodes.INVALID_RECORD, "a partition takes exactly one record batch a request")
  return records.subarray(0, length)
}

/** Whole length of the batch at `at`; 0 where no whole one is left. */
const batchBytesAt = (records: Buffer, at: number): number | BatchRefused => {
  const rest = records.length - at
  if (rest < batchHeader.BATCH_LENGTH_OVERHEAD_BYTES) return 0
  const length = records.readInt32BE(at + batchHeader.AT_BATCH_LENGTH)
  if (length < LEGACY_RECORD_BYTES_MIN) {
    return refused(errorCodes.CORRUPT_MESSAGE, `batch length ${length} is below the least, ${LEGACY_RECORD_BYTES_MIN}`)
  }
  if (rest < BYTES_UP_TO_MAGIC) return 0
  const magic = batchHeader.magic(records, at)
  if (magic < 0 || magic > batchHeader.MAGIC_V2) {
    return refused(errorCodes.CORRUPT_MESSAGE, `invalid magic ${magic} of a record batch`)
  }
  const whole = length + batchHeader.BATCH_LENGTH_OVERHEAD_BYTES
  return whole > rest ? 0 : whole
}

const checkEnvelope = (batch: Buffer, rules: BatchRules): BatchRefused | undefined => {
  const baseOffset = batchHeader.baseOffset(batch, 0)
  if (baseOffset !== 0) return refused(errorCodes.INVALID_RECORD, `baseOffset must be 0, is ${baseOffset}`)
  if (batch.length > rules.maxBytes) return tooLarge(batch.length, rules)
  if (batch.length < batchHeader.BATCH_HEADER_BYTES) {
    return refused(errorCodes.CORRUPT_MESSAGE, `the record batch has ${batch.length} bytes, less than its header`)
  }
  const stated = batchHeader.crc(batch, 0)
  const computed = batchHeader.computeCrc(batch, 0)
  if (stated !== computed) {
    return refused(errorCodes.CORRUPT_MESSAGE, `the record batch states crc ${stated}, its bytes have ${computed}`)
  }
  const codec = batchHeader.codec(batch, 0)
  if (!isKnownCodec(codec)) return refused(errorCodes.UNKNOWN_SERVER_ERROR, `unknown compression type ${codec}`)
  return undefined
}

const checkHeader = (batch: Buffer): BatchRefused | undefined => {
  const offsetCount = batchHeader.lastOffsetDelta(batch, 0) + 1
  const recordCount = batchHeader.recordCount(batch, 0)
  if (offsetCount <= 0 || recordCount <= 0 || offsetCount !== recordCount) {
    return refused(
      errorCodes.INVALID_RECORD,
      `the record batch states ${recordCount} records but ${offsetCount} offsets: they must be equal and above 0`
    )
  }
  if (batchHeader.isControl(batch, 0)) {
    return refused(errorCodes.INVALID_RECORD, "clients must not write control records")
  }
  const producerId = batchHeader.producerId(batch, 0)
  if (producerId < 0) return undefined
  const baseSequence = batchHeader.baseSequence(batch, 0)
  if (baseSequence < 0) {
    return refused(errorCodes.INVALID_RECORD, `producer ${producerId} needs a base sequence >= 0, has ${baseSequence}`)
  }
  // The last one that a number holds exactly is one too many for the log, which holds it plus one.
  if (producerId >= Number.MAX_SAFE_INTEGER) {
    return refused(errorCodes.INVALID_RECORD, `producer id ${producerId} was not given out by this cluster`)
  }
  const producerEpoch = batchHeader.producerEpoch(batch, 0)
  if (producerEpoch < 0) {
    return refused(errorCodes.INVALID_PRODUCER_EPOCH, `producer ${producerId} has epoch ${producerEpoch}, below 0`)
  }
  return undefined
}

const checkRecords = (batch: Buffer, rules: BatchRules): BatchSummaryResult => {
  const isMarkRefused = isAppendMarkRefused(batch, rules)
  const errors: Array<RecordRefusal> = []
  let errorCount = 0
  let isTimestampRefused = false
  let maxTimestampMs = NO_TIMESTAMP
  let index = 0
  // Their own timestamps: they are what consumers see once the mark is taken off.
  cursor.open(batch, 0, { uncompressedBytesMax: rules.uncompressedBytesMax, timestamps: "own" })
  while (cursor.next()) {
    if (cursor.offsetDelta !== index) {
      return refused(errorCodes.INVALID_RECORD, `record ${index} has offset delta ${cursor.offsetDelta}`)
    }
    const isKeyMissing = rules.isCompacted && cursor.keyStart < 0
    if (isKeyMissing || isMarkRefused || !isTimestampInRange(cursor.timestamp, rules)) {
      errorCount += 1
      isTimestampRefused ||= !isKeyMissing
      if (errors.length < limits.recordErrorsMax) {
        errors.push({ batchIndex: index, message: recordMessage(isKeyMissing, isMarkRefused, rules) })
      }
    }
    if (cursor.timestamp > maxTimestampMs) maxTimestampMs = cursor.timestamp
    index += 1
  }
  if (errorCount > 0) {
    return isTimestampRefused
      ? refused(errorCodes.INVALID_TIMESTAMP, TIMESTAMP_REFUSED, errors)
      : refused(errorCodes.INVALID_RECORD, `${errorCount} records are refused: ${errors[0]!.message}`, errors)
  }
  if (rules.timestampType === "create") setTimestamps(batch, 0, "create", maxTimestampMs)
  return accepted(batch, maxTimestampMs, rules)
}

/**
 * Kafka takes a batch marked LogAppendTime into a CreateTime topic, without the mark, if its maxTimestamp would do as
 * the timestamp of each record; and never into a LogAppendTime topic.
 */
const isAppendMarkRefused = (batch: Buffer, rules: BatchRules): boolean => {
  if (batchHeader.timestampType(batch, 0) === "create") return false
  const maxTimestampMs = batchHeader.maxTimestamp(batch, 0)
  return (
    rules.timestampType === "append" || maxTimestampMs === NO_TIMESTAMP || !isTimestampInRange(maxTimestampMs, rules)
  )
}

/** A topic of append time does not care. */
const isTimestampInRange = (timestampMs: number, rules: BatchRules): boolean => {
  if (!Number.isSafeInteger(timestampMs)) return false
  if (rules.timestampType === "append" || timestampMs === NO_TIMESTAMP) return true
  const ageMs = rules.nowMs - timestampMs
  return ageMs <= rules.timestampBeforeMaxMs && -ageMs <= rules.timestampAfterMaxMs
}

const recordMessage = (isKeyMissing: boolean, isMarkRefused: boolean, rules: BatchRules): string => {
  if (isKeyMissing) return "a compacted topic does not accept a record without a key"
  if (isMarkRefused) return "a producer must not set the timestamp type LogAppendTime"
  if (!Number.isSafeInteger(cursor.timestamp)) return `timestamp ${cursor.timestamp} is beyond 2^53 ms`
  const first = rules.nowMs - rules.timestampBeforeMaxMs
  const last = rules.nowMs + rules.timestampAfterMaxMs
  return `timestamp ${cursor.timestamp} is out of range, it must be within [${first}, ${last}]`
}

const accepted = (batch: Buffer, maxTimestampMs: number, rules: BatchRules): BatchSummaryResult => {
  const kept = recompressed(batch, rules)
  if (kept.length > rules.maxBytes) return tooLarge(kept.length, rules)
  const producerId = Math.max(batchHeader.producerId(batch, 0), -1)
  const isIdempotent = producerId >= 0
  return {
    ok: true,
    offsetCount: batchHeader.recordCount(batch, 0),
    maxTimestampMs,
    producerId,
    producerEpoch: isIdempotent ? batchHeader.producerEpoch(batch, 0) : -1,
    baseSequence: isIdempotent ? batchHeader.baseSequence(batch, 0) : -1,
    isTransactional: batchHeader.isTransactional(batch, 0),
    uncompressedBytes: cursor.bytes.length,
    batch: kept
  }
}

/** The batch itself, or a copy in the topic's own codec. */
const recompressed = (batch: Buffer, rules: BatchRules): Buffer => {
  if (rules.compressionType === "producer") return batch
  const from = batchHeader.codec(batch, 0)
  const to = CODEC_BY_NAME[rules.compressionType]
  if (from === to) return batch
  const block = batch.subarray(batchHeader.BATCH_HEADER_BYTES)
  const plain = from === CODEC_NONE ? block : decompress(from, block, rules.uncompressedBytesMax)
  const copy = Buffer.concat([batch.subarray(0, batchHeader.BATCH_HEADER_BYTES), compress(to, plain)])
  const attributes = batchHeader.attributes(batch, 0)
  copy.writeInt16BE((attributes & ~batchHeader.CODEC_MASK) | to, batchHeader.AT_ATTRIBUTES)
  copy.writeInt32BE(copy.length - batchHeader.BATCH_LENGTH_OVERHEAD_BYTES, batchHeader.AT_BATCH_LENGTH)
  batchHeader.writeCrc(copy, 0)
  return copy
}

const codeOf = (error: RecordError): number => {
  switch (error.reason) {
    case "too-large":
      return errorCodes.MESSAGE_TOO_LARGE
    case "unsupported-codec":
      return errorCodes.UNSUPPORTED_COMPRESSION_TYPE
    case "corrupt-compression":
      // Kafka has no better code for it; CORRUPT_MESSAGE would make clients send the same bytes for ever.
      return errorCodes.UNKNOWN_SERVER_ERROR
    case "checksum":
      return errorCodes.CORRUPT_MESSAGE
    case "malformed":
    case "truncated":
      return errorCodes.INVALID_RECORD
  }
}

const tooLarge = (batchLength: number, rules: BatchRules): BatchRefused =>
  refused(
    errorCodes.MESSAGE_TOO_LARGE,
    `the record batch has ${batchLength} bytes, max.message.bytes is ${rules.maxBytes}`
  )

const refused = (
  errorCode: number,
  message: string,
  recordErrors: ReadonlyArray<RecordRefusal> = []
): BatchRefused => ({ ok: false, errorCode, message, recordErrors })
