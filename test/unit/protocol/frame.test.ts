/**
 * Goal: headers follow Kafka's rules, and errors say enough to act on. Method: hand-made frames. (That our frames are
 * the same as Kafka's is golden.test.ts.)
 */
import { assert, describe, it } from "vitest"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import {
  decodeCorrelationId,
  decodeRequest,
  decodeRequestBody,
  decodeRequestHeader,
  decodeResponse,
  encodeRequest,
  encodeResponse
} from "#core/protocol/frame.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed, registryOf } from "#core/protocol/registry.ts"
import { api, int32 } from "#core/protocol/schema.ts"

const header = (apiKey: number, apiVersion: number, rest = "ffff"): Buffer => {
  const frame = Buffer.alloc(8)
  frame.writeInt16BE(apiKey, 0)
  frame.writeInt16BE(apiVersion, 2)
  frame.writeInt32BE(-5, 4)
  return Buffer.concat([frame, Buffer.from(rest, "hex")])
}

const failure = (run: () => unknown): ProtocolError => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, ProtocolError)
    return error
  }
  return assert.fail("nothing was thrown")
}

describe("request headers", () => {
  it("an unknown key is refused by number", () => {
    const error = failure(() => decodeRequestHeader(header(4711, 0)))
    assert.equal(error.reason, "unknown-api")
    assert.include(error.message, "4711")
  })

  it("a version that is not served is refused with the range that is", () => {
    for (const version of [-1, 0, 2, 14]) {
      const error = failure(() => decodeRequestHeader(header(0, version)))
      assert.equal(error.reason, "unsupported-version")
      assert.include(error.message, "3 to 13")
    }
  })

  it("an unstable version is not served, though its codec is there", () => {
    assert.equal(failure(() => decodeRequestHeader(header(22, 6))).reason, "unsupported-version")
    assert.isFalse(isServed(InitProducerId, 6))
    assert.isTrue(isServed(InitProducerId, 5))
  })

  it("an ApiVersions request of an unknown version has a header, but no body", () => {
    for (const version of [5, 32_767, -1]) {
      const frame = header(18, version, "0002686900ffff")
      const decoded = decodeRequestHeader(frame)
      assert.deepInclude(decoded, { apiKey: 18, apiVersion: version, correlationId: -5, clientId: "hi" })
      assert.isFalse(isServed(ApiVersions, version))
      assert.equal(failure(() => decodeRequest(frame)).reason, "unsupported-version")
      assert.equal(failure(() => decodeRequestBody(ApiVersions, decoded, frame)).reason, "unsupported-version")
    }
  })

  it("the client id has an int16 length in flexible versions too, and tags follow it", () => {
    const decoded = decodeRequestHeader(header(22, 2, "00026869" + "01" + "0003010203" + "00"))
    assert.equal(decoded.clientId, "hi")
    assert.equal(decoded.bodyOffset, 8 + 4 + 6)
    assert.equal(decodeRequestHeader(header(22, 1, "00026869")).bodyOffset, 8 + 4)
  })

  it.each([
    ["", "truncated", "clientId"],
    ["00", "truncated", "clientId"],
    ["000568", "truncated", "clientId"],
    ["fffe", "malformed", "clientId"],
    ["ffff", "truncated", "<tags>"],
    ["ffff80", "truncated", "<tags>"],
    ["ffffffffffffffff", "malformed", "<tags>"],
    ["ffff0100", "truncated", "<tags>"],
    ["ffff010005", "truncated", "<tags>"]
  ])("what follows the correlation id as %o is %s at %s", (rest, reason, field) => {
    const error = failure(() => decodeRequestHeader(header(22, 2, rest)))
    assert.equal(error.reason, reason)
    assert.equal(error.field, field)
  })

  it("fewer than eight bytes are refused", () => {
    for (let length = 0; length < 8; length++) {
      assert.equal(failure(() => decodeRequestHeader(header(18, 0).subarray(0, length))).reason, "truncated")
    }
  })

  it("a registry of its own serves other APIs", () => {
    const Ping = api({
      key: 30_000,
      name: "Ping",
      versions: "0",
      flexible: "0+",
      request: { n: int32() },
      response: {}
    })
    const encoded = encodeRequest({ api: Ping, version: 0, correlationId: 1, clientId: null, body: { n: 9 } })
    const frame = encoded.chunks[0]!.subarray(4)
    assert.equal(decodeRequest(frame, registryOf([Ping])).body.n, 9)
    assert.equal(failure(() => decodeRequest(frame)).reason, "unknown-api")
  })

  it("a client id beyond 32767 bytes cannot be encoded", () => {
    const body = { clientSoftwareName: "a", clientSoftwareVersion: "b" }
    const request = { api: ApiVersions, version: 3, correlationId: 1, clientId: "x".repeat(32_768), body }
    assert.equal(failure(() => encodeRequest(request)).field, "clientId")
  })
})

describe("answers", () => {
  const body = { errorCode: 0, producerId: 3, producerEpoch: 4 }
  const initProducerId = (version: number): Buffer =>
    Buffer.concat(encodeResponse({ api: InitProducerId, version, correlationId: 0x01020304, body }).chunks)

  it("have tags in their header only in flexible versions", () => {
    const [plain, flexible] = [initProducerId(1), initProducerId(2)]
    assert.equal(plain.subarray(0, 8).toString("hex"), "0000001401020304")
    assert.equal(flexible.subarray(0, 9).toString("hex"), "000000160102030400")
  })

  it("of ApiVersions never have tags in their header", () => {
    const encoded = encodeResponse({
      api: ApiVersions,
      version: 3,
      correlationId: 1,
      body: { errorCode: 0, apiKeys: [] }
    })
    assert.equal(
      Buffer.concat(encoded.chunks).toString("hex"),
      "0000000c" + "00000001" + "0000" + "01" + "00000000" + "00"
    )
  })

  it("of ApiVersions to an unknown version are version 0, and read as such by whoever asked for a newer one", () => {
    const apiKeys = [{ apiKey: 18, minVersion: 0, maxVersion: 2 }]
    const { chunks } = encodeResponse({
      api: ApiVersions,
      version: 0,
      correlationId: 6,
      body: { errorCode: errorCodes.UNSUPPORTED_VERSION, apiKeys }
    })
    const frame = chunks[0]!.subarray(4)
    for (const version of [0, 3, 4]) {
      const answer = decodeResponse({ api: ApiVersions, version, frame })
      assert.deepStrictEqual(answer.body.apiKeys, apiKeys)
      assert.equal(answer.body.errorCode, errorCodes.UNSUPPORTED_VERSION)
    }
  })

  it("that are cut are refused, the correlation id too", () => {
    const frame = initProducerId(2).subarray(4)
    assert.equal(decodeCorrelationId(frame), 0x01020304)
    for (let length = 0; length < frame.length; length++) {
      const cut = frame.subarray(0, length)
      failure(() => decodeResponse({ api: InitProducerId, version: 2, frame: cut }))
      if (length < 4) assert.equal(failure(() => decodeCorrelationId(cut)).reason, "truncated")
    }
  })

  it("errors name API, version, field and offset in the frame", () => {
    // Its one topic has a name of nine bytes, of which five are there.
    const body = "00" + "ffff" + "00000001" + "02" + "0a" + "6161616161"
    const frame = header(Produce.key, 9, "ffff00" + body)
    const error = failure(() => decodeRequest(frame))
    assert.equal(error.reason, "truncated")
    assert.equal(error.api, "ProduceRequest")
    assert.equal(error.version, 9)
    assert.equal(error.field, "topicData[].name")
    assert.equal(error.offset, frame.length - 5)
    assert.equal(
      error.message,
      "ProduceRequest v9: truncated at topicData[].name (byte 20): 9 bytes are promised, 5 bytes are left"
    )
  })
})
