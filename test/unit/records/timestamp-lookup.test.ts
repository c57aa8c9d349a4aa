/**
 * Goal: ListOffsets by time finds the record that Kafka finds, inside a batch.
 * Method: batches with timestamps out of order, compressed or not, of both timestamp types, and at the edges.
 */
import { assert, describe, it } from "vitest"
import { buildBatch } from "#core/records/build-batch.ts"
import { RecordError } from "#core/records/record-error.ts"
import { stampBatch } from "#core/records/stamp-batch.ts"
import { firstRecordSince, latestRecord } from "#core/records/timestamp-lookup.ts"

const batchOf = (timesMs: ReadonlyArray<number>, codec = 0): Buffer => {
  const records = timesMs.map((timestampMs) => ({ key: null, value: Buffer.from("v"), timestampMs }))
  return buildBatch({ records, codec, baseOffset: 100 })
}

describe("timestamp lookups", () => {
  it("throw a RecordError where the batch is rotten", () => {
    const batch = batchOf([1, 2])
    batch[61] = 0x7f
    assert.throws(() => firstRecordSince(batch, 0, 0), RecordError)
    assert.throws(() => latestRecord(batch, 0), RecordError)
    assert.throws(() => latestRecord(batch.subarray(0, 70), 0), RecordError)
  })

  for (const codec of [0, 1, 2, 3, 4]) {
    it(`find the first record in order of offsets whose time is reached (codec ${codec})`, () => {
      const batch = batchOf([10, 30, 20, 30, 25], codec)
      const offsets = [9, 10, 11, 20, 30, 31].map((timestampMs) => firstRecordSince(batch, 0, timestampMs)?.offset)
      assert.deepEqual(offsets, [100, 100, 101, 101, 101, undefined])
      assert.deepEqual(firstRecordSince(batch, 0, 11), { offset: 101, timestampMs: 30 })
    })

    it(`find the first of the latest records (codec ${codec})`, () => {
      assert.deepEqual(latestRecord(batchOf([10, 30, 20, 30, 25], codec), 0), { offset: 101, timestampMs: 30 })
    })
  }

  it("answer a LogAppendTime batch with its first record and its time", () => {
    const batch = batchOf([10, 30])
    stampBatch(batch, 0, { baseOffset: 500, leaderEpoch: 0, appendTimeMs: 77 })
    assert.deepEqual(firstRecordSince(batch, 0, 77), { offset: 500, timestampMs: 77 })
    assert.isUndefined(firstRecordSince(batch, 0, 78))
    assert.deepEqual(latestRecord(batch, 0), { offset: 500, timestampMs: 77 })
  })

  it("work on a batch inside a larger buffer", () => {
    const bytes = Buffer.concat([batchOf([1]), batchOf([5, 6])])
    assert.deepEqual(latestRecord(bytes, batchOf([1]).length), { offset: 101, timestampMs: 6 })
  })

  it("take records without a timestamp as -1", () => {
    assert.deepEqual(latestRecord(batchOf([-1, -1]), 0), { offset: 100, timestampMs: -1 })
    assert.isUndefined(firstRecordSince(batchOf([-1, -1]), 0, 0))
  })
})
