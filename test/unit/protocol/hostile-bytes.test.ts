/**
 * Goal: no bytes make the decoder do anything but answer or throw ProtocolError, and a length that lies costs no
 * memory. Method: in goldens of every API and version each position is overwritten with what a length or count could
 * lie (as one byte, int16, int32, varint: huge, negative, off by one; only every seventh position in versions between
 * the telling ones); seeded noise; and counts that promise far more than there is.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { decodeRequest } from "#core/protocol/frame.ts"
import { decodeBody, encodeBody } from "#core/protocol/message-codec.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { kafkaApis } from "#core/protocol/registry.ts"
import { type Api, type Message } from "#core/protocol/schema.ts"
import { readGoldens } from "./golden-messages.ts"
import { seededRandom } from "./random-message.ts"

const SEED = 90_210
const goldens = readGoldens()

// Very many errors: their stacks would take most of the time.
const { stackTraceLimit } = Error
beforeAll(() => void (Error.stackTraceLimit = 0))
afterAll(() => void (Error.stackTraceLimit = stackTraceLimit))

/** "decoded", or the reason of the ProtocolError; anything else that is thrown fails the test. */
const outcomeOf = (message: Message, version: number, bytes: Buffer): string => {
  try {
    decodeBody(message, version, bytes)
    return "decoded"
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason
    throw error
  }
}

const VARINTS = ["ffffffff07", "ffffffff0f", "ffffffffff", "ffffffffffffffff01", "8000", "808080808000"].map((hex) =>
  Buffer.from(hex, "hex")
)
const INT16S = [0x7fff, -0x8000, -1, -2]
const INT32S = [0x7fffffff, -0x80000000, -1, -2, limits.arrayElementsMax, limits.arrayElementsMax + 1]

const liesAt = (body: Buffer, at: number): ReadonlyArray<Buffer> => {
  const lies: Array<Buffer> = []
  const overwrite = (bytes: number, write: (copy: Buffer) => void): void => {
    if (at + bytes > body.length) return
    const copy = Buffer.from(body)
    write(copy)
    lies.push(copy)
  }
  for (const value of [0, 1, 0x7f, 0x80, 0xff, (body[at]! + 1) & 0xff, (body[at]! - 1) & 0xff]) {
    overwrite(1, (copy) => copy.writeUInt8(value, at))
  }
  for (const value of INT16S) overwrite(2, (copy) => copy.writeInt16BE(value, at))
  for (const value of INT32S) overwrite(4, (copy) => copy.writeInt32BE(value, at))
  for (const varint of VARINTS) lies.push(Buffer.concat([body.subarray(0, at), varint, body.subarray(at + 1)]))
  return lies
}

/** First and last version, and those on both sides of the change to compact lengths. */
const isTelling = (api: Api, version: number): boolean =>
  [api.versionMin, api.versionLatest, api.request.flexible!.min - 1, api.request.flexible!.min].includes(version)

describe("lengths and counts that lie", () => {
  for (const api of kafkaApis) {
    it(`${api.name}: in every version`, () => {
      const outcomes = new Map<string, number>()
      for (const { message, version, body } of goldens.filter(
        (golden) => golden.api === api && golden.mode === "full"
      )) {
        const step = isTelling(api, version) ? 1 : 7
        for (let at = 0; at < body.length; at += step) {
          for (const lie of liesAt(body, at)) {
            const outcome = outcomeOf(message, version, lie)
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          }
        }
      }
      // Both ways of refusing occur, or the lies did not reach the lengths.
      assert.isAbove(outcomes.get("truncated") ?? 0, 0)
      assert.isAbove(outcomes.get("malformed") ?? 0, 0)
      assert.isAbove(outcomes.get("decoded") ?? 0, 0)
    })
  }

  it("an array of 2^31 - 1 elements in 40 bytes is refused before anything is allocated", () => {
    const frame = Buffer.alloc(40)
    frame.writeInt32BE(0x7fffffff, 0)
    const before = process.memoryUsage().heapUsed
    assert.equal(outcomeOf(Metadata.request, 1, frame), "truncated")
    assert.isBelow(process.memoryUsage().heapUsed - before, 1024 * 1024)
  })

  it("more elements than limits.arrayElementsMax are refused although their bytes are there", () => {
    const count = limits.arrayElementsMax + 1
    const frame = Buffer.alloc(4 + 2 * count + 4)
    frame.writeInt32BE(count, 0)
    assert.equal(outcomeOf(Metadata.request, 1, frame), "malformed")
    frame.writeInt32BE(limits.arrayElementsMax, 0)
    assert.equal(outcomeOf(Metadata.request, 1, frame.subarray(0, 4 + 2 * (count - 1))), "decoded")
  })

  it("elements of all arrays together are bounded by limits.messageElementsMax", () => {
    // Each assignment holds many broker ids of four bytes; together they exceed the bound, none does alone.
    const each = limits.arrayElementsMax
    const assignments = Math.ceil(limits.messageElementsMax / each) + 1
    const ids = Buffer.alloc(4 + 4 + 4 * each)
    ids.writeInt32BE(each, 4)
    const head = encodeBody(CreateTopics.request, 2, {
      topics: [{ name: "t", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }]
    }).chunks[0]!
    // Ends with: assignments count, configs count, timeout, validateOnly.
    const start = head.length - (4 + 4 + 4 + 1)
    const count = Buffer.alloc(4)
    count.writeInt32BE(assignments)
    const repeated = Array.from({ length: assignments }, () => ids)
    const frame = Buffer.concat([head.subarray(0, start), count, ...repeated, head.subarray(start + 4)])
    assert.equal(outcomeOf(CreateTopics.request, 2, frame), "malformed")
  })
})

describe("noise", () => {
  it(`never gets past ProtocolError (seed ${SEED})`, () => {
    const random = seededRandom(SEED)
    for (const api of kafkaApis) {
      for (let version = api.versionMin; version <= api.versionLatest; version++) {
        for (const message of [api.request, api.response]) {
          for (let round = 0; round < 50; round++) {
            const bytes = Buffer.from(
              Array.from({ length: random() * 64 }, () => random() * (round % 2 === 0 ? 256 : 4))
            )
            outcomeOf(message as Message, version, bytes)
          }
        }
      }
    }
  })

  it(`in whole frames never gets past ProtocolError (seed ${SEED})`, () => {
    const random = seededRandom(SEED)
    let refused = 0
    for (let round = 0; round < 20_000; round++) {
      const frame = Buffer.from(Array.from({ length: random() * 48 }, () => random() * 256))
      if (frame.length >= 4) {
        const api = kafkaApis[Math.floor(random() * kafkaApis.length)]!
        frame.writeInt16BE(api.key, 0)
        frame.writeInt16BE(Math.floor(random() * (api.versionMax + 2)), 2)
      }
      try {
        decodeRequest(frame)
      } catch (error) {
        assert.instanceOf(error, ProtocolError)
        refused++
      }
    }
    assert.isAbove(refused, 0)
  })
})
