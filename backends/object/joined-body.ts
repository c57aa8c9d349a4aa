/**
 * Bodies of puts as one buffer with its checksum: what HTTP clients of object stores want.
 *
 * Joining costs a copy (8 MiB of 64 KiB chunks: about 2 ms) and, while puts are under way, once the segment's memory; so
 * the buckets of a quorum, which are handed the same chunks at the same time, share one. Shared only while somebody
 * borrows: the port lets chunks change when no put of them is under way. A single chunk is used as it is.
 */
import { crc32c } from "#core/records/crc32c.ts"
import { bytesOf } from "./chunk-bytes.ts"

export interface JoinedBody {
  readonly bytes: Buffer
  /** CRC-32C, big-endian in base64, as S3 and Google write it. */
  readonly crc32c: string
  /** To be called once, when the put has ended. */
  readonly release: () => void
}

interface Lent {
  readonly bytes: Buffer
  readonly crc32c: string
  borrowers: number
}

const lent = new WeakMap<ReadonlyArray<Uint8Array>, Lent>()

export const joinBody = (chunks: ReadonlyArray<Uint8Array>): JoinedBody => {
  let body = lent.get(chunks)
  if (body === undefined) {
    const bytes = joined(chunks)
    body = { bytes, crc32c: base64OfCrc(crc32c(bytes)), borrowers: 0 }
    lent.set(chunks, body)
  }
  body.borrowers++
  const borrowed = body
  return {
    bytes: body.bytes,
    crc32c: body.crc32c,
    release: () => {
      if (--borrowed.borrowers === 0) lent.delete(chunks)
    }
  }
}

export const base64OfCrc = (crc: number): string => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString("base64")
}

const joined = (chunks: ReadonlyArray<Uint8Array>): Buffer => {
  const [only] = chunks
  if (only !== undefined && chunks.length === 1) return Buffer.from(only.buffer, only.byteOffset, only.byteLength)
  const bytes = Buffer.allocUnsafeSlow(bytesOf(chunks))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}
