/**
 * A budget of bytes shared by many [pure]: whoever wants to hold memory reserves it first and waits its turn when it is
 * used up. Back-pressure instead of growth (invariant 11).
 *
 * First come, first served: a large reservation is never starved by small ones behind it. One that is larger than the whole
 * budget is granted when nothing else is held, so that it cannot wait for ever.
 */
import { assert } from "#core/model/assert.ts"

interface Waiter {
  readonly bytes: number
  readonly granted: () => void
}

export class ByteBudget {
  readonly bytesMax: number
  #held = 0
  readonly #waiters = new Set<Waiter>()

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get heldBytes(): number {
    return this.#held
  }

  get waiting(): number {
    return this.#waiters.size
  }

  /** Takes the bytes now, if nobody waits and they are there. */
  tryReserve(bytes: number): boolean {
    if (this.#waiters.size > 0 || !this.#fits(bytes)) return false
    this.#held += bytes
    return true
  }

  /** Calls `granted` once the bytes are held, possibly at once. Returns what gives the wait up (no effect once granted). */
  reserve(bytes: number, granted: () => void): () => void {
    if (this.tryReserve(bytes)) {
      granted()
      return () => {}
    }
    const waiter: Waiter = { bytes, granted }
    this.#waiters.add(waiter)
    return () => {
      if (this.#waiters.delete(waiter)) this.#grant()
    }
  }

  release(bytes: number): void {
    assert(bytes >= 0 && bytes <= this.#held, `release of ${bytes} bytes with ${this.#held} held`)
    this.#held -= bytes
    this.#grant()
  }

  #fits(bytes: number): boolean {
    return this.#held + bytes <= this.bytesMax || this.#held === 0
  }

  #grant(): void {
    for (const waiter of this.#waiters) {
      if (!this.#fits(waiter.bytes)) return
      this.#waiters.delete(waiter)
      this.#held += waiter.bytes
      waiter.granted()
    }
  }
}
