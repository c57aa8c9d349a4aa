/**
 * Goal: stamping changes just the bytes that a server may change, and leaves the CRC right.
 * Method: golden batches, compared byte by byte before and after.
 */
import { assert, describe, it } from "vitest"
import { AssertionFailed } from "#core/model/assert.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { setTimestamps, stampBatch } from "#core/records/stamp-batch.ts"
import { javaBatch, javaBatches, printRecords } from "./golden-batches.ts"

const changedBytes = (before: Buffer, after: Buffer): Array<number> =>
  [...before.keys()].filter((index) => before[index] !== after[index])

describe("stampBatch", () => {
  it("refuses an offset that is none", () => {
    for (const baseOffset of [-1, 0.5, 2 ** 53, Number.NaN]) {
      assert.throws(() => stampBatch(javaBatch("none few").batch, 0, { baseOffset, leaderEpoch: 0 }), AssertionFailed)
    }
  })

  it("changes the 12 bytes outside the CRC and no others", () => {
    for (const { batch } of javaBatches) {
      const stamped = Buffer.from(batch)
      stampBatch(stamped, 0, { baseOffset: 2 ** 52 + 12345, leaderEpoch: 0x01020304 })
      for (const index of changedBytes(batch, stamped)) {
        assert.isTrue(index < 8 || (index >= 12 && index < 16), `byte ${index}`)
      }
      assert.strictEqual(batchHeader.baseOffset(stamped, 0), 2 ** 52 + 12345)
      assert.strictEqual(batchHeader.leaderEpoch(stamped, 0), 0x01020304)
      assert.strictEqual(batchHeader.computeCrc(stamped, 0), batchHeader.crc(stamped, 0))
    }
  })

  it("gives every record its offset from the base", () => {
    const { batch } = javaBatch("gzip few")
    stampBatch(batch, 0, { baseOffset: 1000, leaderEpoch: 0 })
    assert.deepEqual(
      printRecords(batch).map((record) => record[0]),
      [1000, 1001, 1002, 1003, 1004]
    )
  })

  it("gives every record the append time where there is one, with a right CRC", () => {
    for (const name of ["none few", "zstd few", "append time"]) {
      const { batch } = javaBatch(name)
      stampBatch(batch, 0, { baseOffset: 7, leaderEpoch: 0, appendTimeMs: 1_800_000_000_000 })
      assert.strictEqual(batchHeader.timestampType(batch, 0), "append")
      assert.strictEqual(batchHeader.computeCrc(batch, 0), batchHeader.crc(batch, 0))
      for (const record of printRecords(batch)) assert.strictEqual(record[1], 1_800_000_000_000)
    }
  })

  it("stamps one batch of many and leaves the others alone", () => {
    const { batch } = javaBatch("none few")
    const bytes = Buffer.concat([batch, batch, batch])
    stampBatch(bytes, batch.length, { baseOffset: 5, leaderEpoch: 1, appendTimeMs: 6 })
    assert.isTrue(bytes.subarray(0, batch.length).equals(batch))
    assert.isTrue(bytes.subarray(2 * batch.length).equals(batch))
    assert.strictEqual(batchHeader.maxTimestamp(bytes, batch.length), 6)
    assert.strictEqual(batchHeader.computeCrc(bytes, batch.length), batchHeader.crc(bytes, batch.length))
  })
})

describe("setTimestamps", () => {
  it("keeps the bits of codec, transaction and producer", () => {
    const { batch } = javaBatch("transactional, zstd")
    const before = batchHeader.attributes(batch, 0)
    setTimestamps(batch, 0, "append", 9)
    assert.strictEqual(batchHeader.attributes(batch, 0), before | batchHeader.LOG_APPEND_TIME_BIT)
    setTimestamps(batch, 0, "create", 9)
    assert.strictEqual(batchHeader.attributes(batch, 0), before)
  })

  it("does not touch the CRC where nothing changes, so that rotten bytes stay found out", () => {
    const { batch } = javaBatch("none few")
    batch[batch.length - 1]! ^= 1
    const before = Buffer.from(batch)
    setTimestamps(batch, 0, "create", batchHeader.maxTimestamp(batch, 0))
    assert.isTrue(batch.equals(before))
  })
})
