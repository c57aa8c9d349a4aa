/**
 * Goal: the judge of the outage tests sees loss, doubles, wrong order and wrong places, and forgives what is allowed.
 * Method: a right log of two partitions, then one fault at a time.
 */
import { assert, describe, it } from "vitest"
import { type ConsumedRecord } from "../../peers/record-frames.ts"
import { type Acknowledgement, longestPauseMs, numberedFault } from "../../system/numbered-records.ts"

const read = (partition: number, offset: number, number: number): ConsumedRecord => {
  return { partition, offset, key: Buffer.from(`k${partition}`), value: Buffer.from(String(number)) }
}
const acknowledged = (number: number, partition: number, offset: number, atMs = 0): Acknowledgement => {
  return { number, partition, offset, atMs }
}
const log = [read(0, 0, 10), read(1, 0, 11), read(0, 1, 12), read(1, 1, 13)]
const all = [acknowledged(10, 0, 0), acknowledged(11, 1, 0), acknowledged(12, 0, 1), acknowledged(13, 1, 1)]

describe("numberedFault", () => {
  it("accepts a log that holds everything once and in order", () => {
    assert.isUndefined(numberedFault(all, log))
  })

  it("accepts a number that was never acknowledged, there or not", () => {
    assert.isUndefined(numberedFault(all.slice(0, 3), log))
    assert.isUndefined(numberedFault(all.slice(0, 3), log.slice(0, 3)))
  })

  it("accepts an acknowledgement without an offset, as long as the record is there", () => {
    assert.isUndefined(numberedFault([acknowledged(12, 0, Number.NaN), acknowledged(13, 1, -1)], log))
    assert.match(numberedFault([acknowledged(14, 0, Number.NaN)], log) ?? "", /14 was acknowledged .* and is lost/)
  })

  it("sees an acknowledged number that is lost", () => {
    assert.match(numberedFault(all, log.slice(0, 3)) ?? "", /13 was acknowledged at 1\/1 and is lost/)
  })

  it("sees a number that is there twice", () => {
    assert.match(numberedFault(all, [...log, read(0, 2, 12)]) ?? "", /12 is there twice, at 0\/1 and 0\/2/)
  })

  it("sees numbers out of order in a partition", () => {
    assert.match(numberedFault([], [read(0, 0, 12), read(0, 1, 10)]) ?? "", /number 10 follows 12/)
  })

  it("sees a hole in the offsets, and a log that does not start at 0", () => {
    assert.match(numberedFault([], [read(0, 0, 10), read(0, 2, 12)]) ?? "", /offset 2 follows 0/)
    assert.match(numberedFault([], [read(0, 1, 10)]) ?? "", /offset 1 follows -1/)
  })

  it("sees a record elsewhere than its acknowledgement said", () => {
    assert.match(numberedFault([acknowledged(12, 0, 0)], log) ?? "", /acknowledged at 0\/0, and is at 0\/1/)
  })
})

describe("longestPauseMs", () => {
  it("is the largest gap between acknowledgements, in whatever order they are listed", () => {
    const times = [acknowledged(1, 0, 0, 100), acknowledged(3, 0, 2, 900), acknowledged(2, 0, 1, 150)]
    assert.equal(longestPauseMs(times), 750)
    assert.equal(longestPauseMs([]), 0)
  })
})
