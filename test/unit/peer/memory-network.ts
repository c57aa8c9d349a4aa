/**
 * Ports Network and Connector in memory (with metrics and log events that go nowhere), for faults that real sockets do not have on demand: attempts that are refused or
 * never end, answers that do not come, sockets that take nothing, ends at a chosen moment.
 *
 * Bytes arrive in a later turn than they were written, in order, and not while the receiver has paused.
 */
import { Effect, Layer, Logger } from "effect"
import { ConnectError, Connector } from "#core/ports/connector.ts"
import { type AcceptedTransport, type ByteSink, Network, type Transport } from "#core/ports/network.ts"
import { Metrics } from "#core/telemetry/metrics.ts"

export class MemoryNetwork {
  /** In order of their opening. */
  readonly pairs: Array<MemoryPair> = []
  /** Attempts to connect so far. */
  attempts = 0
  /** What an attempt comes to: "hang" never ends. */
  mode: "connect" | "hang" | ConnectError["reason"] = "connect"
  readonly #listeners = new Map<number, (transport: AcceptedTransport) => void>()
  #port = 1_000

  readonly layer = Layer.mergeAll(
    Metrics.layerNoop,
    Logger.layer([]),
    Layer.succeed(
      Network,
      Network.of({
        listen: ({ port, onConnection }) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const taken = port === 0 ? this.#port++ : port
              this.#listeners.set(taken, onConnection)
              return taken
            }),
            (taken) => Effect.sync(() => void this.#listeners.delete(taken))
          )
      })
    ),
    Layer.succeed(
      Connector,
      Connector.of({
        connect: ({ host, port }) =>
          Effect.suspend(() => {
            this.attempts++
            if (this.mode === "hang") return Effect.never
            const onConnection = this.#listeners.get(port)
            const reason = this.mode === "connect" ? "Refused" : this.mode
            if (this.mode !== "connect" || onConnection === undefined) {
              return Effect.fail(new ConnectError({ reason, host, port, cause: `as the test says: ${reason}` }))
            }
            return Effect.acquireRelease(
              Effect.sync(() => {
                const pair = new MemoryPair(`memory:${this.pairs.length}`)
                this.pairs.push(pair)
                onConnection(pair.server)
                return pair.client
              }),
              (client) => Effect.sync(() => client.destroy())
            )
          })
      })
    )
  )

  get last(): MemoryPair {
    return this.pairs.at(-1)!
  }
}

/** One connection, both ends. */
export class MemoryPair {
  readonly client: Transport
  readonly server: AcceptedTransport
  isClosed = false
  /** The server has paused reading. */
  isPaused = false
  readonly #toServer = new Direction()
  readonly #toClient = new Direction()
  readonly #closeListeners: Array<() => void> = []

  constructor(peer: string) {
    let drainClient = (): void => {}
    let drainServer = (): void => {}
    const common = {
      peer,
      onClose: (listener: () => void) => void this.#closeListeners.push(listener),
      destroy: () => this.end()
    }
    this.client = {
      ...common,
      onData: (listener) => this.#toClient.attach(listener),
      onDrain: (listener) => (drainClient = listener),
      write: (chunks, taken) => this.#toServer.write(chunks, taken),
      pause: () => {},
      resume: () => {}
    }
    this.server = {
      ...common,
      readInto: (sink) => this.#toServer.attach((chunk) => this.#give(sink, chunk)),
      onDrain: (listener) => (drainServer = listener),
      write: (chunks, taken) => this.#toClient.write(chunks, taken),
      unsentBytes: () => 0,
      pause: () => {
        this.isPaused = true
        this.#toServer.isHeld = true
      },
      resume: () => {
        this.isPaused = false
        this.#toServer.isHeld = false
        this.#toServer.deliver()
      }
    }
    this.#toServer.onDrain = () => drainClient()
    this.#toClient.onDrain = () => drainServer()
  }

  /** Bytes of the server do not arrive while it is set. */
  holdAnswers(isHeld: boolean): void {
    this.#toClient.isHeld = isHeld
    if (!isHeld) this.#toClient.deliver()
  }

  /** The client's socket says that it is full (it takes what it is given all the same). */
  fillClientSocket(isFull: boolean): void {
    this.#toServer.isFull = isFull
    if (!isFull) this.#toServer.onDrain()
  }

  /** Both ends learn it. */
  end(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#toServer.stop()
    this.#toClient.stop()
    for (const listener of this.#closeListeners) listener()
  }

  #give(sink: ByteSink, chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.isClosed;) {
      const bytes = chunk.copy(sink.room(), 0, at)
      sink.received(bytes)
      at += bytes
      if (this.isPaused) {
        this.#toServer.putBack(chunk.subarray(at))
        return
      }
    }
  }
}

class Direction {
  isHeld = false
  isFull = false
  onDrain: () => void = () => {}
  #chunks: Array<Buffer> = []
  #listener: ((chunk: Buffer) => void) | undefined
  #isScheduled = false
  #isStopped = false

  attach(listener: (chunk: Buffer) => void): void {
    this.#listener = listener
    this.deliver()
  }

  write(chunks: ReadonlyArray<Uint8Array>, taken: () => void): "more" | "full" {
    if (!this.#isStopped) this.#chunks.push(Buffer.concat(chunks))
    queueMicrotask(taken)
    this.deliver()
    return this.isFull ? "full" : "more"
  }

  putBack(chunk: Buffer): void {
    if (chunk.length > 0) this.#chunks.unshift(chunk)
  }

  deliver(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      while (this.#chunks.length > 0 && !this.isHeld && !this.#isStopped && this.#listener !== undefined) {
        this.#listener(this.#chunks.shift()!)
      }
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#chunks = []
  }
}

/** Everything that is under way has arrived, and whoever it woke has run. */
export const settled: Effect.Effect<void> = Effect.promise(async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
})
