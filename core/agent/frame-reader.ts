/**
 * Cuts a byte stream into request frames [pure].
 *
 * It says where the next bytes shall be read into (`room`), so a large frame is copied once in all, from the kernel to its
 * own buffer. Between frames that place is one buffer shared by all readers: reading and cutting up happen in one turn, and
 * a connection that waits for its next request costs no memory. What a frame has in the shared buffer is copied out of it.
 *
 * A frame's buffer grows with what really arrived: a client that announces 100 MiB and sends ten bytes costs little.
 *
 * Memory for a frame is asked for before it is gathered: `admit` answers whether the frame may be read now. When it says
 * no, the reader keeps what it has of it and stops until `resume`.
 */
import { assert } from "#core/model/assert.ts"
import { type FramePool, POOLED_BYTES_MAX } from "./frame-pool.ts"

export interface FrameReaderOptions {
  /** Read anew for each frame. */
  readonly frameBytesMax: number
  /** Where frames' memory comes from; who gets the frame gives it back. */
  readonly pool: FramePool
  /** Asks for `bytes` of memory for the next frame. False: stop; the owner calls `resume` when they are there. */
  readonly admit: (bytes: number) => boolean
  /** A whole frame, without its length prefix. It belongs to the receiver. */
  readonly onFrame: (frame: Buffer) => void
  /** The length prefix cannot be right. The reader is dead from then on. */
  readonly onInvalid: (announcedBytes: number) => void
}

/** Smallest frame that can be a request: api key, version, correlation id. */
const FRAME_BYTES_MIN = 8
const EMPTY = Buffer.alloc(0)
/** Where reads between frames go. Small requests fit; of a large one only the beginning is copied out of it. */
const SHARED = Buffer.allocUnsafeSlow(64 * 1024)

export class FrameReader {
  readonly #options: FrameReaderOptions
  /** Bytes that came and are not consumed: the few of a split length prefix, or what stands behind a refused frame. */
  #rest: Buffer = EMPTY
  /** Bytes of the frame under way, -1 between frames. */
  #frameBytes = -1
  #gathered: Buffer = EMPTY
  #gatheredBytes = 0
  #frameNumber = 0
  #readsInto: "shared" | "frame" = "shared"
  #state: "reading" | "waiting" | "dead" = "reading"

  constructor(options: FrameReaderOptions) {
    this.#options = options
  }

  /** Memory admitted for the frame that is only partly here: what its owner must give back when the stream ends. */
  get admittedBytes(): number {
    return this.#frameBytes >= 0 && this.#state !== "waiting" ? this.#frameBytes : 0
  }

  /** Counts frames; with `gatheredBytes` it says how the one under way comes along. */
  get frameNumber(): number {
    return this.#frameNumber
  }

  get gatheredBytes(): number {
    return this.#gatheredBytes
  }

  get isWaiting(): boolean {
    return this.#state === "waiting"
  }

  /** Bytes that `admit` refused and that `resume` presumes to be held; -1 when it waits for none. */
  get waitingBytes(): number {
    return this.#state === "waiting" ? this.#frameBytes : -1
  }

  /** Where the next bytes shall go. */
  room(): Buffer {
    if (this.#gatheredBytes === 0 || this.#state !== "reading") {
      this.#readsInto = "shared"
      return SHARED
    }
    this.#readsInto = "frame"
    this.#makeRoom(Math.min(this.#gatheredBytes + 1, this.#frameBytes))
    return this.#gathered.subarray(this.#gatheredBytes)
  }

  /** So many bytes were put at the start of what `room` answered last. */
  received(bytes: number): void {
    if (this.#readsInto === "shared") return this.push(SHARED.subarray(0, bytes))
    this.#readsInto = "shared"
    this.#gatheredBytes += bytes
    assert(this.#gatheredBytes <= this.#frameBytes, "a frame's room ends with the frame")
    if (this.#gatheredBytes === this.#frameBytes) {
      this.#end(this.#gathered)
      this.#read()
    }
  }

  /** Takes what it needs of the chunk, by copy. */
  push(chunk: Buffer): void {
    if (this.#state === "dead") return
    if (this.#state === "waiting") {
      this.#rest = Buffer.concat([this.#rest, chunk])
      return
    }
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    this.#read()
    // What is left must outlive the chunk.
    if (this.#rest.length > 0) this.#rest = Buffer.from(this.#rest)
  }

  /** The memory that `admit` had refused is held now. */
  resume(): void {
    if (this.#state !== "waiting") return
    this.#state = "reading"
    this.#read()
  }

  #read(): void {
    while (this.#state === "reading") {
      if (this.#frameBytes < 0) {
        if (!this.#begin()) return
      } else if (!this.#continue()) return
    }
  }

  /** Reads a length prefix. False when there is nothing more to do now. */
  #begin(): boolean {
    if (this.#rest.length < 4) return false
    const bytes = this.#rest.readInt32BE(0)
    if (bytes < FRAME_BYTES_MIN || bytes > this.#options.frameBytesMax) {
      this.#state = "dead"
      this.#rest = EMPTY
      this.#options.onInvalid(bytes)
      return false
    }
    this.#rest = this.#rest.length === 4 ? EMPTY : this.#rest.subarray(4)
    this.#frameBytes = bytes
    this.#frameNumber++
    // Waiting is entered first: the owner may grant the memory, and call resume, from within admit.
    this.#state = "waiting"
    if (this.#options.admit(bytes)) this.#state = "reading"
    return this.#state === "reading"
  }

  #continue(): boolean {
    if (this.#rest.length === 0) return false
    const taken = Math.min(this.#rest.length, this.#frameBytes - this.#gatheredBytes)
    this.#makeRoom(this.#gatheredBytes + taken)
    this.#rest.copy(this.#gathered, this.#gatheredBytes, 0, taken)
    this.#gatheredBytes += taken
    this.#rest = this.#rest.length === taken ? EMPTY : this.#rest.subarray(taken)
    if (this.#gatheredBytes < this.#frameBytes) return false
    this.#end(this.#gathered)
    return true
  }

  #makeRoom(bytes: number): void {
    if (this.#gathered.length >= bytes) return
    const wanted = Math.min(this.#frameBytes, Math.max(POOLED_BYTES_MAX, 2 * this.#gathered.length, bytes))
    const larger = this.#options.pool.take(wanted)
    this.#gathered.copy(larger, 0, 0, this.#gatheredBytes)
    this.#gathered = larger
  }

  #end(frame: Buffer): void {
    assert(frame.length === this.#frameBytes, "a frame has its announced length")
    this.#frameBytes = -1
    this.#gathered = EMPTY
    this.#gatheredBytes = 0
    this.#options.onFrame(frame)
  }
}
