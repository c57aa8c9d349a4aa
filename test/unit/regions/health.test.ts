/**
 * Goal: a bucket that fails or is slow leaves the path after a few strikes and comes back by itself.
 * Method: the pure judge, event by event, with made-up times.
 */
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { type Health, type HealthEvent, healthy, judge, mayTry } from "#regions/health.ts"

const FAILED: HealthEvent = { kind: "failed" }
const FAST: HealthEvent = { kind: "answered", durationMs: 5 }
const SLOW: HealthEvent = { kind: "answered", durationMs: limits.bucketSlowMs + 1 }
const STARTED: HealthEvent = { kind: "started" }

const after = (events: ReadonlyArray<HealthEvent>, nowMs = 0, health: Health = healthy): Health =>
  events.reduce((state, event) => judge(state, event, nowMs), health)

const suspendedAt = (nowMs: number): Health => after([FAILED, FAILED, FAILED], nowMs)

describe("health of a bucket", () => {
  it("bears single failures", () => {
    assert.strictEqual(after([FAILED, FAILED, FAST, FAILED, FAILED]).status, "healthy")
  })

  it("is suspended after failures or slow answers in a row", () => {
    assert.strictEqual(suspendedAt(0).status, "suspended")
    assert.strictEqual(after([SLOW, SLOW, SLOW]).status, "suspended")
    assert.strictEqual(after([SLOW, FAILED, SLOW]).status, "suspended")
  })

  it("is suspended by one failure that leaves no doubt", () => {
    assert.strictEqual(after([{ kind: "gone" }]).status, "suspended")
  })

  it("is not blamed for a call that was abandoned, and may be probed again", () => {
    const ABANDONED: HealthEvent = { kind: "abandoned" }
    assert.deepStrictEqual(after([ABANDONED, ABANDONED, ABANDONED]), healthy)
    const health = after([STARTED, ABANDONED], limits.bucketProbeDelayMs, suspendedAt(0))
    assert.strictEqual(health.status, "suspended")
    assert.isTrue(mayTry(health, limits.bucketProbeDelayMs))
  })

  it("lets one probe through at a time once the pause is over", () => {
    const health = suspendedAt(100)
    assert.isFalse(mayTry(health, 100 + limits.bucketProbeDelayMs - 1))
    assert.isTrue(mayTry(health, 100 + limits.bucketProbeDelayMs))
    const probing = judge(health, STARTED, 100 + limits.bucketProbeDelayMs)
    assert.isFalse(mayTry(probing, 100 + limits.bucketProbeDelayMs + 1))
  })

  it("comes back with the first good answer", () => {
    const health = after([STARTED, FAST], 5_000, suspendedAt(0))
    assert.deepStrictEqual(health, healthy)
  })

  it("is probed at growing, bounded distances while probes fail", () => {
    let health = suspendedAt(0)
    let nowMs = 0
    const pauses: Array<number> = []
    for (let probe = 0; probe < 10; probe++) {
      pauses.push(health.probeAtMs - nowMs)
      nowMs = health.probeAtMs
      health = after([STARTED, FAILED], nowMs, health)
    }
    assert.deepStrictEqual(pauses.slice(0, 4), [1_000, 2_000, 4_000, 8_000])
    assert.strictEqual(pauses.at(-1), limits.bucketProbeDelayMaxMs)
  })

  it("is not kept away longer by calls that began before the suspension", () => {
    const health = after([FAILED, FAILED, FAILED], 900, suspendedAt(0))
    assert.strictEqual(health.probeAtMs, limits.bucketProbeDelayMs)
  })

  it("is not pushed back by a slow answer to a probe, but is not well either", () => {
    const health = after([STARTED, SLOW], 2_000, suspendedAt(0))
    assert.strictEqual(health.status, "suspended")
    assert.strictEqual(health.probeAtMs, 4_000)
  })

  it("forgets a probe whose end nobody reports", () => {
    const probing = judge(suspendedAt(0), STARTED, 1_000)
    assert.isTrue(mayTry(probing, 1_000 + limits.putStuckMs))
  })
})
