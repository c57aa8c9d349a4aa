/**
 * Goal: what fails again and again is told once, and its end once; what is over soon is not told at all.
 * Method: sequences of attempts at given times.
 */
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { LastingFailure } from "#core/telemetry/lasting-failure.ts"

const { failureToldMs } = limits

describe("LastingFailure", () => {
  it("is told once, when it has lasted, and its end once", () => {
    const failure = new LastingFailure()
    const told = [0, 10, failureToldMs - 1, failureToldMs, failureToldMs + 1, 60_000].map((ms) => failure.failed(ms))
    assert.deepEqual(told, [undefined, undefined, undefined, failureToldMs, undefined, undefined])
    assert.equal(failure.ended(61_000), 61_000)
    assert.isUndefined(failure.ended(62_000))
  })

  it("is not told where it is over soon, however often that happens", () => {
    const failure = new LastingFailure()
    for (let round = 0; round < 100; round++) {
      assert.isUndefined(failure.failed(round * failureToldMs))
      assert.isUndefined(failure.ended(round * failureToldMs + 1))
    }
  })

  it("is told again the next time", () => {
    const failure = new LastingFailure()
    failure.failed(0)
    failure.failed(failureToldMs)
    failure.ended(failureToldMs)
    failure.failed(5_000_000)
    assert.equal(failure.failed(5_000_000 + failureToldMs), failureToldMs)
  })
})
