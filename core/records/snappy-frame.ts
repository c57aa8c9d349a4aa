/**
 * Snappy as Kafka's clients write it [pure]: Java wraps blocks of 32 KiB into the framing of xerial's snappy-java, others
 * write one raw block. Both are read, the Java form is written, which every client reads.
 *
 *   xerial: 0x82 "SNAPPY" 0x00 · version i32 · lowest readable version i32 · blocks: length i32 BE · raw block
 *   raw block: uncompressed length (varint, little-endian groups of seven bits) · elements
 *
 * A raw block states its uncompressed length, which the native decoder allocates: it is read and checked first.
 */
import { RecordError } from "./record-error.ts"

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = 16
const XERIAL_VERSION = 1
const XERIAL_BLOCK_BYTES = 32 * 1024
/** The densest element, a copy, takes 3 bytes and gives 64; a claim beyond that is a lie, found before allocating. */
const EXPANSION_MAX = 22
const UNCOMPRESSED_BYTES_MAX = 2 ** 32 - 1

export interface SnappyBlocks {
  readonly compressSync: (bytes: Uint8Array, options: SnappyOptions) => Buffer
  readonly uncompressSync: (bytes: Uint8Array, options: SnappyOptions) => string | Buffer
}

/** Copied into memory of V8's: buffers of the module's own memory made it six times slower (143 against 905 MB/s). */
interface SnappyOptions {
  readonly copyOutputData: boolean
}
const OPTIONS: SnappyOptions = { copyOutputData: true }

export const compressSnappy = (native: SnappyBlocks, bytes: Buffer): Buffer => {
  const header = Buffer.alloc(XERIAL_HEADER_BYTES)
  XERIAL_MAGIC.copy(header)
  header.writeInt32BE(XERIAL_VERSION, 8)
  header.writeInt32BE(XERIAL_VERSION, 12)
  const parts: Array<Buffer> = [header]
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const block = native.compressSync(bytes.subarray(at, at + XERIAL_BLOCK_BYTES), OPTIONS)
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/** Throws RecordError where the bytes are neither form, or hold more than `bytesMax`. */
export const decompressSnappy = (native: SnappyBlocks, bytes: Buffer, bytesMax: number): Buffer => {
  if (!isXerial(bytes, 0)) return decompressBlock(native, bytes, bytesMax)
  const parts: Array<Buffer> = []
  let total = 0
  let at = XERIAL_HEADER_BYTES
  while (at < bytes.length) {
    // Streams that were appended to each other repeat the header between blocks.
    if (isXerial(bytes, at)) {
      at += XERIAL_HEADER_BYTES
      continue
    }
    if (bytes.length - at < 4) throw corrupt("ends within a block length")
    const length = bytes.readInt32BE(at)
    const start = at + 4
    if (length < 0 || length > bytes.length - start) throw corrupt(`states a block of ${length} bytes at ${at}`)
    const part = decompressBlock(native, bytes.subarray(start, start + length), bytesMax - total)
    total += part.length
    parts.push(part)
    at = start + length
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, total)
}

const isXerial = (bytes: Buffer, at: number): boolean =>
  bytes.length - at >= XERIAL_HEADER_BYTES && XERIAL_MAGIC.compare(bytes, at, at + XERIAL_MAGIC.length) === 0

const decompressBlock = (native: SnappyBlocks, block: Buffer, bytesMax: number): Buffer => {
  const claimed = claimedBytes(block)
  if (claimed > block.length * EXPANSION_MAX) throw corrupt(`claims ${claimed} bytes in ${block.length}`)
  if (claimed > bytesMax) throw new RecordError("too-large", `snappy block holds ${claimed} bytes, limit ${bytesMax}`)
  return native.uncompressSync(block, OPTIONS) as Buffer
}

const claimedBytes = (block: Buffer): number => {
  let claimed = 0
  for (let at = 0; at < 5 && at < block.length; at++) {
    const byte = block[at]!
    claimed += (byte & 0x7f) * 2 ** (7 * at)
    if (byte < 0x80) {
      if (claimed > UNCOMPRESSED_BYTES_MAX) break
      return claimed
    }
  }
  throw corrupt("has no valid length")
}

const corrupt = (what: string): RecordError => new RecordError("corrupt-compression", `snappy data ${what}`)
