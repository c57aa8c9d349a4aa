/**
 * Goal: whatever frames come to the port for other agents, the agent answers or closes the connection with one log event;
 * it never falls, hangs, answers out of order, or keeps memory, and no handler sees a request of a stranger. Method: good
 * and mutated frames mixed, on pipelined connections cut into pieces of any size, against a real listener without a
 * network, with handlers that take their time; each connection's fate is compared with what its bytes deserve, by a second
 * reading of them.
 *
 * The seed is printed (MERIDIAN_FUZZ_SEED). MERIDIAN_FUZZ_PEER_FRAMES sets how many frames.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Logger } from "effect"
import { limits } from "#core/model/limits.ts"
import { PeerHello } from "#core/peer/api/10000-peer-hello.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { PeerEntries } from "#core/peer/api/10002-peer-entries.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { peerApis } from "#core/peer/peer-apis.ts"
import { refusalOf } from "#core/peer/peer-identity.ts"
import { listen, type PeerHandlers } from "#core/peer/peer-listener.ts"
import { type AcceptedTransport, Network } from "#core/ports/network.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { decodeCorrelationId, decodeRequestBody, decodeRequestHeader, encodeRequest } from "#core/protocol/frame.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed, registryOf } from "#core/protocol/registry.ts"
import { type Api, type RequestOf } from "#core/protocol/schema.ts"
import { type Histograms, makeCounters, Metrics, type Observation } from "#core/telemetry/metrics.ts"
import { FuzzPeer } from "./fuzz-peer.ts"
import { FuzzRandom, fuzzSeed } from "./fuzz-random.ts"
import { mutate } from "./mutation.ts"

const FRAMES = Number(process.env["MERIDIAN_FUZZ_PEER_FRAMES"] ?? 100_000)
const CONNECTIONS_AT_ONCE = 48
const FRAMES_PER_CONNECTION_MAX = 24
const IDLE_TURNS_MAX = 20_000
const TIMEOUT_MS = 60_000 + (FRAMES / 100_000) * 30_000
const CLUSTER = "fuzz"
const SELF = { name: "self", session: "5".repeat(32), nodeId: 5, region: "r", zone: "z" }
const REGISTRY = registryOf<Api>(peerApis)

const frameOf = <A extends Api>(api: A, body: object, version = 0): Buffer =>
  Buffer.concat(encodeRequest({ api, version, correlationId: 0, clientId: "x", body: body as never }).chunks).subarray(
    4
  )

const HELLO = { clusterId: CLUSTER, ...SELF, secret: null }
const ROW = { seq: 1, epoch: 1, nonce: "a".repeat(32), prevNonce: "b".repeat(32), isKept: false }
const GOOD_HELLO = frameOf(PeerHello, HELLO)
const APIVERSIONS = frameOf(ApiVersions, { clientSoftwareName: "a", clientSoftwareVersion: "1" }, 4)
const REQUESTS = [
  ...[0, 10, 3_000].map((bytes) => frameOf(PeerSubmit, { shard: 0, epoch: 1, command: Buffer.alloc(bytes, 1) })),
  ...[0, 1, 5].map((rows) =>
    frameOf(PeerEntries, {
      shard: 0,
      epoch: 1,
      tailSeq: rows,
      relayTo: [1, 2, 3].slice(0, rows),
      rows: Array.from({ length: rows }, () => ({ ...ROW, entry: Buffer.alloc(500, 2) }))
    })
  ),
  frameOf(PeerPing, { shard: 0 }),
  APIVERSIONS,
  frameOf(ApiVersions, {}, 0)
]
const HELLOS = [
  frameOf(PeerHello, { ...HELLO, clusterId: "other" }),
  frameOf(PeerHello, { ...HELLO, secret: Buffer.alloc(100) }),
  GOOD_HELLO
]
const CORPUS = [...REQUESTS, ...HELLOS]

interface Expectation {
  readonly answers: number
  /** The listener hangs up after them. */
  readonly mustClose: boolean
  /** Requests that handlers see. */
  readonly handled: number
}

/** A second reading of the bytes, apart from the listener's. */
const expectationOf = (stream: Buffer): Expectation => {
  let greeting: "awaited" | "refused" | "accepted" = "awaited"
  let answers = 0
  let handled = 0
  for (let at = 0; stream.length - at >= 4;) {
    const bytes = stream.readInt32BE(at)
    const bytesMax = greeting === "accepted" ? limits.peerFrameBytesMax : limits.peerHelloBytesMax
    if (bytes < 8 || bytes > bytesMax) return { answers, handled, mustClose: true }
    if (stream.length - at - 4 < bytes) break
    const frame = stream.subarray(at + 4, at + 4 + bytes)
    at += 4 + bytes
    const request = requestOf(frame)
    if (request === undefined) return { answers, handled, mustClose: true }
    if (request.key === PeerHello.key) {
      if (greeting !== "awaited") return { answers, handled, mustClose: true }
      const hello = request.body as RequestOf<typeof PeerHello>
      greeting = refusalOf(hello, CLUSTER) === undefined ? "accepted" : "refused"
    } else if (request.key !== ApiVersions.key) {
      if (greeting !== "accepted") return { answers, handled, mustClose: true }
      handled++
    }
    answers++
  }
  return { answers, handled, mustClose: false }
}

const requestOf = (frame: Buffer): { readonly key: number; readonly body: unknown } | undefined => {
  try {
    const header = decodeRequestHeader(frame, REGISTRY)
    const api = REGISTRY.get(header.apiKey)!
    if (api.key === ApiVersions.key && !isServed(api, header.apiVersion)) return { key: api.key, body: undefined }
    return { key: api.key, body: decodeRequestBody(api, header, frame) }
  } catch (error) {
    assert.instanceOf(error, ProtocolError)
    return undefined
  }
}

/** Handlers that answer now or some turns later, and count who is under way. */
class SlowHandlers implements PeerHandlers {
  readonly #random: FuzzRandom
  seen = 0
  running = 0

  constructor(random: FuzzRandom) {
    this.#random = random
  }

  readonly submit: PeerHandlers["submit"] = ({ command }) =>
    this.#answer({ errorCode: 0, errorMessage: null, seq: 1, answer: command })
  readonly entries: PeerHandlers["entries"] = ({ tailSeq }) => this.#answer({ errorCode: 0, foldedSeq: tailSeq })
  readonly ping: PeerHandlers["ping"] = () => this.#answer({ epoch: 1, isActing: true, tailSeq: 1 })

  #answer<A>(answer: A): Effect.Effect<A> {
    return Effect.suspend(() => {
      this.seen++
      this.running++
      const turns = this.#random.oneIn(2) ? 0 : this.#random.below(4)
      const wait = Effect.promise(async () => {
        for (let turn = 0; turn < turns; turn++) await nextTurn()
      })
      return Effect.ensuring(
        turns === 0 ? Effect.succeed(answer) : Effect.as(wait, answer),
        Effect.sync(() => this.running--)
      )
    })
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const framed = (frame: Buffer, correlationId: number): Buffer => {
  const bytes = Buffer.alloc(4 + frame.length)
  bytes.writeInt32BE(frame.length)
  frame.copy(bytes, 4)
  // Distinct ones show answers out of order.
  if (frame.length >= 8) bytes.writeInt32BE(correlationId, 8)
  return bytes
}

/** None between the bounds before and after the hello: which of them holds depends on whether the hello is answered yet. */
const LENGTH_LIES = [0, -1, 7, 8, limits.peerFrameBytesMax + 1, 0x7fffffff]

const streamOf = (random: FuzzRandom): Buffer => {
  const parts: Array<Buffer> = []
  if (random.oneIn(2)) parts.push(APIVERSIONS)
  if (!random.oneIn(6)) parts.push(GOOD_HELLO)
  const count = 1 + random.below(random.oneIn(2) ? FRAMES_PER_CONNECTION_MAX : 4)
  for (let index = 0; index < count; index++) {
    const frame = random.oneIn(20) ? random.pick(HELLOS) : random.pick(REQUESTS)
    parts.push(random.oneIn(4) ? mutate(frame, random, () => random.pick(CORPUS)) : frame)
  }
  const frames = parts.map((frame, index) => framed(frame, index))
  if (random.oneIn(30)) frames[random.below(frames.length)]!.writeInt32BE(random.pick(LENGTH_LIES), 0)
  const stream = Buffer.concat(frames)
  return random.oneIn(12) ? stream.subarray(0, random.below(stream.length + 1)) : stream
}

const piecesOf = (stream: Buffer, random: FuzzRandom): ReadonlyArray<Buffer> => {
  if (random.oneIn(2)) return [stream]
  const bytesMax = random.pick([7, 64, 512])
  const pieces: Array<Buffer> = []
  for (let at = 0; at < stream.length;) {
    const bytes = 1 + random.below(bytesMax)
    pieces.push(stream.subarray(at, at + bytes))
    at += bytes
  }
  return pieces
}

interface Connected {
  readonly peer: FuzzPeer
  readonly stream: Buffer
  readonly expected: Expectation
}

const isDecided = ({ peer, expected }: Connected): boolean =>
  expected.mustClose ? peer.endedBy === "agent" : peer.isAllSent && peer.answers.length >= expected.answers

describe("hostile frames to the port for other agents", () => {
  it.live(
    "are answered in order or close their connection with one log event, and leave nothing behind",
    () =>
      Effect.gen(function* () {
        const seed = fuzzSeed()
        process.stdout.write(`peer-frames.test.ts: MERIDIAN_FUZZ_SEED=${seed} MERIDIAN_FUZZ_PEER_FRAMES=${FRAMES}\n`)
        const random = new FuzzRandom(seed)
        // Apart: when handlers draw depends on time.
        const handlers = new SlowHandlers(new FuzzRandom(random.next()))
        const observed = new Map<string, () => Iterable<Observation>>()
        const closings = new Map<string, number>()
        let accept: (transport: AcceptedTransport) => void = () => {}
        const network = Network.of({
          listen: ({ onConnection }) =>
            Effect.sync(() => {
              accept = onConnection
              return 1
            })
        })
        yield* listen({ host: "", port: 0, self: SELF, clusterId: CLUSTER, handlers, connectionsMax: 1_000 }).pipe(
          Effect.provideService(Network, network),
          Effect.provideService(Metrics, metricsOf(observed)),
          Effect.provide(countingLogger(closings))
        )
        const valueOf = (name: string, outcome?: string): number =>
          [...observed.get(name)!()].find(({ attributes }) => attributes?.["outcome"] === outcome)!.value
        const round = async (streams: ReadonlyArray<Buffer>): Promise<ReadonlyArray<Connected>> => {
          const seenBefore = handlers.seen
          const all = streams.map((stream, index): Connected => {
            const peer = new FuzzPeer(`fuzz:${index}`)
            peer.isStalled = random.oneIn(20)
            accept(peer)
            peer.send(piecesOf(stream, random))
            return { peer, stream, expected: expectationOf(stream) }
          })
          const fail = (problem: string, { stream }: Connected): never =>
            assert.fail(`seed ${seed}: ${problem}: ${stream.toString("hex").slice(0, 4_000)}`)
          for (let turn = 0; !all.every(isDecided); turn++) {
            if (turn > IDLE_TURNS_MAX)
              fail(
                "hangs",
                all.find((each) => !isDecided(each))!
              )
            await nextTurn()
            if (turn > 2) for (const { peer } of all) peer.drain()
          }
          for (const { peer } of all) peer.hangUp()
          for (let turn = 0; valueOf("peerConnectionsOpen") > 0 || turn < 3; turn++) await nextTurn()
          for (const each of all) {
            const { peer, expected } = each
            if (peer.answers.length !== expected.answers) fail(`${peer.answers.length} answers`, each)
            for (const [index, answer] of peer.answers.entries()) {
              if (decodeCorrelationId(answer) !== index) fail(`answer ${index} is another's`, each)
            }
            if ((closings.get(peer.peer) ?? 0) !== (expected.mustClose ? 1 : 0)) fail("log events", each)
          }
          closings.clear()
          assert.strictEqual(
            handlers.seen - seenBefore,
            all.reduce((sum, { expected }) => sum + expected.handled, 0)
          )
          assert.strictEqual(valueOf("peerRequestBytesInFlight"), 0)
          assert.strictEqual(handlers.running, 0)
          return all
        }
        let [frames, answers, closed] = [0, 0, 0]
        while (frames < FRAMES) {
          const all = yield* Effect.promise(() =>
            round(Array.from({ length: CONNECTIONS_AT_ONCE }, () => streamOf(random)))
          )
          for (const { expected } of all) {
            frames += expected.answers + (expected.mustClose ? 1 : 0)
            answers += expected.answers
            closed += expected.mustClose ? 1 : 0
          }
        }
        assert.isAbove(answers, FRAMES / 2, "a good part gets behind the decoder")
        assert.isAbove(closed, FRAMES / 50, "a good part closes its connection")
        assert.strictEqual(valueOf("peerRequests", "defective"), 0)
        const good = [APIVERSIONS, GOOD_HELLO, ...REQUESTS].map((frame, index) => framed(frame, index))
        const [served] = yield* Effect.promise(() => round([Buffer.concat(good)]))
        assert.strictEqual(served!.expected.answers, good.length)
      }),
    TIMEOUT_MS
  )
})

const countingLogger = (closings: Map<string, number>): Layer.Layer<never> =>
  Logger.layer([
    Logger.make<unknown, void>(({ message }) => {
      const [event, fields] = message as readonly [string, { readonly peer: string }]
      if (event === "connection closed") closings.set(fields.peer, (closings.get(fields.peer) ?? 0) + 1)
      else assert.strictEqual(event, "a connection between agents was refused")
    })
  ])

const metricsOf = (observed: Map<string, () => Iterable<Observation>>): Metrics["Service"] =>
  Metrics.of({
    counters: makeCounters(),
    record: {} as Histograms,
    observe: (name, read) => Effect.sync(() => void observed.set(name, read))
  })
