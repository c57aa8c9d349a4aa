/**
 * A simulated TCP connection: two ends, each with what a kernel keeps for it.
 *
 * Invariants, as TCP's: bytes arrive in order, none missing, none twice, or the connection ends. What was written and did
 * not fit into the sender's window stays with the writer ("full"), so a peer that does not read slows the writer down. A cut
 * link stalls a direction. A process that dies takes its end with it: the other end learns that by a reset, or, where the
 * machine vanished, by nothing at all until the machine is back.
 *
 * Bytes are copied when the kernel takes them, and not before: who changes them too early sends nonsense, as with a real
 * kernel.
 */
import { type AcceptedTransport, type ByteSink, type Transport } from "#core/ports/network.ts"
import { type Place, type Process } from "../engine/process.ts"
import { type Links } from "./links.ts"

/** Bytes of one direction that are on their way or not read yet. */
const WINDOW_BYTES = 256 * 1024
const BYTES_PER_MS = 100_000

export interface Unsent {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly bytes: number
  readonly taken: () => void
}

type Arrival = Buffer | "end" | "reset"

interface OnWire {
  readonly atMs: number
  readonly arrival: Arrival
}

export interface EndOptions {
  readonly process: Process
  readonly links: Links
  /** Whether a machine of this name answers, with whatever process. */
  readonly isMachineUp: (place: Place) => boolean
  readonly peerName: string
}

export class ConnectionEnd implements Transport, AcceptedTransport {
  readonly peer: string
  readonly process: Process
  /** The other end. */
  other: ConnectionEnd | undefined
  /** `vanished`: its machine is gone, and nobody says so. */
  state: "open" | "closed" | "vanished" = "open"
  readonly #links: Links
  readonly #isMachineUp: (place: Place) => boolean
  #onData: ((chunk: Buffer) => void) | undefined
  #sink: ByteSink | undefined
  readonly #onClose: Array<() => void> = []
  readonly #onDrain: Array<() => void> = []
  // Receiving.
  #arrived: Array<Buffer | "end"> = []
  #isPaused = false
  #isReading = false
  // Sending.
  #unsent: Array<Unsent> = []
  #unsentBytes = 0
  #underWayBytes = 0
  #wasFull = false
  #wire: Array<OnWire> = []
  #isWireBusy = false
  #lastArrivalMs = 0

  constructor(options: EndOptions) {
    this.peer = options.peerName
    this.process = options.process
    this.#links = options.links
    this.#isMachineUp = options.isMachineUp
  }

  // --- what the process calls -----------------------------------------------------------------------------------

  onData(listener: (chunk: Buffer) => void): void {
    this.#onData = listener
    this.#readSoon()
  }

  readInto(sink: ByteSink): void {
    this.#sink = sink
    this.#readSoon()
  }

  onClose(listener: () => void): void {
    this.#onClose.push(listener)
  }

  onDrain(listener: () => void): void {
    this.#onDrain.push(listener)
  }

  write(chunks: ReadonlyArray<Uint8Array>, taken: () => void): "more" | "full" {
    const { world } = this.process
    if (this.state !== "open" || chunks.length === 0) {
      world.task(this.process, taken)
      return "more"
    }
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    this.#unsent.push({ chunks, bytes, taken })
    this.#unsentBytes += bytes
    this.#send()
    if (this.#unsent.length === 0) return "more"
    this.#wasFull = true
    return "full"
  }

  unsentBytes(): number {
    return this.#unsentBytes
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#readSoon()
  }

  /** What is under way arrives, then the end; what the kernel had not taken is lost. */
  destroy(): void {
    if (this.state !== "open") return
    this.#close()
    this.#put("end")
  }

  // --- what the outside world does -------------------------------------------------------------------------------

  /** Breaks the connection at both ends at once. */
  reset(): void {
    this.#put("reset")
    this.#close()
  }

  /** The process is gone. `reset`: its kernel says so to the peer; `vanish`: nobody does. */
  die(manner: "reset" | "vanish"): void {
    if (this.state !== "open") return
    this.state = manner === "vanish" ? "vanished" : "closed"
    this.#forget()
    if (manner === "reset") this.#put("reset")
    else this.#wire = []
  }

  #close(): void {
    if (this.state !== "open") return
    this.state = "closed"
    const { world } = this.process
    for (const { taken } of this.#unsent) world.task(this.process, taken)
    this.#forget()
    for (const listener of this.#onClose.splice(0)) world.task(this.process, listener)
  }

  #forget(): void {
    this.#unsent = []
    this.#unsentBytes = 0
    this.#arrived = []
  }

  // --- sending ---------------------------------------------------------------------------------------------------

  #send(): void {
    const { world } = this.process
    while (this.#unsent.length > 0 && this.#underWayBytes < WINDOW_BYTES) {
      const { chunks, bytes, taken } = this.#unsent.shift()!
      this.#unsentBytes -= bytes
      this.#underWayBytes += bytes
      this.#put(Buffer.concat(chunks, bytes))
      world.task(this.process, taken)
    }
    if (this.#unsent.length > 0 || !this.#wasFull) return
    this.#wasFull = false
    for (const listener of this.#onDrain) world.task(this.process, () => this.state === "open" && listener())
  }

  #put(arrival: Arrival): void {
    const other = this.other
    if (other === undefined) return
    const { world } = this.process
    const bytes = typeof arrival === "string" ? 0 : arrival.length
    const atMs = world.nowMs + this.#links.oneWayMs(this.process, other.process) + bytes / BYTES_PER_MS
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, atMs)
    this.#wire.push({ atMs: this.#lastArrivalMs, arrival })
    this.#deliverNext()
  }

  #deliverNext(): void {
    const other = this.other
    const next = this.#wire[0]
    if (other === undefined || this.#isWireBusy || next === undefined) return
    this.#isWireBusy = true
    this.process.world.at(next.atMs, undefined, () =>
      this.#links.arrive(this.process, other.process, () => {
        this.#isWireBusy = false
        const arrived = this.#wire.shift()
        if (arrived !== undefined) other.#receive(arrived.arrival)
        this.#deliverNext()
      })
    )
  }

  // --- receiving -------------------------------------------------------------------------------------------------

  #receive(arrival: Arrival): void {
    if (this.state === "vanished") {
      // The machine is back, with another process: it knows nothing of this connection.
      if (this.#isMachineUp(this.process)) this.#refuse()
      return
    }
    if (this.state === "closed") {
      if (typeof arrival !== "string") this.#refuse()
      return
    }
    if (arrival === "reset") {
      this.#arrived = []
      this.#close()
      return
    }
    this.#arrived.push(arrival)
    this.#readSoon()
  }

  /** Answers what came too late. */
  #refuse(): void {
    const other = this.other
    if (other === undefined || other.state !== "open") return
    this.#links.send(this.process, other.process, () => other.#receive("reset"))
  }

  #readSoon(): void {
    if (this.#isReading || this.#arrived.length === 0 || this.#isPaused) return
    if (this.#onData === undefined && this.#sink === undefined) return
    this.#isReading = true
    this.process.world.task(this.process, () => this.#read())
  }

  /** One chunk a turn: what comes between may pause or end it. */
  #read(): void {
    this.#isReading = false
    if (this.state !== "open" || this.#isPaused) return
    const arrived = this.#arrived.shift()
    if (arrived === undefined) return
    if (arrived === "end") return this.#close()
    const { other } = this
    if (this.#sink !== undefined) this.#readIntoSink(this.#sink, arrived)
    else this.#onData?.(arrived)
    if (other !== undefined) {
      other.#underWayBytes -= arrived.length
      if (other.state === "open") other.#send()
    }
    this.#readSoon()
  }

  #readIntoSink(sink: ByteSink, chunk: Buffer): void {
    for (let at = 0; at < chunk.length && this.state === "open";) {
      const bytes = chunk.copy(sink.room(), 0, at)
      at += bytes
      sink.received(bytes)
    }
  }
}
