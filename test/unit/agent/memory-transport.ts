/** A connection without a network: the test plays the peer. */
import { type Transport } from "#core/ports/network.ts"

export class MemoryTransport implements Transport {
  readonly peer = "test:1"
  readonly written: Array<Buffer> = []
  paused = false
  destroyed = false
  /** The peer takes nothing: writes answer "full" and their `taken` waits for `drain`. */
  stalled = false
  #data: (chunk: Buffer) => void = () => {}
  #close: () => void = () => {}
  #drain: () => void = () => {}
  #untaken: Array<() => void> = []

  onData(listener: (chunk: Buffer) => void): void {
    this.#data = listener
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
    this.#data(chunk)
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
