/**
 * Bodies that a bucket's put threads can read: each is copied once, from its chunks into shared memory.
 *
 * The memory is lent and comes back: fresh memory for every body would cost the kernel more than the copy, and a thread
 * would keep it alive until its own garbage collection. The buckets of a quorum are handed the same chunks and share one
 * copy. What is lent beyond the bound is fresh and not kept.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"

export interface SharedBody {
  /** On a SharedArrayBuffer. */
  readonly bytes: Uint8Array
  /** To be called once, when no thread reads it any more. */
  readonly release: () => void
}

interface Lent {
  readonly memory: SharedArrayBuffer
  readonly byteLength: number
  borrowers: number
}

/** Sizes are powers of two from here on, so that a returned piece fits the next body. */
const PIECE_BYTES_MIN = 64 * 1024

const lent = new WeakMap<ReadonlyArray<Uint8Array>, Lent>()
/** Returned pieces by size. */
const free = new Map<number, Array<SharedArrayBuffer>>()
let pooledBytes = 0

export const lendBody = (chunks: ReadonlyArray<Uint8Array>): SharedBody => {
  let body = lent.get(chunks)
  if (body === undefined) {
    body = copyOf(chunks)
    lent.set(chunks, body)
  }
  body.borrowers++
  const borrowed = body
  return { bytes: new Uint8Array(body.memory, 0, body.byteLength), release: () => giveBack(chunks, borrowed) }
}

const copyOf = (chunks: ReadonlyArray<Uint8Array>): Lent => {
  const byteLength = bytesOf(chunks)
  const memory = take(byteLength)
  const target = new Uint8Array(memory)
  let at = 0
  for (const chunk of chunks) {
    target.set(chunk, at)
    at += chunk.length
  }
  return { memory, byteLength, borrowers: 0 }
}

const take = (byteLength: number): SharedArrayBuffer => {
  let pieceBytes = PIECE_BYTES_MIN
  while (pieceBytes < byteLength) pieceBytes *= 2
  const returned = free.get(pieceBytes)?.pop()
  if (returned !== undefined) pooledBytes -= pieceBytes
  return returned ?? new SharedArrayBuffer(pieceBytes)
}

const giveBack = (chunks: ReadonlyArray<Uint8Array>, body: Lent): void => {
  assert(body.borrowers > 0, "a body is given back once by each borrower")
  body.borrowers--
  if (body.borrowers > 0) return
  lent.delete(chunks)
  const pieceBytes = body.memory.byteLength
  if (pooledBytes + pieceBytes > limits.sharedBodyBytesPooled) return
  pooledBytes += pieceBytes
  const pieces = free.get(pieceBytes)
  if (pieces === undefined) free.set(pieceBytes, [body.memory])
  else pieces.push(body.memory)
}
