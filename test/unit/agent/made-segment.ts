/**
 * Segments made by hand, for the tests of what reads them: nothing here asserts anything.
 */
import { type RunRef, type SegmentRef } from "#core/log/fold.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { crc32c } from "#core/records/crc32c.ts"

export const APPEND_TIME_MS = 1_800_000_000_123

export const batch = (records: number, valueBytes = 20): Buffer =>
  buildBatch({
    records: Array.from({ length: records }, (_, index) => ({
      key: Buffer.from(`k${index}`),
      value: Buffer.alloc(valueBytes, index + 1)
    })),
    timestampMs: 1_700_000_000_000
  })

export interface RunPlan {
  /** Records of each batch. */
  readonly batches: ReadonlyArray<number>
  readonly baseOffset: number
  readonly excluded?: ReadonlyArray<number>
  readonly timestampType?: "create" | "append"
  readonly valueBytes?: number
}

export interface MadeSegment {
  readonly bytes: Buffer
  readonly runs: ReadonlyArray<RunRef>
}

let lastSegment = 0

/** A segment of the runs; each group of runs is one block. */
export const makeSegment = (...blocks: ReadonlyArray<ReadonlyArray<RunPlan>>): MadeSegment => {
  const parts: Array<Buffer> = [Buffer.from("MERIDIAN")]
  const blockOffsets: Array<number> = []
  const segment: SegmentRef = {
    segmentId: (++lastSegment).toString(16).padStart(32, "0"),
    seq: 1,
    createdAtMs: 1,
    bucketSet: "quorum",
    ackedBuckets: ["b1"],
    segmentBytes: 0,
    blockOffsets,
    appendTimeMs: APPEND_TIME_MS
  }
  const runs: Array<RunRef> = []
  let at = 8
  for (const block of blocks) {
    blockOffsets.push(at)
    for (const plan of block) {
      const bytes = Buffer.concat(plan.batches.map((records) => batch(records, plan.valueBytes)))
      const excluded = plan.excluded ?? []
      const offsets = plan.batches.filter((_, index) => !excluded.includes(index)).reduce((sum, each) => sum + each, 0)
      runs.push({
        segment,
        byteOffset: at,
        byteLength: bytes.length,
        crc: crc32c(bytes),
        baseOffset: plan.baseOffset,
        nextOffset: plan.baseOffset + offsets,
        maxTimestampMs: 1_700_000_000_000,
        timestampType: plan.timestampType ?? "create",
        excluded
      })
      parts.push(bytes)
      at += bytes.length
    }
  }
  blockOffsets.push(at)
  return { bytes: Buffer.concat(parts), runs }
}

/** Base offsets of all batches. */
export const offsetsOf = (chunks: ReadonlyArray<Buffer>): ReadonlyArray<number> => {
  const offsets: Array<number> = []
  for (const chunk of chunks)
    batchHeader.walkBatches(chunk, (at) => void offsets.push(batchHeader.baseOffset(chunk, at)))
  return offsets
}
