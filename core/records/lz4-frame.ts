/**
 * How large an LZ4 frame becomes, found without decompressing it [pure].
 *
 * The native decoder allocates whatever a frame asks for, so the frame is measured first and refused when it is too
 * large. What Kafka's Java classes refuse is refused here too (dependent blocks, reserved bits, other magics): a batch
 * that a Java consumer cannot read must not be stored.
 *
 *   magic 0x184D2204 LE · FLG · BD · [content size 8] · header checksum 1 · blocks · end mark 0 · [content checksum 4]
 *   block: size u32 LE (bit 31: stored as it is) · bytes · [block checksum 4]
 */
import { RecordError } from "./record-error.ts"

const MAGIC = 0x184d2204
const HEADER_BYTES_MIN = 7
const FLAG_RESERVED = 0x03
const FLAG_CONTENT_SIZE = 0x08
const FLAG_BLOCK_CHECKSUM = 0x10
const FLAG_BLOCKS_INDEPENDENT = 0x20
const STORED_BIT = 0x80000000
/** One compressed byte adds at most 255 bytes of output. */
const EXPANSION_MAX = 255

/**
 * Throws RecordError unless the frame is whole, readable by Java clients, and at most `bytesMax` uncompressed. Bytes
 * after the frame's end mark are not looked at, as in Java.
 */
export const checkLz4Frame = (frame: Buffer, bytesMax: number): void => {
  const blockBytesMax = checkHeader(frame)
  if (measureFrame(frame, blockBytesMax, boundOfBlock) <= bytesMax) return
  // The bound is crude for blocks that are not full; only a frame that looks too large is worth a walk.
  if (measureFrame(frame, blockBytesMax, lengthOfBlock) > bytesMax) {
    throw new RecordError("too-large", `lz4 frame holds more than ${bytesMax} bytes`)
  }
}

type BlockMeasure = (frame: Buffer, start: number, end: number, blockBytesMax: number) => number

/** Returns the largest uncompressed size of a block. */
const checkHeader = (frame: Buffer): number => {
  if (frame.length < HEADER_BYTES_MIN) throw corrupt("ends within its header")
  if (frame.readUInt32LE(0) !== MAGIC) throw corrupt("has another magic")
  const flags = frame[4]!
  const descriptor = frame[5]!
  const blockSizeId = (descriptor >> 4) & 7
  if ((flags & FLAG_RESERVED) !== 0 || (descriptor & 0x8f) !== 0) throw corrupt("has reserved bits set")
  if (flags >> 6 !== 1) throw corrupt(`has version ${flags >> 6}`)
  if ((flags & FLAG_BLOCKS_INDEPENDENT) === 0) throw corrupt("has dependent blocks, which Kafka does not support")
  if (blockSizeId < 4) throw corrupt(`has block size id ${blockSizeId}`)
  return 1 << (2 * blockSizeId + 8)
}

const measureFrame = (frame: Buffer, blockBytesMax: number, measure: BlockMeasure): number => {
  const flags = frame[4]!
  const checksumBytes = (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4
  let at = (flags & FLAG_CONTENT_SIZE) === 0 ? HEADER_BYTES_MIN : HEADER_BYTES_MIN + 8
  let total = 0
  for (;;) {
    if (frame.length - at < 4) throw corrupt("ends without its end mark")
    const word = frame.readUInt32LE(at)
    const size = word & ~STORED_BIT
    if (size === 0) return total
    const start = at + 4
    if (size > blockBytesMax) throw corrupt(`has a block of ${size} bytes, more than its ${blockBytesMax}`)
    if (size + checksumBytes > frame.length - start) throw corrupt("ends within a block")
    total += word >= STORED_BIT ? size : measure(frame, start, start + size, blockBytesMax)
    at = start + size + checksumBytes
  }
}

const boundOfBlock: BlockMeasure = (_frame, start, end, blockBytesMax) =>
  Math.min(blockBytesMax, (end - start) * EXPANSION_MAX)

/** Adds up the literals and matches of a block, without producing them. */
const lengthOfBlock: BlockMeasure = (frame, start, end) => {
  let at = start
  let total = 0
  while (at < end) {
    const token = frame[at++]!
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255 && at < end) literals += more = frame[at++]!
    }
    total += literals
    at += literals
    if (at >= end) break
    at += 2
    let match = (token & 15) + 4
    if ((token & 15) === 15) {
      let more = 255
      while (more === 255 && at < end) match += more = frame[at++]!
    }
    total += match
  }
  return total
}

const corrupt = (what: string): RecordError => new RecordError("corrupt-compression", `lz4 frame ${what}`)
