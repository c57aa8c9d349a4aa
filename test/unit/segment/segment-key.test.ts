/**
 * Segment keys: rejects first, then round trips, order and the calendar against the platform's own. Randomness is
 * seeded.
 */
import { assert, describe, it } from "vitest"
import { keyFault } from "#backends/object/request-check.ts"
import {
  isBucketSetName,
  parseSegmentKey,
  segmentKey,
  segmentKeyFirst,
  segmentKeyPrefix
} from "#core/segment/segment-key.ts"
import { UTC_TEXT_MS_MAX, utcText } from "#core/segment/utc-text.ts"
import { seededRandom } from "../../contract/seeded-random.ts"

const ID = "0f8e4a2b9c3d4e5f8a7b6c5d4e3f2a1b"
const ADDRESS = { segmentId: ID, createdAtMs: 1_772_386_245_678, bucketSet: "quorum" }
const KEY = `segments/quorum/2026-03-01/17/001772386245678-${ID}`

describe("segment keys", () => {
  for (const [key, why] of [
    ["", "is empty"],
    [`${KEY} `, "has a trailing space"],
    [`${KEY}\n`, "has a trailing newline"],
    [`/${KEY}`, "is absolute"],
    [`x/${KEY}`, "has something before it"],
    [`${KEY}/x`, "has something below it"],
    [KEY.slice(0, -1), "has a short id"],
    [`${KEY}0`, "has a long id"],
    [KEY.replace(ID, ID.toUpperCase()), "has an upper-case id"],
    [KEY.replace("2026-03-01", "2026-03-02"), "has another day than its time"],
    [KEY.replace("/17/", "/18/"), "has another hour than its time"],
    [KEY.replace("001772386245678", "1772386245678"), "has an unpadded time"],
    [KEY.replace("001772386245678", "999999999999999"), "has a time after the year 9999"],
    [KEY.replace("quorum", "."), "has . for a bucket set"],
    [KEY.replace("quorum", ".."), "has .. for a bucket set"],
    [KEY.replace("quorum", ""), "has no bucket set"],
    [KEY.replace("quorum", "a/b"), "has a bucket set with a slash"],
    [KEY.replace("quorum", "x".repeat(129)), "has a long bucket set"],
    [KEY.replace("segments", "segment"), "begins otherwise"],
    ["segments/quorum/".repeat(1_000), "is very long"]
  ] as const) {
    it(`a key that ${why} is none`, () => assert.isUndefined(parseSegmentKey(key)))
  }

  it("addresses that cannot be written are asserted", () => {
    assert.throws(() => segmentKey({ ...ADDRESS, segmentId: ID.toUpperCase() }), /segmentId/)
    for (const createdAtMs of [-1, 0.5, Number.NaN, UTC_TEXT_MS_MAX + 1]) {
      assert.throws(() => segmentKey({ ...ADDRESS, createdAtMs }), /createdAtMs/)
    }
    for (const bucketSet of ["", ".", "..", "a b", "a/b", "ä", "x".repeat(129)]) {
      assert.isFalse(isBucketSetName(bucketSet))
      assert.throws(() => segmentKey({ ...ADDRESS, bucketSet }), /bucketSet/)
      assert.throws(() => segmentKeyPrefix(bucketSet), /bucketSet/)
    }
  })

  it("are as documented", () => {
    assert.strictEqual(segmentKey(ADDRESS), KEY)
    assert.deepStrictEqual(parseSegmentKey(KEY), ADDRESS)
    assert.strictEqual(segmentKeyPrefix("quorum"), "segments/quorum/")
  })

  const seed = 77
  it(`go there and back, are keys of every store, and sort by time (seed ${seed})`, () => {
    const random = seededRandom(seed)
    const addresses = Array.from({ length: 2_000 }, (_, index) => ({
      segmentId: Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join(""),
      // Small steps as well as long ones, and the ends.
      createdAtMs: index < 2 ? index * UTC_TEXT_MS_MAX : Math.floor(random() ** (1 + (index % 5)) * UTC_TEXT_MS_MAX),
      bucketSet: "q.u-o_r=um9"
    }))
    for (const address of addresses) {
      const key = segmentKey(address)
      assert.deepStrictEqual(parseSegmentKey(key), address)
      assert.isUndefined(keyFault(key))
      assert.isTrue(key.startsWith(segmentKeyPrefix(address.bucketSet)))
    }
    const byKey = addresses.toSorted((a, b) => Buffer.compare(Buffer.from(segmentKey(a)), Buffer.from(segmentKey(b))))
    for (let index = 1; index < byKey.length; index++) {
      assert.isAtMost(byKey[index - 1]!.createdAtMs, byKey[index]!.createdAtMs)
    }
  })

  it("the first of a time sorts between older segments and those of that time", () => {
    const first = segmentKeyFirst({ createdAtMs: ADDRESS.createdAtMs, bucketSet: "quorum" })
    const least = "0".repeat(32)
    assert.isTrue(segmentKey({ ...ADDRESS, createdAtMs: ADDRESS.createdAtMs - 1, segmentId: "f".repeat(32) }) < first)
    assert.isTrue(first < segmentKey({ ...ADDRESS, segmentId: least }))
    assert.isUndefined(parseSegmentKey(first))
  })

  it("no key is a directory of another, whatever the names of bucket sets", () => {
    const names = ["a", "a-", "a.b", "segments", "2026-03-01"]
    const keys = names.map((bucketSet) => segmentKey({ ...ADDRESS, bucketSet }))
    for (const key of keys) for (const other of keys) assert.isFalse(other.startsWith(`${key}/`))
  })
})

describe("UTC text", () => {
  it("agrees with the platform's calendar on every day up to the year 2200, and around leap days later", () => {
    for (let day = 0; day < 84_006; day++) {
      const timeMs = day * 86_400_000 + ((day * 7_919) % 86_400_000)
      assert.strictEqual(utcText(timeMs), new Date(timeMs).toISOString())
    }
    for (let year = 2_200; year <= 9_999; year++) {
      for (const [month, date] of [
        [0, 1],
        [1, 28],
        [2, 1],
        [11, 31]
      ] as const) {
        const timeMs = Date.UTC(year, month, date, 23, 59, 59, 999)
        assert.strictEqual(utcText(timeMs), new Date(timeMs).toISOString())
      }
    }
  })

  it("asserts times outside its range", () => {
    for (const timeMs of [-1, UTC_TEXT_MS_MAX + 1, Number.NaN]) assert.throws(() => utcText(timeMs), /time/)
  })
})
