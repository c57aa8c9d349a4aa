/**
 * The bytes of runs in index pages and checkpoints [pure]: a run, and each segment and name where it first occurs.
 *
 * Invariant: what is read equals what was written, and equal runs in equal order have equal bytes. Persisted as parts of
 * index-page.ts and checkpoint.ts, whose versions cover this grammar:
 *
 *   run      segment, byte offset, byte length, crc u32, flags u8 (1: timestamps of the append, 2: has excluded batches),
 *            offset count, max timestamp ms less the segment's created at ms (signed);
 *            with flag 2 the excluded: count, then the distance from the one before less 1 each
 *   segment  its number by first occurrence; where it first occurs also: id (16 bytes), seq less that of the segment
 *            before (signed), created at ms less that of the one before (signed), bucket set, acked buckets: count, then
 *            each, segment bytes, block offsets: count, then distances, append time ms less created at ms (signed)
 *   name     its number by first occurrence; where it first occurs also the string
 *
 * Numbers without a size are varints (entry-bytes.ts). A run of a segment of its own takes some 60 bytes, of a segment that
 * occurred some 18.
 */
import { readBlockOffsets, writeBlockOffsets } from "./batch-bytes.ts"
import { type EntryReader, type EntryWriter } from "./entry-bytes.ts"
import { type RunRef, type SegmentRef } from "./fold.ts"

const FLAG_APPEND_TIME = 1
const FLAG_EXCLUDED = 2
const FLAGS_KNOWN = FLAG_APPEND_TIME | FLAG_EXCLUDED
const UINT32_MAX = 0xffffffff
const NONE: ReadonlyArray<number> = Object.freeze([])
/** The least that a run takes. */
export const RUN_BYTES_MIN = 10

export class RunWriter {
  private readonly writer: EntryWriter
  private readonly segments = new Map<SegmentRef, number>()
  private readonly names = new Map<string, number>()
  private seqBefore = 0
  private createdBeforeMs = 0

  constructor(writer: EntryWriter) {
    this.writer = writer
  }

  run(run: RunRef): void {
    const { writer } = this
    this.segment(run.segment)
    writer.varint(run.byteOffset)
    writer.varint(run.byteLength)
    writer.u32(run.crc)
    writer.u8((run.timestampType === "append" ? FLAG_APPEND_TIME : 0) | (run.excluded.length > 0 ? FLAG_EXCLUDED : 0))
    writer.varint(run.nextOffset - run.baseOffset)
    writer.signed(run.maxTimestampMs - run.segment.createdAtMs)
    if (run.excluded.length === 0) return
    writer.varint(run.excluded.length)
    let before = -1
    for (const index of run.excluded) {
      writer.varint(index - before - 1)
      before = index
    }
  }

  private segment(segment: SegmentRef): void {
    const { writer } = this
    const known = this.segments.get(segment)
    writer.varint(known ?? this.segments.size)
    if (known !== undefined) return
    this.segments.set(segment, this.segments.size)
    writer.uuid(segment.segmentId)
    writer.signed(segment.seq - this.seqBefore)
    writer.signed(segment.createdAtMs - this.createdBeforeMs)
    this.seqBefore = segment.seq
    this.createdBeforeMs = segment.createdAtMs
    this.name(segment.bucketSet)
    writer.varint(segment.ackedBuckets.length)
    for (const bucket of segment.ackedBuckets) this.name(bucket)
    writer.varint(segment.segmentBytes)
    writeBlockOffsets(writer, segment.blockOffsets)
    writer.signed(segment.appendTimeMs - segment.createdAtMs)
  }

  private name(name: string): void {
    const known = this.names.get(name)
    this.writer.varint(known ?? this.names.size)
    if (known !== undefined) return
    this.names.set(name, this.names.size)
    this.writer.string(name)
  }
}

export class RunReader {
  private readonly reader: EntryReader
  private readonly segments: Array<SegmentRef> = []
  private readonly names: Array<string> = []
  /** Bucket lists that occurred: nearly all segments have the same few. */
  private readonly bucketLists = new Map<string, ReadonlyArray<string>>()
  private seqBefore = 0
  private createdBeforeMs = 0

  constructor(reader: EntryReader) {
    this.reader = reader
  }

  get segmentCount(): number {
    return this.segments.length
  }

  run(baseOffset: number): RunRef {
    const { reader } = this
    const segment = this.segment()
    const byteOffset = this.uint32("run's byte offset")
    const byteLength = this.uint32("run's byte length")
    const crc = reader.u32("run's crc")
    const flags = reader.u8("run's flags")
    if ((flags & ~FLAGS_KNOWN) !== 0) reader.fail(`run's flags ${flags} are unknown to this program`)
    const timestampType = (flags & FLAG_APPEND_TIME) === 0 ? "create" : "append"
    const offsetCount = reader.varint("run's offset count")
    const nextOffset = baseOffset + offsetCount
    if (offsetCount === 0 || !Number.isSafeInteger(nextOffset)) reader.fail(`a run of ${offsetCount} offsets`)
    const maxTimestampMs = segment.createdAtMs + reader.signed("run's max timestamp")
    const excluded = (flags & FLAG_EXCLUDED) === 0 ? NONE : this.excluded()
    const place = { segment, byteOffset, byteLength, crc, baseOffset, nextOffset }
    return { ...place, maxTimestampMs, timestampType, excluded }
  }

  private segment(): SegmentRef {
    const { reader } = this
    const number = reader.varint("run's segment")
    const known = this.segments[number]
    if (known !== undefined) return known
    if (number !== this.segments.length) reader.fail(`run's segment ${number} of ${this.segments.length}`)
    const segmentId = reader.uuid("segment id")
    const seq = this.seqBefore + reader.signed("segment's seq")
    if (!Number.isSafeInteger(seq) || seq < 1) reader.fail(`a segment of seq ${seq}`)
    const createdAtMs = this.createdBeforeMs + reader.signed("segment's creation time")
    if (!Number.isSafeInteger(createdAtMs) || createdAtMs < 0) reader.fail(`a segment created at ${createdAtMs}`)
    this.seqBefore = seq
    this.createdBeforeMs = createdAtMs
    const bucketSet = this.name("bucket set")
    const ackedBuckets = this.buckets()
    const segmentBytes = reader.varint("segment bytes")
    const blockOffsets = readBlockOffsets(reader)
    const appendTimeMs = createdAtMs + reader.signed("segment's append time")
    const what = { segmentId, seq, createdAtMs, bucketSet, ackedBuckets }
    const segment: SegmentRef = { ...what, segmentBytes, blockOffsets, appendTimeMs }
    this.segments.push(segment)
    return segment
  }

  private buckets(): ReadonlyArray<string> {
    const buckets: Array<string> = []
    for (let left = this.reader.count("acked buckets", 1); left > 0; left -= 1) buckets.push(this.name("acked bucket"))
    const key = JSON.stringify(buckets)
    const known = this.bucketLists.get(key)
    if (known !== undefined) return known
    this.bucketLists.set(key, buckets)
    return buckets
  }

  private name(field: string): string {
    const number = this.reader.varint(field)
    const known = this.names[number]
    if (known !== undefined) return known
    if (number !== this.names.length) this.reader.fail(`${field} ${number} of ${this.names.length} names`)
    const name = this.reader.string(field)
    this.names.push(name)
    return name
  }

  private excluded(): ReadonlyArray<number> {
    const excluded: Array<number> = []
    let before = -1
    for (let left = this.reader.count("excluded batches", 1); left > 0; left -= 1) {
      before += 1 + this.reader.varint("excluded batch's index")
      excluded.push(before)
    }
    if (excluded.length === 0) this.reader.fail("a run without the excluded batches that it tells of")
    return excluded
  }

  private uint32(field: string): number {
    const value = this.reader.varint(field)
    return value <= UINT32_MAX ? value : this.reader.fail(`${field} ${value} lies outside any segment`)
  }
}
