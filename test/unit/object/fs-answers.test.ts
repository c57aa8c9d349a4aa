// Goal: answers of a bucket's thread travel together, but none is kept back for long, whatever the next call does.
// Method: the holder with given times, and what it sends.
import { assert, describe, it } from "vitest"
import { HeldAnswers } from "#backends/object/fs-answers.ts"
import { limits } from "#core/model/limits.ts"

const holder = () => {
  const sent: Array<{ readonly ids: ReadonlyArray<number>; readonly transferred: ReadonlyArray<ArrayBuffer> }> = []
  const answers = new HeldAnswers((some, transferred) => sent.push({ ids: some.map(({ id }) => id), transferred }))
  return { answers, sent }
}

describe("held answers", () => {
  it("are sent before the next call when the oldest has waited too long, and not before", () => {
    const { answers, sent } = holder()
    answers.add({ kind: "put", id: 1 }, 100)
    answers.add({ kind: "put", id: 2 }, 100 + limits.directoryAnswersHeldMs - 0.1)
    answers.sendIfDue(100 + limits.directoryAnswersHeldMs - 0.1)
    assert.deepStrictEqual(sent, [])
    answers.sendIfDue(100 + limits.directoryAnswersHeldMs)
    assert.deepStrictEqual(sent, [{ ids: [1, 2], transferred: [] }])
  })

  it("are sent before the next call when they are many, however young", () => {
    const { answers, sent } = holder()
    for (let id = 1; id < limits.directoryAnswersHeld; id++) answers.add({ kind: "left", id }, 5)
    answers.sendIfDue(5)
    assert.lengthOf(sent, 0)
    answers.add({ kind: "left", id: limits.directoryAnswersHeld }, 5)
    answers.sendIfDue(5)
    assert.lengthOf(sent[0]!.ids, limits.directoryAnswersHeld)
  })

  it("are sent once, in order, with the memory of gets; nothing is sent of nothing", () => {
    const { answers, sent } = holder()
    answers.send()
    answers.sendIfDue(1e9)
    assert.lengthOf(sent, 0)
    const bytes = new ArrayBuffer(3)
    answers.add({ kind: "got", id: 7, bytes, objectBytes: 9 }, 1)
    answers.add({ kind: "left", id: 7 }, 1)
    answers.send()
    answers.send()
    assert.deepStrictEqual(sent, [{ ids: [7, 7], transferred: [bytes] }])
  })
})
