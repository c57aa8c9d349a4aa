/**
 * Records by time in a partition: fold and index pages say which run, the run's batch headers which batch, and only that
 * batch is decoded. Answers are records, not batches (KIP-79, KIP-734).
 *
 * What is in memory and what in pages moves on while a search waits. So it goes by offsets and asks anew after each wait;
 * and it takes from pages only what lies below the residentOffset that it saw before it asked: pages of a window that is
 * just being written may have gaps, or records that this agent has not folded.
 */
import { Effect } from "effect"
import { type CommitLog, type CommitLogError } from "#core/log/commit-log.ts"
import { type PartitionState, type RunRef } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { SegmentUnreadable } from "#core/ports/segment-store.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { firstRecordSince, latestRecord, type TimestampedOffset } from "#core/records/timestamp-lookup.ts"
import { type IndexPages, IndexPageUnreadable } from "./index-pages.ts"
import { sliceRun } from "./run-bytes.ts"
import { type RunReader } from "./run-reader.ts"

export interface RecordTime {
  readonly offset: number
  readonly timestampMs: number
}

/** What a search uses of an agent. */
export interface SearchServices {
  readonly log: CommitLog["Service"]
  readonly runs: RunReader["Service"]
  readonly pages: IndexPages["Service"]
}

export type SearchError = SegmentUnreadable | IndexPageUnreadable | CommitLogError

const NOWHERE: RecordTime = { offset: -1, timestampMs: -1 }

/** Runs that can be looked through: a partition's in memory, or a page's. */
type Runs = Pick<PartitionState, "runCount" | "run" | "runIndexOf">

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
  services: SearchServices,
  state: PartitionState,
  timestampMs: number
): Effect.fn.Return<RecordTime, SearchError> {
  const walk: Walk = { state, timestampMs, nextOffset: state.logStartOffset, pagesLeft: limits.searchIndexPagesMax }
  if (walk.nextOffset < state.residentOffset) yield* skipPages(services, walk)
  for (;;) {
    const run = yield* nextRun(services, walk)
    if (run === undefined) return NOWHERE
    const search: Search = (batch, at) => firstRecordSince(batch, at, timestampMs)
    const found = yield* searchRun(services.runs, run, timestampMs, search)
    if (found !== undefined) return found
    walk.nextOffset = run.nextOffset
  }
})

interface Walk {
  readonly state: PartitionState
  readonly timestampMs: number
  /** Nothing below is of interest any more. */
  nextOffset: number
  pagesLeft: number
}

/**
 * Goes straight to the first page that may hold such a record, or behind all pages. "None" is believed only of a database
 * that has the pages: the last one must be there. (That one of many is lost is noticed by whoever reads its offsets.)
 */
const skipPages = Effect.fnUntraced(function* ({ pages }: SearchServices, walk: Walk) {
  const { state } = walk
  const { residentOffset } = state
  const page = yield* pages.firstSince(state, walk.timestampMs)
  const isBelow = page !== undefined && page.baseOffset < residentOffset
  if (!isBelow && pages.cached(state, residentOffset - 1) === undefined) yield* pages.load(state, residentOffset - 1)
  walk.nextOffset = Math.max(walk.nextOffset, isBelow ? page.baseOffset : residentOffset)
})

/** The first run from here on whose largest timestamp is late enough, in whichever of pages and memory it is by now. */
const nextRun = Effect.fnUntraced(function* (
  { pages }: SearchServices,
  walk: Walk
): Effect.fn.Return<RunRef | undefined, SearchError> {
  const { state, timestampMs } = walk
  while (walk.nextOffset < state.highWatermark) {
    if (walk.nextOffset >= state.residentOffset) return firstLateRun(state, walk.nextOffset, timestampMs)
    if (walk.pagesLeft === 0) return yield* tooFar(walk)
    walk.pagesLeft--
    const page = pages.cached(state, walk.nextOffset) ?? (yield* pages.load(state, walk.nextOffset))
    const run = firstLateRun(page.runs, walk.nextOffset, timestampMs)
    if (run !== undefined) return run
    walk.nextOffset = page.nextOffset
  }
  return undefined
})

const firstLateRun = (runs: Runs, fromOffset: number, timestampMs: number): RunRef | undefined => {
  for (let index = runs.runIndexOf(fromOffset); index < runs.runCount; index++) {
    const run = runs.run(index)
    if (run.maxTimestampMs >= timestampMs) return run
  }
  return undefined
}

/** Only where runs claim timestamps that their records do not have. */
const tooFar = ({ state, nextOffset }: Walk): Effect.Effect<never, IndexPageUnreadable> =>
  Effect.fail(
    new IndexPageUnreadable({
      reason: "Damaged",
      topicId: state.topic.topicId,
      partition: state.partition,
      offset: nextOffset,
      cause: new Error(`no such record in ${limits.searchIndexPagesMax} pages from the one that should have it`)
    })
  )

/** The record with the largest timestamp, the first of equals; (-1, -1) in an empty partition. */
export const withLargestTimestamp = Effect.fnUntraced(function* (
  services: SearchServices,
  state: PartitionState
): Effect.fn.Return<RecordTime, SearchError> {
  const latest = yield* latestRun(services, state)
  if (latest === undefined) return NOWHERE
  return (yield* searchRun(services.runs, latest, latest.maxTimestampMs, latestRecord)) ?? NOWHERE
})

const latestRun = Effect.fnUntraced(function* (
  { pages, log }: SearchServices,
  state: PartitionState
): Effect.fn.Return<RunRef | undefined, SearchError> {
  for (let attempt = 1; ; attempt++) {
    // Before the question: what leaves memory meanwhile is in the pages by then, or is found here.
    const resident = latestOf(state)
    const { residentOffset } = state
    if (state.logStartOffset >= residentOffset) return resident
    // There are pages: without any, the one that is loaded here is told of as missing.
    const page = (yield* pages.largest(state)) ?? (yield* pages.load(state, residentOffset - 1))
    if (page.nextOffset <= state.highWatermark) return laterOf(latestOf(page.runs), resident)
    // The page has records that are not folded here. They are in the log: the barrier reaches them.
    if (attempt === LARGEST_ATTEMPTS_MAX) return yield* notFolded(state, page.nextOffset)
    yield* log.barrier
  }
})

const LARGEST_ATTEMPTS_MAX = 3

const notFolded = (state: PartitionState, nextOffset: number): Effect.Effect<never, IndexPageUnreadable> =>
  Effect.fail(
    new IndexPageUnreadable({
      reason: "Unavailable",
      topicId: state.topic.topicId,
      partition: state.partition,
      offset: state.highWatermark,
      cause: new Error(`pages go to offset ${nextOffset}, the fold to ${state.highWatermark}`)
    })
  )

/** The first of those with the largest timestamp. */
const latestOf = (runs: Runs): RunRef | undefined => {
  let latest: RunRef | undefined
  for (let index = 0; index < runs.runCount; index++) {
    const run = runs.run(index)
    if (latest === undefined || run.maxTimestampMs > latest.maxTimestampMs) latest = run
  }
  return latest
}

const laterOf = (a: RunRef | undefined, b: RunRef | undefined): RunRef | undefined => {
  if (a === undefined || b === undefined) return a ?? b
  if (a.maxTimestampMs !== b.maxTimestampMs) return a.maxTimestampMs > b.maxTimestampMs ? a : b
  return a.baseOffset <= b.baseOffset ? a : b
}
