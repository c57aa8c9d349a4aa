/**
 * Goal: an entry reads back as what was written, on every later program, and nothing else reads as an entry.
 * Method: a golden file pins the bytes of one entry of all kinds; every cut, every changed byte and hand-made lies behind a
 * correct checksum must give an EntryError; random entries go round.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { type CommittedRun, type LogEffect, type SegmentCommitted } from "#core/log/effect.ts"
import { decodeEntry, encodeEntry, EntryError } from "#core/log/entry.ts"
import { VERDICT_BY_ID, VERDICTS } from "#core/log/verdict.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { batchOf, commitOf, idempotent, idOf, NOW_MS, randomOf, runOf } from "./log-builders.ts"

const segmentOf = (runs: ReadonlyArray<CommittedRun>): SegmentCommitted => {
  const { kind: _kind, ...rest } = commitOf(7, [])
  return { ...rest, kind: "segment-committed", appendTimeMs: NOW_MS, runs }
}

const ALL_KINDS: ReadonlyArray<LogEffect> = [
  { kind: "genesis", clusterId: idOf("cluster", 1) },
  {
    kind: "topic-created",
    topicId: idOf("topic", 1),
    name: "orders",
    partitions: 3,
    configs: [
      ["retention.ms", "-1"],
      ["meridian.note", "größer"]
    ],
    createdAtMs: NOW_MS
  },
  { kind: "partitions-created", topicId: idOf("topic", 1), partitions: 300 },
  { kind: "producer-ids-allocated", first: 1_000, count: 1_000 },
  segmentOf([
    {
      ...runOf([batchOf({ offsetCount: 10 }), idempotent(70_000, 3, 2_147_483_647), idempotent(1, 0, 5)]),
      baseOffset: 2 ** 40,
      excluded: [
        { index: 1, verdict: "duplicate", baseOffset: 12, appendTimeMs: NOW_MS - 1 },
        { index: 2, verdict: "outOfOrderSequence", baseOffset: -1, appendTimeMs: -1 }
      ]
    },
    {
      ...runOf([batchOf({ maxTimestampMs: -1 })], {
        topicId: idOf("topic", 2),
        partition: 299,
        byteOffset: 1_000,
        timestampType: "append"
      }),
      baseOffset: -1,
      excluded: [{ index: 0, verdict: "unknownTopic", baseOffset: -1, appendTimeMs: -1 }]
    }
  ]),
  { kind: "topic-deleted", topicId: idOf("topic", 1) }
]

const golden = (): Buffer =>
  Buffer.from(
    readFileSync(new URL("../../goldens/log/entry-v1.hex", import.meta.url), "utf8").replaceAll(/\s/g, ""),
    "hex"
  )

/** The bytes with a checksum that matches, so that what lies behind it is looked at. */
const resealed = (bytes: Uint8Array): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt32BE(crc32c(copy.subarray(0, -4)), copy.length - 4)
  return copy
}

const refusalOf = (bytes: Uint8Array): EntryError => {
  try {
    decodeEntry(bytes)
  } catch (error) {
    assert.instanceOf(error, EntryError)
    return error
  }
  return assert.fail("the bytes were read as an entry")
}

describe("damaged entries", () => {
  it("is refused wherever it is cut", () => {
    const entry = encodeEntry(ALL_KINDS)
    for (let length = 0; length < entry.length; length += 1) refusalOf(entry.subarray(0, length))
  })

  it("is refused wherever it is cut, also when the checksum was made anew", () => {
    const entry = encodeEntry(ALL_KINDS)
    for (let length = 5; length < entry.length; length += 1) refusalOf(resealed(entry.subarray(0, length)))
  })

  it("is refused whichever byte is changed", () => {
    const entry = encodeEntry(ALL_KINDS)
    for (let index = 0; index < entry.length; index += 1) {
      const damaged = Buffer.from(entry)
      damaged[index] = damaged[index]! ^ 0x10
      const error = refusalOf(damaged)
      assert.match(error.message, index === 0 ? /version 17 is unknown/ : /checksum does not match/)
    }
  })

  it("never takes a changed byte behind a right checksum for something that cannot be written", () => {
    const entry = encodeEntry(ALL_KINDS)
    for (let index = 1; index < entry.length - 4; index += 1) {
      for (const change of [0x01, 0x80, 0xff]) {
        const lying = Buffer.from(entry)
        lying[index] = lying[index]! ^ change
        try {
          const effects = decodeEntry(resealed(lying))
          for (const effect of effects) assert.isString(effect.kind)
        } catch (error) {
          assert.instanceOf(error, EntryError)
          assert.isAtMost(error.byteOffset, entry.length)
        }
      }
    }
  })

  it("says what is unknown and where", () => {
    const unknownKind = resealed(Buffer.from([1, 0, 0, 1, 99, 0, 0, 0, 0]))
    assert.match(refusalOf(unknownKind).message, /effect kind 99 is unknown to this program at byte 5/)
    const newer = resealed(Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]))
    assert.match(refusalOf(newer).message, /version 2 is unknown to this program at byte 0/)
  })

  it("does not reserve memory for a false count", () => {
    const lying = resealed(Buffer.from([1, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0]))
    assert.match(refusalOf(lying).message, /topic ids of 268435455 does not fit/)
  })

  it("refuses bytes behind the effects and words that are not in the dictionary", () => {
    assert.match(refusalOf(resealed(Buffer.from([1, 0, 0, 0, 7, 0, 0, 0, 0]))).message, /left over/)
    assert.match(refusalOf(resealed(Buffer.from([1, 0, 0, 1, 3, 0, 0, 0, 0, 0]))).message, /refers to word 0 of 0/)
  })

  it("refuses a number above 2^53 - 1", () => {
    const tooLarge = [5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]
    assert.match(refusalOf(resealed(Buffer.from([1, 0, 0, 1, ...tooLarge, 0, 0, 0, 0]))).message, /above 2\^53/)
  })
})

describe("sound entries", () => {
  it("reads the golden entry of version 1, and writes it still", () => {
    assert.deepEqual(decodeEntry(golden()), ALL_KINDS)
    assert.equal(encodeEntry(ALL_KINDS).toString("hex"), golden().toString("hex"))
  })

  it("reads an entry that lies inside a larger buffer", () => {
    const entry = encodeEntry(ALL_KINDS)
    const around = Buffer.concat([Buffer.alloc(13, 1), entry, Buffer.alloc(7, 2)])
    assert.deepEqual(decodeEntry(around.subarray(13, 13 + entry.length)), ALL_KINDS)
  })

  it("has no effects where nothing changed", () => {
    assert.deepEqual(decodeEntry(encodeEntry([])), [])
  })

  it("keeps the persisted numbers of verdicts", () => {
    for (const [verdict, id] of Object.entries(VERDICTS)) assert.equal(VERDICT_BY_ID[id], verdict)
    assert.equal(VERDICTS.duplicate, 1)
    assert.equal(VERDICTS.duplicateWithoutOffset, 8)
  })

  it("takes at most 28 bytes for a run of one idempotent batch", () => {
    const runs = Array.from({ length: 200 }, (_, partition) => ({
      ...runOf([idempotent(4_321, 0, 100_000, 100)], { partition, byteOffset: partition * 20_000, byteLength: 20_000 }),
      baseOffset: 10_000_000,
      excluded: []
    }))
    const bytesPerRun = (encodeEntry([segmentOf(runs)]).length - encodeEntry([segmentOf([])]).length) / runs.length
    assert.isAtMost(bytesPerRun, 28)
  })

  it("reads back what was written, for random segments", () => {
    const random = randomOf(20_260_801)
    const whole = (max: number): number => Math.floor(random() * max)
    for (let round = 0; round < 200; round += 1) {
      const runs = Array.from({ length: whole(6) }, () => {
        const batches = Array.from({ length: 1 + whole(4) }, () =>
          random() < 0.5
            ? batchOf({ offsetCount: 1 + whole(2 ** 31 - 2), maxTimestampMs: whole(2 ** 50) - 2 ** 49 })
            : idempotent(whole(2 ** 53 - 2), whole(32_768), whole(2 ** 31), 1 + whole(500))
        )
        const verdict = VERDICT_BY_ID[1 + whole(VERDICT_BY_ID.length - 1)] as "duplicate"
        const excluded = batches.flatMap((_, index) =>
          random() < 0.3 ? [{ index, verdict, baseOffset: whole(1e9) - 1, appendTimeMs: whole(1e12) - 1 }] : []
        )
        const shape = { byteOffset: whole(2 ** 32), byteLength: whole(2 ** 32), crc: whole(2 ** 32) }
        return {
          ...runOf(batches, { ...shape, topicId: idOf("topic", whole(3)) }),
          baseOffset: whole(2 ** 52),
          excluded
        }
      })
      const effects = [segmentOf(runs)]
      assert.deepEqual(decodeEntry(encodeEntry(effects)), effects, `round ${round}`)
    }
  })
})
