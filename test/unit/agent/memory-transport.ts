/** A connection without a network: the test plays the peer. */
import { type AcceptedTransport, type ByteSink } from "#core/ports/network.ts"

export class MemoryTransport implements AcceptedTransport {
  readonly peer = "test:1"
  readonly written: Array<Buffer> = []
  paused = false
  destroyed = false
  /** The peer takes nothing: writes answer "full" and their `taken` waits for `drain`. */
  stalled = false
  unsent = 0
  #sink: ByteSink = { room: () => Buffer.alloc(1), received: () => {} }
  #close: () => void = () => {}
  #drain: () => void = () => {}
  #untaken: Array<() => void> = []

  unsentBytes(): number {
    return this.unsent
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
    this.written.push(Buffer.concat(chunks))
    if (this.stalled) {
      this.#untaken.push(taken)
      return "full"
    }
    taken()
    return "more"
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    for (const taken of this.#untaken.splice(0)) taken()
    this.#close()
  }

  /** The peer sends; a paused socket delivers nothing, so tests must not call it then. */
  receive(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.destroyed;) {
      const bytes = chunk.copy(this.#sink.room(), 0, at)
      this.#sink.received(bytes)
      at += bytes
    }
  }
  drain(): void {
    this.stalled = false
    for (const taken of this.#untaken.splice(0)) taken()
    this.#drain()
  }
  hangUp(): void {
    this.destroy()
  }
}

export const framed = (body: Buffer): Buffer => {
  const prefix = Buffer.alloc(4)
  prefix.writeInt32BE(body.length)
  return Buffer.concat([prefix, body])
}
