/**
 * The segment builder: order, tickets, blocks, refusals, and that what it seals decodes to what was added.
 * Method: small made batches; seeded random segments are compared with a plain model; the golden segment is rebuilt.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { REFUSED, type SealedSegment, type SegmentBatch, SegmentBuilder } from "#core/segment/segment-builder.ts"
import { SEGMENT_HEADER_BYTES, checkSegmentHeader, decodeFooter } from "#core/segment/segment-format.ts"
import { seededRandom } from "../../contract/seeded-random.ts"

const IDENTITY = { segmentId: "5e".repeat(16), createdAtMs: 1_772_386_245_000 }
const topicId = (digit: number): string => digit.toString(16).padStart(2, "0").repeat(16)

const made = (change: Partial<SegmentBatch> & { readonly bytes?: number } = {}): SegmentBatch => ({
  topicId: topicId(1),
  partition: 0,
  timestampType: "create",
  batch: Buffer.alloc(change.bytes ?? 100, 7),
  summary: { offsetCount: 1, maxTimestampMs: 5, producerId: -1, producerEpoch: -1, baseSequence: -1 },
  ...change
})

const indexOf = (sealed: SealedSegment) => {
  const object = Buffer.concat(sealed.chunks)
  checkSegmentHeader(object)
  const result = decodeFooter(object, object.length)
  if (result.kind !== "index") throw new Error("not whole")
  return { object, index: result.index }
}

describe("refusals", () => {
  it("a partition whose timestamp type has changed goes into the next segment, others do not", () => {
    const builder = new SegmentBuilder()
    assert.strictEqual(builder.add(made()), 0)
    assert.strictEqual(builder.add(made({ timestampType: "append" })), REFUSED)
    assert.deepStrictEqual([builder.batchCount, builder.byteLength], [1, 100])
    assert.strictEqual(builder.add(made({ partition: 1, timestampType: "append" })), 1)
    assert.strictEqual(builder.add(made({ topicId: topicId(2), timestampType: "append" })), 2)
    assert.strictEqual(builder.add(made({ partition: 1 })), REFUSED)
    assert.strictEqual(builder.add(made()), 3)
    const { index } = indexOf(builder.seal(IDENTITY))
    assert.deepStrictEqual(
      index.runs.map((run) => [run.timestampType, run.batchCount]),
      [
        ["create", 2],
        ["append", 1],
        ["append", 1]
      ]
    )
  })

  it("a segment takes so many batches and no more", () => {
    const builder = new SegmentBuilder()
    const batch = made({ bytes: 61 })
    for (let ticket = 0; ticket < limits.segmentBatchesMax; ticket++) builder.add(batch)
    assert.strictEqual(builder.add(batch), REFUSED)
    const sealed = builder.seal(IDENTITY)
    assert.strictEqual(indexOf(sealed).index.runs[0]!.batchCount, limits.segmentBatchesMax)
  })

  it("a segment takes so many bytes and no more, but one batch always", () => {
    const builder = new SegmentBuilder()
    const batch = made({ batch: Buffer.alloc(40 * 1024 * 1024) })
    assert.strictEqual(builder.add(batch), 0)
    assert.strictEqual(builder.add(batch), 1)
    assert.strictEqual(builder.add(batch), REFUSED)
    assert.strictEqual(new SegmentBuilder().add(made({ batch: Buffer.alloc(limits.segmentBytesMax + 1) })), 0)
  })

  it("what is no batch is refused by assertion and leaves the builder as it was", () => {
    const builder = new SegmentBuilder()
    builder.add(made())
    const { summary } = made()
    for (const wrong of [
      made({ bytes: 60 }),
      made({ summary: { ...summary, offsetCount: 0 } }),
      made({ summary: { ...summary, offsetCount: 1.5 } }),
      made({ summary: { ...summary, maxTimestampMs: 2 ** 60 } }),
      made({ topicId: "x" }),
      made({ partition: -1 }),
      made({ partition: 0.5 })
    ]) {
      assert.throws(() => builder.add(wrong))
    }
    assert.deepStrictEqual([builder.batchCount, builder.byteLength], [1, 100])
    assert.strictEqual(indexOf(builder.seal(IDENTITY)).index.runs.length, 1)
  })

  it("an empty segment is not sealed, a sealed one neither grows nor is sealed again", () => {
    assert.throws(() => new SegmentBuilder().seal(IDENTITY), /at least one batch/)
    const builder = new SegmentBuilder()
    assert.isTrue(builder.isEmpty)
    builder.add(made())
    assert.isFalse(builder.isEmpty)
    builder.seal(IDENTITY)
    assert.throws(() => builder.add(made()), /sealed/)
    assert.throws(() => builder.seal(IDENTITY), /sealed/)
  })
})

describe("a sealed segment", () => {
  it("holds the given buffers themselves, not copies", () => {
    const builder = new SegmentBuilder()
    const batches = [3, 1, 2].map((partition) => made({ partition }))
    for (const batch of batches) builder.add(batch)
    const { chunks } = builder.seal(IDENTITY)
    assert.deepStrictEqual(chunks.slice(1, -1), [batches[1]!.batch, batches[2]!.batch, batches[0]!.batch])
    assert.strictEqual(chunks[1], batches[1]!.batch)
  })

  it("has checksums of the bytes as they were added", () => {
    const builder = new SegmentBuilder()
    const batch = made()
    builder.add(batch)
    const crc = crc32c(batch.batch)
    batch.batch.fill(0)
    assert.strictEqual(builder.seal(IDENTITY).runs[0]!.crc, crc)
  })

  it("tells where each ticket's batch is, and of no other ticket", () => {
    const builder = new SegmentBuilder()
    for (const partition of [2, 1, 2, 0, 1]) builder.add(made({ partition }))
    const { slotOf } = builder.seal(IDENTITY)
    assert.deepStrictEqual(
      [0, 1, 2, 3, 4].map((ticket) => slotOf(ticket)),
      [
        { run: 2, batch: 0 },
        { run: 1, batch: 0 },
        { run: 2, batch: 1 },
        { run: 0, batch: 0 },
        { run: 1, batch: 1 }
      ]
    )
    for (const ticket of [-1, 5, 0.5]) assert.throws(() => slotOf(ticket), /not given out/)
  })

  it("groups whole runs into blocks up to their size; a longer run is a block of its own", () => {
    const builder = new SegmentBuilder()
    const MiB = 1024 * 1024
    const sizes = [1 * MiB, 3 * MiB, 1, 5 * MiB, 2 * MiB, 2 * MiB + 1, 100].map((bytes) => Math.max(bytes, 61))
    for (const [partition, bytes] of sizes.entries()) builder.add(made({ partition, batch: Buffer.alloc(bytes) }))
    const { blockOffsets, runs } = builder.seal(IDENTITY)
    const starts = runs.map((run) => run.byteOffset)
    assert.deepStrictEqual(blockOffsets, [starts[0]!, starts[2]!, starts[3]!, starts[4]!, starts[5]!, starts[6]! + 100])
  })

  it("is the golden segment again when its batches are added again", () => {
    const golden = readFileSync(new URL("../../goldens/segment/version-1.bin", import.meta.url))
    const decoded = decodeFooter(golden, golden.length)
    assert.strictEqual(decoded.kind, "index")
    if (decoded.kind !== "index") return
    const builder = new SegmentBuilder()
    // Runs in reverse order: the builder has to sort them.
    for (const run of decoded.index.runs.toReversed()) {
      batchHeader.walkBatches(golden.subarray(run.byteOffset, run.byteOffset + run.byteLength), (at, length) => {
        const batch = golden.subarray(run.byteOffset + at, run.byteOffset + at + length)
        const offsetCount = batchHeader.lastOffsetDelta(batch, 0) + 1
        const summary = { ...made().summary, offsetCount, maxTimestampMs: batchHeader.maxTimestamp(batch, 0) }
        builder.add({ ...run, batch, summary })
      })
    }
    const { index } = decoded
    assert.isTrue(Buffer.concat(builder.seal(index).chunks).equals(golden))
  })
})

describe("random segments agree with a plain model", () => {
  const kinds = [
    { name: "few", batches: 20, partitions: 6, bytesMax: 3_000 },
    { name: "many tiny", batches: 3_000, partitions: 200, bytesMax: 300 },
    { name: "many of all sizes", batches: 2_000, partitions: 30, bytesMax: 1_500 },
    { name: "many in one partition", batches: 2_500, partitions: 1, bytesMax: 200 }
  ]
  for (const { name, batches, partitions, bytesMax } of kinds) {
    for (let seed = 1; seed <= 5; seed++) {
      it(`${name} (seed ${seed})`, () => {
        const random = seededRandom(seed)
        const pick = (below: number): number => Math.floor(random() * below)
        const added = Array.from({ length: batches }, (_, number) => {
          const partition = pick(partitions)
          const bytes = Buffer.alloc(61 + pick(bytesMax), number & 0xff)
          const summary = {
            offsetCount: 1 + pick(9),
            maxTimestampMs: pick(1_000) - 1,
            producerId: number,
            producerEpoch: 0,
            baseSequence: number
          }
          return made({ topicId: topicId(partition % 7), partition, batch: bytes, summary })
        })
        const builder = new SegmentBuilder()
        for (const [ticket, batch] of added.entries()) assert.strictEqual(builder.add(batch), ticket)
        assert.strictEqual(
          builder.byteLength,
          added.reduce((sum, { batch }) => sum + batch.length, 0)
        )
        const sealed = builder.seal(IDENTITY)
        const { object, index } = indexOf(sealed)
        assert.strictEqual(object.length, sealed.segmentBytes)
        assert.deepStrictEqual([index.segmentId, index.createdAtMs], [IDENTITY.segmentId, IDENTITY.createdAtMs])
        const order = added.toSorted((a, b) =>
          a.topicId === b.topicId ? a.partition - b.partition : a.topicId < b.topicId ? -1 : 1
        )
        const data = Buffer.concat(order.map(({ batch }) => batch))
        assert.isTrue(data.equals(object.subarray(SEGMENT_HEADER_BYTES, index.footerOffset)))
        assert.deepStrictEqual(
          sealed.runs.flatMap((run) => run.batches),
          order.map(({ summary }) => summary)
        )
        for (const [at, run] of sealed.runs.entries()) {
          const { batchCount, offsetCount, maxTimestampMs, ...rest } = index.runs[at]!
          const { batches: summaries, ...place } = run
          assert.deepStrictEqual(place, rest)
          assert.strictEqual(batchCount, summaries.length)
          assert.strictEqual(
            offsetCount,
            summaries.reduce((sum, batch) => sum + batch.offsetCount, 0)
          )
          assert.strictEqual(maxTimestampMs, Math.max(...summaries.map((batch) => batch.maxTimestampMs)))
          assert.strictEqual(crc32c(object.subarray(run.byteOffset, run.byteOffset + run.byteLength)), run.crc)
        }
        for (const [ticket, { summary }] of added.entries()) {
          const slot = sealed.slotOf(ticket)
          assert.strictEqual(sealed.runs[slot.run]!.batches[slot.batch], summary)
        }
      })
    }
  }
})
