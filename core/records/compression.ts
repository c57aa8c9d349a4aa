/**
 * The five codecs of Kafka's batches [pure], synchronous, over whole buffers.
 *
 * `decompress` never yields more than the caller's bound and never allocates more than that on the word of the input:
 * lz4 frames are measured, snappy's stated lengths are checked, gzip and zstd stop at the bound. Whatever is wrong with
 * the bytes comes out as a RecordError. Both functions block the thread for as long as they take (2 to 4 ms per MiB to read, up to 30 ms to write gzip):
 * callers bound the size.
 */
import zlib from "node:zlib"
import { assertCount } from "#core/model/assert.ts"
import { CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD } from "./codec-id.ts"
import { decompressLz4Frame } from "./lz4-frame.ts"
import { loadNativeModule } from "./native-module.ts"
import { RecordError } from "./record-error.ts"
import { compressSnappy, decompressSnappy, type SnappyBlocks } from "./snappy-frame.ts"

interface Lz4Frames {
  readonly compressFrameSync: (bytes: Buffer) => Buffer
}

const snappy = loadNativeModule<SnappyBlocks>("snappy")
const lz4 = loadNativeModule<Lz4Frames>("lz4-napi")

/** zlib's own default; a good guess of the result's size saves it from growing step by step. */
const ZLIB_CHUNK_BYTES_MIN = 16 * 1024
const ZLIB_CHUNK_BYTES_MAX = 1024 * 1024

/** The codec's bytes; the input itself for `none`. Throws RecordError only for a codec that cannot be had. */
export const compress = (codec: number, bytes: Buffer): Buffer => {
  switch (codec) {
    case CODEC_NONE:
      return bytes
    case CODEC_GZIP:
      return zlib.gzipSync(bytes)
    case CODEC_SNAPPY:
      return compressSnappy(available(snappy, "snappy"), bytes)
    case CODEC_LZ4:
      return available(lz4, "lz4").compressFrameSync(bytes)
    case CODEC_ZSTD:
      return zlib.zstdCompressSync(bytes)
    default:
      throw unknownCodec(codec)
  }
}

/** At most `bytesMax` bytes, or a RecordError. The input itself for `none`, else a new buffer. */
export const decompress = (codec: number, bytes: Buffer, bytesMax: number): Buffer => {
  assertCount(bytesMax, "bytesMax")
  try {
    const plain = decompressed(codec, bytes, bytesMax)
    if (plain.length > bytesMax) throw tooLarge(bytesMax)
    return plain
  } catch (cause) {
    if (cause instanceof RecordError) throw cause
    if ((cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(bytesMax)
    throw new RecordError("corrupt-compression", `cannot decompress: ${(cause as Error).message}`)
  }
}

const decompressed = (codec: number, bytes: Buffer, bytesMax: number): Buffer => {
  switch (codec) {
    case CODEC_NONE:
      return bytes
    case CODEC_GZIP:
      return zlib.gunzipSync(bytes, zlibOptions(bytes, bytesMax))
    case CODEC_SNAPPY:
      return decompressSnappy(available(snappy, "snappy"), bytes, bytesMax)
    case CODEC_LZ4:
      return decompressLz4Frame(bytes, bytesMax)
    case CODEC_ZSTD:
      return decompressZstd(bytes, bytesMax)
    default:
      throw unknownCodec(codec)
  }
}

/** All frames, one after the other, as Java's reader takes them; Node's stops after the first and says nothing. */
const decompressZstd = (bytes: Buffer, bytesMax: number): Buffer => {
  const parts: Array<Buffer> = []
  let total = 0
  let at = 0
  while (at < bytes.length) {
    const options = { ...zlibOptions(bytes, bytesMax - total), info: true }
    // With `info` the result is not the buffer that the types promise, but the buffer and its engine.
    const result = zlib.zstdDecompressSync(bytes.subarray(at), options) as unknown as ZlibResult
    if (result.engine.bytesWritten === 0) throw new RecordError("corrupt-compression", "zstd data make no progress")
    parts.push(result.buffer)
    total += result.buffer.length
    if (total > bytesMax) throw tooLarge(bytesMax)
    at += result.engine.bytesWritten
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, total)
}

interface ZlibResult {
  readonly buffer: Buffer
  /** `bytesWritten` is what was written into the engine: the input that it took. */
  readonly engine: { readonly bytesWritten: number }
}

/** zlib wants a bound of at least one byte; the exact bound is looked at again in `decompress`. */
const zlibOptions = (bytes: Buffer, bytesMax: number): { maxOutputLength: number; chunkSize: number } => ({
  maxOutputLength: Math.max(bytesMax, 1),
  chunkSize: Math.min(Math.max(bytes.length * 4, ZLIB_CHUNK_BYTES_MIN), ZLIB_CHUNK_BYTES_MAX)
})

const available = <Module>(module: Module | undefined, codec: string): Module => {
  if (module === undefined) throw new RecordError("unsupported-codec", `${codec} is not available on this machine`)
  return module
}

const unknownCodec = (codec: number): RecordError => new RecordError("unsupported-codec", `unknown codec ${codec}`)

const tooLarge = (bytesMax: number): RecordError =>
  new RecordError("too-large", `records take more than ${bytesMax} bytes uncompressed`)
