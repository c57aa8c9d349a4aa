/**
 * Goal: no produced bytes throw, nothing that a checksum covers changes unnoticed, what is accepted is readable and
 * countable, and the bounds hold. That each verdict is Kafka's is the matter of broker-verdicts.test.ts.
 * Method: every cut and changed byte of golden batches; seeded mutations whose CRC is made right again; bombs.
 */
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { type CodecName } from "#core/records/codec-id.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { type BatchRefused, type BatchRules, validateProduced } from "#core/records/validate-batch.ts"
import { javaBatch, javaBatches, printRecords } from "./golden-batches.ts"

const NOW_MS = 1_700_000_100_000

const rules: BatchRules = {
  apiVersion: 9,
  maxBytes: 1_048_588,
  isCompacted: false,
  timestampType: "create",
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: 3_600_000,
  nowMs: NOW_MS,
  compressionType: "producer",
  uncompressedBytesMax: 1_000_000
}

const produced = (name: string): Buffer => {
  const { batch } = javaBatch(name)
  batchHeader.writeInt64(batch, 0, batchHeader.AT_BASE_OFFSET)
  return batch
}

const refusal = (records: Buffer | null, other: Partial<BatchRules> = {}): BatchRefused => {
  const result = validateProduced(records, { ...rules, ...other })
  if (result.ok) throw new Error("accepted")
  return result
}

const CODEC_NAMES: ReadonlyArray<CodecName | "none"> = ["none", "gzip", "snappy", "lz4", "zstd"]

describe("produced batches that are refused", () => {
  it("are those that are not there", () => {
    assert.strictEqual(refusal(null).errorCode, errorCodes.INVALID_RECORD)
    assert.strictEqual(refusal(Buffer.alloc(0)).errorCode, errorCodes.INVALID_RECORD)
  })

  for (const codec of CODEC_NAMES) {
    it(`are those of ${codec} in which one byte under the checksum changed`, () => {
      const batch = produced(`${codec} few`)
      for (let at = batchHeader.AT_CRC; at < batch.length; at++) {
        for (const change of [0x01, 0x80, 0xff]) {
          const changed = Buffer.from(batch)
          changed[at]! ^= change
          assert.strictEqual(refusal(changed).errorCode, errorCodes.CORRUPT_MESSAGE, `byte ${at} ^ ${change}`)
        }
      }
    })

    it(`are those of ${codec} that are cut anywhere`, () => {
      const batch = produced(`${codec} few`)
      for (let length = 0; length < batch.length; length++) {
        assert.strictEqual(refusal(batch.subarray(0, length)).errorCode, errorCodes.INVALID_RECORD)
      }
    })
  }

  it("are those whose offset, length or magic changed, but not those with another leader epoch", () => {
    const batch = produced("none few")
    for (let at = 0; at < batchHeader.AT_CRC; at++) {
      const changed = Buffer.from(batch)
      changed[at]! ^= 0x04
      const isEpoch = at >= batchHeader.AT_LEADER_EPOCH && at < batchHeader.AT_MAGIC
      assert.strictEqual(validateProduced(changed, rules).ok, isEpoch, `byte ${at}`)
    }
  })

  it("are bombs of every codec, as too large, so that clients split them", () => {
    const records = [{ key: null, value: Buffer.alloc(5_000_000), timestampMs: NOW_MS }]
    for (const codec of [1, 2, 3, 4]) {
      const bomb = buildBatch({ records, codec })
      assert.isBelow(bomb.length, rules.maxBytes)
      assert.strictEqual(refusal(bomb).errorCode, errorCodes.MESSAGE_TOO_LARGE, `codec ${codec}`)
    }
  })

  it("name no more records than the bound, and count the others", () => {
    const count = limits.recordErrorsMax + 500
    const records = Array.from({ length: count }, () => ({ key: null, value: null, timestampMs: NOW_MS }))
    const result = refusal(buildBatch({ records }), { isCompacted: true })
    assert.strictEqual(result.errorCode, errorCodes.INVALID_RECORD)
    assert.strictEqual(result.recordErrors.length, limits.recordErrorsMax)
    assert.strictEqual(result.recordErrors.at(-1)!.batchIndex, limits.recordErrorsMax - 1)
    assert.include(result.message, `${count} records`)
  })

  it("say which record has the wrong timestamp and what would be right", () => {
    const timesMs = [NOW_MS, NOW_MS + 60_001, NOW_MS - 60_000]
    const records = timesMs.map((timestampMs) => ({ key: null, value: null, timestampMs }))
    const result = refusal(buildBatch({ records }), { timestampAfterMaxMs: 60_000, timestampBeforeMaxMs: 60_000 })
    assert.strictEqual(result.errorCode, errorCodes.INVALID_TIMESTAMP)
    assert.deepEqual(
      result.recordErrors.map((error) => error.batchIndex),
      [1]
    )
    assert.include(result.recordErrors[0]!.message, `[${NOW_MS - 60_000}, ${NOW_MS + 60_000}]`)
  })

  it("are those with numbers that a double does not hold", () => {
    const batch = produced("none few")
    batch.writeBigInt64BE(2n ** 60n, batchHeader.AT_PRODUCER_ID)
    batch.writeInt32BE(0, batchHeader.AT_BASE_SEQUENCE)
    batchHeader.writeCrc(batch, 0)
    assert.strictEqual(refusal(batch).errorCode, errorCodes.INVALID_RECORD)
    batch.writeBigInt64BE(2n ** 53n - 1n, batchHeader.AT_PRODUCER_ID)
    batchHeader.writeCrc(batch, 0)
    assert.match(refusal(batch).message, /producer id 9007199254740991 was not given out/, "the log holds it plus one")
    const ancient = produced("none few")
    ancient.writeBigInt64BE(-(2n ** 60n), batchHeader.AT_BASE_TIMESTAMP)
    batchHeader.writeCrc(ancient, 0)
    assert.strictEqual(refusal(ancient).errorCode, errorCodes.INVALID_TIMESTAMP)
    assert.strictEqual(refusal(ancient, { timestampType: "append" }).errorCode, errorCodes.INVALID_TIMESTAMP)
  })

  it("are those that are too large only in the topic's own codec", () => {
    const records = [{ key: null, value: Buffer.alloc(10_000), timestampMs: NOW_MS }]
    const result = refusal(buildBatch({ records, codec: 4 }), { maxBytes: 5000, compressionType: "uncompressed" })
    assert.strictEqual(result.errorCode, errorCodes.MESSAGE_TOO_LARGE)
  })
})

describe("produced batches that are accepted", () => {
  for (const { name, batch: golden, records } of javaBatches) {
    if (batchHeader.timestampType(golden, 0) === "append") continue
    it(`are summed up and kept as they are: "${name}"`, () => {
      const batch = produced(name)
      const before = Buffer.from(batch)
      const result = validateProduced(batch, { ...rules, timestampAfterMaxMs: Number.MAX_SAFE_INTEGER })
      assert.isTrue(result.ok, result.ok ? "" : result.message)
      if (!result.ok) return
      assert.isTrue(batch.equals(before))
      assert.strictEqual(result.batch.buffer, batch.buffer)
      assert.strictEqual(result.batch.length, batch.length)
      assert.strictEqual(result.offsetCount, records.length)
      assert.strictEqual(result.maxTimestampMs, Math.max(...records.map((record) => record[1])))
      assert.strictEqual(result.producerId, batchHeader.producerId(batch, 0))
      assert.strictEqual(result.producerEpoch, batchHeader.producerEpoch(batch, 0))
      assert.strictEqual(result.baseSequence, batchHeader.baseSequence(batch, 0))
      assert.strictEqual(result.isTransactional, batchHeader.isTransactional(batch, 0))
    })
  }

  it("have no epoch and sequence without a producer", () => {
    const batch = buildBatch({ records: [{ key: null, value: null }], producerEpoch: 3, baseSequence: 4 })
    const result = validateProduced(batch, rules)
    assert.isTrue(result.ok)
    if (result.ok) {
      assert.deepEqual([result.producerId, result.producerEpoch, result.baseSequence], [-1, -1, -1])
    }
  })

  it("have the maxTimestamp of their records, whatever the header said", () => {
    for (const codec of CODEC_NAMES) {
      const batch = produced(`${codec} few`)
      batchHeader.writeInt64(batch, 5, batchHeader.AT_MAX_TIMESTAMP)
      batchHeader.writeCrc(batch, 0)
      const result = validateProduced(batch, rules)
      assert.isTrue(result.ok)
      assert.strictEqual(batchHeader.maxTimestamp(batch, 0), 1_700_000_000_005)
      assert.strictEqual(batchHeader.computeCrc(batch, 0), batchHeader.crc(batch, 0))
    }
  })

  it("leave their bytes alone in a LogAppendTime topic: the commit's time is stamped later", () => {
    const batch = produced("none few")
    batchHeader.writeInt64(batch, 5, batchHeader.AT_MAX_TIMESTAMP)
    batchHeader.writeCrc(batch, 0)
    const before = Buffer.from(batch)
    assert.isTrue(validateProduced(batch, { ...rules, timestampType: "append" }).ok)
    assert.isTrue(batch.equals(before))
  })

  for (const from of CODEC_NAMES) {
    for (const to of ["uncompressed", "gzip", "snappy", "lz4", "zstd"] as const) {
      it(`of ${from} keep their records in a topic of ${to}`, () => {
        const batch = produced(`${from} many`)
        const before = Buffer.from(batch)
        const result = validateProduced(batch, { ...rules, compressionType: to })
        assert.isTrue(result.ok)
        if (!result.ok) return
        assert.isTrue(batch.equals(before))
        assert.deepEqual(printRecords(result.batch), printRecords(batch))
        assert.strictEqual(batchHeader.computeCrc(result.batch, 0), batchHeader.crc(result.batch, 0))
        assert.strictEqual(batchHeader.batchBytes(result.batch, 0), result.batch.length)
        assert.isTrue(validateProduced(result.batch, rules).ok)
      })
    }
  }

  it("are readable and countable, whatever seeded damage was done under a right checksum", () => {
    const seed = 20_261_124
    let state = seed
    const below = (bound: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * bound)
    }
    const cursor = new RecordCursor()
    let acceptedCount = 0
    for (let round = 0; round < 20_000; round++) {
      const batch = produced(`${CODEC_NAMES[round % CODEC_NAMES.length]} few`)
      for (let times = below(3); times >= 0; times--) {
        batch[batchHeader.AT_ATTRIBUTES + below(batch.length - batchHeader.AT_ATTRIBUTES)] = below(256)
      }
      batchHeader.writeCrc(batch, 0)
      const result = validateProduced(batch, { ...rules, isCompacted: below(8) === 0 })
      if (!result.ok) continue
      acceptedCount += 1
      cursor.open(result.batch)
      let count = 0
      while (cursor.next()) {
        assert.strictEqual(cursor.offset, count, `seed ${seed}, round ${round}`)
        assert.isTrue(Number.isSafeInteger(cursor.timestamp), `seed ${seed}, round ${round}`)
        count += 1
      }
      assert.strictEqual(count, result.offsetCount, `seed ${seed}, round ${round}`)
      assert.strictEqual(batchHeader.computeCrc(result.batch, 0), batchHeader.crc(result.batch, 0))
    }
    assert.isAbove(acceptedCount, 100, "damage that nothing can notice (in keys, values) must be accepted")
  })
})
