/**
 * The bytes of one run [pure]: are they the committed ones, the offsets written into them, the part that a reader gets.
 *
 * Invariants:
 * - Nothing is served that differs in one bit from what was committed (CRC of the run), or whose batches do not add up to
 *   exactly the offsets of the entry (continuity).
 * - A run is stamped once, in place, after it was checked: afterwards its CRC no longer matches, so it is never checked
 *   again. Batches that were not accepted get no offset and are cut out of every answer.
 */
import { assert } from "#core/model/assert.ts"
import { type RunRef } from "#core/log/fold.ts"
import { batchBytes, checkedBatchBytes, lastOffsetDelta } from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { stampBatch } from "#core/records/stamp-batch.ts"

/** The one leader epoch of every partition: a log that never truncates never diverges. */
export const LEADER_EPOCH = 0

/** Whether unstamped bytes are the run's, by CRC and by its batches' offsets. */
export const isRunSound = (bytes: Buffer, run: RunRef): boolean =>
  bytes.length === run.byteLength && crc32c(bytes) === run.crc && isContinuous(bytes, run)

/** Writes offsets, epoch and (LogAppendTime) the append time into the accepted batches of a sound run. */
export const stampRun = (bytes: Buffer, run: RunRef): void => {
  let offset = run.baseOffset
  let excludedSeen = 0
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = batchBytes(bytes, at)
    if (run.excluded[excludedSeen] === index) excludedSeen++
    else {
      const stamp = { baseOffset: offset, leaderEpoch: LEADER_EPOCH }
      const { appendTimeMs } = run.segment
      stampBatch(bytes, at, run.timestampType === "append" ? { ...stamp, appendTimeMs } : stamp)
      offset += lastOffsetDelta(bytes, at) + 1
    }
    at += length
  }
  assert(offset === run.nextOffset, "a run that was sound ends at its next offset")
}

export interface RunSlice {
  /** Whole batches, in order, each view as long as nothing is cut out. They live in the block: nothing is copied. */
  readonly chunks: ReadonlyArray<Buffer>
  readonly bytes: number
  /** Whether nothing of the run is left behind the slice. */
  readonly isWhole: boolean
}

/**
 * Whole accepted batches of a stamped run, from the one that contains `fromOffset` on, at most `bytesMax` of them; with
 * `minOneBatch` the first batch in any case, however large (KIP-74).
 */
export const sliceRun = (
  runBytes: Buffer,
  run: RunRef,
  range: { readonly fromOffset: number; readonly bytesMax: number; readonly minOneBatch: boolean }
): RunSlice => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  let isWhole = true
  let chunkStart = -1
  let excludedSeen = 0
  let offset = run.baseOffset
  let at = 0
  for (let index = 0; at < runBytes.length; index++) {
    const length = batchBytes(runBytes, at)
    if (run.excluded[excludedSeen] === index) {
      excludedSeen++
      if (chunkStart >= 0) chunks.push(runBytes.subarray(chunkStart, at))
      chunkStart = -1
    } else {
      offset += lastOffsetDelta(runBytes, at) + 1
      if (offset > range.fromOffset) {
        isWhole = bytes + length <= range.bytesMax || (range.minOneBatch && bytes === 0)
        if (!isWhole) break
        if (chunkStart < 0) chunkStart = at
        bytes += length
      }
    }
    at += length
  }
  if (chunkStart >= 0) chunks.push(runBytes.subarray(chunkStart, at))
  return { chunks, bytes, isWhole }
}

const isContinuous = (bytes: Buffer, run: RunRef): boolean => {
  let offset = run.baseOffset
  let excludedSeen = 0
  let at = 0
  for (let index = 0; at < bytes.length; index++) {
    const length = wholeBatchBytes(bytes, at)
    if (length < 0) return false
    if (run.excluded[excludedSeen] === index) excludedSeen++
    else {
      const delta = lastOffsetDelta(bytes, at)
      if (delta < 0) return false
      offset += delta + 1
    }
    at += length
  }
  return offset === run.nextOffset && excludedSeen === run.excluded.length
}

/** -1 where no whole batch is. The bytes come from a disk: malformed ones are a fact, not a defect. */
const wholeBatchBytes = (bytes: Buffer, at: number): number => {
  try {
    return checkedBatchBytes(bytes, at)
  } catch {
    return -1
  }
}
