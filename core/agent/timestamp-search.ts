/**
 * Records by time in a partition: the fold says which run, the run's batch headers which batch, and only that batch is
 * decoded. Answers are records, not batches (KIP-79, KIP-734).
 */
import { Effect } from "effect"
import { type PartitionState, type RunRef } from "#core/log/fold.ts"
import { SegmentUnreadable } from "#core/ports/segment-store.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { firstRecordSince, latestRecord, type TimestampedOffset } from "#core/records/timestamp-lookup.ts"
import { sliceRun } from "./run-bytes.ts"
import { type RunReader } from "./run-reader.ts"

export interface RecordTime {
  readonly offset: number
  readonly timestampMs: number
}

const NOWHERE: RecordTime = { offset: -1, timestampMs: -1 }

type Search = (batch: Buffer, at: number) => TimestampedOffset | undefined

/** Asks the batches of a run, in order, until one answers. A batch that cannot be decoded makes the run unreadable. */
const searchRun = (
  runs: RunReader["Service"],
  run: RunRef,
  minTimestampMs: number,
  search: Search
): Effect.Effect<TimestampedOffset | undefined, SegmentUnreadable> => {
  const read = runs.read(run)
  return Effect.flatMap(Buffer.isBuffer(read) ? Effect.succeed(read) : read, (bytes) =>
    Effect.try({
      try: () => {
        const whole = { fromOffset: run.baseOffset, bytesMax: bytes.length, minOneBatch: true }
        for (const chunk of sliceRun(bytes, run, whole).chunks) {
          let found: TimestampedOffset | undefined
          batchHeader.walkBatches(chunk, (at) => {
            if (batchHeader.maxTimestamp(chunk, at) < minTimestampMs) return true
            found = search(chunk, at)
            return found === undefined
          })
          if (found !== undefined) return found
        }
        return undefined
      },
      catch: (cause) => new SegmentUnreadable({ segmentId: run.segment.segmentId, failures: [String(cause)] })
    })
  )
}

/** The first record whose timestamp is at least the given one. */
export const firstAtOrAfter = Effect.fnUntraced(function* (
  runs: RunReader["Service"],
  state: PartitionState,
  timestampMs: number
) {
  for (let index = 0; index < state.runCount; index++) {
    const run = state.run(index)
    if (run.maxTimestampMs < timestampMs) continue
    const found = yield* searchRun(runs, run, timestampMs, (batch, at) => firstRecordSince(batch, at, timestampMs))
    if (found !== undefined) return found
  }
  return NOWHERE
})

/** The record with the largest timestamp, the first of equals; (-1, -1) in an empty partition. */
export const withLargestTimestamp = Effect.fnUntraced(function* (runs: RunReader["Service"], state: PartitionState) {
  let latest: RunRef | undefined
  for (let index = 0; index < state.runCount; index++) {
    const run = state.run(index)
    if (latest === undefined || run.maxTimestampMs > latest.maxTimestampMs) latest = run
  }
  if (latest === undefined) return NOWHERE
  const { maxTimestampMs } = latest
  return (yield* searchRun(runs, latest, maxTimestampMs, latestRecord)) ?? NOWHERE
})
