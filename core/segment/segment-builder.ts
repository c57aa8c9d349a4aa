/**
 * Gathers batches into one segment [pure]: an agent's open segment buffer.
 *
 * Batches come in order of arrival and leave sorted by (topicId, partition), each partition's in their order of
 * arrival, as views of the bytes that were given: record bytes are not copied (tiny batches are, where there are
 * thousands of them). So the batches must not change until the segment is written; whoever adds them hands them over.
 *
 * Invariant: what is sealed decodes (segment-format.ts) to exactly the runs that the commit names, and its CRCs are of
 * the bytes as they were when they were added, right behind the check of the batch's own CRC while the bytes are in the
 * CPU's cache: a buffer that is changed by mistake between then and the write is found by the first reader.
 *
 * It knows no time and no flush policy: the caller decides when to seal, and seals whenever `add` refuses.
 */
import { BATCH_HEADER_BYTES } from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { AssertionFailed, assert, assertCount } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid, isUuid } from "#core/model/uuid.ts"
// oxlint-disable-next-line no-restricted-imports -- types only: plain data that the commit log's contract defines
import { type BatchSummary, type RunSummary } from "#core/log/command.ts"
import { SEGMENT_HEADER_BYTES, encodeSegmentHeader, encodeSegmentTail } from "./segment-format.ts"

export interface SegmentBatch {
  readonly topicId: Uuid
  readonly partition: number
  /** As the topic says now. */
  readonly timestampType: "create" | "append"
  /** The whole batch; must not change until the segment is written. */
  readonly batch: Buffer
  readonly summary: BatchSummary
}

/** Where a batch is: index of its run, and index within the run. */
export interface BatchSlot {
  readonly run: number
  readonly batch: number
}

export interface SealedSegment {
  /** Header, batches, footer and trailer: the object's bytes in order. */
  readonly chunks: ReadonlyArray<Buffer>
  readonly segmentBytes: number
  /** See CommitSegment.blockOffsets. */
  readonly blockOffsets: ReadonlyArray<number>
  readonly runs: ReadonlyArray<RunSummary>
  /** Where the batch with this ticket is in `runs`. */
  readonly slotOf: (ticket: number) => BatchSlot
}

/** A batch that cannot join this segment; seal it and add the batch to the next. */
export const REFUSED = -1

export class SegmentBuilder {
  readonly #topics = new Map<Uuid, Map<number, OpenRun>>()
  /** By ticket: the run, and the batch's index in it. */
  readonly #ticketRun: Array<OpenRun> = []
  readonly #ticketBatch: Array<number> = []
  #byteLength = 0
  #sealed = false

  /** Bytes of the batches. */
  get byteLength(): number {
    return this.#byteLength
  }

  get batchCount(): number {
    return this.#ticketBatch.length
  }

  get isEmpty(): boolean {
    return this.#ticketBatch.length === 0
  }

  /**
   * The batch's ticket: 0, 1, 2… in order of adding. Or REFUSED (-1), and nothing is added, where it must go into the
   * next segment: its partition's timestamp type has changed meanwhile, or the segment is full (segmentBatchesMax,
   * segmentBytesMax). An empty builder refuses nothing.
   */
  add(entry: SegmentBatch): number {
    assert(!this.#sealed, "a sealed segment takes no batch")
    const { batch, summary } = entry
    if (!isSound(entry)) refuse(entry)
    const ticket = this.#ticketBatch.length
    if (ticket >= limits.segmentBatchesMax) return REFUSED
    if (ticket > 0 && this.#byteLength + batch.length > limits.segmentBytesMax) return REFUSED
    const run = this.#runOf(entry)
    if (run.timestampType !== entry.timestampType) return REFUSED
    this.#ticketRun.push(run)
    this.#ticketBatch.push(run.batchCount)
    run.batchCount++
    run.chunks.push(batch)
    run.summaries.push(summary)
    run.byteLength += batch.length
    run.offsetCount += summary.offsetCount
    if (summary.maxTimestampMs > run.maxTimestampMs) run.maxTimestampMs = summary.maxTimestampMs
    run.crc = crc32c(batch, run.crc)
    this.#byteLength += batch.length
    return ticket
  }

  /** Ends the building; the builder is used up. */
  seal(identity: { readonly segmentId: Uuid; readonly createdAtMs: number }): SealedSegment {
    assert(!this.#sealed, "a segment is sealed once")
    assert(!this.isEmpty, "a segment holds at least one batch")
    this.#sealed = true
    const runs = this.#sortedRuns()
    const summaries: Array<RunSummary> = []
    const blockOffsets: Array<number> = []
    let byteOffset = SEGMENT_HEADER_BYTES
    let blockOffset = -1
    for (let index = 0; index < runs.length; index++) {
      const run = runs[index]!
      run.index = index
      run.byteOffset = byteOffset
      if (blockOffset < 0 || byteOffset + run.byteLength - blockOffset > limits.blockBytes) {
        blockOffset = byteOffset
        blockOffsets.push(blockOffset)
      }
      summaries.push(summaryOf(run))
      byteOffset += run.byteLength
    }
    blockOffsets.push(byteOffset)
    assert(byteOffset === SEGMENT_HEADER_BYTES + this.#byteLength, "the runs hold what was added")
    const tail = encodeSegmentTail({ ...identity, runs })
    return {
      chunks: chunksOf(runs, this.batchCount, tail),
      segmentBytes: byteOffset + tail.length,
      blockOffsets,
      runs: summaries,
      slotOf: slotFinder(this.#ticketRun, this.#ticketBatch)
    }
  }

  /**
   * By topic first: comparing numbers is cheaper than comparing strings, and a segment has more partitions than topics.
   */
  #sortedRuns(): ReadonlyArray<OpenRun> {
    const runs: Array<OpenRun> = []
    for (const topicId of [...this.#topics.keys()].sort()) {
      const ofTopic = [...this.#topics.get(topicId)!.values()].sort((a, b) => a.partition - b.partition)
      for (const run of ofTopic) runs.push(run)
    }
    return runs
  }

  #runOf(entry: SegmentBatch): OpenRun {
    let partitions = this.#topics.get(entry.topicId)
    if (partitions === undefined) {
      assert(isUuid(entry.topicId), `topicId must be 32 hex digits, got ${entry.topicId}`)
      partitions = new Map()
      this.#topics.set(entry.topicId, partitions)
    }
    let run = partitions.get(entry.partition)
    if (run === undefined) {
      assertCount(entry.partition, "partition")
      run = {
        topicId: entry.topicId,
        partition: entry.partition,
        timestampType: entry.timestampType,
        chunks: [],
        summaries: [],
        index: -1,
        byteOffset: -1,
        byteLength: 0,
        offsetCount: 0,
        maxTimestampMs: Number.MIN_SAFE_INTEGER,
        crc: 0,
        batchCount: 0
      }
      partitions.set(entry.partition, run)
    }
    return run
  }
}

interface OpenRun {
  readonly topicId: Uuid
  readonly partition: number
  readonly timestampType: "create" | "append"
  readonly chunks: Array<Buffer>
  readonly summaries: Array<BatchSummary>
  batchCount: number
  /** Place among the sealed segment's runs; -1 before. */
  index: number
  byteOffset: number
  byteLength: number
  offsetCount: number
  maxTimestampMs: number
  crc: number
}

const isSound = ({ batch, summary }: SegmentBatch): boolean =>
  batch.length >= BATCH_HEADER_BYTES &&
  Number.isSafeInteger(summary.offsetCount) &&
  summary.offsetCount > 0 &&
  Number.isSafeInteger(summary.maxTimestampMs)

/** Apart from isSound, so that the message is only made where it is needed: adding is on the path of every batch. */
const refuse = ({ batch, summary }: SegmentBatch): never => {
  const { offsetCount, maxTimestampMs } = summary
  throw new AssertionFailed(
    `a batch has at least ${BATCH_HEADER_BYTES} bytes, offsets, and a time that a double holds; ` +
      `got ${batch.length} bytes, offsetCount ${offsetCount}, maxTimestampMs ${maxTimestampMs}`
  )
}

/**
 * The object's bytes. Where a segment has more chunks than one writev takes (IOV_MAX), neighbouring tiny batches are
 * gathered: with 10,000 batches of 200 bytes the copy takes 0.3 ms once, and each bucket's write 0.7 ms instead of 1.4.
 * With fewer or larger batches the copy costs more than it saves.
 */
const chunksOf = (runs: ReadonlyArray<OpenRun>, batchCount: number, tail: Buffer): ReadonlyArray<Buffer> => {
  const gatheredBytesMax = batchCount > CHUNKS_UNGATHERED_MAX ? GATHERED_BATCH_BYTES_MAX : 0
  const chunks: Array<Buffer> = [encodeSegmentHeader()]
  let tiny: Array<Buffer> = []
  for (const { chunks: batches } of runs) {
    for (let index = 0; index < batches.length; index++) {
      const batch = batches[index]!
      const isTiny = batch.length <= gatheredBytesMax
      if (isTiny) tiny.push(batch)
      if (tiny.length > 0 && (!isTiny || tiny.length === GATHERED_BATCHES_MAX)) {
        chunks.push(Buffer.concat(tiny))
        tiny = []
      }
      if (!isTiny) chunks.push(batch)
    }
  }
  if (tiny.length > 0) chunks.push(Buffer.concat(tiny))
  chunks.push(tail)
  return chunks
}

/** IOV_MAX of Linux. */
const CHUNKS_UNGATHERED_MAX = 1_024
const GATHERED_BATCH_BYTES_MAX = 512
const GATHERED_BATCHES_MAX = 1_024

const summaryOf = (run: OpenRun): RunSummary => ({
  topicId: run.topicId,
  partition: run.partition,
  byteOffset: run.byteOffset,
  byteLength: run.byteLength,
  crc: run.crc,
  timestampType: run.timestampType,
  batches: run.summaries
})

/**
 * Keeps numbers only: the batches' memory must be free once the segment is written, which is before it is committed.
 */
const slotFinder = (ticketRun: ReadonlyArray<OpenRun>, ticketBatch: ReadonlyArray<number>) => {
  const runs = Int32Array.from(ticketRun, (run) => run.index)
  return (ticket: number): BatchSlot => {
    const run = runs[ticket]
    assert(run !== undefined, `ticket ${ticket} was not given out`)
    return { run, batch: ticketBatch[ticket]! }
  }
}
