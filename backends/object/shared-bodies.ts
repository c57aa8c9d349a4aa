/**
 * Bodies that a bucket's put threads can read: each is copied once, from its chunks into shared memory.
 *
 * The memory is lent in pieces of one size and comes back: nothing is ever freed, since nobody's garbage collector counts
 * shared memory, and each thread that saw a piece would keep it. So the pool is as large as what was on its way at once,
 * which is bounded by whoever puts (limits.putsInFlightPerBucket, limits.lateCopyBytes). The buckets of a quorum are
 * handed the same chunks and share one copy.
 */
import { LentBodies } from "./lent-bodies.ts"

export interface SharedBody {
  /** In order; on shared memory. */
  readonly pieces: ReadonlyArray<Uint8Array>
  /** To be called once, when no thread reads it any more. */
  readonly release: () => void
}

interface Copy {
  readonly pieces: Array<Uint8Array>
  readonly memory: Array<Uint8Array>
}

const PIECE_BYTES = 512 * 1024

/** Whole pieces that nobody reads. */
const free: Array<Uint8Array> = []

export const lendBody = (chunks: ReadonlyArray<Uint8Array>): SharedBody => {
  const { body, release } = lent.borrow(chunks)
  return { pieces: body.pieces, release }
}

const copyOf = (chunks: ReadonlyArray<Uint8Array>): Copy => {
  const body: Copy = { pieces: [], memory: [] }
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

const takePiece = (body: Copy): Uint8Array => {
  const piece = free.pop() ?? new Uint8Array(new SharedArrayBuffer(PIECE_BYTES))
  body.memory.push(piece)
  return piece
}

const lent = new LentBodies(copyOf, ({ memory }) => void free.push(...memory))
