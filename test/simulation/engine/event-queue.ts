/**
 * What will happen, by simulated time [pure]: a binary heap; of equal times the first to be added comes first.
 *
 * A cancelled event stays where it is until its time: timeouts are cancelled far more often than they pass, and taking one
 * out of the middle would cost more than carrying it along.
 */
import { type Process } from "./process.ts"

export interface SimEvent {
  readonly atMs: number
  readonly order: number
  /** Whose code runs; undefined: the outside world's (network, database, buckets, faults). */
  readonly process: Process | undefined
  /** Undefined: cancelled. */
  run: (() => void) | undefined
}

export class EventQueue {
  readonly #heap: Array<SimEvent> = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  add(atMs: number, process: Process | undefined, run: () => void): SimEvent {
    const event: SimEvent = { atMs, order: this.#order++, process, run }
    const heap = this.#heap
    let index = heap.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]!
      if (!isBefore(event, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = event
    return event
  }

  /** The earliest; undefined where there is none. */
  peek(): SimEvent | undefined {
    return this.#heap[0]
  }

  take(): SimEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first
    const size = heap.length
    let index = 0
    while (true) {
      let child = 2 * index + 1
      if (child >= size) break
      if (child + 1 < size && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
    return first
  }
}

const isBefore = (left: SimEvent, right: SimEvent): boolean =>
  left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order)
