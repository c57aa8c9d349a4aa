/**
 * Goal: our codecs and Kafka's agree to the byte, both ways, for every API, version and direction. Method: goldens
 * captured from Kafka's Java classes (test/goldens/protocol): decoding gives their values, encoding their bytes, with
 * headers. Then each golden is cut at every byte: each cut is refused, and only with ProtocolError.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse } from "#core/protocol/frame.ts"
import { decodeBody, encodeBody } from "#core/protocol/message-codec.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed, kafkaApis, kafkaRegistry } from "#core/protocol/registry.ts"
import { type Api } from "#core/protocol/schema.ts"
import { readGoldens } from "./golden-messages.ts"
import { decodedForm } from "./random-message.ts"

const goldens = readGoldens()
const MODES = ["default", "null", "extreme", "random", "more", "full"]

// Very many errors: their stacks would take most of the time.
const { stackTraceLimit } = Error
beforeAll(() => void (Error.stackTraceLimit = 0))
afterAll(() => void (Error.stackTraceLimit = stackTraceLimit))

describe("goldens of Kafka's Java classes", () => {
  it("cover every API, version and direction", () => {
    const titles = new Set(goldens.map((golden) => golden.title))
    for (const api of kafkaApis) {
      for (let version = api.versionMin; version <= api.versionLatest; version++) {
        for (const direction of ["request", "response"]) {
          for (const mode of MODES) assert.isTrue(titles.has(`${api.name} v${version} ${direction} "${mode}"`))
        }
      }
    }
    const versions = kafkaApis.reduce((sum, api) => sum + api.versionLatest - api.versionMin + 1, 0)
    assert.equal(goldens.length, versions * 2 * MODES.length)
  })

  for (const api of kafkaApis as ReadonlyArray<Api>) {
    const own = goldens.filter((golden) => golden.api === api)

    it(`${api.name}: bodies decode to the captured values`, () => {
      for (const { message, version, body, value, title } of own) {
        assert.deepStrictEqual(decodeBody(message, version, body), decodedForm(message.fields, version, value), title)
      }
    })

    it(`${api.name}: values encode to the captured bytes`, () => {
      for (const { message, version, body, value, title } of own) {
        const encoded = encodeBody(message, version, value)
        assert.equal(Buffer.concat(encoded.chunks).toString("hex"), body.toString("hex"), title)
        assert.equal(encoded.byteLength, body.length, title)
      }
    })

    it(`${api.name}: frames have the captured headers`, () => {
      for (const golden of own) {
        const { version, correlationId, clientId, header, body, title } = golden
        const value = golden.value as never
        const expected = Buffer.concat([header, body])
        const encoded =
          golden.direction === "request"
            ? encodeRequest({ api, version, correlationId, clientId, body: value })
            : encodeResponse({ api, version, correlationId, body: value })
        const bytes = Buffer.concat(encoded.chunks)
        assert.equal(bytes.readInt32BE(0), expected.length, title)
        assert.equal(encoded.byteLength, bytes.length, title)
        assert.equal(bytes.subarray(4).toString("hex"), expected.toString("hex"), title)
        if (golden.direction === "response") {
          const answer = decodeResponse({ api, version, frame: expected })
          assert.equal(answer.correlationId, correlationId, title)
          assert.deepStrictEqual(answer.body, decodeBody(api.response, version, body) as never, title)
        } else if (isServed(api, version)) {
          const request = decodeRequest<Api>(expected, kafkaRegistry)
          assert.deepInclude(request, { apiKey: api.key, apiVersion: version, correlationId, clientId, api }, title)
          assert.equal(request.bodyOffset, header.length, title)
          assert.deepStrictEqual(request.body, decodeBody(api.request, version, body) as never, title)
        }
      }
    })

    it(`${api.name}: every cut of a body is refused, and only with ProtocolError`, () => {
      for (const { message, version, body, title } of own) {
        for (let length = 0; length < body.length; length++) {
          const error = caught(() => decodeBody(message, version, body.subarray(0, length)))
          assert.instanceOf(error, ProtocolError, `${title} cut to ${length} of ${body.length} bytes`)
          assert.include(["truncated", "malformed"], (error as ProtocolError).reason, title)
        }
      }
    })

    it(`${api.name}: every cut of a request's frame is refused`, () => {
      for (const { version, header, body, title } of own.filter(({ direction }) => direction === "request")) {
        if (!isServed(api, version)) continue
        const frame = Buffer.concat([header, body])
        for (let length = 0; length < frame.length; length++) {
          const error = caught(() => decodeRequest(frame.subarray(0, length)))
          assert.instanceOf(error, ProtocolError, `${title} cut to ${length} of ${frame.length} bytes`)
        }
      }
    })

    it(`${api.name}: bytes after the message are refused`, () => {
      for (const { message, version, body } of own) {
        const error = caught(() => decodeBody(message, version, Buffer.concat([body, Buffer.alloc(1)])))
        assert.instanceOf(error, ProtocolError)
        assert.equal((error as ProtocolError).reason, "trailing-bytes")
        assert.equal((error as ProtocolError).offset, body.length)
      }
    })
  }
})

const caught = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}
