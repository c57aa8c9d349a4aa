/**
 * Requests that overlap, in order at the one point where it matters [pure].
 *
 * Produce requests of a connection run side by side, but their batches must join the segment in the order of the requests,
 * also where one of them has to look a topic up first. Each waits for the turn in front of it and passes its own on.
 */
export class RequestTurn {
  #before: RequestTurn | undefined
  #isPassed = false
  #waiting: (() => void) | undefined

  /** `before`: of the request in front, if it is under way. */
  constructor(before: RequestTurn | undefined) {
    this.#before = before === undefined || before.#isPassed ? undefined : before
  }

  /** Whether nobody in front has still to go. */
  get isMine(): boolean {
    return this.#before === undefined || this.#before.#isPassed
  }

  /** Calls back when the turn has come. Once: only the request itself waits for it. */
  whenMine(listener: () => void): void {
    if (this.isMine) return listener()
    this.#before!.#waiting = listener
  }

  /** The next one may go. Idempotent. Passes over those in front: a request that failed early must not hold others up. */
  pass(): void {
    if (this.#isPassed) return
    if (!this.isMine) {
      // It ended without having had its turn: whoever waits for it waits for the one in front.
      this.#before!.#chain(this)
      return
    }
    this.#isPassed = true
    this.#before = undefined
    this.#waiting?.()
    this.#waiting = undefined
  }

  #chain(next: RequestTurn): void {
    this.#waiting = () => next.pass()
  }
}
