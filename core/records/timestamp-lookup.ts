/**
 * Records of one batch by their timestamps [pure], for ListOffsets. In a LogAppendTime batch every record has the
 * batch's timestamp, so its first record answers. Throws RecordError where the batch is not sound.
 */
import { RecordCursor } from "./record-cursor.ts"

export interface TimestampedOffset {
  readonly offset: number
  readonly timestampMs: number
}

/** The first record whose timestamp is at least `timestampMs`, in order of offsets. */
export const firstRecordSince = (batch: Buffer, at: number, timestampMs: number): TimestampedOffset | undefined => {
  try {
    cursor.open(batch, at)
    while (cursor.next()) {
      if (cursor.timestamp >= timestampMs) return { offset: cursor.offset, timestampMs: cursor.timestamp }
    }
    return undefined
  } finally {
    cursor.release()
  }
}

/** The record with the largest timestamp, the first of equals; undefined where the batch has no records. */
export const latestRecord = (batch: Buffer, at: number): TimestampedOffset | undefined => {
  let offset = -1
  let timestampMs = Number.NEGATIVE_INFINITY
  try {
    cursor.open(batch, at)
    while (cursor.next()) {
      if (cursor.timestamp <= timestampMs) continue
      offset = cursor.offset
      timestampMs = cursor.timestamp
    }
  } finally {
    cursor.release()
  }
  return offset === -1 ? undefined : { offset, timestampMs }
}

/** Shared by all calls: they are synchronous. */
const cursor = new RecordCursor()
