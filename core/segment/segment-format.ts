/**
 * The segment object, byte by byte [pure].
 *
 * One immutable object holds the record batches of many topic-partitions. Every partition's batches lie together (its
 * "run"), so that one range GET reads a partition, and neighbouring runs can be read together. What is known only when
 * the last batch has come stands behind the data, so that an agent writes without rewinding, and readers start from the
 * end: one suffix GET of SEGMENT_TAIL_BYTES brings the trailer and nearly always the whole footer.
 *
 *   header   8 bytes   magic "MSEG" · version u8 · 3 zero bytes
 *   data               batches as the clients sent them; runs ascending by (topicId, partition), no gaps between them;
 *                      within a run the order of arrival
 *   footer   64 bytes a run, in the order of the data:
 *              0  16  topicId
 *             16   4  partition i32
 *             20   1  timestampType: 0 create, 1 append
 *             21   3  zero
 *             24   8  byteOffset i64, from the object's first byte
 *             32   8  byteLength i64
 *             40   8  offsetCount i64: sum of lastOffsetDelta + 1 of its batches
 *             48   8  maxTimestampMs i64: largest of its batches, -1 where none has one
 *             56   4  batchCount u32
 *             60   4  crc u32: CRC-32C of the run's bytes as stored
 *   trailer 64 bytes
 *              0   8  footerOffset i64 (also where the data end)
 *              8   4  footerBytes u32
 *             12   4  runCount u32
 *             16  16  segmentId
 *             32   8  createdAtMs i64
 *             40   8  zero
 *             48   1  version u8, as in the header
 *             49   3  zero
 *             52   4  crc u32: CRC-32C of header, footer and the trailer up to here
 *             56   8  magic "MSEGTAIL"
 *
 * All numbers are big endian. The last 16 bytes (version to magic) keep their place in every later version: a reader
 * finds out from them what it holds. Policy: a writer writes the newest version N; a reader accepts N and N-1, so that
 * agents of neighbouring releases can run side by side. Version 1 is the first.
 *
 * Invariant: whatever decodeFooter accepts is whole and consistent; it is total over hostile bytes: it answers, or
 * throws SegmentFormatError, and allocates no more than the bytes it was given warrant. It does not look at the data:
 * whoever reads a run checks the run's own CRC.
 */
import { BATCH_HEADER_BYTES, readInt64, writeInt64 } from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { AssertionFailed, assert, assertCount } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid, isUuid } from "#core/model/uuid.ts"

export const SEGMENT_VERSION = 1
export const SEGMENT_HEADER_BYTES = 8
export const SEGMENT_RUN_ENTRY_BYTES = 64
export const SEGMENT_TRAILER_BYTES = 64
/** What a reader should ask for first: the trailer and the footer of up to 1023 runs. */
export const SEGMENT_TAIL_BYTES = 64 * 1024

/** A run as the footer knows it. */
export interface SegmentRun {
  readonly topicId: Uuid
  readonly partition: number
  readonly timestampType: "create" | "append"
  /** From the segment's first byte. */
  readonly byteOffset: number
  readonly byteLength: number
  readonly batchCount: number
  readonly offsetCount: number
  readonly maxTimestampMs: number
  readonly crc: number
}

export interface SegmentIndex {
  readonly version: number
  readonly segmentId: Uuid
  readonly createdAtMs: number
  /** Where the footer begins: the end of the data. */
  readonly footerOffset: number
  readonly objectBytes: number
  /** Ascending by (topicId, partition) and by byteOffset; without gaps from the header to the footer. */
  readonly runs: ReadonlyArray<SegmentRun>
}

/** `need-more`: call again with the object's bytes from `offset` to its end. */
export type FooterResult =
  | { readonly kind: "index"; readonly index: SegmentIndex }
  | { readonly kind: "need-more"; readonly offset: number }

export type SegmentFault =
  /** Shorter than header and trailer: not a segment, or cut. */
  | "too-short"
  /** The header's magic is missing: not a segment. */
  | "bad-header"
  /** The last bytes are not a trailer: not a segment, or cut. */
  | "bad-trailer"
  /** Written by a release that this one does not understand. */
  | "unknown-version"
  /** The checksum over header, footer and trailer does not match. */
  | "bad-checksum"
  /** The checksum matches, but what it covers contradicts itself. */
  | "inconsistent"

export class SegmentFormatError extends Error {
  override readonly name = "SegmentFormatError"
  readonly fault: SegmentFault

  constructor(fault: SegmentFault, message: string) {
    super(message)
    this.fault = fault
  }
}

/** Header of the newest version, in a new buffer. */
export const encodeSegmentHeader = (): Buffer => Buffer.from(HEADER)

/** Throws unless the object's first bytes are the header of a version that this release reads. */
export const checkSegmentHeader = (firstBytes: Buffer): void => {
  if (firstBytes.length < SEGMENT_HEADER_BYTES) {
    throw new SegmentFormatError("too-short", `a segment has a header of ${SEGMENT_HEADER_BYTES} bytes`)
  }
  if (firstBytes.compare(HEADER, 0, 4, 0, 4) !== 0) {
    throw new SegmentFormatError("bad-header", `the first bytes are not "${HEADER_MAGIC}": not a segment`)
  }
  checkVersion(firstBytes[4]!)
  if (firstBytes.compare(HEADER, 5, 8, 5, 8) !== 0) {
    throw new SegmentFormatError("bad-header", "header bytes 5 to 7 must be zero")
  }
}

/**
 * Footer and trailer in one new buffer, to stand directly behind the data. The runs must be in order and without gaps.
 */
export const encodeSegmentTail = (options: {
  readonly segmentId: Uuid
  readonly createdAtMs: number
  readonly runs: ReadonlyArray<SegmentRun>
}): Buffer => {
  const { segmentId, createdAtMs, runs } = options
  assert(isUuid(segmentId), `segmentId must be 32 hex digits, got ${segmentId}`)
  assertCount(createdAtMs, "createdAtMs")
  assert(runs.length > 0 && runs.length <= limits.segmentBatchesMax, `a segment cannot have ${runs.length} runs`)
  const footerBytes = runs.length * SEGMENT_RUN_ENTRY_BYTES
  const tail = Buffer.alloc(footerBytes + SEGMENT_TRAILER_BYTES)
  let footerOffset = SEGMENT_HEADER_BYTES
  for (let index = 0; index < runs.length; index++) {
    const run = runs[index]!
    const fault = runFault(run, index === 0 ? undefined : runs[index - 1], footerOffset)
    if (fault !== undefined) throw new AssertionFailed(`run ${index}: ${fault}`)
    writeRun(tail, index * SEGMENT_RUN_ENTRY_BYTES, run)
    footerOffset += run.byteLength
  }
  writeInt64(tail, footerOffset, footerBytes)
  tail.writeUInt32BE(footerBytes, footerBytes + 8)
  tail.writeUInt32BE(runs.length, footerBytes + 12)
  tail.write(segmentId, footerBytes + 16, 16, "hex")
  writeInt64(tail, createdAtMs, footerBytes + 32)
  tail[footerBytes + 48] = SEGMENT_VERSION
  tail.writeUInt32BE(tailChecksum(SEGMENT_VERSION, tail), footerBytes + TRAILER_CRC_AT)
  tail.write(TRAILER_MAGIC, footerBytes + TRAILER_MAGIC_AT, "latin1")
  return tail
}

/** The index of a segment of `objectBytes` bytes, from its last bytes (any number of them). */
export const decodeFooter = (tailBytes: Buffer, objectBytes: number): FooterResult => {
  assertCount(objectBytes, "objectBytes")
  assert(tailBytes.length <= objectBytes, `a tail of ${tailBytes.length} bytes in an object of ${objectBytes}`)
  if (objectBytes < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES) {
    throw new SegmentFormatError("too-short", `${objectBytes} bytes are too short for a segment`)
  }
  if (tailBytes.length < SEGMENT_TRAILER_BYTES) {
    return { kind: "need-more", offset: objectBytes - SEGMENT_TRAILER_BYTES }
  }
  const trailer = tailBytes.subarray(tailBytes.length - SEGMENT_TRAILER_BYTES)
  if (trailer.toString("latin1", TRAILER_MAGIC_AT) !== TRAILER_MAGIC) {
    throw new SegmentFormatError(
      "bad-trailer",
      `the last bytes are not "${TRAILER_MAGIC}": not a segment, or cut short`
    )
  }
  const version = trailer[48]!
  checkVersion(version)
  const footerOffset = checkFooterPlace(trailer, objectBytes)
  const bytesFromFooter = objectBytes - footerOffset
  if (tailBytes.length < bytesFromFooter) return { kind: "need-more", offset: footerOffset }
  const tail = tailBytes.subarray(tailBytes.length - bytesFromFooter)
  const stored = trailer.readUInt32BE(TRAILER_CRC_AT)
  const computed = tailChecksum(version, tail)
  if (stored !== computed) {
    throw new SegmentFormatError(
      "bad-checksum",
      `footer and trailer have CRC-32C ${hex32(computed)}, not ${hex32(stored)}`
    )
  }
  return { kind: "index", index: readIndex(tail, version, footerOffset, objectBytes) }
}

const HEADER_MAGIC = "MSEG"
const TRAILER_MAGIC = "MSEGTAIL"
const TRAILER_CRC_AT = 52
const TRAILER_MAGIC_AT = 56
const headerOf = (version: number): Buffer => {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  header.write(HEADER_MAGIC, 0, "latin1")
  header[4] = version
  return header
}
const HEADER = headerOf(SEGMENT_VERSION)

const checkVersion = (version: number): void => {
  // N and N-1; version 0 never was.
  if (version < Math.max(1, SEGMENT_VERSION - 1) || version > SEGMENT_VERSION) {
    throw new SegmentFormatError(
      "unknown-version",
      `segment version ${version}; this release reads up to ${SEGMENT_VERSION}: update the agent`
    )
  }
}

/** Checks the trailer's arithmetic before anything is read or allocated by it, and answers where the footer begins. */
const checkFooterPlace = (trailer: Buffer, objectBytes: number): number => {
  const footerOffset = readInt64(trailer, 0)
  const footerBytes = trailer.readUInt32BE(8)
  const runCount = trailer.readUInt32BE(12)
  if (runCount === 0 || runCount > limits.segmentBatchesMax) {
    throw new SegmentFormatError(
      "inconsistent",
      `trailer: ${runCount} runs, allowed are 1 to ${limits.segmentBatchesMax}`
    )
  }
  if (footerBytes !== runCount * SEGMENT_RUN_ENTRY_BYTES) {
    throw new SegmentFormatError("inconsistent", `trailer: a footer of ${footerBytes} bytes for ${runCount} runs`)
  }
  if (footerOffset < SEGMENT_HEADER_BYTES || footerOffset !== objectBytes - SEGMENT_TRAILER_BYTES - footerBytes) {
    throw new SegmentFormatError(
      "inconsistent",
      `trailer: footer at ${footerOffset} in an object of ${objectBytes} bytes`
    )
  }
  return footerOffset
}

const readIndex = (tail: Buffer, version: number, footerOffset: number, objectBytes: number): SegmentIndex => {
  const trailer = tail.subarray(tail.length - SEGMENT_TRAILER_BYTES)
  const runCount = trailer.readUInt32BE(12)
  const createdAtMs = readInt64(trailer, 32)
  if (!isCount(createdAtMs)) throw new SegmentFormatError("inconsistent", `trailer: createdAtMs ${createdAtMs}`)
  if (!isZero(trailer, 40, 48) || !isZero(trailer, 49, 52)) {
    throw new SegmentFormatError("inconsistent", "trailer: reserved bytes are not zero")
  }
  const runs: Array<SegmentRun> = []
  let byteOffset = SEGMENT_HEADER_BYTES
  for (let index = 0; index < runCount; index++) {
    const run = readRun(tail, index * SEGMENT_RUN_ENTRY_BYTES, index)
    const fault = runFault(run, runs[index - 1], byteOffset)
    if (fault !== undefined) throw new SegmentFormatError("inconsistent", `footer, run ${index}: ${fault}`)
    runs.push(run)
    byteOffset += run.byteLength
  }
  if (byteOffset !== footerOffset) {
    throw new SegmentFormatError("inconsistent", `footer: the runs end at ${byteOffset}, the data at ${footerOffset}`)
  }
  return { version, segmentId: trailer.toString("hex", 16, 32), createdAtMs, footerOffset, objectBytes, runs }
}

/** What is wrong with a run behind `previous`, whose bytes should begin at `byteOffset`; undefined where nothing is. */
const runFault = (run: SegmentRun, previous: SegmentRun | undefined, byteOffset: number): string | undefined => {
  if (!isUuid(run.topicId)) return "topicId must be 32 hex digits"
  if (!isCount(run.partition) || run.partition > 0x7fffffff) return `partition ${run.partition}`
  if (!isCount(run.batchCount) || run.batchCount === 0) return `batchCount ${run.batchCount}`
  if (run.batchCount > limits.segmentBatchesMax) return `batchCount ${run.batchCount}`
  if (!isCount(run.byteLength) || run.byteLength < run.batchCount * BATCH_HEADER_BYTES) {
    return `byteLength ${run.byteLength} of ${run.batchCount} batches`
  }
  if (!isCount(run.offsetCount) || run.offsetCount < run.batchCount) return `offsetCount ${run.offsetCount}`
  if (!Number.isSafeInteger(run.maxTimestampMs)) return `maxTimestampMs ${run.maxTimestampMs}`
  if (run.byteOffset !== byteOffset) return `byteOffset ${run.byteOffset}, the run before it ends at ${byteOffset}`
  if (previous !== undefined && !isBefore(previous, run)) return "not in order of topicId and partition"
  return undefined
}

const isBefore = (a: SegmentRun, b: SegmentRun): boolean =>
  a.topicId < b.topicId || (a.topicId === b.topicId && a.partition < b.partition)

const writeRun = (into: Buffer, at: number, run: SegmentRun): void => {
  into.write(run.topicId, at, 16, "hex")
  into.writeInt32BE(run.partition, at + 16)
  into[at + 20] = run.timestampType === "append" ? 1 : 0
  writeInt64(into, run.byteOffset, at + 24)
  writeInt64(into, run.byteLength, at + 32)
  writeInt64(into, run.offsetCount, at + 40)
  writeInt64(into, run.maxTimestampMs, at + 48)
  into.writeUInt32BE(run.batchCount, at + 56)
  into.writeUInt32BE(run.crc, at + 60)
}

const readRun = (from: Buffer, at: number, index: number): SegmentRun => {
  const type = from[at + 20]!
  if (type > 1) throw new SegmentFormatError("inconsistent", `footer, run ${index}: timestampType ${type}`)
  if (!isZero(from, at + 21, at + 24)) {
    throw new SegmentFormatError("inconsistent", `footer, run ${index}: reserved bytes are not zero`)
  }
  return {
    topicId: from.toString("hex", at, at + 16),
    partition: from.readInt32BE(at + 16),
    timestampType: type === 1 ? "append" : "create",
    byteOffset: readInt64(from, at + 24),
    byteLength: readInt64(from, at + 32),
    offsetCount: readInt64(from, at + 40),
    maxTimestampMs: readInt64(from, at + 48),
    batchCount: from.readUInt32BE(at + 56),
    crc: from.readUInt32BE(at + 60)
  }
}

/** CRC-32C of the version's header, then the footer and the trailer up to the checksum itself. */
const tailChecksum = (version: number, tail: Buffer): number =>
  crc32c(tail.subarray(0, tail.length - SEGMENT_TRAILER_BYTES + TRAILER_CRC_AT), crc32c(headerOf(version)))

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

const isZero = (bytes: Buffer, from: number, to: number): boolean => {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false
  return true
}

const hex32 = (value: number): string => value.toString(16).padStart(8, "0")
