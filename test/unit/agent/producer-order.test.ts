// Goal: which batches of an idempotent producer must wait for an earlier one. Method: calls in an order, plain asserts.
import { assert, describe, it } from "@effect/vitest"
import { ProducerOrder } from "#core/agent/producer-order.ts"
import { limits } from "#core/model/limits.ts"

const PLACE = { producerId: 7, topic: "orders", partition: 0 }
const at = (baseSequence: number, producerEpoch = 0) => ({ baseSequence, producerEpoch })

describe("ProducerOrder", () => {
  it("keeps later batches behind a lost one, until it comes again", () => {
    const order = new ProducerOrder()
    order.lost(PLACE, at(0), 0)
    assert.isTrue(order.isBehindGap(PLACE, at(5), 1))
    assert.isFalse(order.isBehindGap({ ...PLACE, partition: 1 }, at(5), 1))
    assert.isFalse(order.isBehindGap({ ...PLACE, producerId: 8 }, at(5), 1))
    assert.isFalse(order.isBehindGap(PLACE, at(0), 2))
    assert.isFalse(order.isBehindGap(PLACE, at(5), 3), "from then on the segment buffer keeps the order")
  })

  it("keeps the earliest of several lost batches", () => {
    const order = new ProducerOrder()
    order.lost(PLACE, at(3), 0)
    order.lost(PLACE, at(0), 0)
    order.lost(PLACE, at(5), 0)
    assert.isTrue(order.isBehindGap(PLACE, at(3), 1))
  })

  it("knows that sequences go round", () => {
    const order = new ProducerOrder()
    order.lost(PLACE, at(0x7fffffff), 0)
    assert.isTrue(order.isBehindGap(PLACE, at(0), 1))
  })

  it("lets another epoch pass", () => {
    const order = new ProducerOrder()
    order.lost(PLACE, at(0), 0)
    assert.isFalse(order.isBehindGap(PLACE, at(5, 1), 1))
  })

  it("leaves producers alone that the log knows", () => {
    const order = new ProducerOrder()
    order.settled(PLACE)
    assert.isTrue(order.isKnown(PLACE))
    order.lost(PLACE, at(3), 0)
    assert.isFalse(order.isBehindGap(PLACE, at(5), 1))
  })

  it("forgets a gap after a while: its batch may never come again", () => {
    const order = new ProducerOrder()
    order.lost(PLACE, at(0), 0)
    assert.isFalse(order.isBehindGap(PLACE, at(5), limits.producerGapMs))
    assert.strictEqual(order.gapCount, 0)
  })

  it("remembers so many at most, the latest", () => {
    const order = new ProducerOrder()
    for (let producerId = 0; producerId <= limits.producerGaps; producerId++) {
      order.lost({ ...PLACE, producerId }, at(0), 0)
    }
    assert.strictEqual(order.gapCount, limits.producerGaps)
    assert.isFalse(order.isBehindGap({ ...PLACE, producerId: 0 }, at(5), 1))
    assert.isTrue(order.isBehindGap({ ...PLACE, producerId: limits.producerGaps }, at(5), 1))
    for (let producerId = 0; producerId <= limits.producersKnown; producerId++) order.settled({ ...PLACE, producerId })
    assert.isFalse(order.isKnown({ ...PLACE, producerId: 0 }))
    assert.isTrue(order.isKnown({ ...PLACE, producerId: limits.producersKnown }))
  })
})
