/**
 * Bodies of puts as one buffer with its checksum: what HTTP clients of object stores want.
 *
 * Joining costs a copy and, while puts are under way, once the segment's memory; so the buckets of a quorum, which are
 * handed the same chunks at the same time, share one. Shared only while somebody borrows: the port lets chunks change when
 * no put of them is under way. A single chunk is used as it is.
 *
 * Large bodies are joined in memory that comes back: fresh memory costs ten times the copy, because the kernel clears
 * each page when it is touched first. What is kept for the next body is bounded (limits.joinedBytesKept). A connection
 * that was answered before it had sent all may still read from memory that another body has by now: its request was
 * refused already, and whatever it sends is not taken by a store that checks the checksum.
 */
import { crc32c } from "#core/records/crc32c.ts"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { LentBodies } from "./lent-bodies.ts"

export interface JoinedBody {
  readonly bytes: Buffer
  /** CRC-32C, big-endian in base64, as S3 and Google write it. */
  readonly crc32c: string
  /** To be called once, when the put has ended: the bytes are not to be read any more. */
  readonly release: () => void
}

interface Joined {
  readonly bytes: Buffer
  readonly crc32c: string
  /** To keep for another body; undefined where it is too small to be worth it, or the chunk's own. */
  readonly memory: Buffer | undefined
}

/** Smaller bodies take fresh memory. */
const KEPT_BYTES_MIN = 256 * 1024

/** Memory that nobody uses, the oldest first. */
const free: Array<Buffer> = []
let freeBytes = 0

export const joinBody = (chunks: ReadonlyArray<Uint8Array>): JoinedBody => {
  const { body, release } = lent.borrow(chunks)
  return { bytes: body.bytes, crc32c: body.crc32c, release }
}

export const base64OfCrc = (crc: number): string => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString("base64")
}

const joined = (chunks: ReadonlyArray<Uint8Array>): Joined => {
  const [only] = chunks
  if (only !== undefined && chunks.length === 1) {
    return summed(Buffer.from(only.buffer, only.byteOffset, only.byteLength), undefined)
  }
  const length = bytesOf(chunks)
  const memory = length < KEPT_BYTES_MIN ? undefined : takeMemory(length)
  const bytes = memory === undefined ? Buffer.allocUnsafeSlow(length) : memory.subarray(0, length)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return summed(bytes, memory)
}

const summed = (bytes: Buffer, memory: Buffer | undefined): Joined => ({
  bytes,
  crc32c: base64OfCrc(crc32c(bytes)),
  memory
})

const keep = ({ memory }: Joined): void => {
  if (memory === undefined || memory.length > limits.joinedBytesKept) return
  free.push(memory)
  freeBytes += memory.length
  while (freeBytes > limits.joinedBytesKept) freeBytes -= free.shift()!.length
}

/** Kept memory that fits without much waste, or new memory with room for bodies that are a little longer. */
const takeMemory = (length: number): Buffer => {
  const index = free.findIndex((memory) => memory.length >= length && memory.length <= 2 * length)
  if (index < 0) return Buffer.allocUnsafeSlow(length + (length >> 3))
  const [memory] = free.splice(index, 1)
  freeBytes -= memory!.length
  return memory!
}

const lent = new LentBodies(joined, keep)
