// Goal: however much memory large requests hold, small ones are still served.
import { assert, describe, it } from "vitest"
import { RequestBudget } from "#core/agent/request-budget.ts"
import { limits } from "#core/model/limits.ts"

const LARGE = limits.requestBytesSmall + 1

describe("RequestBudget", () => {
  it("keeps a part for small requests that large ones cannot take", () => {
    const budget = new RequestBudget(8 * limits.requestBytesSmall)
    while (budget.tryReserve(LARGE)) assert.isAtMost(budget.heldBytes, 6 * limits.requestBytesSmall)
    assert.isTrue(budget.tryReserve(limits.requestBytesSmall))
    assert.isTrue(budget.tryReserve(limits.requestBytesSmall))
    assert.isFalse(budget.tryReserve(1))
  })

  it("tells who waits for the same kind of memory, and gives it to them", () => {
    const budget = new RequestBudget(8 * limits.requestBytesSmall)
    const huge = 100 * limits.requestBytesSmall
    assert.isTrue(budget.tryReserve(huge), "larger than all of it, while nothing else of its kind is held")
    let granted = false
    budget.reserve(LARGE, () => (granted = true))
    assert.isTrue(budget.isWaitedFor(huge))
    assert.isFalse(budget.isWaitedFor(10))
    budget.release(huge)
    assert.isTrue(granted)
    assert.strictEqual(budget.waiting, 0)
  })
})
