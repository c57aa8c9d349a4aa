// Goal: whoever waits is taken as soon as there is room, also after a queue full of others ran out of time.
// Method: the queue itself, with times that the test gives.
import { assert, describe, it } from "@effect/vitest"
import { CommandQueue, type Outcome, Submission } from "#core/log/command-queue.ts"
import { limits } from "#core/model/limits.ts"

const COMMAND = { kind: "allocate-producer-ids" } as const

const submissionAt = (nowMs: number) => {
  const outcomes: Array<Outcome> = []
  return { submission: new Submission(COMMAND, nowMs, (outcome) => void outcomes.push(outcome)), outcomes }
}

describe("CommandQueue", () => {
  it("takes those that waited for room once all that were queued have run out of time", () => {
    const queue = new CommandQueue()
    const queued = Array.from({ length: limits.commandsQueued }, () => submissionAt(0))
    for (const { submission } of queued) assert.isTrue(queue.offer(submission))
    const late = submissionAt(limits.commandSettleMs - 1)
    assert.isTrue(queue.offer(late.submission))
    queue.expire(limits.commandSettleMs)
    for (const { outcomes } of queued) assert.strictEqual(outcomes.length, 1)
    assert.deepStrictEqual(queue.take(), [late.submission])
    assert.strictEqual(queue.size, 0)
  })
})
