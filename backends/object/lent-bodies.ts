/**
 * Bodies that several buckets are sent at the same time: made once from their chunks, and given up by the last borrower.
 *
 * The buckets of a quorum are handed the same array of chunks, by which a body is known. It is shared only while somebody
 * borrows it: the port lets chunks change when no put of them is under way.
 */
import { assert } from "#core/model/assert.ts"

type Chunks = ReadonlyArray<Uint8Array>

interface Lent<Body> {
  readonly body: Body
  borrowers: number
}

export class LentBodies<Body> {
  readonly #lent = new WeakMap<Chunks, Lent<Body>>()
  readonly #make: (chunks: Chunks) => Body
  readonly #giveUp: (body: Body) => void

  constructor(make: (chunks: Chunks) => Body, giveUp: (body: Body) => void) {
    this.#make = make
    this.#giveUp = giveUp
  }

  /** `release` is to be called once, when the borrower does not read the body any more. */
  borrow(chunks: Chunks): { readonly body: Body; readonly release: () => void } {
    const lent = this.#lent.get(chunks) ?? { body: this.#make(chunks), borrowers: 0 }
    this.#lent.set(chunks, lent)
    lent.borrowers++
    return { body: lent.body, release: () => this.#giveBack(chunks, lent) }
  }

  #giveBack(chunks: Chunks, lent: Lent<Body>): void {
    assert(lent.borrowers > 0, "a body is given back once by each borrower")
    lent.borrowers--
    if (lent.borrowers > 0) return
    this.#lent.delete(chunks)
    this.#giveUp(lent.body)
  }
}
