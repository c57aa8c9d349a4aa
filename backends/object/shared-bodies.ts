/**
 * Bodies that a bucket's put threads can read: each is copied once, from its chunks into shared memory.
 *
 * The memory is lent in pieces of one size and comes back: nothing is ever freed, since nobody's garbage collector counts
 * shared memory, and each thread that saw a piece would keep it. So the pool is as large as what was on its way at once,
 * which is bounded by whoever puts (limits.putsInFlightPerBucket, limits.lateCopyBytes). The buckets of a quorum are
 * handed the same chunks and share one copy.
 */
import { assert } from "#core/model/assert.ts"

export interface SharedBody {
  /** In order; on shared memory. */
  readonly pieces: ReadonlyArray<Uint8Array>
  /** To be called once, when no thread reads it any more. */
  readonly release: () => void
}

interface Lent {
  readonly pieces: Array<Uint8Array>
  readonly memory: Array<Uint8Array>
  borrowers: number
}

const PIECE_BYTES = 512 * 1024

const lent = new WeakMap<ReadonlyArray<Uint8Array>, Lent>()
/** Whole pieces that nobody reads. */
const free: Array<Uint8Array> = []

export const lendBody = (chunks: ReadonlyArray<Uint8Array>): SharedBody => {
  let body = lent.get(chunks)
  if (body === undefined) {
    body = copyOf(chunks)
    lent.set(chunks, body)
  }
  body.borrowers++
  const borrowed = body
  return { pieces: body.pieces, release: () => giveBack(chunks, borrowed) }
}

const copyOf = (chunks: ReadonlyArray<Uint8Array>): Lent => {
  const body: Lent = { pieces: [], memory: [], borrowers: 0 }
  let piece = takePiece(body)
  let filled = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      if (filled === PIECE_BYTES) {
        body.pieces.push(piece)
        piece = takePiece(body)
        filled = 0
      }
      const taken = Math.min(chunk.length - at, PIECE_BYTES - filled)
      piece.set(taken === chunk.length ? chunk : chunk.subarray(at, at + taken), filled)
      filled += taken
      at += taken
    }
  }
  body.pieces.push(piece.subarray(0, filled))
  return body
}

const takePiece = (body: Lent): Uint8Array => {
  const piece = free.pop() ?? new Uint8Array(new SharedArrayBuffer(PIECE_BYTES))
  body.memory.push(piece)
  return piece
}

const giveBack = (chunks: ReadonlyArray<Uint8Array>, body: Lent): void => {
  assert(body.borrowers > 0, "a body is given back once by each borrower")
  body.borrowers--
  if (body.borrowers > 0) return
  lent.delete(chunks)
  free.push(...body.memory)
}
