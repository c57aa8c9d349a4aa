/**
 * Builds record batches [pure]: for Meridian's own client, control batches and tests. The agent's path of a record never
 * builds one: there the client's bytes stay as they are.
 */
import { assert } from "#core/model/assert.ts"
import * as batchHeader from "./batch-header.ts"
import { CODEC_NONE } from "./codec-id.ts"
import { compress } from "./compression.ts"

export interface NewRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: ReadonlyArray<{ readonly key: string; readonly value: Buffer | null }>
  /** Default: the batch's `timestampMs`. */
  readonly timestampMs?: number
}

export interface NewBatch {
  readonly records: ReadonlyArray<NewRecord>
  /** Of records that have none; default -1, Kafka's "no timestamp". */
  readonly timestampMs?: number
  /** A number of codec-id.ts; default none. */
  readonly codec?: number
  readonly baseOffset?: number
  readonly leaderEpoch?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly isTransactional?: boolean
  readonly isControl?: boolean
  readonly timestampType?: batchHeader.TimestampType
}

/** A whole batch with its CRC. */
export const buildBatch = (batch: NewBatch): Buffer => {
  assert(batch.records.length > 0, "a batch has at least one record")
  const defaultMs = batch.timestampMs ?? -1
  const baseTimestamp = batch.records[0]!.timestampMs ?? defaultMs
  const parts: Array<Buffer> = []
  let maxTimestamp = -1
  for (const [index, record] of batch.records.entries()) {
    const timestampMs = record.timestampMs ?? defaultMs
    if (timestampMs > maxTimestamp) maxTimestamp = timestampMs
    appendRecord(parts, record, timestampMs - baseTimestamp, index)
  }
  const codec = batch.codec ?? CODEC_NONE
  const bytes = Buffer.concat([Buffer.alloc(batchHeader.BATCH_HEADER_BYTES), compress(codec, Buffer.concat(parts))])
  batchHeader.writeInt64(bytes, batch.baseOffset ?? 0, batchHeader.AT_BASE_OFFSET)
  bytes.writeInt32BE(bytes.length - batchHeader.BATCH_LENGTH_OVERHEAD_BYTES, batchHeader.AT_BATCH_LENGTH)
  bytes.writeInt32BE(batch.leaderEpoch ?? -1, batchHeader.AT_LEADER_EPOCH)
  bytes.writeInt8(batchHeader.MAGIC_V2, batchHeader.AT_MAGIC)
  bytes.writeInt16BE(attributesOf(batch, codec), batchHeader.AT_ATTRIBUTES)
  bytes.writeInt32BE(batch.records.length - 1, batchHeader.AT_LAST_OFFSET_DELTA)
  batchHeader.writeInt64(bytes, baseTimestamp, batchHeader.AT_BASE_TIMESTAMP)
  batchHeader.writeInt64(bytes, maxTimestamp, batchHeader.AT_MAX_TIMESTAMP)
  batchHeader.writeInt64(bytes, batch.producerId ?? -1, batchHeader.AT_PRODUCER_ID)
  bytes.writeInt16BE(batch.producerEpoch ?? -1, batchHeader.AT_PRODUCER_EPOCH)
  bytes.writeInt32BE(batch.baseSequence ?? -1, batchHeader.AT_BASE_SEQUENCE)
  bytes.writeInt32BE(batch.records.length, batchHeader.AT_RECORD_COUNT)
  batchHeader.writeCrc(bytes, 0)
  return bytes
}

const attributesOf = (batch: NewBatch, codec: number): number =>
  codec |
  (batch.timestampType === "append" ? batchHeader.LOG_APPEND_TIME_BIT : 0) |
  (batch.isTransactional === true ? batchHeader.TRANSACTIONAL_BIT : 0) |
  (batch.isControl === true ? batchHeader.CONTROL_BIT : 0)

const appendRecord = (parts: Array<Buffer>, record: NewRecord, timestampDelta: number, offsetDelta: number): void => {
  const headers = record.headers ?? []
  const body: Array<Buffer> = [Buffer.from([0]), varint(timestampDelta), varint(offsetDelta)]
  appendSized(body, record.key)
  appendSized(body, record.value)
  body.push(varint(headers.length))
  for (const header of headers) {
    appendSized(body, Buffer.from(header.key, "utf8"))
    appendSized(body, header.value)
  }
  const length = body.reduce((sum, part) => sum + part.length, 0)
  parts.push(varint(length), ...body)
}

const appendSized = (parts: Array<Buffer>, bytes: Buffer | null): void => {
  if (bytes === null) parts.push(NULL_LENGTH)
  else parts.push(varint(bytes.length), bytes)
}

/** Zigzag, groups of seven bits, lowest first: exact up to 2^52. */
const varint = (value: number): Buffer => {
  assert(Number.isInteger(value) && Math.abs(value) <= 2 ** 52, `${value} does not fit into a varint`)
  const bytes: Array<number> = []
  let rest = value < 0 ? -value * 2 - 1 : value * 2
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}

const NULL_LENGTH = varint(-1)
