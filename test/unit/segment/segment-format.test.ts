/**
 * The segment format: golden file, damage of every kind, hostile footers.
 *
 * Method: the golden file of version 1 (test/goldens/segment) is cut at every byte and changed in every byte, several
 * ways; footers that lie are made by changing fields and mending the checksum. Whatever comes, the decoder answers or
 * throws SegmentFormatError, and nothing wrong passes.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { writeInt64 } from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import {
  SEGMENT_HEADER_BYTES,
  SEGMENT_RUN_ENTRY_BYTES,
  SEGMENT_TRAILER_BYTES,
  type SegmentFault,
  SegmentFormatError,
  type SegmentIndex,
  type SegmentRun,
  checkSegmentHeader,
  decodeFooter,
  encodeSegmentHeader,
  encodeSegmentTail
} from "#core/segment/segment-format.ts"

const GOLDEN = readFileSync(new URL("../../goldens/segment/version-1.bin", import.meta.url))

const indexOf = (object: Buffer): SegmentIndex => {
  const result = decodeFooter(object, object.length)
  if (result.kind !== "index") throw new Error(`more bytes wanted from ${result.offset}`)
  return result.index
}

const GOLDEN_INDEX = indexOf(GOLDEN)

/** What a reader of the whole object checks: header, index, and each run. */
const checkWhole = (object: Buffer): void => {
  checkSegmentHeader(object)
  for (const run of indexOf(object).runs) {
    const crc = crc32c(object.subarray(run.byteOffset, run.byteOffset + run.byteLength))
    if (crc !== run.crc) throw new SegmentFormatError("bad-checksum", "run")
  }
}

const faultOf = (work: () => unknown): SegmentFault => {
  try {
    work()
  } catch (error) {
    if (error instanceof SegmentFormatError) return error.fault
    throw error
  }
  throw new Error("nothing was thrown")
}

describe("the golden segment of version 1", () => {
  it("decodes to what was put into it", () => {
    checkWhole(GOLDEN)
    const { runs, ...rest } = GOLDEN_INDEX
    assert.deepStrictEqual(rest, {
      version: 1,
      segmentId: "5e".repeat(16),
      createdAtMs: 1_772_386_245_000,
      footerOffset: 1153,
      objectBytes: GOLDEN.length
    })
    const brief = runs.map((run) => [
      run.topicId.slice(0, 2),
      run.partition,
      run.timestampType,
      run.byteOffset,
      run.byteLength,
      run.batchCount,
      run.offsetCount,
      run.maxTimestampMs - 1_772_386_245_000
    ])
    assert.deepStrictEqual(brief, [
      ["0a", 0, "create", 8, 370, 2, 9, 4],
      ["0a", 12, "create", 378, 179, 1, 2, 1],
      ["0b", 0, "create", 557, 71, 1, 1, 0],
      ["0b", 7, "create", 628, 417, 3, 10, 100],
      ["fc", 1, "append", 1045, 108, 1, 1, 0]
    ])
  })

  it("is what the encoder still writes from its index", () => {
    assert.isTrue(encodeSegmentHeader().equals(GOLDEN.subarray(0, SEGMENT_HEADER_BYTES)))
    assert.isTrue(encodeSegmentTail(GOLDEN_INDEX).equals(GOLDEN.subarray(GOLDEN_INDEX.footerOffset)))
  })

  it("decodes from any tail that holds the footer, and says what is missing of a shorter one", () => {
    for (let bytes = 0; bytes <= GOLDEN.length; bytes++) {
      const tail = GOLDEN.subarray(GOLDEN.length - bytes)
      const result = decodeFooter(tail, GOLDEN.length)
      if (bytes >= GOLDEN.length - GOLDEN_INDEX.footerOffset) {
        assert.deepStrictEqual(result, { kind: "index", index: GOLDEN_INDEX })
      } else {
        const offset = bytes < SEGMENT_TRAILER_BYTES ? GOLDEN.length - SEGMENT_TRAILER_BYTES : GOLDEN_INDEX.footerOffset
        assert.deepStrictEqual(result, { kind: "need-more", offset })
      }
    }
  })
})

describe("damage", () => {
  it("truncation at every byte is an error", () => {
    for (let length = 0; length < GOLDEN.length; length++) {
      const fault = faultOf(() => checkWhole(GOLDEN.subarray(0, length)))
      assert.include(["too-short", "bad-trailer"], fault, `cut to ${length}`)
    }
  })

  it("bytes lost at the front or added at either end are an error", () => {
    const wrong = [GOLDEN.subarray(1), GOLDEN.subarray(64), Buffer.concat([GOLDEN, Buffer.alloc(1)])]
    for (const object of [...wrong, Buffer.concat([Buffer.alloc(1), GOLDEN]), Buffer.concat([GOLDEN, GOLDEN])]) {
      faultOf(() => checkWhole(object))
    }
  })

  it("every single changed byte is found, in header, data, footer and trailer", () => {
    for (let at = 0; at < GOLDEN.length; at++) {
      for (const change of [0x01, 0x80, 0xff]) {
        const object = Buffer.from(GOLDEN)
        object[at]! ^= change
        faultOf(() => checkWhole(object))
      }
    }
  })

  it("a changed byte of footer or trailer is found from the tail alone", () => {
    for (let at = GOLDEN_INDEX.footerOffset; at < GOLDEN.length; at++) {
      const tail = Buffer.from(GOLDEN.subarray(GOLDEN_INDEX.footerOffset))
      tail[at - GOLDEN_INDEX.footerOffset]! ^= 0x10
      faultOf(() => decodeFooter(tail, GOLDEN.length))
    }
  })

  it("says what is wrong by kind", () => {
    const changed = (at: number, value: number): Buffer => {
      const object = Buffer.from(GOLDEN)
      object[at] = value
      return object
    }
    const trailerAt = GOLDEN.length - SEGMENT_TRAILER_BYTES
    assert.strictEqual(
      faultOf(() => checkWhole(changed(0, 0))),
      "bad-header"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(5, 1))),
      "bad-header"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(4, 2))),
      "unknown-version"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(4, 0))),
      "unknown-version"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(trailerAt + 48, 2))),
      "unknown-version"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(GOLDEN.length - 1, 0))),
      "bad-trailer"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(trailerAt + 20, 0))),
      "bad-checksum"
    )
    assert.strictEqual(
      faultOf(() => checkWhole(changed(trailerAt + 15, 9))),
      "inconsistent"
    )
    assert.strictEqual(
      faultOf(() => checkSegmentHeader(GOLDEN.subarray(0, 7))),
      "too-short"
    )
    assert.strictEqual(
      faultOf(() => decodeFooter(Buffer.alloc(64), 64)),
      "too-short"
    )
  })
})

describe("footers that lie under a right checksum", () => {
  /** The tail with a change, and the checksum of it. */
  const forged = (change: (footer: Buffer, trailer: Buffer) => void): Buffer => {
    const object = Buffer.from(GOLDEN)
    const tail = object.subarray(GOLDEN_INDEX.footerOffset)
    const trailerAt = tail.length - SEGMENT_TRAILER_BYTES
    change(tail.subarray(0, trailerAt), tail.subarray(trailerAt))
    tail.writeUInt32BE(crc32c(tail.subarray(0, trailerAt + 52), crc32c(encodeSegmentHeader())), trailerAt + 52)
    return object
  }
  const entry = (index: number) => index * SEGMENT_RUN_ENTRY_BYTES
  const lies: ReadonlyArray<readonly [name: string, change: (footer: Buffer, trailer: Buffer) => void]> = [
    ["no runs", (_, trailer) => trailer.writeUInt32BE(0, 12)],
    ["more runs than there are", (_, trailer) => trailer.writeUInt32BE(6, 12)],
    ["runs without end", (_, trailer) => trailer.writeUInt32BE(0xffffffff, 12)],
    ["a footer of another size", (_, trailer) => trailer.writeUInt32BE(64, 8)],
    ["a footer at 0", (_, trailer) => writeInt64(trailer, 0, 0)],
    ["a footer before 0", (_, trailer) => writeInt64(trailer, -64, 0)],
    ["a footer behind the end", (_, trailer) => writeInt64(trailer, GOLDEN.length, 0)],
    ["a footer one byte off", (_, trailer) => writeInt64(trailer, 1154, 0)],
    ["a negative creation time", (_, trailer) => writeInt64(trailer, -1, 32)],
    ["a creation time beyond doubles", (_, trailer) => trailer.writeUInt32BE(0x7fffffff, 32)],
    ["reserved bytes of the trailer", (_, trailer) => trailer.writeUInt8(1, 47)],
    ["reserved bytes beside the version", (_, trailer) => trailer.writeUInt8(1, 51)],
    ["a negative partition", (footer) => footer.writeInt32BE(-1, entry(0) + 16)],
    ["an unknown timestamp type", (footer) => footer.writeUInt8(2, entry(1) + 20)],
    ["reserved bytes of a run", (footer) => footer.writeUInt8(1, entry(1) + 23)],
    ["a run that begins too late", (footer) => writeInt64(footer, 9, entry(0) + 24)],
    ["a run that overlaps its neighbour", (footer) => writeInt64(footer, 377, entry(1) + 24)],
    ["a run of no bytes", (footer) => writeInt64(footer, 0, entry(2) + 32)],
    ["a run of negative length", (footer) => writeInt64(footer, -5, entry(2) + 32)],
    ["a run that is longer than the data", (footer) => writeInt64(footer, 1_000, entry(4) + 32)],
    ["a last run that is too short", (footer) => writeInt64(footer, 107, entry(4) + 32)],
    ["a length beyond doubles", (footer) => footer.writeUInt32BE(0x7fffffff, entry(2) + 32)],
    ["no offsets", (footer) => writeInt64(footer, 0, entry(0) + 40)],
    ["fewer offsets than batches", (footer) => writeInt64(footer, 1, entry(0) + 40)],
    ["a timestamp beyond doubles", (footer) => footer.writeUInt32BE(0x7fffffff, entry(0) + 48)],
    ["no batches", (footer) => footer.writeUInt32BE(0, entry(0) + 56)],
    ["more batches than bytes allow", (footer) => footer.writeUInt32BE(7, entry(0) + 56)],
    ["batches without end", (footer) => footer.writeUInt32BE(0xffffffff, entry(0) + 56)],
    ["topics out of order", (footer) => footer.fill(0xff, entry(0), entry(0) + 16)],
    ["partitions out of order", (footer) => footer.writeInt32BE(13, entry(0) + 16)],
    ["a partition twice", (footer) => footer.writeInt32BE(12, entry(0) + 16)]
  ]
  for (const [name, change] of lies) {
    it(`are refused: ${name}`, () => {
      assert.strictEqual(
        faultOf(() => decodeFooter(forged(change), GOLDEN.length)),
        "inconsistent"
      )
    })
  }

  it("the forging itself is sound: an unchanged footer passes", () => {
    checkWhole(forged(() => {}))
  })

  it("ask for no more bytes than a footer of the largest size", () => {
    const trailer = Buffer.from(GOLDEN.subarray(GOLDEN.length - SEGMENT_TRAILER_BYTES))
    const objectBytes = 2 ** 40
    const runs = limits.segmentBatchesMax + 1
    writeInt64(trailer, objectBytes - SEGMENT_TRAILER_BYTES - runs * SEGMENT_RUN_ENTRY_BYTES, 0)
    trailer.writeUInt32BE(runs * SEGMENT_RUN_ENTRY_BYTES, 8)
    trailer.writeUInt32BE(runs, 12)
    assert.strictEqual(
      faultOf(() => decodeFooter(trailer, objectBytes)),
      "inconsistent"
    )
  })

  it("random bytes never do anything but answer or throw SegmentFormatError", () => {
    let state = 12_345
    for (let round = 0; round < 2_000; round++) {
      const bytes = Buffer.alloc(200)
      for (let at = 0; at < bytes.length; at++) {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
        bytes[at] = state >>> 24
      }
      bytes.write("MSEGTAIL", bytes.length - 8, "latin1")
      bytes[bytes.length - 16] = 1
      faultOf(() => decodeFooter(bytes, 200 + (state % 1_000_000)))
    }
  })
})

describe("encoding a tail", () => {
  const run: SegmentRun = {
    topicId: "ab".repeat(16),
    partition: 2_147_483_647,
    timestampType: "append",
    byteOffset: SEGMENT_HEADER_BYTES,
    byteLength: 2 ** 40 + 5,
    batchCount: limits.segmentBatchesMax,
    offsetCount: Number.MAX_SAFE_INTEGER,
    maxTimestampMs: Number.MIN_SAFE_INTEGER,
    crc: 0xffffffff
  }
  const options = { segmentId: "00".repeat(16), createdAtMs: Number.MAX_SAFE_INTEGER, runs: [run] }

  it("keeps the extreme values", () => {
    const tail = encodeSegmentTail(options)
    const result = decodeFooter(tail, SEGMENT_HEADER_BYTES + run.byteLength + tail.length)
    assert.strictEqual(result.kind, "index")
    if (result.kind === "index") {
      assert.deepStrictEqual(result.index.runs, [run])
      assert.strictEqual(result.index.createdAtMs, Number.MAX_SAFE_INTEGER)
    }
  })

  it("asserts what it is given", () => {
    assert.throws(() => encodeSegmentTail({ ...options, runs: [] }), /0 runs/)
    assert.throws(() => encodeSegmentTail({ ...options, segmentId: "x" }), /segmentId/)
    assert.throws(() => encodeSegmentTail({ ...options, createdAtMs: -1 }), /createdAtMs/)
    for (const wrong of [
      { topicId: "AB".repeat(16) },
      { partition: -1 },
      { byteOffset: 9 },
      { byteLength: 60 },
      { batchCount: 0 },
      { offsetCount: 0.5 },
      { maxTimestampMs: Number.NaN }
    ]) {
      assert.throws(() => encodeSegmentTail({ ...options, runs: [{ ...run, ...wrong }] }), /run 0/)
    }
    assert.throws(() => encodeSegmentTail({ ...options, runs: [run, { ...run, byteOffset: 2 ** 40 + 13 }] }), /order/)
  })
})
