// Goal: a frame's memory is used again when, and only when, nobody reads it any more.
import { assert, describe, it } from "vitest"
import { FrameLease, FramePool } from "#core/agent/frame-pool.ts"

describe("FramePool", () => {
  it("lends returned memory again, to frames of about the same size", () => {
    const pool = new FramePool()
    const frame = pool.take(100_000)
    assert.strictEqual(frame.length, 100_000)
    pool.give(frame)
    const next = pool.take(120_000)
    assert.strictEqual(next.buffer, frame.buffer)
    assert.strictEqual(next.length, 120_000)
    assert.notStrictEqual(pool.take(120_000).buffer, next.buffer, "not to two at once")
    assert.strictEqual(pool.freeBytes, 0)
  })

  it("keeps no more than its bound, and neither tiny nor huge frames", () => {
    const pool = new FramePool(200_000)
    for (const frame of [pool.take(100_000), pool.take(100_000), pool.take(100)]) pool.give(frame)
    pool.give(pool.take(10_000_000))
    assert.strictEqual(pool.freeBytes, 131_072)
  })
})

describe("FrameLease", () => {
  it("gives the frame back with the last reference", () => {
    const pool = new FramePool()
    const lease = new FrameLease(pool, pool.take(50_000))
    lease.keep()
    lease.giveUp()
    assert.strictEqual(pool.freeBytes, 0)
    lease.giveUp()
    assert.isAbove(pool.freeBytes, 0)
    assert.throws(() => lease.giveUp(), /given up once/)
    assert.throws(() => lease.keep(), /while it is lent/)
  })
})
