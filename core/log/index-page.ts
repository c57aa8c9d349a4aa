/**
 * The bytes of index pages [pure]: where a stretch of one partition's records is, for what no fold holds any more.
 *
 * Invariants: a page is cut from runs in their order, so the same runs give the same pages, whoever cuts them. A page that
 * is cut short, damaged, from a newer program, or lies under another partition's or offset's key gives an EntryError, never
 * a part of its runs.
 *
 *   page  version u8 = 1 · topic id (16 bytes) · partition · base offset · run count · runs (run-codec.ts) · crc u32 (big
 *         endian, CRC-32C of all bytes before it)
 *
 * Numbers without a size are varints (entry-bytes.ts).
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type IndexPage } from "#core/ports/metadata-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { EntryError, EntryReader, EntryWriter } from "./entry-bytes.ts"
import { type RunRef } from "./fold.ts"
import { RUN_BYTES_MIN, RunReader, RunWriter } from "./run-codec.ts"
import { RunTable } from "./run-table.ts"

export const INDEX_PAGE_VERSION = 1

const CRC_BYTES = 4
/** Version, topic id, three varints, checksum. */
const FRAME_BYTES_MAX = 1 + 16 + 3 * 8 + CRC_BYTES

export interface PageRuns {
  readonly topicId: Uuid
  readonly partition: number
  readonly runCount: number
  /** 0 <= index < runCount, ascending by offset, without gaps. */
  readonly run: (index: number) => RunRef
}

export interface DecodedPage {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly maxTimestampMs: number
  readonly runs: RunTable
  /** What it holds of memory, about. */
  readonly memoryBytes: number
}

export interface EncodedPage {
  readonly page: IndexPage
  /** Runs that it holds: the next page begins behind them. */
  readonly runCount: number
}

/** The page that begins at the run: at most so many runs, as many as fit into limits.indexPageBytesMax. */
export const encodeIndexPage = (
  { topicId, partition, runCount: runsThere, run: runAt }: PageRuns,
  first: number,
  pageRuns: number = limits.indexPageRuns
): EncodedPage => {
  const runsMax = Math.min(pageRuns, runsThere - first)
  const body = new EntryWriter()
  const writer = new RunWriter(body)
  const { baseOffset } = runAt(first)
  let nextOffset = baseOffset
  let maxTimestampMs = Number.NEGATIVE_INFINITY
  let runCount = 0
  let bodyBytes = 0
  while (runCount < runsMax) {
    const run = runAt(first + runCount)
    assert(run.baseOffset === nextOffset, "runs of a page leave no gap")
    writer.run(run)
    if (FRAME_BYTES_MAX + body.byteLength > limits.indexPageBytesMax) break
    bodyBytes = body.byteLength
    nextOffset = run.nextOffset
    maxTimestampMs = Math.max(maxTimestampMs, run.maxTimestampMs)
    runCount += 1
  }
  assert(runCount > 0, "one run fits into a page")
  const head = new EntryWriter()
  head.u8(INDEX_PAGE_VERSION)
  head.uuid(topicId)
  head.varint(partition)
  head.varint(baseOffset)
  head.varint(runCount)
  const bytes = Buffer.allocUnsafeSlow(head.byteLength + bodyBytes + CRC_BYTES)
  head.written().copy(bytes)
  body.written().copy(bytes, head.byteLength, 0, bodyBytes)
  const end = bytes.length - CRC_BYTES
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, end)), end)
  return { page: { topicId, partition, baseOffset, nextOffset, maxTimestampMs, page: bytes }, runCount }
}

/** Some 250 bytes of a segment's description and 50 of a run's columns. */
const SEGMENT_MEMORY_BYTES = 250
const RUN_MEMORY_BYTES = 50
const PAGE_MEMORY_BYTES = 500

/** Throws EntryError unless the row is exactly one sound page of what its columns say. */
export const decodeIndexPage = (row: IndexPage): DecodedPage => {
  const reader = openPage(row)
  const runs = new RunTable()
  const runReader = new RunReader(reader)
  let nextOffset = row.baseOffset
  let seqBefore = 0
  let maxTimestampMs = Number.NEGATIVE_INFINITY
  for (let left = reader.count("runs", RUN_BYTES_MIN); left > 0; left -= 1) {
    const run = runReader.run(nextOffset)
    if (run.segment.seq < seqBefore) reader.fail("runs are not in the order of their entries")
    seqBefore = run.segment.seq
    runs.add(run)
    nextOffset = run.nextOffset
    maxTimestampMs = Math.max(maxTimestampMs, run.maxTimestampMs)
  }
  if (reader.byteOffset !== row.page.length - CRC_BYTES) reader.fail("bytes are left over after the runs")
  if (runs.runCount === 0 || nextOffset !== row.nextOffset) reader.fail(`its records end at offset ${nextOffset}`)
  if (maxTimestampMs !== row.maxTimestampMs) reader.fail(`its largest timestamp is ${maxTimestampMs}`)
  const memoryBytes =
    PAGE_MEMORY_BYTES + runs.runCount * RUN_MEMORY_BYTES + runReader.segmentCount * SEGMENT_MEMORY_BYTES
  return { baseOffset: row.baseOffset, nextOffset, maxTimestampMs, runs, memoryBytes }
}

/** Checks all but the runs; the reader stands before their count. */
const openPage = ({ page: bytes, ...row }: IndexPage): EntryReader => {
  const end = bytes.length - CRC_BYTES
  if (end < 1) throw new EntryError("cut short", bytes.length, "index page")
  if (bytes[0] !== INDEX_PAGE_VERSION) {
    throw new EntryError(`version ${bytes[0]} is unknown to this program`, 0, "index page")
  }
  const expected = Buffer.from(bytes.buffer, bytes.byteOffset + end, CRC_BYTES).readUInt32BE(0)
  if (crc32c(bytes.subarray(0, end)) !== expected) {
    throw new EntryError("the checksum does not match", end, "index page")
  }
  const reader = new EntryReader(bytes, end, "index page")
  reader.u8("version")
  const topicId = reader.uuid("topic id")
  const partition = reader.varint("partition")
  const baseOffset = reader.varint("base offset")
  if (topicId !== row.topicId || partition !== row.partition || baseOffset !== row.baseOffset) {
    reader.fail(`this is the page of partition ${partition} of topic ${topicId} from offset ${baseOffset}`)
  }
  return reader
}
