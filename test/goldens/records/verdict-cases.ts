/**
 * The record batches that broker-verdicts.json was captured with: good ones, and each way in which one can be bad that
 * Kafka looks at. Used by capture-verdicts.ts only; the tests read the captured bytes.
 */
import zlib from "node:zlib"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch, type NewRecord } from "#core/records/build-batch.ts"
import { CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD } from "#core/records/codec-id.ts"
import { compress } from "#core/records/compression.ts"

export interface VerdictCase {
  readonly name: string
  /** A key of `topics`. */
  readonly topic: string
  readonly apiVersion: number
  readonly records: Buffer | null
}

/** Topics by name: their configs, as Kafka spells them. */
export const topics: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  plain: {},
  compacted: { "cleanup.policy": "compact" },
  append: { "message.timestamp.type": "LogAppendTime" },
  narrow: { "message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000" },
  compactedNarrow: { "cleanup.policy": "compact", "message.timestamp.before.max.ms": "60000" },
  small: { "max.message.bytes": "500" },
  uncompressed: { "compression.type": "uncompressed" },
  gzip: { "compression.type": "gzip" },
  snappy: { "compression.type": "snappy" },
  lz4: { "compression.type": "lz4" },
  zstd: { "compression.type": "zstd" },
  smallUncompressed: { "compression.type": "uncompressed", "max.message.bytes": "500" }
}

const DAY_MS = 86_400_000
const codecs = { none: CODEC_NONE, gzip: CODEC_GZIP, snappy: CODEC_SNAPPY, lz4: CODEC_LZ4, zstd: CODEC_ZSTD }

export const verdictCases = (nowMs: number): ReadonlyArray<VerdictCase> => [
  ...framing(nowMs),
  ...headers(nowMs),
  ...timestamps(nowMs),
  ...keys(nowMs),
  ...structures(nowMs),
  ...compressed(nowMs),
  ...recompressed(nowMs)
]

const record = (index: number, timestampMs: number): NewRecord => ({
  key: Buffer.from(`k${index}`),
  value: Buffer.from(`value ${index}`),
  headers: [{ key: "h", value: Buffer.from("x") }],
  timestampMs
})

const three = (nowMs: number): ReadonlyArray<NewRecord> => [0, 1, 2].map((index) => record(index, nowMs - 3 + index))

const good = (nowMs: number, codec = CODEC_NONE): Buffer => buildBatch({ records: three(nowMs), codec })

/** A good batch, changed, with its CRC right again. */
const changed = (nowMs: number, change: (batch: Buffer) => void, codec = CODEC_NONE): Buffer => {
  const batch = good(nowMs, codec)
  change(batch)
  batchHeader.writeCrc(batch, 0)
  return batch
}

/** A batch of one or more records given by their raw bytes. */
const ofBlock = (nowMs: number, block: Buffer, recordCount: number, codec = CODEC_NONE): Buffer => {
  const header = Buffer.from(good(nowMs).subarray(0, batchHeader.BATCH_HEADER_BYTES))
  const batch = Buffer.concat([header, block])
  batch.writeInt32BE(batch.length - batchHeader.BATCH_LENGTH_OVERHEAD_BYTES, batchHeader.AT_BATCH_LENGTH)
  batch.writeInt16BE(codec, batchHeader.AT_ATTRIBUTES)
  batch.writeInt32BE(recordCount - 1, batchHeader.AT_LAST_OFFSET_DELTA)
  batch.writeInt32BE(recordCount, batchHeader.AT_RECORD_COUNT)
  batchHeader.writeCrc(batch, 0)
  return batch
}

const blockOf = (nowMs: number): Buffer => Buffer.from(good(nowMs).subarray(batchHeader.BATCH_HEADER_BYTES))

/** Records of two bytes of key and value, by hex: length, attributes, timestamp, offset, key, value, headers. */
const raw = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex")

const framing = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const batch = good(nowMs)
  const at = (name: string, records: Buffer | null): VerdictCase => ({ name, topic: "plain", apiVersion: 8, records })
  const withLength = (length: number): Buffer => {
    const lied = Buffer.from(batch)
    lied.writeInt32BE(length, batchHeader.AT_BATCH_LENGTH)
    return lied
  }
  const withMagic = (magic: number): Buffer => changed(nowMs, (bytes) => bytes.writeInt8(magic, batchHeader.AT_MAGIC))
  return [
    at("good", batch),
    at("empty records", Buffer.alloc(0)),
    at("three bytes", Buffer.from([1, 2, 3])),
    at("cut within the header", batch.subarray(0, 40)),
    at("cut before the magic", batch.subarray(0, 16)),
    at("cut by one byte", batch.subarray(0, -1)),
    at("followed by 5 bytes", Buffer.concat([batch, Buffer.alloc(5)])),
    at("followed by 11 bytes", Buffer.concat([batch, Buffer.alloc(11, 1)])),
    at("followed by 12 zero bytes", Buffer.concat([batch, Buffer.alloc(12)])),
    at("followed by a cut batch", Buffer.concat([batch, batch.subarray(0, 50)])),
    at("two batches", Buffer.concat([batch, batch])),
    at("batch length one more", withLength(batch.length - 11)),
    at("batch length one less", withLength(batch.length - 13)),
    at("batch length 14", withLength(14)),
    at("batch length 13", withLength(13)),
    at("batch length 48", withLength(48)),
    at("batch length 49", withLength(49)),
    at("batch length 0", withLength(0)),
    at("batch length -1", withLength(-1)),
    at("batch length 2147483647", withLength(2147483647)),
    at("magic 0", withMagic(0)),
    at("magic 1", withMagic(1)),
    at("magic 3", withMagic(3)),
    at("magic -1", withMagic(-1)),
    at("crc wrong", withCrcFlipped(batch)),
    at("value byte flipped", withLastByteFlipped(batch)),
    { name: "good, version 3", topic: "plain", apiVersion: 3, records: batch },
    { name: "batch length 14, version 3", topic: "plain", apiVersion: 3, records: withLength(14) },
    { name: "zstd, version 6", topic: "plain", apiVersion: 6, records: good(nowMs, CODEC_ZSTD) },
    {
      name: "zstd, version 6, crc wrong",
      topic: "plain",
      apiVersion: 6,
      records: withCrcFlipped(good(nowMs, CODEC_ZSTD))
    },
    { name: "zstd, version 7", topic: "plain", apiVersion: 7, records: good(nowMs, CODEC_ZSTD) },
    { name: "lz4, version 6", topic: "plain", apiVersion: 6, records: good(nowMs, CODEC_LZ4) }
  ]
}

const withCrcFlipped = (batch: Buffer): Buffer => {
  const lied = Buffer.from(batch)
  lied[batchHeader.AT_CRC]! ^= 1
  return lied
}

const withLastByteFlipped = (batch: Buffer): Buffer => {
  const lied = Buffer.from(batch)
  lied[lied.length - 1]! ^= 1
  return lied
}

const headers = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const at = (name: string, change: (batch: Buffer) => void, topic = "plain"): VerdictCase => ({
    name,
    topic,
    apiVersion: 8,
    records: changed(nowMs, change)
  })
  const attributes = (value: number) => (batch: Buffer) => void batch.writeInt16BE(value, batchHeader.AT_ATTRIBUTES)
  const int32 = (value: number, where: number) => (batch: Buffer) => void batch.writeInt32BE(value, where)
  const producer =
    (id: number, epoch: number, sequence: number, bits = 0) =>
    (batch: Buffer) => {
      batchHeader.writeInt64(batch, id, batchHeader.AT_PRODUCER_ID)
      batch.writeInt16BE(epoch, batchHeader.AT_PRODUCER_EPOCH)
      batch.writeInt32BE(sequence, batchHeader.AT_BASE_SEQUENCE)
      batch.writeInt16BE(bits, batchHeader.AT_ATTRIBUTES)
    }
  const tooBig = buildBatch({ records: [{ key: null, value: Buffer.alloc(500), timestampMs: nowMs }] })
  return [
    at("base offset 1", (batch) => batchHeader.writeInt64(batch, 1, 0)),
    at("base offset -1", (batch) => batchHeader.writeInt64(batch, -1, 0)),
    at("base offset 2^40", (batch) => batchHeader.writeInt64(batch, 2 ** 40, 0)),
    at("leader epoch 7", int32(7, batchHeader.AT_LEADER_EPOCH)),
    at("last offset delta one more", int32(3, batchHeader.AT_LAST_OFFSET_DELTA)),
    at("last offset delta one less", int32(1, batchHeader.AT_LAST_OFFSET_DELTA)),
    at("last offset delta -1", int32(-1, batchHeader.AT_LAST_OFFSET_DELTA)),
    at("last offset delta -2", int32(-2, batchHeader.AT_LAST_OFFSET_DELTA)),
    at("record count 0", int32(0, batchHeader.AT_RECORD_COUNT)),
    at("record count -1", int32(-1, batchHeader.AT_RECORD_COUNT)),
    at("record count one more", int32(4, batchHeader.AT_RECORD_COUNT)),
    at("no records", (batch) => {
      batch.writeInt32BE(0, batchHeader.AT_RECORD_COUNT)
      batch.writeInt32BE(-1, batchHeader.AT_LAST_OFFSET_DELTA)
    }),
    at("record count and offsets one more", (batch) => {
      batch.writeInt32BE(4, batchHeader.AT_RECORD_COUNT)
      batch.writeInt32BE(3, batchHeader.AT_LAST_OFFSET_DELTA)
    }),
    at("record count and offsets one less", (batch) => {
      batch.writeInt32BE(2, batchHeader.AT_RECORD_COUNT)
      batch.writeInt32BE(1, batchHeader.AT_LAST_OFFSET_DELTA)
    }),
    at("control bit", attributes(0x20)),
    at("control and transactional bits", attributes(0x30)),
    at("delete horizon bit", attributes(0x40)),
    at("attribute bit 7", attributes(0x80)),
    at("attribute bits 8 to 14", attributes(0x7f00)),
    at("compression type 5", attributes(5)),
    at("compression type 7", attributes(7)),
    at("producer without sequence", producer(1000, 0, -1)),
    at("producer with sequence 0", producer(1001, 0, 0)),
    at("producer with sequence 5, unknown to the broker", producer(1002, 0, 5)),
    at("producer with epoch -1", producer(1003, -1, 0)),
    at("producer with epoch -2", producer(1004, -2, 0)),
    at("producer id -2", producer(-2, 0, 0)),
    at("producer id -1 with epoch and sequence", producer(-1, 3, 4)),
    at("sequence without producer", producer(-1, -1, 9)),
    { name: "batch of 500 + n bytes", topic: "small", apiVersion: 8, records: tooBig },
    { name: "batch of 500 + n bytes, crc wrong", topic: "small", apiVersion: 8, records: withCrcFlipped(tooBig) },
    {
      name: "batch of exactly max.message.bytes",
      topic: "small",
      apiVersion: 8,
      records: buildBatch({ records: [{ key: null, value: Buffer.alloc(500 - 61 - 14), timestampMs: nowMs }] })
    }
  ]
}

const timestamps = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const at = (name: string, topic: string, timesMs: ReadonlyArray<number>, codec = CODEC_NONE): VerdictCase => ({
    name: `${name} (${topic})`,
    topic,
    apiVersion: 8,
    records: buildBatch({ records: timesMs.map((timeMs, index) => record(index, timeMs)), codec })
  })
  const marked = (name: string, topic: string, maxTimestamp: number): VerdictCase => ({
    name: `${name} (${topic})`,
    topic,
    apiVersion: 8,
    records: changed(nowMs, (batch) => {
      batch.writeInt16BE(0x08, batchHeader.AT_ATTRIBUTES)
      batchHeader.writeInt64(batch, maxTimestamp, batchHeader.AT_MAX_TIMESTAMP)
    })
  })
  const lied = (name: string, topic: string, codec: number, maxTimestamp: number): VerdictCase => ({
    name: `${name} (${topic})`,
    topic,
    apiVersion: 8,
    records: changed(nowMs, (batch) => batchHeader.writeInt64(batch, maxTimestamp, batchHeader.AT_MAX_TIMESTAMP), codec)
  })
  return [
    at("one far in the future", "plain", [nowMs, nowMs + DAY_MS, nowMs]),
    at("half an hour in the future", "plain", [nowMs + 1_800_000]),
    at("ten years old", "plain", [nowMs - 3650 * DAY_MS]),
    at("no timestamp", "plain", [-1, -1]),
    at("no timestamp", "append", [-1, -1]),
    at("timestamp -5", "plain", [nowMs, -5]),
    at("timestamp 0", "plain", [0]),
    at("too old and too new", "narrow", [nowMs, nowMs - DAY_MS, nowMs + DAY_MS, nowMs]),
    at("too old and too new, gzip", "narrow", [nowMs, nowMs - DAY_MS, nowMs + DAY_MS, nowMs], CODEC_GZIP),
    at("far in the future", "append", [nowMs, nowMs + DAY_MS]),
    at("descending", "plain", [nowMs, nowMs - 1000, nowMs - 500]),
    marked("LogAppendTime bit", "plain", nowMs - 1),
    marked("LogAppendTime bit, no maxTimestamp", "plain", -1),
    marked("LogAppendTime bit, maxTimestamp far in the future", "plain", nowMs + DAY_MS),
    marked("LogAppendTime bit", "append", nowMs),
    lied("maxTimestamp too high", "plain", CODEC_NONE, nowMs + 5),
    lied("maxTimestamp too low", "plain", CODEC_NONE, nowMs - 5000),
    lied("maxTimestamp -1", "plain", CODEC_NONE, -1),
    lied("maxTimestamp too high, zstd", "plain", CODEC_ZSTD, nowMs + 5),
    lied("maxTimestamp too high", "append", CODEC_NONE, nowMs + 5)
  ]
}

const keys = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const mixed: ReadonlyArray<NewRecord> = [0, 1, 2, 3, 4, 5].map((index) => ({
    key: index % 2 === 0 ? Buffer.from("k") : null,
    value: index === 4 ? null : Buffer.from("v"),
    timestampMs: index < 4 ? nowMs : nowMs - DAY_MS
  }))
  return [
    ...Object.entries(codecs).map(([name, codec]) => ({
      name: `null keys, ${name}`,
      topic: "compacted",
      apiVersion: 8,
      records: buildBatch({ records: mixed, codec })
    })),
    { name: "null keys, version 7", topic: "compacted", apiVersion: 7, records: buildBatch({ records: mixed }) },
    { name: "null keys and old", topic: "compactedNarrow", apiVersion: 8, records: buildBatch({ records: mixed }) },
    { name: "null keys", topic: "plain", apiVersion: 8, records: buildBatch({ records: mixed }) },
    {
      name: "empty key",
      topic: "compacted",
      apiVersion: 8,
      records: buildBatch({ records: [{ key: Buffer.alloc(0), value: null, timestampMs: nowMs }] })
    }
  ]
}

/** One record whose bytes are wrong in one place: in plain and in compressed batches. */
const structures = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const cases: ReadonlyArray<readonly [name: string, block: Buffer, count: number]> = [
    ["sound", raw("10 00 00 00 02 6b 02 76 00"), 1],
    ["attributes 1", raw("10 01 00 00 02 6b 02 76 00"), 1],
    ["attributes ff", raw("10 ff 00 00 02 6b 02 76 00"), 1],
    ["length one less", raw("0e 00 00 00 02 6b 02 76 00"), 1],
    ["length one more", raw("12 00 00 00 02 6b 02 76 00"), 1],
    ["length one more, byte there", raw("12 00 00 00 02 6b 02 76 00 00"), 1],
    ["length 0", raw("00 00 00 00 02 6b 02 76 00"), 1],
    ["length -1", raw("01 00 00 00 02 6b 02 76 00"), 1],
    ["length of 6 bytes", raw("80 80 80 80 80 00 00 00 00 02 6b 02 76 00"), 1],
    ["length too long a varint", raw("90 80 80 80 00 00 00 00 02 6b 02 76 00"), 1],
    ["length 2^31-1", raw("fe ff ff ff 0f 00 00 00 02 6b 02 76 00"), 1],
    ["offset delta 1", raw("10 00 00 02 02 6b 02 76 00"), 1],
    ["offset delta -1", raw("10 00 00 01 02 6b 02 76 00"), 1],
    ["offset deltas 0 0", raw("10 00 00 00 02 6b 02 76 00 10 00 00 00 02 6b 02 76 00"), 2],
    ["offset deltas 1 0", raw("10 00 00 02 02 6b 02 76 00 10 00 00 00 02 6b 02 76 00"), 2],
    ["offset deltas 0 2", raw("10 00 00 00 02 6b 02 76 00 10 00 00 04 02 6b 02 76 00"), 2],
    ["key length -2", raw("0e 00 00 00 03 02 76 00"), 1],
    ["value length -2", raw("0e 00 00 00 02 6b 03 00"), 1],
    ["key longer than the record", raw("10 00 00 00 40 6b 02 76 00"), 1],
    ["value longer than the record", raw("10 00 00 00 02 6b 40 76 00"), 1],
    ["key length 2^31-1", raw("18 00 00 00 fe ff ff ff 0f 6b 02 76 00"), 1],
    ["header count -1", raw("10 00 00 00 02 6b 02 76 01"), 1],
    ["header count 1, none there", raw("10 00 00 00 02 6b 02 76 02"), 1],
    ["header count 2^31-1", raw("18 00 00 00 02 6b 02 76 fe ff ff ff 0f"), 1],
    ["header with null key", raw("14 00 00 00 02 6b 02 76 02 01 00"), 1],
    ["header with null value", raw("16 00 00 00 02 6b 02 76 02 02 68 01"), 1],
    ["header key longer than the record", raw("16 00 00 00 02 6b 02 76 02 40 68 01"), 1],
    ["header key not UTF-8", raw("16 00 00 00 02 6b 02 76 02 02 ff 01"), 1],
    ["header value longer than the record", raw("16 00 00 00 02 6b 02 76 02 02 68 40"), 1],
    ["timestamp delta of 11 bytes", raw("24 00 80 80 80 80 80 80 80 80 80 80 00 00 02 6b 02 76 00"), 1],
    ["timestamp delta 2^62", raw("22 00 80 80 80 80 80 80 80 80 80 01 00 02 6b 02 76 00"), 1],
    ["ends within the length", raw("10 00 00 00 02 6b 02 76 00 80"), 2],
    ["ends after one record of two", raw("10 00 00 00 02 6b 02 76 00"), 2],
    [
      "three records, two counted",
      raw("10 00 00 00 02 6b 02 76 00 10 00 00 02 02 6b 02 76 00 10 00 00 04 02 6b 02 76 00"),
      2
    ],
    ["one zero byte after the last record", raw("10 00 00 00 02 6b 02 76 00 00"), 1],
    ["no bytes", Buffer.alloc(0), 1]
  ]
  return cases.flatMap(([name, block, count]) =>
    (["none", "gzip", "lz4"] as const).map((codecName) => ({
      name: `record: ${name}, ${codecName}`,
      topic: "plain",
      apiVersion: 8,
      records: ofBlock(nowMs, compress(codecs[codecName], block), count, codecs[codecName])
    }))
  )
}

const compressed = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const block = blockOf(nowMs)
  const at = (name: string, codec: number, bytes: Buffer): VerdictCase => ({
    name: `compressed: ${name}`,
    topic: "plain",
    apiVersion: 8,
    records: ofBlock(nowMs, bytes, 3, codec)
  })
  const perCodec = Object.entries(codecs)
    .filter(([, codec]) => codec !== CODEC_NONE)
    .flatMap(([name, codec]) => {
      const sound = compress(codec, block)
      const flipped = Buffer.from(sound)
      flipped[flipped.length - 9]! ^= 0x55
      return [
        at(`${name} sound`, codec, sound),
        at(`${name} labelled, plain inside`, codec, block),
        at(`${name} of nothing`, codec, Buffer.alloc(0)),
        at(`${name} of an empty block`, codec, compress(codec, Buffer.alloc(0))),
        at(`${name} cut in half`, codec, sound.subarray(0, sound.length >> 1)),
        at(`${name} cut by one byte`, codec, sound.subarray(0, -1)),
        at(`${name} with a byte flipped`, codec, flipped),
        at(`${name} followed by 4 bytes`, codec, Buffer.concat([sound, Buffer.from("abcd")])),
        at(`${name} followed by another block`, codec, Buffer.concat([sound, sound])),
        at(`${name} magic flipped`, codec, Buffer.concat([Buffer.from([sound[0]! ^ 0xff]), sound.subarray(1)]))
      ]
    })
  const lz4 = compress(CODEC_LZ4, block)
  const dependent = Buffer.from(lz4)
  dependent[4]! &= ~0x20
  return [
    ...perCodec,
    at("snappy raw, without framing", CODEC_SNAPPY, rawSnappy(block)),
    at("snappy preamble of 2^32-1", CODEC_SNAPPY, Buffer.from("ffffffff0f00", "hex")),
    at("gzip labelled, zlib inside", CODEC_GZIP, zlib.deflateSync(block)),
    at("lz4 with dependent blocks", CODEC_LZ4, dependent),
    at(
      "lz4 with a wrong header checksum",
      CODEC_LZ4,
      Buffer.concat([lz4.subarray(0, 6), Buffer.from([lz4[6]! ^ 1]), lz4.subarray(7)])
    )
  ]
}

/** One literal element, which every reader of Snappy takes. */
const rawSnappy = (block: Buffer): Buffer =>
  Buffer.concat([Buffer.from([block.length, (block.length - 1) << 2]), block])

const recompressed = (nowMs: number): ReadonlyArray<VerdictCase> => {
  const compressible = buildBatch({
    records: [{ key: null, value: Buffer.alloc(2000, "x"), timestampMs: nowMs }],
    codec: CODEC_GZIP
  })
  return [
    ...["uncompressed", "gzip", "snappy", "lz4", "zstd"].flatMap((topic) =>
      Object.entries(codecs).map(([name, codec]) => ({
        name: `${name} into compression.type ${topic}`,
        topic,
        apiVersion: 8,
        records: good(nowMs, codec)
      }))
    ),
    { name: "too large once uncompressed", topic: "smallUncompressed", apiVersion: 8, records: compressible },
    {
      name: "maxTimestamp lied into compression.type gzip",
      topic: "gzip",
      apiVersion: 8,
      records: changed(nowMs, (batch) => batchHeader.writeInt64(batch, nowMs + 9, batchHeader.AT_MAX_TIMESTAMP))
    },
    {
      name: "offset delta 1 into compression.type gzip",
      topic: "gzip",
      apiVersion: 8,
      records: ofBlock(nowMs, raw("10 00 00 02 02 6b 02 76 00"), 1)
    }
  ]
}
