/**
 * Goal: the judge of the system tests sees every way in which records can come back wrong.
 * Method: a right reading of a few records, then one fault at a time; and frames cut and bent at every byte.
 */
import { assert, describe, it } from "vitest"
import {
  type ConsumedRecord,
  type InputRecord,
  decodeFrames,
  difference,
  encodeFrames
} from "../../peers/record-frames.ts"

const record = (key: string, value: string): InputRecord => ({ key: Buffer.from(key), value: Buffer.from(value) })
const sent = [record("a", "1"), record("b", "2"), record("a", "3"), record("c", "4\n\n5"), record("b", "")]
const place = { a: 0, b: 1, c: 0 } as const

function rightReading(): ConsumedRecord[] {
  const next = [0, 0]
  return sent.map(({ key, value }) => {
    const partition = place[key.toString() as keyof typeof place]
    const offset = next[partition] ?? 0
    next[partition] = offset + 1
    return { key, value, partition, offset }
  })
}

function withFault(change: (records: ConsumedRecord[]) => void): string | undefined {
  const records = rightReading()
  change(records)
  return difference(sent, records)
}

describe("difference", () => {
  it("accepts the right reading, also when partitions come interleaved in another way", () => {
    assert.isUndefined(difference(sent, rightReading()))
    assert.isUndefined(
      difference(
        sent,
        rightReading().toSorted((x, y) => y.partition - x.partition)
      )
    )
  })

  it("sees a lost and a doubled record", () => {
    assert.match(withFault((records) => records.pop()) ?? "", /5 records were sent and 4 were read/)
    assert.match(withFault((records) => records.push({ ...records[0]!, offset: 3 })) ?? "", /5 .* 6 were read/)
  })

  it("sees one record doubled in the place of another", () => {
    assert.isDefined(withFault((records) => (records[2] = { ...records[0]!, offset: 1 })))
  })

  it("sees two records of a partition swapped", () => {
    const fault = withFault((records) => {
      records[0] = { ...records[0]!, value: Buffer.from("3") }
      records[2] = { ...records[2]!, value: Buffer.from("1") }
    })
    assert.match(fault ?? "", /another value at offset 0 of partition 0/)
  })

  it("sees a key in two partitions", () => {
    assert.match(withFault((records) => (records[2] = { ...records[2]!, partition: 1 })) ?? "", /key a is in partition/)
  })

  it("sees a hole in the offsets", () => {
    assert.match(withFault((records) => (records[2] = { ...records[2]!, offset: 2 })) ?? "", /offset 2 where 1 was due/)
  })

  it("sees one changed byte of a key and of a value", () => {
    assert.isDefined(withFault((records) => (records[3] = { ...records[3]!, key: Buffer.from("C") })))
    assert.match(withFault((records) => (records[3] = { ...records[3]!, value: Buffer.from("4\n\n6") })) ?? "", /value/)
  })
})

describe("frames", () => {
  const header = (r: ConsumedRecord): string => `${r.partition} ${r.offset} ${r.key.length} ${r.value.length}\n`
  const bytes = Buffer.concat(
    rightReading().flatMap((r) => [Buffer.from(header(r)), r.key, r.value, Buffer.from("\n")])
  )

  it("come back as they were, line feeds and empty values too", () => {
    assert.deepEqual(decodeFrames(bytes), rightReading())
  })

  it("reads a length of -1 as empty", () => {
    assert.deepEqual(decodeFrames(Buffer.from("3 7 -1 2\nab\n")), [
      { partition: 3, offset: 7, key: Buffer.alloc(0), value: Buffer.from("ab") }
    ])
  })

  it("are refused, or shorter, when cut at any byte", () => {
    for (let end = 1; end < bytes.length; end++) {
      let read: number
      try {
        read = decodeFrames(bytes.subarray(0, end)).length
      } catch (error) {
        assert.instanceOf(error, Error)
        continue
      }
      assert.isBelow(read, sent.length, `cut at ${end}`)
    }
  })

  it("are refused when a length lies", () => {
    assert.throws(() => decodeFrames(Buffer.from("0 0 1 1\nkvv\n")), /does not end where its lengths say/)
    assert.throws(() => decodeFrames(Buffer.from("0 0 1\nkv\n")), /has 3 fields/)
    assert.throws(() => decodeFrames(Buffer.from("x".repeat(200))), /no header of a record at byte 0/)
  })

  it("are written with lengths before bytes", () => {
    assert.equal(encodeFrames([record("k", "a\nb")]).toString(), "1 3\nka\nb\n")
  })
})
