/**
 * A hostile client's end of a connection, without a network: it sends a stream of bytes in pieces of any size, honours
 * that the agent pauses it (as a kernel would), and takes answers at once, late, or never.
 */
import { type AcceptedTransport, type ByteSink } from "#core/ports/network.ts"

export class FuzzPeer implements AcceptedTransport {
  readonly peer: string
  /** Whole answers, without their length prefix. */
  readonly answers: Array<Buffer> = []
  /** Who ended the connection. */
  endedBy: "agent" | "peer" | undefined
  /** Takes no answer while it is set: writes are "full". */
  isStalled = false
  #paused = false
  #pieces: Array<Buffer> = []
  #delivering = false
  #rest: Buffer = Buffer.alloc(0)
  #sink: ByteSink | undefined
  #close: () => void = () => {}
  #drain: () => void = () => {}
  #untaken: Array<() => void> = []

  constructor(peer: string) {
    this.peer = peer
  }

  /** Whether everything given to `send` was taken by the agent. */
  get isAllSent(): boolean {
    return this.#pieces.length === 0
  }

  /** Bytes of an answer that is not whole. */
  get strayBytes(): number {
    return this.#rest.length
  }

  unsentBytes(): number {
    return 0
  }

  readInto(sink: ByteSink): void {
    this.#sink = sink
  }
  onClose(listener: () => void): void {
    this.#close = listener
  }
  onDrain(listener: () => void): void {
    this.#drain = listener
  }
  write(chunks: ReadonlyArray<Uint8Array>, taken: () => void): "more" | "full" {
    this.#receive(chunks)
    if (!this.isStalled) {
      taken()
      return "more"
    }
    this.#untaken.push(taken)
    return "full"
  }
  pause(): void {
    this.#paused = true
  }
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // As from the kernel: never from within the call.
    setImmediate(() => this.#deliver())
  }
  destroy(): void {
    this.#end("agent")
  }

  send(pieces: ReadonlyArray<Buffer>): void {
    for (const piece of pieces) this.#pieces.push(piece)
    this.#deliver()
  }

  drain(): void {
    if (!this.isStalled || this.endedBy !== undefined) return
    this.isStalled = false
    for (const taken of this.#untaken.splice(0)) taken()
    this.#drain()
  }

  hangUp(): void {
    this.#end("peer")
  }

  #end(by: "agent" | "peer"): void {
    if (this.endedBy !== undefined) return
    this.endedBy = by
    this.#pieces.length = 0
    for (const taken of this.#untaken.splice(0)) taken()
    this.#close()
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    while (this.#pieces.length > 0 && !this.#paused && this.endedBy === undefined) {
      const piece = this.#pieces[0]!
      const bytes = piece.copy(this.#sink!.room())
      if (bytes === piece.length) this.#pieces.shift()
      else this.#pieces[0] = piece.subarray(bytes)
      this.#sink!.received(bytes)
    }
    this.#delivering = false
  }

  #receive(chunks: ReadonlyArray<Uint8Array>): void {
    const bytes = Buffer.concat(this.#rest.length === 0 ? chunks : [this.#rest, ...chunks])
    let at = 0
    while (bytes.length - at >= 4) {
      const end = at + 4 + bytes.readInt32BE(at)
      if (end > bytes.length) break
      this.answers.push(bytes.subarray(at + 4, end))
      at = end
    }
    this.#rest = bytes.subarray(at)
  }
}
