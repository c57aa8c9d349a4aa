/**
 * Memory of large request frames, used again [pure]: at a hundred megabytes a second fresh buffers would keep the garbage
 * collector, and the kernel that has to clear pages, as busy as the records themselves.
 *
 * A frame is lent with one reference; whoever keeps views of it beyond its request adds one (`keep`). Its memory goes back
 * only when every reference was given up. Forgetting to give one up is harmless: the garbage collector takes the frame.
 * Giving one up too early is not: the bytes change under whoever still reads them.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"

/** Smaller frames are cheap to make. */
const POOLED_BYTES_MIN = 16 * 1024
/** Frames of up to this size have their memory at once; beyond, it grows with what arrives and is not pooled. */
export const POOLED_BYTES_MAX = 2 * 1024 * 1024
const CLASS_BYTES = 64 * 1024

export class FramePool {
  /** By size in units of CLASS_BYTES. */
  readonly #free: Array<Array<Buffer>> = []
  readonly #bytesMax: number
  #freeBytes = 0

  constructor(bytesMax: number = limits.framePoolBytes) {
    this.#bytesMax = bytesMax
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** A buffer of exactly so many bytes, whose content is arbitrary. */
  take(bytes: number): Buffer {
    if (!isPooled(bytes)) return Buffer.allocUnsafe(bytes)
    const size = classOf(bytes)
    const memory = this.#free[size]?.pop()
    if (memory === undefined) return Buffer.allocUnsafeSlow(size * CLASS_BYTES).subarray(0, bytes)
    this.#freeBytes -= memory.length
    return memory.subarray(0, bytes)
  }

  /** Nobody reads the frame any more. */
  give(frame: Buffer): void {
    if (!isPooled(frame.length)) return
    const size = classOf(frame.length)
    const memory = Buffer.from(frame.buffer, frame.byteOffset, size * CLASS_BYTES)
    assert(frame.byteOffset === 0, "a pooled frame begins its memory")
    if (this.#freeBytes + memory.length > this.#bytesMax) return
    this.#freeBytes += memory.length
    const free = (this.#free[size] ??= [])
    free.push(memory)
  }
}

/** Who still reads a frame. */
export class FrameLease {
  readonly #pool: FramePool
  readonly #frame: Buffer
  #references = 1

  constructor(pool: FramePool, frame: Buffer) {
    this.#pool = pool
    this.#frame = frame
  }

  /** Another reader. Its reference is given up by `giveUp`, once. */
  keep(): void {
    assert(this.#references > 0, "a frame is kept while it is lent")
    this.#references++
  }

  giveUp(): void {
    assert(this.#references > 0, "each reference to a frame is given up once")
    this.#references--
    if (this.#references === 0) this.#pool.give(this.#frame)
  }
}

const isPooled = (bytes: number): boolean => bytes >= POOLED_BYTES_MIN && bytes <= POOLED_BYTES_MAX
const classOf = (bytes: number): number => Math.ceil(bytes / CLASS_BYTES)
