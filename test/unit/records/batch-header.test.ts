/**
 * Goal: header fields are read where Kafka writes them, and a walk over batches never leaves its buffer.
 * Method: batches of Kafka's own builder; each way in which lengths can lie or bytes be missing.
 */
import { assert, describe, it } from "vitest"
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordError, type RecordErrorReason } from "#core/records/record-error.ts"
import { javaBatch, javaBatches, librdkafkaBatches } from "./golden-batches.ts"

const visited = (bytes: Buffer): Array<readonly [number, number]> => {
  const found: Array<readonly [number, number]> = []
  batchHeader.walkBatches(bytes, (at, length) => void found.push([at, length]))
  return found
}

const reasonOf = (act: () => unknown): RecordErrorReason => {
  try {
    act()
  } catch (error) {
    if (error instanceof RecordError) return error.reason
    throw error
  }
  throw new Error("nothing was thrown")
}

describe("walkBatches", () => {
  const batch = javaBatch("none few").batch

  it("refuses a batch that is cut anywhere", () => {
    for (let length = 1; length < batch.length; length++) {
      assert.strictEqual(
        reasonOf(() => visited(batch.subarray(0, length))),
        "truncated",
        `${length}`
      )
    }
  })

  it("refuses a second batch that is cut, after visiting the first", () => {
    const bytes = Buffer.concat([batch, batch.subarray(0, -1)])
    const found: Array<number> = []
    assert.strictEqual(
      reasonOf(() => batchHeader.walkBatches(bytes, (at) => void found.push(at))),
      "truncated"
    )
    assert.deepEqual(found, [0])
  })

  it("refuses lengths that are too small, so that it always gets on", () => {
    for (const length of [0, -1, -12, 48, -(2 ** 31)]) {
      const lied = Buffer.from(batch)
      lied.writeInt32BE(length, batchHeader.AT_BATCH_LENGTH)
      assert.strictEqual(
        reasonOf(() => visited(lied)),
        "malformed",
        `${length}`
      )
    }
  })

  it("refuses a length beyond the buffer", () => {
    const lied = Buffer.from(batch)
    lied.writeInt32BE(2 ** 31 - 1, batchHeader.AT_BATCH_LENGTH)
    assert.strictEqual(
      reasonOf(() => visited(lied)),
      "truncated"
    )
  })

  it("refuses other magics", () => {
    for (const magic of [0, 1, 3, -1]) {
      const lied = Buffer.from(batch)
      lied.writeInt8(magic, batchHeader.AT_MAGIC)
      assert.strictEqual(
        reasonOf(() => visited(lied)),
        "malformed"
      )
    }
  })

  it("visits all batches in order", () => {
    const other = javaBatch("zstd few").batch
    const found = visited(Buffer.concat([batch, other, batch]))
    assert.deepEqual(found, [
      [0, batch.length],
      [batch.length, other.length],
      [batch.length + other.length, batch.length]
    ])
  })

  it("visits nothing in no bytes", () => assert.deepEqual(visited(Buffer.alloc(0)), []))

  it("ends where the visitor says so", () => {
    let count = 0
    batchHeader.walkBatches(Buffer.concat([batch, batch]), () => {
      count += 1
      return false
    })
    assert.strictEqual(count, 1)
  })
})

describe("header fields", () => {
  for (const { name, codec, batch, records } of javaBatches) {
    it(`of "${name}" are what Kafka wrote`, () => {
      assert.strictEqual(batchHeader.batchBytes(batch, 0), batch.length)
      assert.strictEqual(batchHeader.magic(batch, 0), 2)
      assert.strictEqual(batchHeader.codec(batch, 0), codec)
      assert.strictEqual(batchHeader.leaderEpoch(batch, 0), 9)
      assert.strictEqual(batchHeader.recordCount(batch, 0), records.length)
      assert.strictEqual(batchHeader.baseOffset(batch, 0), records[0]![0])
      assert.strictEqual(batchHeader.nextOffset(batch, 0), records.at(-1)![0] + 1)
      assert.strictEqual(batchHeader.maxTimestamp(batch, 0), Math.max(...records.map((record) => record[1])))
      assert.strictEqual(batchHeader.crc(batch, 0), batchHeader.computeCrc(batch, 0))
      assert.isFalse(batchHeader.isControl(batch, 0))
      assert.isFalse(batchHeader.hasDeleteHorizon(batch, 0))
    })
  }

  it("are read at any offset of a larger buffer", () => {
    const { batch } = javaBatch("idempotent")
    const bytes = Buffer.concat([Buffer.alloc(33, 0xee), batch, Buffer.alloc(5, 0xee)])
    assert.strictEqual(batchHeader.producerId(bytes, 33), 4_300_000_000)
    assert.strictEqual(batchHeader.producerEpoch(bytes, 33), 3)
    assert.strictEqual(batchHeader.baseSequence(bytes, 33), 2147483646)
    assert.strictEqual(batchHeader.computeCrc(bytes, 33), batchHeader.crc(bytes, 33))
  })

  it("tell transactions and timestamp types apart", () => {
    assert.isTrue(batchHeader.isTransactional(javaBatch("transactional, zstd").batch, 0))
    assert.isFalse(batchHeader.isTransactional(javaBatch("idempotent").batch, 0))
    assert.strictEqual(batchHeader.timestampType(javaBatch("append time").batch, 0), "append")
    assert.strictEqual(batchHeader.timestampType(javaBatch("none few").batch, 0), "create")
  })

  it("of batches without a producer are -1", () => {
    const { batch } = javaBatch("none few")
    assert.strictEqual(batchHeader.producerId(batch, 0), -1)
    assert.strictEqual(batchHeader.producerEpoch(batch, 0), -1)
    assert.strictEqual(batchHeader.baseSequence(batch, 0), -1)
  })

  it("of librdkafka's batches have the right CRC", () => {
    for (const [, batches] of librdkafkaBatches) {
      for (const batch of batches) assert.strictEqual(batchHeader.crc(batch, 0), batchHeader.computeCrc(batch, 0))
    }
  })
})

describe("64-bit fields", () => {
  it("come back as they were written", () => {
    const bytes = Buffer.alloc(8)
    for (const value of [0, 1, -1, -2, 2 ** 31, -(2 ** 31), 2 ** 32, -(2 ** 32), 2 ** 53 - 1, -(2 ** 53) + 1]) {
      batchHeader.writeInt64(bytes, value, 0)
      assert.strictEqual(bytes.readBigInt64BE(), BigInt(value))
      assert.strictEqual(batchHeader.readInt64(bytes, 0), value)
    }
  })
})
