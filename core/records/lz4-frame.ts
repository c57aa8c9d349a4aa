/**
 * Reads LZ4 frames [pure], in JavaScript: the native decoder allocates whatever a frame asks for, and was slower on the
 * batches of test/bench/records.bench.ts (350 MB/s against 435, of which measuring takes a sixth).
 *
 * A frame is measured exactly before anything is allocated, and refused when it is too large. What Kafka's Java classes
 * refuse is refused here too (dependent blocks, reserved bits, other magics): a batch that a Java consumer cannot read
 * must not be stored. As in Java, bytes after the end mark are not looked at, and the content checksum is not compared:
 * the batch has its CRC.
 *
 *   magic 0x184D2204 LE · FLG · BD · [content size 8] · header checksum 1 · blocks · end mark 0 · [content checksum 4]
 *   block: size u32 LE (bit 31: stored as it is) · bytes · [block checksum 4]
 *   bytes of a compressed block: sequences of
 *     token (literals << 4 | match - 4) · [more literals] · literals · distance u16 LE · [more match]
 *   15 in a half of the token goes on in bytes of 255 and a last, smaller one. The last sequence has literals only.
 */
import { RecordError } from "./record-error.ts"
import { xxhash32 } from "./xxhash32.ts"

const MAGIC = 0x184d2204
const AT_FLAGS = 4
const AT_DESCRIPTOR = 5
const HEADER_BYTES_MIN = 7
const FLAG_RESERVED = 0x03
const FLAG_CONTENT_CHECKSUM = 0x04
const FLAG_CONTENT_SIZE = 0x08
const FLAG_BLOCK_CHECKSUM = 0x10
const FLAG_BLOCKS_INDEPENDENT = 0x20
const DESCRIPTOR_RESERVED = 0x8f
const STORED_BIT = 0x80000000
const MATCH_BYTES_MIN = 4
/** Longer pieces are copied by a call, shorter ones byte by byte, which is faster. */
const LITERALS_BY_LOOP_MAX = 16
const MATCH_BY_LOOP_MAX = 32

/** A new buffer of at most `bytesMax` bytes. Throws RecordError where the frame is not sound or holds more. */
export const decompressLz4Frame = (frame: Buffer, bytesMax: number): Buffer => {
  const blocksAt = checkHeader(frame)
  const size = walkBlocks(frame, blocksAt, undefined)
  if (size > bytesMax) throw new RecordError("too-large", `lz4 frame holds ${size} bytes, limit ${bytesMax}`)
  const plain = Buffer.allocUnsafe(size)
  walkBlocks(frame, blocksAt, plain)
  return plain
}

/** Where the blocks begin. */
const checkHeader = (frame: Buffer): number => {
  if (frame.length < HEADER_BYTES_MIN) throw corrupt("ends within its header")
  if (frame.readUInt32LE(0) !== MAGIC) throw corrupt("has another magic")
  const flags = frame[AT_FLAGS]!
  const descriptor = frame[AT_DESCRIPTOR]!
  if ((flags & FLAG_RESERVED) !== 0 || (descriptor & DESCRIPTOR_RESERVED) !== 0) throw corrupt("has reserved bits set")
  if (flags >> 6 !== 1) throw corrupt(`has version ${flags >> 6}`)
  if ((flags & FLAG_BLOCKS_INDEPENDENT) === 0) throw corrupt("has dependent blocks, which Kafka does not support")
  if (descriptor >> 4 < 4) throw corrupt(`has block size id ${descriptor >> 4}`)
  const blocksAt = (flags & FLAG_CONTENT_SIZE) === 0 ? HEADER_BYTES_MIN : HEADER_BYTES_MIN + 8
  if (frame.length < blocksAt) throw corrupt("ends within its header")
  const checksum = (xxhash32(frame, AT_FLAGS, blocksAt - 1) >>> 8) & 0xff
  if (frame[blocksAt - 1] !== checksum) throw corrupt("has a wrong header checksum")
  return blocksAt
}

/** Measures the blocks and checks their checksums, or unfolds them into `plain`. Returns their size in all. */
const walkBlocks = (frame: Buffer, blocksAt: number, plain: Buffer | undefined): number => {
  const flags = frame[AT_FLAGS]!
  const blockBytesMax = 1 << (2 * (frame[AT_DESCRIPTOR]! >> 4) + 8)
  const checksumBytes = (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4
  let at = blocksAt
  let total = 0
  for (;;) {
    if (frame.length - at < 4) throw corrupt("ends without its end mark")
    const word = frame.readUInt32LE(at)
    const size = word % STORED_BIT
    const start = at + 4
    const end = start + size
    if (size === 0) {
      const isCut = (flags & FLAG_CONTENT_CHECKSUM) !== 0 && frame.length - start < 4
      if (isCut) throw corrupt("ends without its checksum")
      return total
    }
    if (size > blockBytesMax) throw corrupt(`has a block of ${size} bytes, more than its ${blockBytesMax}`)
    if (end + checksumBytes > frame.length) throw corrupt("ends within a block")
    const isStored = word >= STORED_BIT
    if (plain === undefined) {
      const isRotten = checksumBytes > 0 && frame.readUInt32LE(end) !== xxhash32(frame, start, end)
      if (isRotten) throw corrupt("has a wrong block checksum")
      total += isStored ? size : measureBlock(frame, start, end, blockBytesMax)
    } else if (isStored) {
      total += frame.copy(plain, total, start, end)
    } else {
      total = unfoldBlock(frame, start, end, plain, total)
    }
    at = end + checksumBytes
  }
}

/** Size of a block once unfolded; throws where a piece of it lies outside it. */
const measureBlock = (frame: Buffer, start: number, end: number, blockBytesMax: number): number => {
  let at = start
  let total = 0
  for (;;) {
    if (at >= end) throw corrupt("has a block that ends within a sequence")
    const token = frame[at++]!
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255 && at < end) literals += more = frame[at++]!
    }
    at += literals
    total += literals
    if (at === end) break
    if (end - at < 2) throw corrupt("has a block that ends within a sequence")
    const distance = frame[at]! | (frame[at + 1]! << 8)
    if (distance === 0 || distance > total) throw corrupt("copies bytes from before its block")
    at += 2
    let match = token & 15
    if (match === 15) {
      let more = 255
      while (more === 255 && at < end) match += more = frame[at++]!
    }
    total += match + MATCH_BYTES_MIN
  }
  if (total > blockBytesMax) throw corrupt(`unfolds a block to ${total} bytes, more than its ${blockBytesMax}`)
  return total
}

/** A block that was measured: nothing in it is checked again. Returns where the next one goes in `plain`. */
const unfoldBlock = (frame: Buffer, start: number, end: number, plain: Buffer, plainAt: number): number => {
  let at = start
  let out = plainAt
  for (;;) {
    const token = frame[at++]!
    let literals = token >> 4
    if (literals === 15) {
      let more = 255
      while (more === 255) literals += more = frame[at++]!
    }
    if (literals > LITERALS_BY_LOOP_MAX) {
      out += frame.copy(plain, out, at, at + literals)
      at += literals
    } else {
      for (const stop = at + literals; at < stop;) plain[out++] = frame[at++]!
    }
    if (at >= end) return out
    const distance = frame[at]! | (frame[at + 1]! << 8)
    at += 2
    let match = (token & 15) + MATCH_BYTES_MIN
    if (match === 15 + MATCH_BYTES_MIN) {
      let more = 255
      while (more === 255) match += more = frame[at++]!
    }
    let from = out - distance
    if (match > MATCH_BY_LOOP_MAX && distance >= match) {
      plain.copyWithin(out, from, from + match)
      out += match
    } else {
      // Byte by byte, in order: a match may overlap what it produces.
      for (const stop = out + match; out < stop;) plain[out++] = plain[from++]!
    }
  }
}

const corrupt = (what: string): RecordError => new RecordError("corrupt-compression", `lz4 frame ${what}`)
