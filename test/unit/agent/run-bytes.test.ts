/**
 * Goal: a fetch gets whole accepted batches from the one that holds its offset, within its bytes, without a copy.
 * Method: one stamped run with a batch that was not accepted, sliced at every offset and at every edge of a batch.
 */
import { assert, describe, it } from "vitest"
import { isRunSound, sliceRun, stampRun } from "#core/agent/run-bytes.ts"
import { type MadeSegment, batch, makeSegment, offsetsOf } from "./made-segment.ts"

/** The first run's bytes, stamped. */
const stamped = (segment: MadeSegment): Buffer => {
  const run = segment.runs[0]!
  const bytes = Buffer.from(segment.bytes.subarray(run.byteOffset, run.byteOffset + run.byteLength))
  assert.isTrue(isRunSound(bytes, run))
  stampRun(bytes, run)
  return bytes
}

describe("a slice of a run", () => {
  // Four batches of 2, 3, 1 and 4 records; the second was not accepted. Offsets 10-11, -, 12, 13-16.
  const segment = makeSegment([{ batches: [2, 3, 1, 4], baseOffset: 10, excluded: [1] }])
  const run = segment.runs[0]!
  const bytes = stamped(segment)
  const sizes = [2, 3, 1, 4].map((records) => batch(records).length)
  const bytesMax = 1_000_000

  it("begins with the batch that contains the offset, and cuts out what was not accepted", () => {
    const cases: ReadonlyArray<readonly [fromOffset: number, offsets: ReadonlyArray<number>, chunks: number]> = [
      [0, [10, 12, 13], 2],
      [10, [10, 12, 13], 2],
      [11, [10, 12, 13], 2],
      [12, [12, 13], 1],
      [13, [13], 1],
      [16, [13], 1],
      [17, [], 0]
    ]
    for (const [fromOffset, offsets, chunks] of cases) {
      const slice = sliceRun(bytes, run, { fromOffset, bytesMax, minOneBatch: false })
      assert.deepStrictEqual(offsetsOf(slice.chunks), offsets, String(fromOffset))
      assert.lengthOf(slice.chunks, chunks)
      assert.isTrue(slice.isWhole)
      assert.strictEqual(
        slice.bytes,
        slice.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      )
    }
  })

  it("has whole batches only, at most so many bytes", () => {
    const [first, , third, fourth] = sizes as [number, number, number, number]
    const cases: ReadonlyArray<readonly [bytesMax: number, offsets: ReadonlyArray<number>]> = [
      [0, []],
      [first - 1, []],
      [first, [10]],
      [first + third - 1, [10]],
      [first + third, [10, 12]],
      [first + third + fourth - 1, [10, 12]],
      [first + third + fourth, [10, 12, 13]]
    ]
    for (const [max, offsets] of cases) {
      const slice = sliceRun(bytes, run, { fromOffset: 10, bytesMax: max, minOneBatch: false })
      assert.deepStrictEqual(offsetsOf(slice.chunks), offsets, String(max))
      assert.isAtMost(slice.bytes, max)
      assert.strictEqual(slice.isWhole, offsets.length === 3)
    }
  })

  it("has one batch however large where one is asked for", () => {
    const slice = sliceRun(bytes, run, { fromOffset: 14, bytesMax: 1, minOneBatch: true })
    assert.deepStrictEqual(offsetsOf(slice.chunks), [13])
    assert.deepStrictEqual(
      offsetsOf(sliceRun(bytes, run, { fromOffset: 10, bytesMax: 1, minOneBatch: true }).chunks),
      [10]
    )
  })

  it("copies nothing", () => {
    for (const chunk of sliceRun(bytes, run, { fromOffset: 10, bytesMax, minOneBatch: true }).chunks) {
      assert.strictEqual(chunk.buffer, bytes.buffer)
    }
  })

  it("is right with excluded batches at both ends", () => {
    const ends = makeSegment([{ batches: [1, 1, 1, 1], baseOffset: 0, excluded: [0, 3] }])
    const slice = sliceRun(stamped(ends), ends.runs[0]!, { fromOffset: 0, bytesMax, minOneBatch: true })
    assert.deepStrictEqual(offsetsOf(slice.chunks), [0, 1])
    assert.isTrue(slice.isWhole)
  })
})
