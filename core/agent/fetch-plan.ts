/**
 * From wanted partitions to record bytes: wait until there is enough, choose the runs, hold memory for them, read, slice.
 *
 * Limits bind in Kafka's way: partitions are served in the order of the request, each at most its own limit, all together
 * at most the request's; the first partition with records gives at least one batch. The memory of an answer is reserved
 * before anything is read and released when the socket has taken it, so a thousand consumers that do not read cost the
 * budget and little more.
 *
 * A view keeps its whole block alive, and a consumer that lags behind wants a little of very many blocks. So one fetch reads
 * blocks of at most limits.fetchBlockBytesMax, and where less than half of a block is served, its part is copied: an
 * answer keeps at most twice its own bytes alive.
 *
 * Runs are in the fold from a partition's residentOffset on, and below it in index pages (index-pages.ts): a fetch may need
 * both. Which is which moves on while a page is awaited, so the runs are chosen anew, synchronously, after each page: what
 * was chosen in one go is without gaps. One fetch reads at most limits.fetchIndexPagesMax pages; a partition whose page is
 * not there by then ends with what came before it, and the next fetch goes on.
 */
import { Effect } from "effect"
import { type CommitLog } from "#core/log/commit-log.ts"
import { type PartitionState, type RunRef, type SegmentRef } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { type DecodedPage } from "#core/log/index-page.ts"
import { type AgentServices, type RequestContext } from "./handler.ts"
import { type IndexPages, type IndexPageUnreadable } from "./index-pages.ts"
import { KAFKA } from "./kafka-error.ts"
import { sliceRun } from "./run-bytes.ts"
import { blockIndexOf } from "./run-reader.ts"

export interface WantedPartition {
  readonly state: PartitionState
  readonly offset: number
  readonly bytesMax: number
}

export interface PartitionRead {
  readonly errorCode: number
  readonly records: ReadonlyArray<Buffer>
}

export interface FetchRead {
  readonly answers: ReadonlyMap<WantedPartition, PartitionRead>
  /** As they were when the runs were chosen: what is answered must not be ahead of them. */
  readonly highWatermarks: ReadonlyMap<WantedPartition, number>
  readonly bytes: number
}

interface PlannedPartition {
  readonly wanted: WantedPartition
  readonly highWatermark: number
  readonly runs: ReadonlyArray<RunRef>
  /** Of each run, by its index in `runs`. */
  readonly blocks: ReadonlyArray<WantedBlock>
  /** Where there are no runs because their page cannot be had. */
  readonly errorCode: number
}

/** A block of which the fetch reads runs. */
interface WantedBlock {
  readonly byteLength: number
  /** Of the answer, as it is cut. */
  servedBytes: number
}

/** The distinct blocks of a fetch, as many as may be. */
class WantedBlocks {
  bytes = 0
  /** By index in the segment: a segment has few blocks, and a fetch wants runs of few segments. */
  readonly #bySegment = new Map<SegmentRef, Array<WantedBlock | undefined>>()

  /** The run's block; undefined where it would be one too many. */
  take(run: RunRef): WantedBlock | undefined {
    const { segment } = run
    const index = blockIndexOf(run)
    let blocks = this.#bySegment.get(segment)
    const known = blocks?.[index]
    if (known !== undefined) return known
    const blockBytes = segment.blockOffsets[index + 1]! - segment.blockOffsets[index]!
    if (this.bytes > 0 && this.bytes + blockBytes > limits.fetchBlockBytesMax) return undefined
    this.bytes += blockBytes
    if (blocks === undefined) this.#bySegment.set(segment, (blocks = []))
    return (blocks[index] = { byteLength: blockBytes, servedBytes: 0 })
  }
}

export interface PlannedFetch {
  readonly partitions: ReadonlyArray<PlannedPartition>
  readonly bytesMax: number
  /** What the runs hold together: the answer is hardly larger. */
  readonly bytesEstimated: number
  /** What the blocks hold that the runs are in. */
  readonly blockBytes: number
}

/** Bytes that the run holds from the offset on, by the share of its offsets. */
const bytesFrom = (run: RunRef, offset: number): number =>
  offset <= run.baseOffset
    ? run.byteLength
    : Math.ceil((run.byteLength * (run.nextOffset - offset)) / (run.nextOffset - run.baseOffset))

/** Bytes that are there to be read, counted no further than `enough`. What lies in index pages is enough, whatever it is. */
const availableBytes = ({ state, offset }: WantedPartition, enough: number): number => {
  if (offset >= state.highWatermark) return 0
  if (offset < state.residentOffset) return enough
  let bytes = 0
  for (let index = state.runIndexOf(offset); index < state.runCount && bytes < enough; index++) {
    bytes += bytesFrom(state.run(index), offset)
  }
  return bytes
}

const hasEnough = (wanted: ReadonlyArray<WantedPartition>, minBytes: number): boolean => {
  let bytes = 0
  for (let index = 0; index < wanted.length && bytes < minBytes; index++) {
    const each = wanted[index]!
    bytes += Math.min(availableBytes(each, minBytes - bytes), Math.max(each.bytesMax, 1))
  }
  return bytes >= minBytes
}

/** Ends when at least minBytes can be read, a wanted topic is deleted, or the time is up. */
export const waitForBytes = (
  log: CommitLog["Service"],
  wanted: ReadonlyArray<WantedPartition>,
  options: { readonly minBytes: number; readonly waitMs: number }
): Effect.Effect<void> => {
  const { minBytes, waitMs } = options
  if (waitMs === 0 || hasEnough(wanted, minBytes)) return Effect.void
  const states = new Set(wanted.map(({ state }) => state))
  const topics = new Set(wanted.map(({ state }) => state.topic.topicId))
  const woken = Effect.callback<void>((resume) => {
    const end = log.onFolded(({ grown, effects }) => {
      const concerns = grown.some((state) => states.has(state))
      const isGone = effects.some((effect) => effect.kind === "topic-deleted" && topics.has(effect.topicId))
      if (isGone || (concerns && hasEnough(wanted, minBytes))) resume(Effect.void)
    })
    return Effect.sync(end)
  })
  return Effect.timeoutOption(woken, waitMs).pipe(Effect.asVoid)
}

/** Pages that were read for this fetch, or why they were not, by what was asked for. */
class ReadPages {
  count = 0
  readonly #pages = new Map<PartitionState, Array<DecodedPage>>()
  readonly #failed = new Map<PartitionState, IndexPageUnreadable>()

  find(pages: IndexPages["Service"], state: PartitionState, offset: number): DecodedPage | undefined {
    const read = this.#pages.get(state)?.find((page) => page.baseOffset <= offset && offset < page.nextOffset)
    return read ?? pages.cached(state, offset)
  }

  /** Whether a page of the partition was asked for and cannot be had. */
  hasFailed(state: PartitionState): boolean {
    return this.#failed.has(state)
  }

  add(state: PartitionState, page: DecodedPage): void {
    const known = this.#pages.get(state)
    if (known === undefined) this.#pages.set(state, [page])
    else known.push(page)
  }

  fail(state: PartitionState, error: IndexPageUnreadable): void {
    this.#failed.set(state, error)
  }
}

interface MissingPage {
  readonly state: PartitionState
  readonly offset: number
}

/** Chooses the runs, by what fold and index pages say of their sizes: at once where no page has to be read. Never fails. */
export const planFetch = (
  pages: IndexPages["Service"],
  wanted: ReadonlyArray<WantedPartition>,
  bytesMax: number
): PlannedFetch | Effect.Effect<PlannedFetch> => {
  const missing: Array<MissingPage> = []
  const planned = chooseRuns({ pages, read: new ReadPages(), missing }, wanted, bytesMax)
  return missing.length === 0 ? planned : pages.inTurn(planWithPages(pages, wanted, bytesMax))
}

const planWithPages = Effect.fnUntraced(function* (
  pages: IndexPages["Service"],
  wanted: ReadonlyArray<WantedPartition>,
  bytesMax: number
) {
  const read = new ReadPages()
  for (;;) {
    const missing: Array<MissingPage> = []
    const planned = chooseRuns({ pages, read, missing }, wanted, bytesMax)
    const room = limits.fetchIndexPagesMax - read.count
    if (missing.length === 0 || room <= 0) return planned
    const loads = missing.slice(0, room).map(({ state, offset }) =>
      Effect.match(pages.load(state, offset), {
        onSuccess: (page) => read.add(state, page),
        // Reported where it happened.
        onFailure: (error) => read.fail(state, error)
      })
    )
    read.count += loads.length
    yield* Effect.all(loads, { concurrency: "unbounded", discard: true })
  }
})

interface PageSource {
  readonly pages: IndexPages["Service"]
  readonly read: ReadPages
  /** Pages without which a partition's runs end. */
  readonly missing: Array<MissingPage>
}

interface Choice {
  readonly source: PageSource
  readonly bytesMax: number
  readonly wantedBlocks: WantedBlocks
  bytesEstimated: number
}

const chooseRuns = (source: PageSource, wanted: ReadonlyArray<WantedPartition>, bytesMax: number): PlannedFetch => {
  const choice: Choice = { source, bytesMax, wantedBlocks: new WantedBlocks(), bytesEstimated: 0 }
  const partitions = wanted.map((each) => choosePartition(choice, each))
  return {
    partitions,
    bytesMax,
    bytesEstimated: Math.min(choice.bytesEstimated, Math.max(bytesMax, 1)),
    blockBytes: choice.wantedBlocks.bytes
  }
}

const choosePartition = (choice: Choice, wanted: WantedPartition): PlannedPartition => {
  const { state, offset } = wanted
  const { highWatermark } = state
  const runs: Array<RunRef> = []
  const blocks: Array<WantedBlock> = []
  const isFirst = choice.bytesEstimated === 0
  let bytes = 0
  let nextOffset = offset
  const isFull = (): boolean => {
    const isBound = bytes >= wanted.bytesMax || choice.bytesEstimated + bytes >= choice.bytesMax
    return isBound && !(isFirst && runs.length === 0)
  }
  let errorCode: number = KAFKA.NONE
  choosing: while (nextOffset < highWatermark && !isFull()) {
    const from = runsFrom(choice.source, state, nextOffset)
    if (from === undefined) {
      if (runs.length === 0 && choice.source.read.hasFailed(state)) errorCode = KAFKA.KAFKA_STORAGE_ERROR
      break
    }
    for (let index = from.runs.runIndexOf(nextOffset); index < from.runs.runCount; index++) {
      if (isFull()) break choosing
      const run = from.runs.run(index)
      const block = choice.wantedBlocks.take(run)
      // Later partitions may still have runs in the blocks that are read anyway.
      if (block === undefined) break choosing
      runs.push(run)
      blocks.push(block)
      bytes += bytesFrom(run, offset)
      nextOffset = run.nextOffset
    }
  }
  choice.bytesEstimated += Math.min(bytes, Math.max(wanted.bytesMax, 1))
  return { wanted, highWatermark, runs, blocks, errorCode }
}

/** Where the runs from the offset on are: in memory, or in a page. Undefined where that page is not there; it is noted. */
const runsFrom = (
  { pages, read, missing }: PageSource,
  state: PartitionState,
  offset: number
): { readonly runs: Pick<PartitionState, "runCount" | "run" | "runIndexOf"> } | undefined => {
  if (offset >= state.residentOffset) return { runs: state }
  const page = read.find(pages, state, offset)
  if (page !== undefined) return { runs: page.runs }
  if (!read.hasFailed(state)) missing.push({ state, offset })
  return undefined
}

/**
 * Reads what was chosen, after holding memory for it (`hold` takes what gives it back). Never fails: a partition whose bytes
 * cannot be had answers with an error.
 */
export const readPlan = (
  services: AgentServices,
  planned: PlannedFetch,
  hold: RequestContext["hold"]
): Effect.Effect<FetchRead> => {
  const highWatermarks = new Map(planned.partitions.map(({ wanted, highWatermark }) => [wanted, highWatermark]))
  const { bytesEstimated, blockBytes } = planned
  if (bytesEstimated === 0) {
    const answers = planned.partitions.map(({ wanted, errorCode }) => [wanted, { errorCode, records: [] }] as const)
    return Effect.succeed({ answers: new Map(answers), highWatermarks, bytes: 0 })
  }
  const { fetchBudget } = services
  const held = { blockBytes: 0 }
  const letBlocksGo = () => {
    fetchBudget.release(held.blockBytes)
    held.blockBytes = 0
  }
  // The answer's bytes until the socket has taken them, and the blocks that they are cut from until they are cut.
  const reserve = Effect.callback<void>((resume) => {
    const giveUp = fetchBudget.reserve(bytesEstimated + blockBytes, () => {
      held.blockBytes = blockBytes
      hold(() => {
        fetchBudget.release(bytesEstimated)
        letBlocksGo()
      })
      resume(Effect.void)
    })
    return Effect.sync(giveUp)
  })
  return Effect.map(Effect.andThen(reserve, loadAll(services, planned)), (loaded) => {
    const read = slice(planned, loaded)
    letBlocksGo()
    return { ...read, highWatermarks }
  })
}

/** The run's verified, stamped bytes; undefined where no bucket has them. */
type LoadedRuns = ReadonlyMap<RunRef, Buffer | undefined>

const loadAll = (services: AgentServices, planned: PlannedFetch): Effect.Effect<LoadedRuns> =>
  Effect.suspend(() => {
    const loaded = new Map<RunRef, Buffer | undefined>()
    const loads: Array<Effect.Effect<void>> = []
    for (const { runs } of planned.partitions) {
      for (const run of runs) {
        const bytes = services.runs.read(run)
        if (Buffer.isBuffer(bytes)) loaded.set(run, bytes)
        else {
          loads.push(
            Effect.match(bytes, {
              onSuccess: (read) => void loaded.set(run, read),
              // Reported where it happened, by the store.
              onFailure: () => void loaded.set(run, undefined)
            })
          )
        }
      }
    }
    return loads.length === 0
      ? Effect.succeed(loaded)
      : Effect.as(Effect.all(loads, { concurrency: "unbounded", discard: true }), loaded)
  })

const slice = (planned: PlannedFetch, loaded: LoadedRuns) => {
  const answers = new Map<WantedPartition, PartitionRead>()
  /** Where each answer's chunks come from, in step with its records. */
  const origins: Array<Origins> = []
  let bytes = 0
  for (const { wanted, runs, blocks, ...each } of planned.partitions) {
    const records: Array<Buffer> = []
    const recordBlocks: Array<WantedBlock> = []
    let partitionBytes = 0
    let { errorCode } = each
    for (const [index, run] of runs.entries()) {
      const runBytes = loaded.get(run)
      if (runBytes === undefined) {
        // What came before it is whole and can be served; the next fetch begins at the run and gets the error.
        if (records.length === 0) errorCode = KAFKA.KAFKA_STORAGE_ERROR
        break
      }
      const room = Math.min(wanted.bytesMax - partitionBytes, planned.bytesMax - bytes)
      const part = sliceRun(runBytes, run, {
        fromOffset: wanted.offset,
        bytesMax: Math.max(0, room),
        minOneBatch: bytes === 0
      })
      const block = blocks[index]!
      block.servedBytes += part.bytes
      for (const chunk of part.chunks) {
        records.push(chunk)
        recordBlocks.push(block)
      }
      partitionBytes += part.bytes
      bytes += part.bytes
      if (!part.isWhole) break
    }
    answers.set(wanted, { errorCode, records })
    if (records.length > 0) origins.push({ records, blocks: recordBlocks })
  }
  letGoOfBlocks(origins)
  return { answers, bytes }
}

interface Origins {
  readonly records: Array<Buffer>
  readonly blocks: ReadonlyArray<WantedBlock>
}

const isWorthKeeping = (block: WantedBlock): boolean => block.servedBytes * 2 >= block.byteLength

/** Replaces the views of blocks that would be kept alive for little by copies, all in one piece of memory. */
const letGoOfBlocks = (origins: ReadonlyArray<Origins>): void => {
  let copiedBytes = 0
  for (const { records, blocks } of origins) {
    for (let index = 0; index < records.length; index++) {
      if (!isWorthKeeping(blocks[index]!)) copiedBytes += records[index]!.length
    }
  }
  if (copiedBytes === 0) return
  // Not of Node's shared pool: what lives as long as this answer must not keep alive more than it.
  const copies = Buffer.allocUnsafeSlow(copiedBytes)
  let at = 0
  for (const { records, blocks } of origins) {
    for (let index = 0; index < records.length; index++) {
      if (isWorthKeeping(blocks[index]!)) continue
      const chunk = records[index]!
      chunk.copy(copies, at)
      records[index] = copies.subarray(at, (at += chunk.length))
    }
  }
}
