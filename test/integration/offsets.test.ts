// Goal: what Kafka does with a batch on its way to an offset, and how records are found again: idempotent producers,
// both kinds of timestamps, keys, sizes, codecs, and look-up by time inside batches.
// Method: three agents in one process, produced in one region and read in another.
import { assert, describe, it } from "@effect/vitest"
import { errorCodes } from "#core/protocol/error-codes.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch, type NewBatch } from "#core/records/build-batch.ts"
import { CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD } from "#core/records/codec-id.ts"
import { batchesOf, type PromisedClient, recordsOf, withRegions } from "./promised-client.ts"

const CODECS = { uncompressed: CODEC_NONE, gzip: CODEC_GZIP, snappy: CODEC_SNAPPY, lz4: CODEC_LZ4, zstd: CODEC_ZSTD }
const SEQUENCE_MAX = 2_147_483_647
const HOUR_MS = 3_600_000
const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3

const batchOf = (values: ReadonlyArray<string>, more: Partial<NewBatch> = {}): Buffer =>
  buildBatch({
    records: values.map((value) => ({ key: Buffer.from("k"), value: Buffer.from(value) })),
    timestampMs: Date.now(),
    ...more
  })

/** Everything in partition 0, as soon as it is there. */
const readAll = async (client: PromisedClient, topic: string): Promise<Buffer | null> => {
  await client.listOffset(topic, LATEST)
  const { errorCode, records } = await client.fetch(topic)
  assert.strictEqual(errorCode, errorCodes.NONE)
  return records
}

const valuesOf = async (client: PromisedClient, topic: string): Promise<ReadonlyArray<string>> =>
  recordsOf(await readAll(client, topic)).map(({ offset, value }) => `${offset}:${value}`)

describe("idempotent producers", () => {
  /** Answers of one record each, as `error` or `at offset`. */
  const sender =
    (client: PromisedClient, producerId: number) =>
    async (epoch: number, sequence: number, count = 1) => {
      const values = Array.from({ length: count }, (_, index) => `${epoch}/${sequence}+${index}`)
      const records = batchOf(values, { producerId, producerEpoch: epoch, baseSequence: sequence })
      const { errorCode, baseOffset } = await client.produce("t", records)
      return errorCode === errorCodes.NONE ? `at ${baseOffset}` : errorCode
    }

  it.live("sequences go on at 0 after the largest, also inside a batch, and retries are known across the wrap", () =>
    withRegions(async ([east, west, eu]) => {
      await east.createTopic("t")
      const send = sender(east, 7)
      assert.strictEqual(await send(0, SEQUENCE_MAX), "at 0")
      assert.strictEqual(await send(0, 1), errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER)
      assert.strictEqual(await send(0, 0), "at 1")
      assert.strictEqual(await sender(west, 7)(0, SEQUENCE_MAX), "at 0")
      const across = sender(eu, 8)
      assert.strictEqual(await across(0, SEQUENCE_MAX - 1, 4), "at 2")
      assert.strictEqual(await sender(east, 8)(0, SEQUENCE_MAX - 1, 4), "at 2")
      assert.strictEqual(await across(0, 1), errorCodes.DUPLICATE_SEQUENCE_NUMBER, "inside of what was accepted")
      assert.strictEqual(await across(0, 2), "at 6")
      assert.deepInclude(await west.listOffset("t", LATEST), { offset: 7 })
    })
  )

  it.live("a client that bumps its epoch by itself begins at 0, and its old epoch is fenced in every region", () =>
    withRegions(async ([east, west, eu]) => {
      await east.createTopic("t")
      assert.strictEqual(await sender(east, 7)(0, 0), "at 0")
      assert.strictEqual(await sender(east, 7)(0, 1), "at 1")
      assert.strictEqual(await sender(west, 7)(1, 2), errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER)
      assert.strictEqual(await sender(west, 7)(1, 0), "at 2")
      for (const client of [east, west, eu]) {
        assert.strictEqual(await sender(client, 7)(0, 2), errorCodes.INVALID_PRODUCER_EPOCH)
        assert.strictEqual(await sender(client, 7)(0, 1), errorCodes.INVALID_PRODUCER_EPOCH, "an old retry as well")
        assert.strictEqual(await sender(client, 7)(1, 0), "at 2", "a retry of the new epoch")
      }
      assert.deepStrictEqual(await valuesOf(eu, "t"), ["0:0/0+0", "1:0/1+0", "2:1/0+0"])
    })
  )

  it.live("the last five batches are known when they come again, of older ones only that they were accepted", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t")
      for (let sequence = 0; sequence < 6; sequence++) {
        assert.strictEqual(await sender(east, 7)(0, sequence), `at ${sequence}`)
      }
      assert.strictEqual(await sender(eu, 7)(0, 0), errorCodes.DUPLICATE_SEQUENCE_NUMBER)
      for (let sequence = 1; sequence < 6; sequence++) {
        assert.strictEqual(await sender(eu, 7)(0, sequence), `at ${sequence}`)
      }
      assert.strictEqual(await sender(eu, 7)(0, 4, 2), errorCodes.DUPLICATE_SEQUENCE_NUMBER, "in other batches")
      assert.strictEqual(await sender(eu, 7)(0, 5, 2), errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER, "not all of it")
    })
  )

  it.live("a producer that is not known may begin anywhere, and must go on from there", () =>
    withRegions(async ([east, west]) => {
      await east.createTopic("t")
      assert.strictEqual(await sender(east, 7)(3, 42), "at 0")
      assert.strictEqual(await sender(west, 7)(3, 44), errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER)
      assert.strictEqual(await sender(west, 7)(3, 43), "at 1")
    })
  )
})

describe("timestamps", () => {
  it.live("with LogAppendTime all records have the time that the answer tells, and are found by it", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t", { configs: { "message.timestamp.type": "LogAppendTime" } })
      const beforeMs = Date.now()
      const ancient = { timestampMs: 1_000 }
      const { errorCode, logAppendTimeMs } = await east.produce("t", batchOf(["a", "b"], ancient))
      assert.strictEqual(errorCode, errorCodes.NONE)
      assert.isAtLeast(logAppendTimeMs, beforeMs)
      assert.isAtMost(logAppendTimeMs, Date.now())
      const records = await readAll(eu, "t")
      const [batch] = batchesOf(records)
      assert.strictEqual(batchHeader.timestampType(batch!, 0), "append")
      assert.strictEqual(batchHeader.maxTimestamp(batch!, 0), logAppendTimeMs)
      assert.deepStrictEqual(
        recordsOf(records).map(({ timestampMs }) => timestampMs),
        [logAppendTimeMs, logAppendTimeMs]
      )
      const found = { errorCode: 0, offset: 0, timestamp: logAppendTimeMs }
      for (const timestamp of [0, 1_000, logAppendTimeMs, MAX_TIMESTAMP]) {
        assert.deepStrictEqual(await eu.listOffset("t", timestamp), found, String(timestamp))
      }
      const nothing = { errorCode: 0, offset: -1, timestamp: -1 }
      assert.deepStrictEqual(await eu.listOffset("t", logAppendTimeMs + 1), nothing)
    })
  )

  it.live("a duplicate in a topic of LogAppendTime is answered with the time of the first", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t", { configs: { "message.timestamp.type": "LogAppendTime" } })
      const batch = () => batchOf(["a"], { producerId: 7, producerEpoch: 0, baseSequence: 0 })
      const first = await east.produce("t", batch())
      const again = await eu.produce("t", batch())
      assert.deepInclude(again, { errorCode: 0, baseOffset: 0, logAppendTimeMs: first.logAppendTimeMs })
    })
  )

  it.live("timestamps outside the topic's bounds are refused, record by record, and harm nobody else", () =>
    withRegions(async ([east, , eu]) => {
      const configs = {
        "message.timestamp.before.max.ms": String(HOUR_MS),
        "message.timestamp.after.max.ms": String(HOUR_MS)
      }
      await east.createTopic("t", { configs })
      const nowMs = Date.now()
      const at = (timestampMs: number) => ({ key: null, value: Buffer.from("x"), timestampMs })
      for (const badMs of [nowMs - 2 * HOUR_MS, nowMs + 2 * HOUR_MS]) {
        const answer = await east.produce("t", buildBatch({ records: [at(nowMs), at(badMs), at(badMs)] }))
        assert.strictEqual(answer.errorCode, errorCodes.INVALID_TIMESTAMP)
        assert.deepStrictEqual(
          answer.recordErrors.map(({ batchIndex }) => batchIndex),
          [1, 2]
        )
        assert.isString(answer.recordErrors[0]!.batchIndexErrorMessage)
        assert.strictEqual(answer.logStartOffset, 0)
      }
      const inside = [nowMs - HOUR_MS / 2, nowMs + HOUR_MS / 2, -1].map(at)
      assert.deepInclude(await east.produce("t", buildBatch({ records: inside })), { errorCode: 0, baseOffset: 0 })
      assert.deepInclude(await eu.listOffset("t", LATEST), { offset: 3 })
    })
  )
})

describe("what a topic accepts", () => {
  it.live("a compacted topic refuses records without keys, and names them", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t", { configs: { "cleanup.policy": "compact,delete" } })
      const record = (key: string | null) => ({ key: key === null ? null : Buffer.from(key), value: Buffer.from("x") })
      const mixed = [record("a"), record(null), record("b"), record(null)]
      for (const codec of Object.values(CODECS)) {
        const answer = await east.produce("t", buildBatch({ records: mixed, timestampMs: Date.now(), codec }))
        assert.strictEqual(answer.errorCode, errorCodes.INVALID_RECORD)
        assert.deepStrictEqual(
          answer.recordErrors.map(({ batchIndex }) => batchIndex),
          [1, 3]
        )
      }
      const empty = { key: Buffer.alloc(0), value: null }
      const good = await east.produce("t", buildBatch({ records: [empty], timestampMs: Date.now() }))
      assert.deepInclude(good, { errorCode: 0, baseOffset: 0 }, "an empty key is one, and a tombstone is a record")
      assert.deepInclude(await eu.listOffset("t", LATEST), { offset: 1 })
    })
  )

  it.live("max.message.bytes holds for the whole batch, to the byte", () =>
    withRegions(async ([east]) => {
      const batch = batchOf(["x".repeat(500)])
      await east.createTopic("fits", { configs: { "max.message.bytes": String(batch.length) } })
      await east.createTopic("small", { configs: { "max.message.bytes": String(batch.length - 1) } })
      assert.strictEqual((await east.produce("fits", batch)).errorCode, errorCodes.NONE)
      assert.strictEqual((await east.produce("small", batch)).errorCode, errorCodes.MESSAGE_TOO_LARGE)
    })
  )

  it.live("compression.type decides the codec of what is stored, whatever the client used", () =>
    withRegions(async ([east, , eu]) => {
      const values = ["a".repeat(1_000), "b".repeat(1_000), "c"]
      for (const [type, codec] of Object.entries(CODECS)) {
        await east.createTopic(type, { configs: { "compression.type": type } })
        for (const clientCodec of Object.values(CODECS)) {
          assert.strictEqual(
            (await east.produce(type, batchOf(values, { codec: clientCodec }))).errorCode,
            errorCodes.NONE
          )
        }
        const batches = batchesOf(await readAll(eu, type))
        assert.deepStrictEqual(
          batches.map((batch) => batchHeader.codec(batch, 0)),
          Array<number>(5).fill(codec),
          type
        )
        const seen = (await valuesOf(eu, type)).map((text) => text.slice(text.indexOf(":") + 1))
        assert.deepStrictEqual(seen, Array.from({ length: 5 }, () => values).flat())
      }
    })
  )
})

describe("offsets by time", () => {
  it.live("the first record since a time is found inside batches of every codec, from every region", () =>
    withRegions(async (clients) => {
      const [east] = clients
      await east.createTopic("t")
      const startMs = Date.now() - 10 * HOUR_MS
      // Within a batch the times go up and down; from batch to batch they go up.
      const minutes = [0, 20, 10, 20]
      const timeOf = (batch: number, index: number): number => startMs + batch * HOUR_MS + minutes[index]! * 60_000
      for (const [batch, codec] of Object.values(CODECS).entries()) {
        const records = minutes.map((_, index) => ({
          key: null,
          value: Buffer.from("x".repeat(100)),
          timestampMs: timeOf(batch, index)
        }))
        assert.strictEqual((await east.produce("t", buildBatch({ records, codec }))).baseOffset, batch * minutes.length)
      }
      const batches = Object.keys(CODECS).length
      for (const client of clients) {
        for (let batch = 0; batch < batches; batch++) {
          const base = batch * minutes.length
          const cases = [
            [timeOf(batch, 0) - 1, 0],
            [timeOf(batch, 0), 0],
            [timeOf(batch, 0) + 1, 1],
            [timeOf(batch, 2), 1],
            [timeOf(batch, 1), 1]
          ] as const
          for (const [timestamp, index] of cases) {
            const found = { errorCode: 0, offset: base + index, timestamp: timeOf(batch, index) }
            assert.deepStrictEqual(await client.listOffset("t", timestamp), found)
          }
        }
        const last = batches - 1
        const largest = { errorCode: 0, offset: last * minutes.length + 1, timestamp: timeOf(last, 1) }
        assert.deepStrictEqual(await client.listOffset("t", MAX_TIMESTAMP), largest)
        const nothing = { errorCode: 0, offset: -1, timestamp: -1 }
        assert.deepStrictEqual(await client.listOffset("t", timeOf(last, 1) + 1), nothing)
        assert.deepInclude(await client.listOffset("t", EARLIEST), { offset: 0, timestamp: -1 })
      }
    })
  )

  it.live("an empty topic has a beginning and an end at 0, and no record at any time", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t")
      assert.deepStrictEqual(await eu.listOffset("t", LATEST), { errorCode: 0, offset: 0, timestamp: -1 })
      assert.deepStrictEqual(await eu.listOffset("t", EARLIEST), { errorCode: 0, offset: 0, timestamp: -1 })
      for (const timestamp of [0, Date.now(), MAX_TIMESTAMP]) {
        assert.deepStrictEqual(await eu.listOffset("t", timestamp), { errorCode: 0, offset: -1, timestamp: -1 })
      }
    })
  )
})
