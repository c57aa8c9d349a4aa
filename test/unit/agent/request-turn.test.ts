// Goal: requests pass one point in their order, whichever is ready first and whichever fails.
import { assert, describe, it } from "vitest"
import { RequestTurn } from "#core/agent/request-turn.ts"

const line = (count: number) => {
  const order: Array<number> = []
  const turns: Array<RequestTurn> = []
  for (let index = 0; index < count; index++) turns.push(new RequestTurn(turns.at(-1)))
  const go = (index: number) =>
    turns[index]!.whenMine(() => {
      order.push(index)
      turns[index]!.pass()
    })
  return { order, turns, go }
}

describe("RequestTurn", () => {
  it("keeps the order, whoever is ready first", () => {
    const { order, go } = line(4)
    for (const index of [2, 1, 3]) go(index)
    assert.deepStrictEqual(order, [])
    go(0)
    assert.deepStrictEqual(order, [0, 1, 2, 3])
  })

  it("is there at once where nobody is in front any more", () => {
    const first = new RequestTurn(undefined)
    assert.isTrue(first.isMine)
    first.pass()
    assert.isTrue(new RequestTurn(first).isMine)
  })

  it("goes past a request that ended without having had its turn, but not past the one in front of it", () => {
    const { order, turns, go } = line(4)
    turns[1]!.pass()
    turns[2]!.pass()
    go(3)
    assert.deepStrictEqual(order, [])
    go(0)
    assert.deepStrictEqual(order, [0, 3])
  })

  it("goes past a request that gave up while it waited", () => {
    const { order, turns, go } = line(3)
    turns[1]!.whenMine(() => assert.fail("it has given up"))
    turns[1]!.pass()
    go(2)
    go(0)
    assert.deepStrictEqual(order, [0, 2])
  })
})
