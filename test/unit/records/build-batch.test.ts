/**
 * Goal: the batches we build are Kafka's.
 * Method: rebuilt from what Kafka's own classes read in their golden batches, uncompressed ones must be the same bytes,
 * compressed ones the same records. (broker-verdicts.json shows a real broker accepting built ones of every codec.)
 */
import { assert, describe, it } from "vitest"
import { AssertionFailed } from "#core/model/assert.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch, type NewBatch, type NewRecord } from "#core/records/build-batch.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { javaBatches, printRecords } from "./golden-batches.ts"

const recordsOf = (batch: Buffer): Array<NewRecord> => {
  const cursor = new RecordCursor()
  const records: Array<NewRecord> = []
  cursor.open(batch, 0, { timestamps: "own" })
  while (cursor.next()) {
    records.push({
      key: cursor.key(),
      value: cursor.value(),
      headers: cursor.headers(),
      timestampMs: cursor.timestamp
    })
  }
  return records
}

const headerOf = (batch: Buffer): Omit<NewBatch, "records"> => ({
  codec: batchHeader.codec(batch, 0),
  baseOffset: batchHeader.baseOffset(batch, 0),
  leaderEpoch: batchHeader.leaderEpoch(batch, 0),
  producerId: batchHeader.producerId(batch, 0),
  producerEpoch: batchHeader.producerEpoch(batch, 0),
  baseSequence: batchHeader.baseSequence(batch, 0),
  isTransactional: batchHeader.isTransactional(batch, 0),
  timestampType: batchHeader.timestampType(batch, 0)
})

describe("buildBatch", () => {
  it("refuses a batch without records", () => assert.throws(() => buildBatch({ records: [] }), AssertionFailed))

  for (const { name, codec, batch, records } of javaBatches) {
    if (batchHeader.timestampType(batch, 0) === "append") continue
    it(`makes Java's "${name}"`, () => {
      const built = buildBatch({ ...headerOf(batch), records: recordsOf(batch) })
      if (codec === 0) assert.strictEqual(built.toString("hex"), batch.toString("hex"))
      else assert.deepEqual(printRecords(built), [...records])
      assert.strictEqual(batchHeader.computeCrc(built, 0), batchHeader.crc(built, 0))
    })
  }

  it("marks control batches", () => {
    const key = Buffer.from("00000001", "hex")
    const built = buildBatch({ records: [{ key, value: null }], isControl: true, isTransactional: true, producerId: 4 })
    assert.strictEqual(batchHeader.attributes(built, 0), 0x30)
    assert.strictEqual(batchHeader.producerId(built, 0), 4)
  })

  it("gives records without a timestamp the batch's", () => {
    const records = [
      { key: null, value: null },
      { key: null, value: null, timestampMs: 3 }
    ]
    assert.deepEqual(
      printRecords(buildBatch({ records, timestampMs: 9 })).map((record) => record[1]),
      [9, 3]
    )
    assert.deepEqual(
      printRecords(buildBatch({ records: records.slice(0, 1) })).map((record) => record[1]),
      [-1]
    )
  })
})
