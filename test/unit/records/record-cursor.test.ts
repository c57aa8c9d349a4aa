/**
 * Goal: records are read as Kafka's own classes and librdkafka wrote them, and no bytes whatever make the cursor do more
 * than throw a RecordError.
 * Method: golden batches compared field by field; every cut and every changed byte; hand-made records for each lie.
 */
import { assert, describe, it } from "vitest"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { RecordError } from "#core/records/record-error.ts"
import { javaBatch, javaBatches, librdkafkaBatches, printRecords } from "./golden-batches.ts"

/** How many records were read before the end or the RecordError; anything else that is thrown goes through. */
const walk = (
  batch: Buffer,
  uncompressedBytesMax = 1_000_000
): { readonly count: number; readonly error?: RecordError } => {
  const cursor = new RecordCursor()
  let count = 0
  try {
    cursor.open(batch, 0, { uncompressedBytesMax })
    while (cursor.next()) {
      cursor.key()
      cursor.value()
      cursor.headers()
      count += 1
    }
    return { count }
  } catch (error) {
    if (error instanceof RecordError) return { count, error }
    throw error
  }
}

const withBlock = (block: Buffer, recordCount: number): Buffer => {
  const header = buildBatch({ records: [{ key: null, value: null }] }).subarray(0, batchHeader.BATCH_HEADER_BYTES)
  const batch = Buffer.concat([header, block])
  batch.writeInt32BE(batch.length - 12, batchHeader.AT_BATCH_LENGTH)
  batch.writeInt32BE(recordCount, batchHeader.AT_RECORD_COUNT)
  return batch
}

describe("malformed records", () => {
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    it(`end in a RecordError wherever a batch of ${codec} is cut`, () => {
      const { batch } = javaBatch(`${codec} few`)
      for (let length = 0; length < batch.length; length++) {
        const cut = Buffer.from(batch.subarray(0, length))
        assert.isDefined(walk(cut).error, `cut to ${length}`)
        if (length < batchHeader.BATCH_HEADER_BYTES) continue
        cut.writeInt32BE(length - 12, batchHeader.AT_BATCH_LENGTH)
        assert.isDefined(walk(cut).error, `cut to ${length}, the length agreeing`)
      }
    })

    it(`never do worse than a RecordError, whichever byte of a batch of ${codec} changes`, () => {
      const { batch } = javaBatch(`${codec} few`)
      for (let at = 0; at < batch.length; at++) {
        for (const change of [0x01, 0x80, 0xff, 0x7f]) {
          const changed = Buffer.from(batch)
          changed[at]! ^= change
          const { count } = walk(changed)
          assert.isAtMost(count, batch.length)
        }
      }
    })
  }

  const lies: ReadonlyArray<readonly [name: string, hex: string, count: number, reason: string]> = [
    ["a record shorter than its length", "1200000002" + "6b02" + "7600", 1, "truncated"],
    ["a record longer than its length", "0e00000002" + "6b02" + "7600", 1, "truncated"],
    ["a negative length", "0100000002" + "6b02" + "7600", 1, "truncated"],
    ["a length of six bytes", "808080808000", 1, "malformed"],
    ["a key beyond the record", "10000000" + "406b02" + "7600", 1, "truncated"],
    ["a header count beyond the record", "10000000026b027602", 1, "malformed"],
    ["a negative header count", "10000000026b027601", 1, "malformed"],
    ["a header without key", "14000000026b0276020100", 1, "malformed"],
    ["a timestamp of eleven bytes", "240080808080808080808080" + "00" + "00026b027600", 1, "malformed"],
    ["bytes after the last record", "10000000026b02760000", 1, "malformed"],
    ["fewer records than counted", "10000000026b027600", 2, "truncated"],
    ["a count of 2^31-1", "10000000026b027600", 2 ** 31 - 1, "truncated"],
    ["a count of -1", "10000000026b027600", -1, "malformed"]
  ]
  for (const [name, hex, count, reason] of lies) {
    it(`are refused: ${name}`, () =>
      assert.strictEqual(walk(withBlock(Buffer.from(hex, "hex"), count)).error?.reason, reason))
  }

  it("that unfold beyond the bound are refused", () => {
    const records = [{ key: null, value: Buffer.alloc(100_000) }]
    for (const codec of [1, 2, 3, 4]) {
      assert.strictEqual(walk(buildBatch({ records, codec }), 99_999).error?.reason, "too-large", `codec ${codec}`)
      assert.strictEqual(walk(buildBatch({ records, codec }), 100_100).count, 1, `codec ${codec}`)
    }
  })

  it("of an unknown codec are refused", () => {
    const { batch } = javaBatch("none few")
    batch.writeInt16BE(5, batchHeader.AT_ATTRIBUTES)
    assert.strictEqual(walk(batch).error?.reason, "unsupported-codec")
  })
})

describe("records", () => {
  for (const { name, batch, records } of javaBatches) {
    it(`of Java's "${name}" are read as Kafka reads them`, () => assert.deepEqual(printRecords(batch), [...records]))
  }

  for (const [topic, batches] of librdkafkaBatches) {
    it(`of ${topic} are read as they were produced`, () => {
      const records = batches.flatMap((batch) => printRecords(batch))
      assert.strictEqual(records.length, 300)
      for (const [index, [offset, timestamp, key, value, headers]] of records.entries()) {
        assert.strictEqual(offset, index)
        assert.isAbove(timestamp, 1_700_000_000_000)
        assert.strictEqual(key, Buffer.from(`key-${(index + 1) % 7}`).toString("hex"))
        assert.strictEqual(value, Buffer.from(`value number ${index + 1} of librdkafka`).toString("hex"))
        assert.deepEqual(headers, [
          ["trace", Buffer.from("abc").toString("hex")],
          ["empty", ""]
        ])
      }
    })
  }

  it("lie in the batch's own buffer where it is not compressed, at any offset", () => {
    const { batch, records } = javaBatch("none few")
    const bytes = Buffer.concat([Buffer.alloc(17, 0xff), batch, Buffer.alloc(3, 0xff)])
    const cursor = new RecordCursor()
    cursor.open(bytes, 17)
    assert.isTrue(cursor.next())
    assert.strictEqual(cursor.bytes, bytes)
    assert.strictEqual(cursor.key()!.buffer, bytes.buffer)
    assert.deepEqual(printRecords(bytes, 17), [...records])
  })

  it("are read again after headers were asked for, and headers twice alike", () => {
    const cursor = new RecordCursor()
    cursor.open(javaBatch("gzip few").batch)
    let count = 0
    while (cursor.next()) {
      assert.deepEqual(cursor.headers(), cursor.headers())
      count += 1
    }
    assert.strictEqual(count, 5)
  })

  it("of one batch leave nothing behind for the next", () => {
    const cursor = new RecordCursor()
    cursor.open(javaBatch("append time").batch)
    assert.isTrue(cursor.next())
    assert.strictEqual(cursor.timestamp, 1_700_000_123_456)
    const { batch, records } = javaBatch("none few")
    cursor.open(batch)
    assert.isTrue(cursor.next())
    assert.strictEqual(cursor.offset, 0)
    assert.strictEqual(cursor.timestamp, records[0]![1])
  })

  it("are gone after release", () => {
    const cursor = new RecordCursor()
    cursor.open(javaBatch("none few").batch)
    cursor.release()
    assert.isFalse(cursor.next())
    assert.strictEqual(cursor.bytes.length, 0)
  })

  it("keep their own timestamps where asked, also in a LogAppendTime batch", () => {
    const own = javaBatch("none few").records.map((record) => record[1])
    const cursor = new RecordCursor()
    const found: Array<number> = []
    cursor.open(javaBatch("append time").batch, 0, { timestamps: "own" })
    while (cursor.next()) found.push(cursor.timestamp)
    assert.deepEqual(found, own)
  })

  it("of a batch that compaction emptied are none, whatever its codec", () => {
    for (const codec of [0, 1, 4]) {
      const batch = withBlock(Buffer.alloc(0), 0)
      batch.writeInt16BE(codec, batchHeader.AT_ATTRIBUTES)
      assert.deepEqual(walk(batch), { count: 0 })
    }
  })

  it("with offsets that compaction left sparse keep them", () => {
    const block = Buffer.from("10000004026b027600" + "1000000e026b027600", "hex")
    const batch = withBlock(block, 2)
    batchHeader.writeInt64(batch, 1000, 0)
    assert.deepEqual(
      printRecords(batch).map((record) => record[0]),
      [1002, 1007]
    )
  })
})
