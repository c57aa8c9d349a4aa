/**
 * What a server writes into a client's batch [pure]: offset and leader epoch, which lie outside the CRC, and for
 * LogAppendTime topics the time of the append, after which the CRC is computed anew. Nothing else of a batch is ever
 * changed after it was validated. Changes the bytes in place: a shared buffer must be copied before.
 */
import { assertCount } from "#core/model/assert.ts"
import * as batchHeader from "./batch-header.ts"

export interface BatchStamp {
  readonly baseOffset: number
  readonly leaderEpoch: number
  /** For LogAppendTime topics: every record gets this timestamp. */
  readonly appendTimeMs?: number
}

export const stampBatch = (bytes: Buffer, at: number, stamp: BatchStamp): void => {
  assertCount(stamp.baseOffset, "baseOffset")
  batchHeader.writeInt64(bytes, stamp.baseOffset, at + batchHeader.AT_BASE_OFFSET)
  bytes.writeInt32BE(stamp.leaderEpoch, at + batchHeader.AT_LEADER_EPOCH)
  if (stamp.appendTimeMs !== undefined) setTimestamps(bytes, at, "append", stamp.appendTimeMs)
}

/**
 * Sets the timestamp type and maxTimestamp, and the CRC if that changed anything. The batch's CRC must have been right
 * before: a new one over rotten bytes would hide that.
 */
export const setTimestamps = (
  bytes: Buffer,
  at: number,
  timestampType: batchHeader.TimestampType,
  maxTimestampMs: number
): void => {
  const before = batchHeader.attributes(bytes, at)
  const bit = timestampType === "append" ? batchHeader.LOG_APPEND_TIME_BIT : 0
  const after = (before & ~batchHeader.LOG_APPEND_TIME_BIT) | bit
  if (after === before && batchHeader.maxTimestamp(bytes, at) === maxTimestampMs) return
  bytes.writeInt16BE(after, at + batchHeader.AT_ATTRIBUTES)
  batchHeader.writeInt64(bytes, maxTimestampMs, at + batchHeader.AT_MAX_TIMESTAMP)
  batchHeader.writeCrc(bytes, at)
}
