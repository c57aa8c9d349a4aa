// Goal: memory is reserved before it is held, first come first served, and nobody waits for ever.
import { assert, describe, it } from "vitest"
import { ByteBudget } from "#core/agent/byte-budget.ts"

describe("ByteBudget", () => {
  it("grants what fits and makes the rest wait in order", () => {
    const budget = new ByteBudget(100)
    const order: Array<string> = []
    assert.isTrue(budget.tryReserve(60))
    budget.reserve(50, () => order.push("large"))
    budget.reserve(10, () => order.push("small"))
    assert.deepStrictEqual(order, [], "the small one does not overtake the large one")
    assert.isFalse(budget.tryReserve(1), "nor does anyone who comes later")
    budget.release(60)
    assert.deepStrictEqual(order, ["large", "small"])
    assert.strictEqual(budget.heldBytes, 60)
  })

  it("grants more than all of it to whoever is alone", () => {
    const budget = new ByteBudget(100)
    assert.isTrue(budget.tryReserve(500))
    let granted = false
    budget.reserve(1, () => (granted = true))
    assert.isFalse(granted)
    budget.release(500)
    assert.isTrue(granted)
  })

  it("lets the next one in when a waiter gives up", () => {
    const budget = new ByteBudget(100)
    budget.tryReserve(50)
    const giveUp = budget.reserve(80, () => assert.fail("it gave up"))
    let granted = false
    budget.reserve(50, () => (granted = true))
    giveUp()
    assert.isTrue(granted)
    assert.strictEqual(budget.waiting, 0)
  })

  it("refuses a release of more than is held", () => {
    const budget = new ByteBudget(100)
    budget.tryReserve(10)
    assert.throws(() => budget.release(11), /release of 11 bytes/)
  })
})
