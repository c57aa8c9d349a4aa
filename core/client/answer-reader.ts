/**
 * Cuts a byte stream into answer frames [pure].
 *
 * A frame within one chunk is a view of it; one that spans chunks is joined when all of it is here, so that a length
 * that lies allocates nothing. A frame belongs to its receiver. Dead after a length that cannot be.
 */

/** An answer has at least its correlation id. */
const FRAME_BYTES_MIN = 4
const PREFIX_BYTES = 4

export class AnswerReader {
  readonly #frameBytesMax: number
  readonly #onFrame: (frame: Buffer) => void
  readonly #onInvalid: (announcedBytes: number) => void
  #chunks: Array<Buffer> = []
  #bytes = 0
  #isDead = false

  constructor(options: {
    readonly frameBytesMax: number
    readonly onFrame: (frame: Buffer) => void
    readonly onInvalid: (announcedBytes: number) => void
  }) {
    this.#frameBytesMax = options.frameBytesMax
    this.#onFrame = options.onFrame
    this.#onInvalid = options.onInvalid
  }

  push(chunk: Buffer): void {
    if (this.#isDead || chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (!this.#isDead && this.#takeFrame());
  }

  /** What comes after is not read: the connection is over. */
  stop(): void {
    this.#isDead = true
    this.#chunks = []
    this.#bytes = 0
  }

  #takeFrame(): boolean {
    if (this.#bytes < PREFIX_BYTES) return false
    if (this.#chunks[0]!.length < PREFIX_BYTES) this.#join()
    const length = this.#chunks[0]!.readInt32BE(0)
    if (length < FRAME_BYTES_MIN || length > this.#frameBytesMax) {
      this.stop()
      this.#onInvalid(length)
      return false
    }
    const end = PREFIX_BYTES + length
    if (this.#bytes < end) return false
    if (this.#chunks[0]!.length < end) this.#join()
    const first = this.#chunks[0]!
    this.#bytes -= end
    if (first.length === end) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(end)
    this.#onFrame(first.subarray(PREFIX_BYTES, end))
    return true
  }

  /** Happens once per frame that spans chunks, and never while its bytes are still coming. */
  #join(): void {
    this.#chunks = [Buffer.concat(this.#chunks)]
  }
}
