/**
 * Chunks of a checkpoint [pure]: how its bytes lie in the database, each row of which has bounds.
 *
 * Invariant: what is joined are all chunks of one checkpoint, unchanged, in their order, or there is a CheckpointError that
 * names shard and seq. Each chunk says whose it is, so that rows that were mixed up, or written half by another program,
 * are told from each other.
 *
 *   chunk  magic "MCKP" · version u8 = 2 · shard u32 · seq u32 high, u32 low · chunk u32 · chunk count u32 · body bytes u32 ·
 *          body crc u32 (CRC-32C of the whole body) · part of the body · crc u32 (CRC-32C of all bytes before it)
 *
 * All numbers are big endian. Version 1 is read as well: its body says less of producers (checkpoint-body.ts).
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { crc32c } from "#core/records/crc32c.ts"

/** Of the chunks and of the body (checkpoint-body.ts) together: what is written. */
export const CHECKPOINT_VERSION = 2
/** What is read. */
export type CheckpointVersion = 1 | 2

const isVersion = (version: number): version is CheckpointVersion => version === 1 || version === CHECKPOINT_VERSION

const MAGIC = 0x4d434b50
const HEADER_BYTES = 4 + 1 + 7 * 4
const CRC_BYTES = 4
const FRAME_BYTES = HEADER_BYTES + CRC_BYTES

/** The chunks are no checkpoint that this program can restore: missing, damaged, mixed up, or of a newer program. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError"
  readonly shard: number
  /** As asked for or as the first chunk says; -1 where not even that can be read. */
  readonly seq: number

  constructor(at: { readonly shard: number; readonly seq: number }, why: string, cause?: unknown) {
    super(`checkpoint of shard ${at.shard} at seq ${at.seq}: ${why}`, { cause })
    this.shard = at.shard
    this.seq = at.seq
  }
}

export interface CheckpointBytes {
  readonly shard: number
  readonly seq: number
  readonly body: Uint8Array
}

/** As they were written, by this program or an older one. */
export interface CheckpointRead extends CheckpointBytes {
  readonly version: CheckpointVersion
}

export const cutChunks = (
  { shard, seq, body }: CheckpointBytes,
  chunkBytesMax: number = limits.checkpointChunkBytesMax
): ReadonlyArray<Uint8Array> => {
  const partBytesMax = chunkBytesMax - FRAME_BYTES
  const count = Math.max(1, Math.ceil(body.length / partBytesMax))
  assert(count <= limits.checkpointChunksMax, `a checkpoint has at most ${limits.checkpointChunksMax} chunks: ${count}`)
  const bodyCrc = crc32c(body)
  return Array.from({ length: count }, (_, index) => {
    const part = body.subarray(index * partBytesMax, (index + 1) * partBytesMax)
    const chunk = Buffer.allocUnsafeSlow(FRAME_BYTES + part.length)
    let at = chunk.writeUInt32BE(MAGIC, 0)
    at = chunk.writeUInt8(CHECKPOINT_VERSION, at)
    for (const value of [shard, Math.floor(seq / 2 ** 32), seq % 2 ** 32, index, count, body.length, bodyCrc]) {
      at = chunk.writeUInt32BE(value, at)
    }
    chunk.set(part, at)
    const end = chunk.length - CRC_BYTES
    chunk.writeUInt32BE(crc32c(chunk.subarray(0, end)), end)
    return chunk
  })
}

interface Header {
  readonly version: CheckpointVersion
  readonly shard: number
  readonly seq: number
  readonly index: number
  readonly count: number
  readonly bodyBytes: number
  readonly bodyCrc: number
}

/** Throws CheckpointError unless these are all chunks of one sound checkpoint of the shard (and seq, where given). */
export const joinChunks = (
  chunks: ReadonlyArray<Uint8Array>,
  expected: { readonly shard: number; readonly seq?: number }
): CheckpointRead => {
  const { shard } = expected
  const first = chunks[0] === undefined ? undefined : openChunk(chunks[0])
  const seq = expected.seq ?? (typeof first === "object" ? first.seq : -1)
  const refuse = (why: string): never => {
    throw new CheckpointError({ shard, seq }, why)
  }
  if (first === undefined) return refuse("there are no chunks")
  if (typeof first === "string") return refuse(`chunk 0: ${first}`)
  if (first.shard !== shard || first.seq !== seq) return refuse(`this is one of shard ${first.shard} at ${first.seq}`)
  if (first.count !== chunks.length) return refuse(`${chunks.length} of ${first.count} chunks`)
  const parts = chunks.map((chunk, index) => {
    const header = openChunk(chunk)
    if (typeof header === "string") return refuse(`chunk ${index}: ${header}`)
    if (header.index !== index) return refuse(`chunk ${index} is chunk ${header.index}`)
    const isOfSame =
      header.version === first.version &&
      header.shard === shard &&
      header.seq === seq &&
      header.count === first.count &&
      header.bodyBytes === first.bodyBytes &&
      header.bodyCrc === first.bodyCrc
    if (!isOfSame) return refuse(`chunk ${index} is one of another checkpoint`)
    return chunk.subarray(HEADER_BYTES, chunk.length - CRC_BYTES)
  })
  const bytes = parts.reduce((sum, part) => sum + part.length, 0)
  if (bytes !== first.bodyBytes) return refuse(`${bytes} bytes instead of ${first.bodyBytes}`)
  const body = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  if (crc32c(body) !== first.bodyCrc) return refuse("the checksum of the whole does not match")
  return { shard, seq, body, version: first.version }
}

/** What the chunk says of itself, or what is wrong with it. */
const openChunk = (bytes: Uint8Array): Header | string => {
  const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (chunk.length < FRAME_BYTES) return "cut short"
  if (chunk.readUInt32BE(0) !== MAGIC) return "this is no chunk of a checkpoint"
  const version = chunk[4]!
  if (!isVersion(version)) return `version ${version} is unknown to this program`
  const end = chunk.length - CRC_BYTES
  if (crc32c(chunk.subarray(0, end)) !== chunk.readUInt32BE(end)) return "the checksum does not match"
  const field = (index: number): number => chunk.readUInt32BE(5 + index * 4)
  const seq = field(1) * 2 ** 32 + field(2)
  if (!Number.isSafeInteger(seq)) return "its seq is above 2^53 - 1"
  return { version, shard: field(0), seq, index: field(3), count: field(4), bodyBytes: field(5), bodyCrc: field(6) }
}
