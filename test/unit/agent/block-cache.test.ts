/**
 * Goal: the cache never holds more than its capacity, and what goes first is what was not used for longest.
 * Method: blocks that are only sizes.
 */
import { assert, describe, it } from "vitest"
import { BlockCache } from "#core/agent/block-cache.ts"

const block = (byteLength: number) => ({ byteLength })
const filled = (capacityBytes: number, ...sizes: ReadonlyArray<number>) => {
  const cache = new BlockCache<{ readonly byteLength: number }>(capacityBytes)
  sizes.forEach((size, index) => cache.put(`k${index}`, block(size)))
  return cache
}

describe("block cache", () => {
  it("evicts the least recently used blocks first", () => {
    const cache = filled(100, 40, 40)
    assert.isDefined(cache.get("k0"))
    cache.put("k2", block(40))
    assert.isUndefined(cache.get("k1"))
    assert.isDefined(cache.get("k0"))
    assert.isDefined(cache.get("k2"))
    assert.deepStrictEqual(cache.counters, { hits: 3, misses: 1, evictions: 1 })
  })

  it("evicts as many as the new block needs", () => {
    const cache = filled(100, 30, 30, 30)
    cache.put("big", block(95))
    assert.strictEqual(cache.blockCount, 1)
    assert.strictEqual(cache.heldBytes, 95)
  })

  it("does not keep a block that is larger than itself, nor lose others for it", () => {
    const cache = filled(100, 60)
    cache.put("big", block(101))
    assert.isUndefined(cache.get("big"))
    assert.isDefined(cache.get("k0"))
  })

  it("makes room for reads under way", () => {
    const cache = filled(100, 40, 40)
    cache.reserve(50)
    assert.isUndefined(cache.get("k0"))
    assert.isAtMost(cache.heldBytes + cache.reservedBytes, 100)
    cache.release(50)
    cache.put("k2", block(50))
    assert.isDefined(cache.get("k1"))
    assert.strictEqual(cache.heldBytes, 90)
  })

  it("counts a block that replaces another once", () => {
    const cache = filled(100, 40)
    cache.put("k0", block(50))
    assert.strictEqual(cache.heldBytes, 50)
    assert.strictEqual(cache.blockCount, 1)
    cache.delete("k0")
    cache.delete("k0")
    assert.strictEqual(cache.heldBytes, 0)
  })

  it("takes a release of what was not reserved for a defect", () => {
    assert.throws(() => filled(100).release(1))
  })
})
