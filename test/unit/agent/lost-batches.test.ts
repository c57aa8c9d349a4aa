// Goal: behind a lost batch nothing of its producer is taken until it comes again, and no longer.
import { assert, describe, it } from "vitest"
import { LostBatches, type ProducedBatch } from "#core/agent/lost-batches.ts"
import { limits } from "#core/model/limits.ts"
import { commitOf, foldWithTopic, idempotent, runOf, settle, TOPIC } from "../log/log-builders.ts"

const batch = (producerId: number, baseSequence: number, partition = 0, producerEpoch = 0): ProducedBatch => ({
  topicId: TOPIC,
  partition,
  summary: idempotent(producerId, producerEpoch, baseSequence)
})

describe("lost batches", () => {
  it("hold back what comes behind them, until they come again", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 4), 0)
    lost.add(batch(7, 0), 0)
    lost.add(batch(7, 2), 0)
    for (const sequence of [1, 2, 4, 9]) assert.isTrue(lost.isBehindLost(batch(7, sequence), fold, 0), `${sequence}`)
    assert.isFalse(lost.isBehindLost(batch(8, 3), fold, 0), "another producer")
    assert.isFalse(lost.isBehindLost(batch(7, 3, 1), fold, 0), "another partition")
    assert.isFalse(lost.isBehindLost(batch(7, 0), fold, 0), "the lost one again")
    assert.isFalse(lost.isBehindLost(batch(7, 1), fold, 0), "and then those behind it")
  })

  it("are forgotten when the log has them after all, or the producer begins a new epoch", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 0), 0)
    settle(fold, [commitOf(1, [runOf([idempotent(7, 0, 0)])])])
    assert.isFalse(lost.isBehindLost(batch(7, 1), fold, 0), "it was accepted elsewhere")
    lost.add(batch(9, 5), 0)
    assert.isFalse(lost.isBehindLost(batch(9, 8, 0, 1), fold, 0))
  })

  it("hold back what comes behind them also where the partition knows the producer: out of order may be fatal to it", () => {
    const fold = foldWithTopic()
    settle(fold, [commitOf(1, [runOf([idempotent(7, 0, 0)])])])
    const lost = new LostBatches()
    lost.add(batch(7, 1), 0)
    lost.add(batch(7, 2), 0)
    assert.isTrue(lost.isBehindLost(batch(7, 3), fold, 0))
    settle(fold, [commitOf(2, [runOf([idempotent(7, 0, 1)])])])
    assert.isTrue(lost.isBehindLost(batch(7, 3), fold, 0), "the second lost one is not there yet")
    assert.isFalse(lost.isBehindLost(batch(7, 2), fold, 0))
    assert.isFalse(lost.isBehindLost(batch(7, 3), fold, 0), "behind it, in order")
  })

  it("are given up when they have not come again for long", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 1), 1_000)
    assert.isTrue(lost.isBehindLost(batch(7, 3), fold, 1_000 + limits.lostBatchHeldMs - 1))
    assert.isFalse(lost.isBehindLost(batch(7, 3), fold, 1_000 + limits.lostBatchHeldMs))
  })

  it("go by sequences that wrap", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 0x7fffffff), 0)
    assert.isTrue(lost.isBehindLost(batch(7, 0), fold, 0))
    assert.isFalse(lost.isBehindLost(batch(7, 0x7fffff00), fold, 0), "an earlier one")
  })

  it("are remembered up to a bound, the first go first", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    for (let producer = 0; producer <= limits.lostBatchesRemembered; producer += 1) lost.add(batch(producer, 0), 0)
    assert.isFalse(lost.isBehindLost(batch(0, 1), fold, 0))
    assert.isTrue(lost.isBehindLost(batch(1, 1), fold, 0))
  })
})
