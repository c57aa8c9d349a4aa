/**
 * Memory for requests that are read and not yet answered, all connections together [pure].
 *
 * A large request holds memory for all of it from its first byte on, so slow senders of large requests can use the budget
 * up. Small requests, which include nearly everything but produce, have a part that large ones cannot take: an agent under
 * such a load still answers them.
 */
import { limits } from "#core/model/limits.ts"
import { ByteBudget } from "./byte-budget.ts"

export class RequestBudget {
  readonly #small: ByteBudget
  readonly #large: ByteBudget

  readonly #requestBytesSmall: number

  constructor(bytesMax: number, requestBytesSmall: number = limits.requestBytesSmall) {
    this.#requestBytesSmall = requestBytesSmall
    const smallBytes = Math.floor(bytesMax / 4)
    this.#small = new ByteBudget(smallBytes)
    this.#large = new ByteBudget(bytesMax - smallBytes)
  }

  get heldBytes(): number {
    return this.#small.heldBytes + this.#large.heldBytes
  }

  /** Whether someone waits for memory that a request of this size holds. */
  isWaitedFor(bytes: number): boolean {
    return this.#of(bytes).waiting > 0
  }

  get waiting(): number {
    return this.#small.waiting + this.#large.waiting
  }

  tryReserve(bytes: number): boolean {
    return this.#of(bytes).tryReserve(bytes)
  }

  /** See ByteBudget.reserve. */
  reserve(bytes: number, granted: () => void): () => void {
    return this.#of(bytes).reserve(bytes, granted)
  }

  /** Of one request. */
  release(bytes: number): void {
    this.#of(bytes).release(bytes)
  }

  #of(bytes: number): ByteBudget {
    return bytes <= this.#requestBytesSmall ? this.#small : this.#large
  }
}
