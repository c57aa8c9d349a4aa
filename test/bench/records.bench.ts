/**
 * What validation, CRC, stamping and each codec cost, in MB/s. `run()` prints one line each; run it alone on a quiet
 * machine: `node test/bench/records.bench.ts`.
 */
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { CODEC_BY_NAME } from "#core/records/codec-id.ts"
import { compress, decompress } from "#core/records/compression.ts"
import { crc32c, crc32cSliced } from "#core/records/crc32c.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { stampBatch } from "#core/records/stamp-batch.ts"
import { latestRecord } from "#core/records/timestamp-lookup.ts"
import { type BatchRules, validateProduced } from "#core/records/validate-batch.ts"

const BATCH_BYTES = 1_000_000
const WARM_UP_MS = 100
const MEASURE_MS = 400
const NOW_MS = 1_700_000_000_000

const rules: BatchRules = {
  apiVersion: 12,
  maxBytes: 2 * BATCH_BYTES,
  isCompacted: false,
  timestampType: "create",
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: 3_600_000,
  nowMs: NOW_MS,
  compressionType: "producer",
  uncompressedBytesMax: 64 * 1024 * 1024
}

export const run = (): void => {
  for (const recordBytes of [1024, 100]) {
    const batch = batchOf(recordBytes, 0)
    measure(`validate, ${recordBytes} B records`, batch.length, () => accept(batch))
    measure(`walk alone, ${recordBytes} B records`, batch.length, () => walk(batch))
    measure(`latest record, ${recordBytes} B records`, batch.length, () => latestRecord(batch, 0))
  }
  const batch = batchOf(1024, 0)
  const single = buildBatch({ records: [{ key: null, value: Buffer.alloc(1024), timestampMs: NOW_MS }] })
  measure("validate, one record of 1 KiB a batch", single.length, () => accept(single))
  measure("crc, 1 MB", batch.length, () => crc32c(batch))
  for (const bytes of [1024, 256, 128, 64]) {
    const view = batch.subarray(0, bytes)
    measure(`crc, ${bytes} B`, bytes, () => crc32c(view))
    measure(`crc in JavaScript, ${bytes} B`, bytes, () => crc32cSliced(view))
  }
  measure("stamp", batch.length, () => stampBatch(batch, 0, { baseOffset: 5, leaderEpoch: 0 }))
  let appendTimeMs = NOW_MS
  measure("stamp with append time", batch.length, () => {
    appendTimeMs += 1
    stampBatch(batch, 0, { baseOffset: 5, leaderEpoch: 0, appendTimeMs })
  })
  const block = batchOf(1024, 0).subarray(batchHeader.BATCH_HEADER_BYTES)
  for (const [name, codec] of Object.entries(CODEC_BY_NAME)) {
    if (codec === 0) continue
    const packed = compress(codec, block)
    measure(`compress ${name} (ratio ${(block.length / packed.length).toFixed(1)})`, block.length, () =>
      compress(codec, block)
    )
    measure(`decompress ${name}`, block.length, () => decompress(codec, packed, block.length))
    const whole = batchOf(1024, codec)
    measure(`validate ${name}, of the uncompressed bytes`, block.length, () => accept(whole))
  }
}

const cursor = new RecordCursor()

const walk = (batch: Buffer): void => {
  cursor.open(batch)
  while (cursor.next()) continue
}

const accept = (batch: Buffer): void => {
  const result = validateProduced(batch, rules)
  if (!result.ok) throw new Error(result.message)
}

const batchOf = (recordBytes: number, codec: number): Buffer => {
  const records = Array.from({ length: Math.ceil(BATCH_BYTES / recordBytes) }, (_, index) => ({
    key: Buffer.from(`key-${index % 100}`),
    value: jsonOf(index, recordBytes - 20),
    timestampMs: NOW_MS - 1000 + (index % 1000)
  }))
  return buildBatch({ records, codec })
}

const jsonOf = (index: number, bytes: number): Buffer => {
  let text = ""
  for (let field = 0; text.length < bytes; field++)
    text += `"field${field}":${(index * 7919 + field * 104729) % 99991},`
  return Buffer.from(text.slice(0, bytes))
}

const measure = (name: string, bytes: number, act: () => unknown): void => {
  const timed = (forMs: number): number => {
    const startMs = performance.now()
    let times = 0
    while (performance.now() - startMs < forMs) {
      for (let repeat = 0; repeat < 10; repeat++) act()
      times += 10
    }
    return (performance.now() - startMs) / times
  }
  timed(WARM_UP_MS)
  const eachMs = timed(MEASURE_MS)
  console.log(
    `${name.padEnd(48)} ${(bytes / eachMs / 1000).toFixed(0).padStart(9)} MB/s ${(eachMs * 1000).toFixed(2)} us`
  )
}

if (import.meta.main) run()
