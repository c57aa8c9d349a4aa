/**
 * Inspection tells what is in a segment and everything that is wrong with it, without throwing.
 * Method: the golden segment, damaged and whole; every cut and every changed byte must be reported.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { type NewRecord, buildBatch } from "#core/records/build-batch.ts"
import { SegmentBuilder } from "#core/segment/segment-builder.ts"
import { formatReport, inspectSegment } from "#core/segment/segment-inspect.ts"

const GOLDEN = readFileSync(new URL("../../goldens/segment/version-1.bin", import.meta.url))

const changed = (at: number, change: number): Buffer => {
  const bytes = Buffer.from(GOLDEN)
  bytes[at]! ^= change
  return bytes
}

const segmentOf = (
  records: ReadonlyArray<NewRecord>,
  summary: { offsetCount?: number; maxTimestampMs?: number } = {}
) => {
  const builder = new SegmentBuilder()
  const batch = buildBatch({ records, timestampMs: 1_000 })
  const rest = { producerId: -1, producerEpoch: -1, baseSequence: -1 }
  builder.add({
    topicId: "ab".repeat(16),
    partition: 3,
    timestampType: "create",
    batch,
    summary: { offsetCount: records.length, maxTimestampMs: 1_000, ...rest, ...summary }
  })
  return Buffer.concat(builder.seal({ segmentId: "cd".repeat(16), createdAtMs: 1_000 }).chunks)
}

const valueShown = (value: Buffer) => {
  const { runs } = inspectSegment(segmentOf([{ key: null, value }]), { records: true })
  return runs[0]!.batches[0]!.records![0]!.value
}

describe("damage", () => {
  it("a changed byte anywhere is a problem, and formatting never fails", () => {
    for (let at = 0; at < GOLDEN.length; at++) {
      const report = inspectSegment(changed(at, 0x20), { records: true })
      assert.isNotEmpty(report.problems, `byte ${at}`)
      assert.include(formatReport(report), report.problems[0]!)
    }
  })

  it("a cut anywhere is a problem, and the whole batches before it are still found", () => {
    for (let length = 0; length < GOLDEN.length; length++) {
      const report = inspectSegment(GOLDEN.subarray(0, length), { records: true })
      assert.isNotEmpty(report.problems)
      const wholeBatches = [188, 378, 557, 628, 776, 967, 1045, 1153].filter((end) => end <= length).length
      assert.strictEqual(report.batchesWithoutIndex.length, wholeBatches, `cut to ${length}`)
      assert.include(formatReport(report), "without a readable index")
    }
  })

  it("is told where it is: run, batch, and what the numbers should be", () => {
    const { problems, runs } = inspectSegment(changed(250, 0x01), { records: false })
    assert.strictEqual(problems.length, 2)
    assert.match(problems[0]!, /^run 0 \(topic (0a){16}, partition 0\): its bytes have CRC-32C .*, the index says/)
    assert.match(problems[1]!, /^run 0 .*, batch 1: its bytes have CRC-32C .*, its header says/)
    assert.deepStrictEqual(
      runs.map((run) => run.isCrcOk),
      [false, true, true, true, true]
    )
    assert.deepStrictEqual(
      runs[0]!.batches.map((batch) => batch.isCrcOk),
      [true, false]
    )
  })

  it("an index that does not fit its batches is told", () => {
    const { problems } = inspectSegment(
      segmentOf([{ key: null, value: null }], { offsetCount: 7, maxTimestampMs: 2 }),
      {
        records: false
      }
    )
    assert.deepStrictEqual(
      problems.map((problem) => problem.replace(/^.*\): /, "")),
      ["the index says offsetCount 7, its batches have 1", "the index says maxTimestampMs 2, its batches have 1000"]
    )
  })

  it("problems are bounded", () => {
    const builder = new SegmentBuilder()
    const summary = { offsetCount: 1, maxTimestampMs: 1, producerId: -1, producerEpoch: -1, baseSequence: -1 }
    for (let partition = 0; partition < 2_000; partition++) {
      builder.add({ topicId: "ab".repeat(16), partition, timestampType: "create", batch: Buffer.alloc(70), summary })
    }
    const { problems } = inspectSegment(
      Buffer.concat(builder.seal({ segmentId: "cd".repeat(16), createdAtMs: 1 }).chunks),
      {
        records: true
      }
    )
    assert.strictEqual(problems.length, limits.inspectedProblemsMax + 1)
  })
})

describe("a sound segment", () => {
  it("is told as it is, with records of all codecs where they are asked for", () => {
    const report = inspectSegment(GOLDEN, { records: true })
    assert.deepStrictEqual(report.problems, [])
    assert.deepStrictEqual([report.topicCount, report.runs.length, report.batchCount], [3, 5, 8])
    const batches = report.runs.flatMap((run) => run.batches)
    assert.deepStrictEqual(
      batches.map((batch) => batch.codec),
      ["snappy", "lz4", "uncompressed", "uncompressed", "gzip", "zstd", "uncompressed", "uncompressed"]
    )
    assert.deepStrictEqual(
      batches.map((batch) => batch.records!.length),
      [4, 5, 2, 1, 3, 6, 1, 1]
    )
    assert.deepStrictEqual(
      batches.map((batch) => batch.offsetInRun),
      [0, 4, 0, 0, 0, 3, 9, 0]
    )
    const record = batches[1]!.records![1]!
    assert.deepStrictEqual(record, {
      offsetInRun: 5,
      timestampMs: 1_772_386_245_001,
      key: { encoding: "utf8", shown: "key-1", byteLength: 5, isCut: false },
      value: { encoding: "utf8", shown: "value 1 ".repeat(5), byteLength: 40, isCut: false },
      headers: [
        {
          key: { encoding: "utf8", shown: "größe", byteLength: 7, isCut: false },
          value: { encoding: "utf8", shown: "✓", byteLength: 3, isCut: false }
        },
        { key: { encoding: "utf8", shown: "none", byteLength: 4, isCut: false }, value: null }
      ]
    })
  })

  it("is plain data, and records are left out where they are not asked for", () => {
    const report = inspectSegment(GOLDEN, { records: false })
    assert.deepStrictEqual(JSON.parse(JSON.stringify(report)), report)
    assert.isFalse(JSON.stringify(report).includes('"records"'))
  })

  it("is formatted with a line for each run, batch and record", () => {
    const text = formatReport(inspectSegment(GOLDEN, { records: true }))
    const lines = text.split("\n")
    assert.match(lines[0]!, /^segment (5e){16}, version 1, created 2026-03-01T17:30:45\.000Z$/)
    assert.strictEqual(lines[1], "1537 bytes: 3 topics, 5 partitions, 8 batches")
    assert.strictEqual(lines.filter((line) => line.startsWith("topic ")).length, 5)
    assert.strictEqual(lines.filter((line) => line.startsWith("  batch at ")).length, 8)
    assert.strictEqual(lines.filter((line) => line.startsWith("    +")).length, 23)
    assert.include(text, "no problems found")
    assert.include(text, 'key "key-1" value "value 1 ')
    assert.include(text, "transactional, control,")
  })
})

describe("bytes of records", () => {
  it("are text only where a terminal can show them safely", () => {
    for (const text of ["", "plain", "zwölf ✓ 𝄞", "line\nnext\ttab\r"]) {
      assert.deepStrictEqual(valueShown(Buffer.from(text)), {
        encoding: "utf8",
        shown: text,
        byteLength: Buffer.byteLength(text),
        isCut: false
      })
    }
    for (const bytes of [
      Buffer.from([0xff]),
      Buffer.from([0]),
      Buffer.from("\u001b[31m"),
      Buffer.from("a\u202eb"),
      Buffer.from([0xc3])
    ]) {
      assert.strictEqual(valueShown(bytes)!.encoding, "base64")
      assert.strictEqual(valueShown(bytes)!.shown, bytes.toString("base64"))
    }
  })

  it("are cut at a length, between characters", () => {
    for (let before = 0; before < 8; before++) {
      const text = "x".repeat(limits.inspectedBytesMax - before) + "𝄞".repeat(9)
      const { shown, isCut, byteLength, encoding } = valueShown(Buffer.from(text))!
      assert.deepStrictEqual([encoding, isCut, byteLength], ["utf8", true, Buffer.byteLength(text)])
      assert.isTrue(text.startsWith(shown))
      assert.isAtLeast(Buffer.byteLength(shown), limits.inspectedBytesMax - 8)
    }
    const binary = valueShown(Buffer.alloc(1_000, 0xff))!
    assert.deepStrictEqual([binary.encoding, binary.isCut], ["base64", true])
    assert.strictEqual(Buffer.from(binary.shown, "base64").length, limits.inspectedBytesMax)
  })

  it("do not break a line's shape, whatever they hold", () => {
    const text = formatReport(
      inspectSegment(segmentOf([{ key: Buffer.from('"\n'), value: Buffer.from("\n\r") }]), { records: true })
    )
    assert.include(text, 'key "\\"\\n" value "\\n\\r"')
  })
})
