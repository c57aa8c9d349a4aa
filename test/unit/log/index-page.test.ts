/**
 * Goal: a page reads back as the runs that were written, and nothing else reads as a page.
 * Method: random runs go round in pages of all sizes; a golden file pins the bytes; every cut, every changed bit, columns
 * that belong to another page, and lies behind right checksums must give an EntryError.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { EntryError } from "#core/log/entry.ts"
import { type RunRef } from "#core/log/fold.ts"
import { decodeIndexPage, encodeIndexPage, type PageRuns } from "#core/log/index-page.ts"
import { limits } from "#core/model/limits.ts"
import { type IndexPage } from "#core/ports/metadata-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { idOf, NOW_MS, randomOf, TOPIC } from "./log-builders.ts"
import { historyOf } from "./log-history.ts"

const runsOf = (runs: ReadonlyArray<RunRef>, partition = 3): PageRuns => ({
  topicId: TOPIC,
  partition,
  runCount: runs.length,
  run: (index) => runs[index]!
})

const pagesOf = (runs: PageRuns, pageRuns?: number): ReadonlyArray<IndexPage> => {
  const pages: Array<IndexPage> = []
  for (let first = 0; first < runs.runCount;) {
    const { page, runCount } = encodeIndexPage(runs, first, pageRuns)
    pages.push(page)
    first += runCount
  }
  return pages
}

const decodedRuns = (pages: ReadonlyArray<IndexPage>): ReadonlyArray<RunRef> =>
  pages.flatMap((page) => {
    const { runs } = decodeIndexPage(page)
    return Array.from({ length: runs.runCount }, (_, index) => runs.run(index))
  })

/** The runs of a random history, of its longest partition. */
const randomRuns = (seed: number): ReadonlyArray<RunRef> => {
  const { fold } = historyOf(seed, { entries: 250, isMaterialized: false })
  const partitions = fold.topics().flatMap((topic) => topic.partitions)
  const longest = partitions.reduce((a, b) => (b.runCount > a.runCount ? b : a))
  return Array.from({ length: longest.runCount }, (_, index) => longest.run(index))
}

const RUNS = randomRuns(1)
const PAGE = pagesOf(runsOf(RUNS.slice(0, 9)))[0]!

const withBytes = (page: Uint8Array): IndexPage => ({ ...PAGE, page })
const resealed = (bytes: Uint8Array): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt32BE(crc32c(copy.subarray(0, -4)), copy.length - 4)
  return copy
}
const assertRefused = (page: IndexPage, message = /index page: /): void => {
  assert.throws(() => decodeIndexPage(page), EntryError, message)
}

describe("sound pages", () => {
  for (const seed of [1, 2, 3]) {
    it(`hold all runs, whatever their size, seed ${seed}`, () => {
      const runs = randomRuns(seed)
      assert.isAbove(runs.length, 8)
      for (const pageRuns of [1, 2, 7, 1_000]) {
        const pages = pagesOf(runsOf(runs), pageRuns)
        assert.equal(pages.length, Math.ceil(runs.length / pageRuns))
        assert.deepEqual(decodedRuns(pages), runs)
        for (const [index, page] of pages.entries()) {
          const part = runs.slice(index * pageRuns, (index + 1) * pageRuns)
          assert.equal(page.baseOffset, part[0]!.baseOffset)
          assert.equal(page.nextOffset, part.at(-1)!.nextOffset)
          assert.equal(page.maxTimestampMs, Math.max(...part.map((run) => run.maxTimestampMs)))
        }
      }
    })
  }

  it("are the same bytes for the same runs, by whomever they are held", () => {
    const copies = structuredClone(RUNS)
    const hex = (runs: ReadonlyArray<RunRef>) =>
      pagesOf(runsOf(runs), 5).map(({ page }) => Buffer.from(page).toString("hex"))
    assert.deepEqual(hex(copies), hex(RUNS))
  })

  it("stay below their bound of bytes, however much there is to say of a run", () => {
    const excluded = Array.from({ length: limits.segmentBatchesMax - 1 }, (_, index) => index)
    const blockOffsets = Array.from({ length: limits.segmentBlocksMax }, (_, index) => index * 1_000_000)
    const large = Array.from({ length: 12 }, (_, n): RunRef => ({
      ...RUNS[0]!,
      segment: { ...RUNS[0]!.segment, segmentId: idOf("segment", n), blockOffsets },
      baseOffset: n,
      nextOffset: n + 1,
      excluded
    }))
    const pages = pagesOf(runsOf(large))
    assert.isAbove(pages.length, 1)
    for (const { page } of pages) assert.isAtMost(page.length, limits.indexPageBytesMax)
    assert.deepEqual(decodedRuns(pages), large)
  })

  it("reads the golden page of version 1, and writes it still", () => {
    const text = readFileSync(new URL("../../goldens/log/index-page-v1.hex", import.meta.url), "utf8")
    const bytes = Buffer.from(text.trim(), "hex")
    const row = {
      topicId: TOPIC,
      partition: 3,
      baseOffset: 100,
      nextOffset: 112,
      maxTimestampMs: NOW_MS + 9,
      page: bytes
    }
    const runs = decodedRuns([row])
    assert.deepEqual(runs, GOLDEN_RUNS)
    assert.equal(Buffer.from(pagesOf(runsOf(runs))[0]!.page).toString("hex"), bytes.toString("hex"))
  })

  it("take some 60 bytes for a run of a segment of its own, and 18 for one of a segment that occurred", () => {
    const segment = { ...RUNS[0]!.segment, bucketSet: "quorum", blockOffsets: [8, 4_194_304, 8_388_608] }
    const many = Array.from({ length: 200 }, (_, n): RunRef => ({
      ...RUNS[0]!,
      segment: { ...segment, segmentId: idOf("segment", n), seq: 100 + n, createdAtMs: NOW_MS + n * 70 },
      byteOffset: 4_000_000,
      byteLength: 20_000,
      baseOffset: n * 100,
      nextOffset: n * 100 + 100,
      maxTimestampMs: NOW_MS + n * 70 - 5,
      excluded: []
    }))
    const shared = many.map((run) => ({ ...run, segment: many[0]!.segment, maxTimestampMs: NOW_MS - 5 }))
    const bytesPerRun = (runs: ReadonlyArray<RunRef>) => pagesOf(runsOf(runs))[0]!.page.length / runs.length
    assert.isAtMost(bytesPerRun(many), 60)
    assert.isAtMost(bytesPerRun(shared), 18)
  })
})

const GOLDEN_SEGMENT = {
  segmentId: idOf("segment", 7),
  seq: 41,
  createdAtMs: NOW_MS,
  bucketSet: "quorum",
  ackedBuckets: ["east", "größer"],
  segmentBytes: 9_000,
  blockOffsets: [8, 5_000, 8_900],
  appendTimeMs: NOW_MS + 50
}

const GOLDEN_RUNS: ReadonlyArray<RunRef> = [
  {
    segment: GOLDEN_SEGMENT,
    byteOffset: 8,
    byteLength: 300,
    crc: 0xdeadbeef,
    baseOffset: 100,
    nextOffset: 110,
    maxTimestampMs: NOW_MS + 9,
    timestampType: "create",
    excluded: [0, 3]
  },
  {
    segment: { ...GOLDEN_SEGMENT, segmentId: idOf("segment", 8), seq: 43, ackedBuckets: ["east"] },
    byteOffset: 308,
    byteLength: 4_000_000_000,
    crc: 1,
    baseOffset: 110,
    nextOffset: 112,
    maxTimestampMs: -1,
    timestampType: "append",
    excluded: []
  }
]

describe("damaged pages", () => {
  it("are refused wherever they are cut, also when the checksum was made anew", () => {
    for (let length = 0; length < PAGE.page.length; length += 1) {
      assertRefused(withBytes(PAGE.page.subarray(0, length)))
      if (length >= 5) assertRefused(withBytes(resealed(PAGE.page.subarray(0, length))))
    }
    assertRefused(withBytes(resealed(Buffer.concat([PAGE.page, Buffer.alloc(4)]))), /left over/)
  })

  it("are refused whichever bit is changed", () => {
    for (let at = 0; at < PAGE.page.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const damaged = Buffer.from(PAGE.page)
        damaged[at] = damaged[at]! ^ (1 << bit)
        assertRefused(withBytes(damaged), at === 0 ? /version \d+ is unknown/ : /checksum does not match/)
      }
    }
  })

  it("are an error of theirs, never of this program, behind right checksums as well", () => {
    const random = randomOf(5)
    let refused = 0
    for (let at = 1; at < PAGE.page.length - 4; at += 1) {
      for (let round = 0; round < 8; round += 1) {
        const lying = Buffer.from(PAGE.page)
        lying[at] = Math.floor(random() * 256)
        try {
          decodeIndexPage(withBytes(resealed(lying)))
        } catch (error) {
          assert.instanceOf(error, EntryError)
          refused += 1
        }
      }
    }
    assert.isAbove(refused, PAGE.page.length)
  })

  it("do not make anyone reserve memory for a false count", () => {
    const head = PAGE.page.subarray(0, 1 + 16)
    const lying = Buffer.concat([head, Buffer.from([3, PAGE.baseOffset, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(4)])
    assertRefused(withBytes(resealed(lying)), /runs of 268435455 does not fit into the index page/)
  })

  const columns: Readonly<Record<string, Partial<IndexPage>>> = {
    topic: { topicId: idOf("topic", 2) },
    partition: { partition: 4 },
    "first offset": { baseOffset: PAGE.baseOffset + 1 },
    end: { nextOffset: PAGE.nextOffset + 1 },
    "largest timestamp": { maxTimestampMs: PAGE.maxTimestampMs + 1 }
  }
  for (const [what, change] of Object.entries(columns)) {
    it(`are refused under another ${what} than theirs`, () => assertRefused({ ...PAGE, ...change }))
  }
})
