/**
 * Goal: the bytes between agents stay what they are, for agents of neighbouring versions meet; whatever comes back in is
 * what went out, or is refused. Method: bytes written down here, round trips of random messages, and each message cut and
 * bent at every byte.
 */
import { assert, describe, it } from "vitest"
import { PeerHello } from "#core/peer/api/10000-peer-hello.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { PeerEntries } from "#core/peer/api/10002-peer-entries.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { advertisedPeerVersions, peerApis } from "#core/peer/peer-apis.ts"
import { refusalOf } from "#core/peer/peer-identity.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { encodeRequest, encodeResponse } from "#core/protocol/frame.ts"
import { decodeBody, encodeBody } from "#core/protocol/message-codec.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { kafkaApis } from "#core/protocol/registry.ts"
import { type Api, type Message } from "#core/protocol/schema.ts"
import { decodedForm, messagesOf, randomMessage, seededRandom } from "../protocol/random-message.ts"
import { CLIENT, CLUSTER } from "./peer-world.ts"

const SEED = 1_311
const ROUNDS = 60
const PRIVATE: ReadonlyArray<Api> = [PeerHello, PeerSubmit, PeerEntries, PeerPing]

const encode = (message: Message, value: object): Buffer => Buffer.concat(encodeBody(message, 0, value as never).chunks)

describe("private APIs", () => {
  it("have keys that Kafka has not, and are advertised in every version", () => {
    assert.deepStrictEqual(
      PRIVATE.map(({ key }) => key),
      [10_000, 10_001, 10_002, 10_003]
    )
    assert.isEmpty(kafkaApis.filter(({ key }) => key >= 10_000))
    assert.deepStrictEqual(
      advertisedPeerVersions,
      peerApis.map(({ key, versionMin, versionMax }) => ({
        apiKey: key,
        minVersion: versionMin,
        maxVersion: versionMax
      }))
    )
    assert.include(peerApis as ReadonlyArray<Api>, ApiVersions)
  })

  for (const api of PRIVATE) {
    for (const [direction, message] of messagesOf(api)) {
      it(`${api.name}: a random ${direction} comes back as it was, and is refused where it is cut (seed ${SEED})`, () => {
        const random = seededRandom(SEED + api.key)
        for (let round = 0; round < ROUNDS; round++) {
          const value = randomMessage(message.fields, 0, random)
          const bytes = encode(message, value)
          assert.deepStrictEqual(decodeBody(message, 0, bytes), decodedForm(message.fields, 0, value) as never)
          for (let end = 0; end < bytes.length; end++) {
            assert.throws(() => decodeBody(message, 0, bytes.subarray(0, end)), ProtocolError)
          }
          for (let at = 0; at < bytes.length; at++) {
            const bent = Buffer.from(bytes)
            bent[at] = bent[at]! ^ (1 << Math.floor(random() * 8))
            try {
              decodeBody(message, 0, bent)
            } catch (error) {
              assert.instanceOf(error, ProtocolError)
            }
          }
        }
      })
    }
  }
})

describe("bytes of version 0", () => {
  const request = <A extends Api>(api: A, body: object): string =>
    Buffer.concat(encodeRequest({ api, version: 0, correlationId: 7, clientId: "a", body: body as never }).chunks)
      .subarray(4)
      .toString("hex")
  const response = <A extends Api>(api: A, body: object): string =>
    Buffer.concat(encodeResponse({ api, version: 0, correlationId: 7, body: body as never }).chunks)
      .subarray(4)
      .toString("hex")
  const session = "11111111111111111111111111111111"
  const identity = { name: "n", session, nodeId: 2, region: "r", zone: "z" }

  it("of PeerHello", () => {
    const hello = { clusterId: "c", ...identity, secret: null }
    assert.strictEqual(
      request(PeerHello, hello),
      `271000000000000700016100${"0263"}${"026e"}${session}00000002${"0272"}${"027a"}${"00"}00`
    )
    assert.strictEqual(
      response(PeerHello, { errorCode: 104, errorMessage: "no", ...identity }),
      `0000000700${"0068"}${"036e6f"}${"026e"}${session}00000002${"0272"}${"027a"}00`
    )
  })

  it("of PeerSubmit", () => {
    assert.strictEqual(
      request(PeerSubmit, { shard: 1, epoch: 2, command: Buffer.from("ff", "hex") }),
      `271100000000000700016100${"00000001"}${"0000000000000002"}${"02ff"}00`
    )
    assert.strictEqual(
      response(PeerSubmit, { errorCode: 0, errorMessage: null, seq: 9, answer: Buffer.from("ee", "hex") }),
      `0000000700${"0000"}${"00"}${"0000000000000009"}${"02ee"}00`
    )
  })

  it("of PeerEntries", () => {
    const [nonce, prevNonce] = ["aa".repeat(16), "bb".repeat(16)]
    const rows = [{ seq: 4, epoch: 2, nonce, prevNonce, isKept: true, entry: Buffer.from("dd", "hex") }]
    assert.strictEqual(
      request(PeerEntries, { shard: 1, epoch: 2, tailSeq: 5, relayTo: [6], rows }),
      `271200000000000700016100${"00000001"}${"0000000000000002"}${"0000000000000005"}${"0200000006"}` +
        `02${"0000000000000004"}${"0000000000000002"}${nonce}${prevNonce}${"01"}${"02dd"}00${"00"}`
    )
    assert.strictEqual(
      response(PeerEntries, { errorCode: 0, foldedSeq: 4 }),
      `0000000700${"0000"}${"0000000000000004"}00`
    )
  })

  it("of PeerPing", () => {
    assert.strictEqual(request(PeerPing, { shard: 1 }), `271300000000000700016100${"00000001"}00`)
    assert.strictEqual(
      response(PeerPing, { epoch: 2, tailSeq: 3, isActing: true }),
      `0000000700${"0000000000000002"}${"0000000000000003"}${"01"}00`
    )
  })
})

describe("a hello", () => {
  const hello = { clusterId: CLUSTER, ...CLIENT, secret: null }

  it("is judged by cluster, name and node id, and its text is cut before it is repeated", () => {
    assert.isUndefined(refusalOf(hello, CLUSTER))
    const foreign = refusalOf({ ...hello, clusterId: "x".repeat(30_000) }, CLUSTER)!
    assert.isBelow(foreign.errorMessage.length, 400)
    for (const bad of [{ name: "" }, { name: "n".repeat(256) }, { nodeId: -1 }]) {
      assert.isDefined(refusalOf({ ...hello, ...bad }, CLUSTER), JSON.stringify(bad))
    }
  })
})
