/**
 * Made version-1.bin, once: node test/goldens/segment/make-version-1.ts test/goldens/segment/version-1.bin
 *
 * The file is what releases with segment version 1 wrote. It is never made again: every later release must read it as
 * long as it reads version 1. Three topics, five partitions, eight batches in an arrival order that is not theirs; all
 * codecs, both timestamp types, idempotent, transactional and control batches, empty and null keys and values, headers.
 */
import { writeFileSync } from "node:fs"
import * as batchHeader from "#core/records/batch-header.ts"
import { type NewBatch, buildBatch } from "#core/records/build-batch.ts"
import { SegmentBuilder } from "#core/segment/segment-builder.ts"

const TOPIC_A = "0a".repeat(16)
const TOPIC_B = "0b".repeat(16)
const TOPIC_C = "fc".repeat(16)
const T = 1_772_386_245_000

const text = (value: string): Buffer => Buffer.from(value, "utf8")

const record = (index: number) => ({
  key: index % 3 === 0 ? null : text(`key-${index}`),
  value: index % 5 === 4 ? null : text(`value ${index} `.repeat(5)),
  timestampMs: T + index,
  headers:
    index % 2 === 0
      ? []
      : [
          { key: "größe", value: text("✓") },
          { key: "none", value: null }
        ]
})

const records = (count: number) => Array.from({ length: count }, (_, index) => record(index))

const batches: ReadonlyArray<NewBatch & { topicId: string; partition: number }> = [
  { topicId: TOPIC_B, partition: 7, records: records(3), codec: 1 },
  { topicId: TOPIC_A, partition: 0, records: records(4), codec: 2, producerId: 9, producerEpoch: 1, baseSequence: 0 },
  { topicId: TOPIC_C, partition: 1, records: records(1), timestampType: "append" },
  { topicId: TOPIC_A, partition: 0, records: records(5), codec: 3, producerId: 9, producerEpoch: 1, baseSequence: 4 },
  { topicId: TOPIC_B, partition: 0, records: [{ key: text(""), value: Buffer.from([0, 255, 128]) }], timestampMs: T },
  {
    topicId: TOPIC_B,
    partition: 7,
    records: records(6),
    codec: 4,
    producerId: 4_000_000_000,
    producerEpoch: 32_767,
    baseSequence: 2_147_483_647,
    isTransactional: true
  },
  { topicId: TOPIC_A, partition: 12, records: records(2), timestampMs: -1 },
  {
    topicId: TOPIC_B,
    partition: 7,
    records: [{ key: Buffer.from("00000001", "hex"), value: Buffer.from("000000000000", "hex") }],
    timestampMs: T + 100,
    producerId: 4_000_000_000,
    producerEpoch: 32_767,
    isTransactional: true,
    isControl: true
  }
]

const builder = new SegmentBuilder()
for (const { topicId, partition, ...batch } of batches) {
  const bytes = buildBatch(batch)
  builder.add({
    topicId,
    partition,
    timestampType: batch.timestampType ?? "create",
    batch: bytes,
    summary: {
      offsetCount: batchHeader.lastOffsetDelta(bytes, 0) + 1,
      maxTimestampMs: batchHeader.maxTimestamp(bytes, 0),
      producerId: batchHeader.producerId(bytes, 0),
      producerEpoch: batchHeader.producerEpoch(bytes, 0),
      baseSequence: batchHeader.baseSequence(bytes, 0)
    }
  })
}
const sealed = builder.seal({ segmentId: "5e".repeat(16), createdAtMs: T })
writeFileSync(process.argv[2]!, Buffer.concat(sealed.chunks))
