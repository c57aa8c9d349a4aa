/**
 * Cache of blocks by bytes, least recently used first out [pure].
 *
 * Invariant: what it holds plus what is reserved for reads under way never exceeds its capacity, as long as reservations
 * alone do not (run-reader.ts keeps them below). A block that does not fit at all is not kept.
 *
 * The honest limit of the accounting: a view of a block that somebody still holds (a socket that has not taken its bytes)
 * keeps the whole block's memory after it was evicted here. Those bytes are bounded by whoever hands out the views
 * (limits.fetchBytesInFlight counts answers; fetch-plan.ts copies where less than half of a block is served).
 */
import { assert, assertCount } from "#core/model/assert.ts"

export interface BlockCacheCounters {
  hits: number
  misses: number
  evictions: number
}

export class BlockCache<Block extends { readonly byteLength: number }> {
  readonly capacityBytes: number
  readonly counters: BlockCacheCounters = { hits: 0, misses: 0, evictions: 0 }
  /** A Map iterates in order of insertion; every use inserts anew, so the first key is the least recently used. */
  readonly #blocks = new Map<string, Block>()
  #heldBytes = 0
  #reservedBytes = 0

  constructor(capacityBytes: number) {
    assertCount(capacityBytes, "capacityBytes")
    this.capacityBytes = capacityBytes
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  get reservedBytes(): number {
    return this.#reservedBytes
  }

  get blockCount(): number {
    return this.#blocks.size
  }

  /** Counts nothing, and is no use of the block. */
  has(key: string): boolean {
    return this.#blocks.has(key)
  }

  /** The block, now the most recently used one. */
  get(key: string): Block | undefined {
    const block = this.#blocks.get(key)
    if (block === undefined) {
      this.counters.misses++
      return undefined
    }
    this.counters.hits++
    this.#blocks.delete(key)
    this.#blocks.set(key, block)
    return block
  }

  /** Makes room for a read that begins. */
  reserve(byteLength: number): void {
    assertCount(byteLength, "byteLength")
    this.#reservedBytes += byteLength
    this.#evict()
  }

  /** The read ended; its block is put separately. */
  release(byteLength: number): void {
    this.#reservedBytes -= byteLength
    assert(this.#reservedBytes >= 0, "only what was reserved can be released")
  }

  /** Holds the block instead of the one that was there under this key. */
  put(key: string, block: Block): void {
    this.delete(key)
    if (block.byteLength > this.capacityBytes) return
    this.#blocks.set(key, block)
    this.#heldBytes += block.byteLength
    this.#evict()
  }

  delete(key: string): void {
    const block = this.#blocks.get(key)
    if (block === undefined) return
    this.#blocks.delete(key)
    this.#heldBytes -= block.byteLength
    assert(this.#heldBytes >= 0, "only what is held can be deleted")
  }

  #evict(): void {
    for (const key of this.#blocks.keys()) {
      if (this.#heldBytes + this.#reservedBytes <= this.capacityBytes) return
      this.delete(key)
      this.counters.evictions++
    }
  }
}
