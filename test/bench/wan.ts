/**
 * A wide-area network between agents and a database on one machine: the ports with delays.
 *
 * A connection's bytes arrive after the one-way delay of its two regions, in order, in both directions; opening it takes a
 * round trip. A call of the database takes a round trip to its home, a write also the quorum's delay before it can be seen.
 * Bandwidth is not limited and nothing is lost. Both sides of a connection are delayed by who opened it.
 *
 * Delays are timers of this process: a busy event loop makes them longer, never shorter than by a millisecond.
 */
import { Effect } from "effect"
import { type Connector } from "#core/ports/connector.ts"
import { type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { type Transport } from "#core/ports/network.ts"

/** Bytes on their way in one direction before the sender is told to wait: more than the product ever has there. */
const BYTES_UNDER_WAY = 16 * 1024 * 1024
/** Timers are of whole milliseconds, and may come early by a part of one. */
const EARLY_MS = 0.5

/** Values come out after a delay, in the order in which they came in. */
export class DelayLine<A> {
  readonly #delayMs: number
  readonly #deliver: (value: A) => void
  readonly #queue: Array<{ readonly value: A; readonly atMs: number }> = []
  #timer: NodeJS.Timeout | undefined

  constructor(delayMs: number, deliver: (value: A) => void) {
    this.#delayMs = delayMs
    this.#deliver = deliver
  }

  push(value: A): void {
    this.#queue.push({ value, atMs: performance.now() + this.#delayMs })
    this.#arm()
  }

  clear(): void {
    this.#queue.length = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #arm(): void {
    const first = this.#queue[0]
    if (first === undefined || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#due(), Math.max(1, Math.round(first.atMs - performance.now())))
  }

  #due(): void {
    this.#timer = undefined
    while (this.#queue[0] !== undefined && this.#queue[0].atMs <= performance.now() + EARLY_MS) {
      this.#deliver(this.#queue.shift()!.value)
    }
    this.#arm()
  }
}

/** `oneWayMs`: to whoever listens on that port. */
export const delayedConnector = (
  connector: Connector["Service"],
  oneWayMs: (port: number) => number
): Connector["Service"] => ({
  connect: (options) => {
    const delayMs = oneWayMs(options.port)
    if (delayMs === 0) return connector.connect(options)
    return Effect.exit(connector.connect(options)).pipe(
      Effect.tap(Effect.sleep(2 * delayMs)),
      Effect.flatten,
      Effect.map((transport) => delayedTransport(transport, delayMs))
    )
  }
})

export const delayedTransport = (inner: Transport, delayMs: number): Transport => {
  const drainListeners: Array<() => void> = []
  const closeListeners: Array<() => void> = []
  let onData: (chunk: Buffer) => void = () => {}
  let underWayBytes = 0
  let isFull = false
  let isInnerFull = false
  let isDestroyed = false

  const outwards = new DelayLine<{ readonly chunks: ReadonlyArray<Uint8Array>; readonly taken: () => void }>(
    delayMs,
    ({ chunks, taken }) => {
      underWayBytes -= bytesOf(chunks)
      isInnerFull = inner.write(chunks, taken) === "full"
      drained()
    }
  )
  const inwards = new DelayLine<Buffer | "closed">(delayMs, (value) => {
    if (value === "closed") for (const listener of closeListeners) listener()
    else onData(value)
  })
  const drained = (): void => {
    if (!isFull || isInnerFull || underWayBytes > BYTES_UNDER_WAY / 2) return
    isFull = false
    for (const listener of drainListeners) listener()
  }
  inner.onDrain(() => {
    isInnerFull = false
    drained()
  })
  inner.onClose(() => {
    outwards.clear()
    if (!isDestroyed) return inwards.push("closed")
    inwards.clear()
    for (const listener of closeListeners) listener()
  })
  return {
    peer: inner.peer,
    onClose: (listener) => void closeListeners.push(listener),
    onDrain: (listener) => void drainListeners.push(listener),
    onData: (listener) => {
      onData = listener
      inner.onData((chunk) => inwards.push(chunk))
    },
    write: (chunks, taken) => {
      underWayBytes += bytesOf(chunks)
      outwards.push({ chunks, taken })
      isFull = isInnerFull || underWayBytes > BYTES_UNDER_WAY
      return isFull ? "full" : "more"
    },
    pause: inner.pause,
    resume: inner.resume,
    destroy: () => {
      isDestroyed = true
      inner.destroy()
    }
  }
}

const bytesOf = (chunks: ReadonlyArray<Uint8Array>): number => chunks.reduce((sum, { length }) => sum + length, 0)

type Store = MetadataStore["Service"]

const READS: ReadonlySet<string> = new Set<keyof Store>([
  "read",
  "tail",
  "checkpoints",
  "readCheckpointChunk",
  "findIndexPage",
  "shardNotes",
  "agents",
  "missingCopies"
])

export interface StoreDelays {
  /** To the database's home. */
  readonly oneWayMs: number
  /** Until a majority of the database's regions has a write. */
  readonly quorumMs: number
}

/** Each call as one round trip, also the few that are several statements. */
export const delayedStore = (store: Store, { oneWayMs, quorumMs }: StoreDelays): Store => {
  const delayed = <A>(operation: string, call: Effect.Effect<A, MetadataError>): Effect.Effect<A, MetadataError> => {
    const beforeMs = READS.has(operation) ? oneWayMs : oneWayMs + quorumMs
    return Effect.exit(Effect.andThen(pause(beforeMs), call)).pipe(Effect.tap(pause(oneWayMs)), Effect.flatten)
  }
  const operations = (Object.entries(store) as Array<[string, Call]>).map(([operation, call]) => [
    operation,
    Effect.isEffect(call) ? delayed(operation, call) : (...args: Array<unknown>) => delayed(operation, call(...args))
  ])
  return Object.fromEntries(operations) as Store
}

type Call =
  | Effect.Effect<unknown, MetadataError>
  | ((...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, MetadataError>)

const pause = (ms: number): Effect.Effect<void> => (ms === 0 ? Effect.void : Effect.sleep(ms))
