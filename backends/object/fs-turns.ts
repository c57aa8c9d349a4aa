/**
 * Turns of the calls to one directory-backed bucket.
 *
 * File system calls of Node run on libuv's few threads, and a directory that hangs (a dead network mount) keeps each
 * thread that touches it. So a bucket has a bound of calls with a system call under way: one hung bucket must leave
 * threads to the others, or a quorum of directories would stop with its weakest member. A turn is given back when the
 * last system call has returned, not when the caller gives up.
 *
 * Buckets of object stores take turns as well: for their connections, and until a call has really ended.
 * Those who wait are bounded too; one who gives up while waiting leaves the queue at once.
 */
import { limits } from "#core/model/limits.ts"
import { assert } from "#core/model/assert.ts"

export class CallTurns {
  readonly #runningMax: number
  #running = 0
  /** In order of arrival. */
  readonly #waiting = new Set<() => void>()

  constructor(runningMax: number) {
    assert(Number.isInteger(runningMax) && runningMax >= 1, `runningMax must be a whole number >= 1, is ${runningMax}`)
    this.#runningMax = runningMax
  }

  /** Calls `begin` now or when its turn comes; whoever began must `leave`. `refused` where too many wait already. */
  enter(begin: () => void): "accepted" | "refused" {
    if (this.#running < this.#runningMax) {
      this.#running++
      begin()
      return "accepted"
    }
    if (this.#waiting.size >= limits.directoryCallsWaiting) return "refused"
    this.#waiting.add(begin)
    return "accepted"
  }

  /** Takes a call out that has not begun; nothing where it has. */
  giveUp(begin: () => void): void {
    this.#waiting.delete(begin)
  }

  leave(): void {
    assert(this.#running > 0, "only who had a turn can leave")
    for (const begin of this.#waiting) {
      // The turn passes on: the number of those running stays.
      this.#waiting.delete(begin)
      begin()
      return
    }
    this.#running--
  }
}

/**
 * How many calls one bucket may have running: a third of libuv's threads (UV_THREADPOOL_SIZE, 4 where it is not set),
 * so that with three buckets two can hang and the third still works; never more than the limit.
 */
export const directoryCallsRunning = (threadsSetting: string | undefined): number => {
  const threads = Number(threadsSetting ?? 4)
  if (!Number.isInteger(threads)) return 1
  return Math.max(1, Math.min(limits.directoryCallsRunning, Math.floor(threads / 3)))
}
