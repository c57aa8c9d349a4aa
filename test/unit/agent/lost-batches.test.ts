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
    lost.add(batch(7, 4))
    lost.add(batch(7, 0))
    lost.add(batch(7, 2))
    for (const sequence of [1, 2, 4, 9]) assert.isTrue(lost.isBehindLost(batch(7, sequence), fold), `${sequence}`)
    assert.isFalse(lost.isBehindLost(batch(8, 3), fold), "another producer")
    assert.isFalse(lost.isBehindLost(batch(7, 3, 1), fold), "another partition")
    assert.isFalse(lost.isBehindLost(batch(7, 0), fold), "the lost one again")
    assert.isFalse(lost.isBehindLost(batch(7, 1), fold), "and then those behind it")
  })

  it("are forgotten when the partition knows the producer, or the producer begins a new epoch", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 0))
    settle(fold, [commitOf(1, [runOf([idempotent(7, 0, 0)])])])
    assert.isFalse(lost.isBehindLost(batch(7, 1), fold), "it was accepted elsewhere")
    lost.add(batch(9, 5))
    assert.isFalse(lost.isBehindLost(batch(9, 8, 0, 1), fold))
  })

  it("go by sequences that wrap", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    lost.add(batch(7, 0x7fffffff))
    assert.isTrue(lost.isBehindLost(batch(7, 0), fold))
    assert.isFalse(lost.isBehindLost(batch(7, 0x7fffff00), fold), "an earlier one")
  })

  it("are remembered up to a bound, the first go first", () => {
    const fold = foldWithTopic()
    const lost = new LostBatches()
    for (let producer = 0; producer <= limits.lostBatchesRemembered; producer += 1) lost.add(batch(producer, 0))
    assert.isFalse(lost.isBehindLost(batch(0, 1), fold))
    assert.isTrue(lost.isBehindLost(batch(1, 1), fold))
  })
})
