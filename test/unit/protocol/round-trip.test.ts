/**
 * Goal: what is encoded comes back; what a version cannot carry is refused by name; unknown tags do not matter.
 * Method: seeded random messages made from the tables, and hand-made cases for each rule of encoding.
 */
import { assert, describe, it } from "vitest"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { FindCoordinator } from "#core/protocol/api/10-find-coordinator.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { decodeRequest, encodeRequest } from "#core/protocol/frame.ts"
import { decodeBody, encodeBody } from "#core/protocol/message-codec.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { kafkaApis } from "#core/protocol/registry.ts"
import {
  type Api,
  api,
  array,
  bool,
  bytes,
  float64,
  int16,
  int32,
  int64,
  int8,
  isIn,
  type Message,
  type RequestInput,
  type ResponseInput,
  type ResponseOf,
  records,
  string,
  struct,
  uint16,
  uint32,
  uuid
} from "#core/protocol/schema.ts"
import { decodedForm, messagesOf, randomMessage, seededRandom } from "./random-message.ts"

const SEED = 741_852
const ROUNDS = 60

/** Every kind, nullable and not, tagged and not: also what no API of today has. */
const Everything = api({
  key: 999,
  name: "Everything",
  versions: "0-3",
  flexible: "2+",
  request: {
    flag: bool(),
    tiny: int8(),
    small: int16(),
    smallUnsigned: uint16(),
    medium: int32(),
    mediumUnsigned: uint32(),
    large: int64(),
    real: float64(),
    id: uuid(),
    text: string(),
    textOrNull: string("1+", { nullable: "1+", default: null }),
    blob: bytes(),
    blobOrNull: bytes({ nullable: true }),
    batches: records({ nullable: true }),
    numbers: array({ nullable: "1+" }, int64()),
    texts: array(string()),
    ids: array(uuid()),
    inner: struct({
      left: int32(),
      right: array("1+", { flag: bool(), deep: string("2+"), deeper: struct("3+", { end: int8() }) })
    }),
    maybe: struct("1+", { nullable: true, default: null }, { value: int64(), name: string() }),
    taggedBlob: bytes("2+", { tag: 7 }),
    taggedStruct: struct("2+", { tag: 0 }, { left: int32(), name: string(), more: string({ tag: 1 }) }),
    taggedMaybe: struct("2+", { tag: 300, nullable: true, default: null }, { value: int64() }),
    taggedTexts: array("3+", { tag: 3, nullable: "3+" }, string()),
    taggedBatches: records("2+", { tag: 11, nullable: true, default: null }),
    taggedReal: float64("2+", { tag: 9, default: 1.5 }),
    last: bool("0-1", { ignorable: true })
  },
  response: {}
})

const encode = <M extends Message>(message: M, version: number, value: object): Buffer =>
  Buffer.concat(encodeBody(message as Message, version, value as never).chunks)

const failure = (run: () => unknown): ProtocolError => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, ProtocolError)
    return error
  }
  return assert.fail("nothing was thrown")
}

describe("random messages", () => {
  for (const table of [Everything, ...kafkaApis] as ReadonlyArray<Api>) {
    it(`${table.name}: every version comes back as it was (seed ${SEED})`, () => {
      const random = seededRandom(SEED + table.key)
      for (let version = table.versionMin; version <= table.versionLatest; version++) {
        for (const [direction, message] of messagesOf(table)) {
          for (let round = 0; round < ROUNDS; round++) {
            const value = randomMessage(message.fields, version, random)
            const decoded = decodeBody(message, version, encode(message, version, value))
            assert.deepStrictEqual(
              decoded,
              decodedForm(message.fields, version, value) as never,
              `v${version} ${direction} round ${round}`
            )
            // What was decoded can be encoded again, to the same bytes.
            const kept = Object.fromEntries(
              Object.entries(decoded).filter(([name]) => isIn(message.fields[name]!.versions, version))
            )
            assert.deepStrictEqual(encode(message, version, kept), encode(message, version, value))
          }
        }
      }
    })
  }

  it("keys of decoded objects stand in the same order in every version", () => {
    const random = seededRandom(SEED)
    for (const table of kafkaApis as ReadonlyArray<Api>) {
      for (let version = table.versionMin; version <= table.versionLatest; version++) {
        for (const [, message] of messagesOf(table)) {
          const bytes = encode(message, version, randomMessage(message.fields, version, random))
          assert.deepStrictEqual(Object.keys(decodeBody(message, version, bytes)), Object.keys(message.fields))
        }
      }
    }
  })
})

describe("types of messages", () => {
  it("say which fields must be given and which may be null, as the encoder does", () => {
    const partition = { index: 0, errorCode: 0, baseOffset: 1 }
    const whole: ResponseInput<typeof Produce> = { responses: [{ name: "t", partitionResponses: [partition] }] }
    const decoded: ResponseOf<typeof Produce> = decodeBody(Produce.response, 8, encode(Produce.response, 8, whole))
    const text: string | null = decoded.responses[0]!.partitionResponses[0]!.errorMessage
    assert.isNull(text)
    // @ts-expect-error an error message may be null
    const never: string = decoded.responses[0]!.partitionResponses[0]!.errorMessage
    assert.isNull(never)
    // What was decoded may be encoded again.
    const again: ResponseInput<typeof Produce> = decoded
    assert.deepStrictEqual(encode(Produce.response, 8, again), encode(Produce.response, 8, whole))
    // @ts-expect-error baseOffset has no default
    const lacking: ResponseInput<typeof Produce> = { responses: [{ partitionResponses: [{ index: 0, errorCode: 0 }] }] }
    assert.equal(failure(() => encode(Produce.response, 8, lacking)).reason, "unencodable")
    // @ts-expect-error a name that is not null before Metadata v10 is still a string or null, never a number
    const wrong: RequestInput<typeof Metadata> = { topics: [{ name: 5 }] }
    assert.equal(failure(() => encode(Metadata.request, 12, wrong)).field, "topics[].name")
  })

  it("tell requests apart by their key", () => {
    const body = { key: "group" }
    const { chunks } = encodeRequest({ api: FindCoordinator, version: 2, correlationId: 1, clientId: null, body })
    const request = decodeRequest(chunks[0]!.subarray(4))
    assert.equal(request.apiKey === 10 ? request.body.key : undefined, "group")
    // @ts-expect-error key is a field of FindCoordinator alone
    assert.equal(request.body.key, "group")
  })
})

describe("what cannot be encoded", () => {
  const partition = { index: 0, records: null }
  const produce = { acks: 1, timeoutMs: 1, topicData: [{ name: "t", partitionData: [partition] }] }

  it.each([
    ["a number out of range", { ...produce, acks: 40_000 }, "acks"],
    ["a fraction", { ...produce, timeoutMs: 1.5 }, "timeoutMs"],
    ["NaN", { ...produce, timeoutMs: Number.NaN }, "timeoutMs"],
    ["a number as text", { ...produce, timeoutMs: "1" }, "timeoutMs"],
    ["a required field that is left out", { timeoutMs: 1, topicData: [] }, "acks"],
    ["null where it must not be", { ...produce, topicData: null }, "topicData"],
    ["an array that is none", { ...produce, topicData: {} }, "topicData"],
    ["a string that is none", { ...produce, transactionalId: 5 }, "transactionalId"],
    ["a string of 32768 bytes", { ...produce, transactionalId: "x".repeat(32_768) }, "transactionalId"],
    [
      "records that are no Buffer",
      { ...produce, topicData: [{ name: "t", partitionData: [{ index: 0, records: "x" }] }] },
      "topicData[].partitionData[].records"
    ],
    [
      "a field within arrays",
      { ...produce, topicData: [{ name: "t", partitionData: [{ index: 2 ** 31, records: null }] }] },
      "topicData[].partitionData[].index"
    ]
  ])("%s is refused with the field's name", (_, value, field) => {
    for (const version of [3, 9]) {
      const error = failure(() => encode(Produce.request, version, value))
      assert.deepInclude(Object.assign({}, error), { reason: "unencodable", api: "ProduceRequest", version, field })
    }
  })

  it("a uuid that is not 32 hex digits is refused", () => {
    for (const topicId of ["", "0".repeat(31), "0".repeat(33), "g".repeat(32), "é".repeat(32), 5]) {
      const value = { maxWaitMs: 0, minBytes: 0, topics: [{ topicId, partitions: [] }] }
      assert.equal(failure(() => encode(Fetch.request, 13, value)).field, "topics[].topicId")
    }
  })

  it("a fraction or NaN as int64 is refused", () => {
    for (const producerId of [0.5, Number.NaN, "7", null]) {
      const value = { errorCode: 0, producerEpoch: 0, producerId }
      assert.equal(failure(() => encode(InitProducerId.response, 0, value)).field, "producerId")
    }
  })

  it("a value in a field that the version lacks is refused where it is not ignorable", () => {
    const value = { topics: [], replicaId: -1, timeoutMs: 3 }
    assert.equal(failure(() => encode(ListOffsets.request, 1, { ...value, isolationLevel: 1 })).field, "isolationLevel")
    assert.doesNotThrow(() => encode(ListOffsets.request, 1, { ...value, isolationLevel: 0 }))
    const coordinators = { coordinatorKeys: ["a"] }
    assert.equal(
      failure(() => encode(FindCoordinator.request, 3, { key: "g", ...coordinators })).field,
      "coordinatorKeys"
    )
    assert.equal(failure(() => encode(FindCoordinator.request, 4, { key: "g", ...coordinators })).field, "key")
  })

  it("a value in a tagged struct that the version lacks is refused, its defaults are not", () => {
    const answer = (currentLeader: object) => ({
      responses: [{ name: "t", partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 0, currentLeader }] }]
    })
    assert.doesNotThrow(() => encode(Produce.response, 9, answer({ leaderId: -1, leaderEpoch: -1 })))
    const error = failure(() => encode(Produce.response, 9, answer({ leaderId: 4, leaderEpoch: -1 })))
    assert.equal(error.field, "responses[].partitionResponses[].currentLeader")
  })

  it("a value in an ignorable field that the version lacks is dropped", () => {
    const value = { topics: [], replicaId: -1, timeoutMs: 3 }
    assert.equal(decodeBody(ListOffsets.request, 1, encode(ListOffsets.request, 1, value)).timeoutMs, 0)
  })

  it("null topics are refused in Metadata v0 and mean all topics from v1 on", () => {
    assert.equal(failure(() => encode(Metadata.request, 0, { topics: null })).field, "topics")
    assert.isNull(decodeBody(Metadata.request, 1, encode(Metadata.request, 1, { topics: null })).topics)
  })

  it("a version that the table lacks is refused both ways", () => {
    for (const version of [-1, 2, 14]) {
      assert.equal(failure(() => encode(Produce.request, version, produce)).reason, "unsupported-version")
      assert.equal(failure(() => decodeBody(Produce.request, version, Buffer.alloc(0))).reason, "unsupported-version")
    }
  })

  it("a refused message leaves nothing behind for the next one", () => {
    const good = encode(Produce.request, 9, produce)
    const records = Buffer.from("left over")
    const bad = {
      ...produce,
      topicData: [
        {
          name: "t",
          partitionData: [
            { index: 0, records },
            { index: "x", records }
          ]
        }
      ]
    }
    assert.equal(failure(() => encode(Produce.request, 9, bad)).reason, "unencodable")
    assert.deepStrictEqual(encode(Produce.request, 9, produce), good)
  })
})

describe("numbers", () => {
  const throughInt64 = (producerId: number): number => {
    const bytes = encode(InitProducerId.response, 0, { errorCode: 0, producerEpoch: 0, producerId })
    return decodeBody(InitProducerId.response, 0, bytes).producerId
  }

  it("int64 is exact up to 2^53 and clamped to 64 bits", () => {
    for (const value of [0, -1, 1, 2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53 - 1, 1 - 2 ** 53, 2 ** 62]) {
      assert.equal(throughInt64(value), value)
    }
    assert.equal(throughInt64(1e30), 2 ** 63)
    assert.equal(throughInt64(-1e30), -(2 ** 63))
    assert.equal(throughInt64(Infinity), 2 ** 63)
  })

  it("the largest int64 is written as just that", () => {
    const bytes = encode(InitProducerId.response, 0, { errorCode: 0, producerEpoch: 0, producerId: 2 ** 63 })
    assert.equal(bytes.readBigInt64BE(6), 2n ** 63n - 1n)
  })
})

describe("records", () => {
  const value = (records: Buffer | ReadonlyArray<Buffer> | null) => ({
    acks: 1,
    timeoutMs: 1,
    topicData: [{ name: "t", partitionData: [{ index: 0, records }] }]
  })
  const [one, two] = [Buffer.from("first batch"), Buffer.from("second batch")]

  it.each([3, 9])("are the caller's own buffers in the chunks (v%i)", (version) => {
    const { chunks, byteLength } = encodeBody(Produce.request, version, value([one, Buffer.alloc(0), two]))
    assert.include(chunks, one)
    assert.include(chunks, two)
    assert.equal(chunks.length, version < 9 ? 3 : 4)
    assert.equal(byteLength, Buffer.concat(chunks).length)
  })

  it.each([3, 9])("of several buffers are the same as of their concatenation (v%i)", (version) => {
    const apart = encode(Produce.request, version, value([one, two]))
    assert.deepStrictEqual(apart, encode(Produce.request, version, value(Buffer.concat([one, two]))))
  })

  it("null and empty ones stay apart, and a message without any is one chunk", () => {
    for (const records of [null, Buffer.alloc(0), []]) {
      const { chunks } = encodeBody(Produce.request, 9, value(records))
      assert.equal(chunks.length, 1)
      const decoded = decodeBody(Produce.request, 9, chunks[0]!).topicData[0]!.partitionData[0]!.records
      assert.deepStrictEqual(decoded, records === null ? null : Buffer.alloc(0))
    }
  })

  it("are decoded as views of the frame", () => {
    const frame = encode(Produce.request, 9, value(one))
    const decoded = decodeBody(Produce.request, 9, frame).topicData[0]!.partitionData[0]!.records!
    assert.equal(decoded.buffer, frame.buffer)
    frame.fill(0x21)
    assert.equal(decoded.toString(), "!".repeat(one.length))
  })
})

describe("unknown tagged fields", () => {
  const value = { errorCode: 0, producerId: 7, producerEpoch: 1 }

  it("are skipped where the table knows none", () => {
    const bytes = encode(InitProducerId.response, 2, value)
    assert.equal(bytes.at(-1), 0)
    const tagged = Buffer.concat([bytes.subarray(0, -1), Buffer.from([2, 0, 3, 1, 2, 3, 0xac, 0x02, 0])])
    assert.equal(decodeBody(InitProducerId.response, 2, tagged).producerId, 7)
  })

  it("are skipped between those that the table knows", () => {
    const message = {
      throttleTimeMs: 0,
      errorCode: 0,
      responses: [],
      nodeEndpoints: [{ nodeId: 1, host: "h", port: 2 }]
    }
    const bytes = encode(Fetch.response, 16, message)
    const start = bytes.length - 1 - (1 + 1 + 1 + (4 + 2 + 4 + 1 + 1))
    assert.deepStrictEqual([...bytes.subarray(start, start + 3)], [1, 0, 13])
    const known = bytes.subarray(start + 1)
    const tagged = Buffer.concat([bytes.subarray(0, start), Buffer.from([2]), known, Buffer.from([99, 2, 5, 5])])
    assert.deepStrictEqual(decodeBody(Fetch.response, 16, tagged), decodeBody(Fetch.response, 16, bytes))
  })

  it("that are cut are refused", () => {
    const bytes = encode(InitProducerId.response, 2, value)
    for (const tail of [[1], [1, 0], [1, 0, 3, 1, 2], [0xff, 0xff, 0xff, 0xff, 0x07], [0x80], [1, 0, 0x80]]) {
      const error = failure(() =>
        decodeBody(InitProducerId.response, 2, Buffer.concat([bytes.subarray(0, -1), Buffer.from(tail)]))
      )
      assert.equal(error.reason, "truncated", String(tail))
    }
  })

  it("a known one that is shorter than its size says is refused", () => {
    const bytes = encode(Fetch.request, 15, { maxWaitMs: 0, minBytes: 0, topics: [], replicaState: { replicaId: 3 } })
    const at = bytes.indexOf(Buffer.from([1, 1, 13]))
    assert.isAbove(at, 0)
    const longer = Buffer.concat([
      bytes.subarray(0, at + 2),
      Buffer.from([14]),
      bytes.subarray(at + 3),
      Buffer.from([0])
    ])
    const error = failure(() => decodeBody(Fetch.request, 15, longer))
    assert.deepInclude(Object.assign({}, error), { reason: "malformed", field: "replicaState" })
  })
})
