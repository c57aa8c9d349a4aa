/**
 * Goal: hostile connections over real TCP do no harm: each ends (by the agent, or when its client lets go) and leaves
 * nothing behind, and a good client is served all the while. Method: a whole agent over memory stores on a loopback
 * port; thousands of connections of every kind that a port on the Internet meets, some hundreds at a time; a good
 * client that produces and fetches without a pause. No client waits for a time: it ends when the agent has answered
 * or hung up, and what the agent would wait for (half a request) is let go after everything else is over. The seed is
 * printed (MERIDIAN_FUZZ_SEED); MERIDIAN_FUZZ_SOCKETS sets how many connections.
 */
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { KafkaClient } from "../integration/kafka-client.ts"
import { FUZZ_TOPICS, goldenFrames } from "./corpus.ts"
import { type FuzzAgent, startFuzzAgent } from "./fuzz-agent.ts"
import { FuzzRandom, fuzzSeed } from "./fuzz-random.ts"
import { mutate } from "./mutation.ts"

const CONNECTIONS = Number(process.env["MERIDIAN_FUZZ_SOCKETS"] ?? 4_000)
const CONNECTIONS_AT_ONCE = 200
const CROWD = 1_000
const FRAME_BYTES_MAX = 262_144
const TIMEOUT_MS = 60_000 + (CONNECTIONS / 4_000) * 60_000

/** What a client sends, in pieces, and what must come of it. */
interface Attack {
  readonly pieces: ReadonlyArray<Buffer>
  /** "agent": it must hang up, with one log event. "either": it may answer as well, and the client goes then. */
  readonly endsBy: "agent" | "client" | "either" | "reset"
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const framed = (frame: Buffer): Buffer => Buffer.concat([int32(frame.length), frame])
const text = (value: string): Buffer => Buffer.from(value, "latin1")
const APIVERSIONS = framed(Buffer.from("001200000000002affff", "hex"))
const TLS_HELLO = Buffer.from(
  "160301007a0100007603035f" +
    "a5".repeat(31) +
    "000008c02bc02fc02cc0300100004500000000000e000c0000096c6f63616c686f7374",
  "hex"
)

const ATTACKS: ReadonlyArray<(random: FuzzRandom) => Attack> = [
  // Foreign protocols: their first four bytes are a length beyond the largest.
  () => ({ pieces: [TLS_HELLO], endsBy: "agent" }),
  () => ({ pieces: [text("GET / HTTP/1.1\r\nHost: kafka\r\n\r\n")], endsBy: "agent" }),
  () => ({ pieces: [text("SSH-2.0-OpenSSH_9.9\r\n")], endsBy: "agent" }),
  () => ({
    pieces: [text("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00")],
    endsBy: "agent"
  }),
  // Lengths that cannot be.
  (random) => ({
    pieces: [int32(random.pick([0, -1, 1, 7, FRAME_BYTES_MAX + 1, 0x7fffffff, -0x80000000]))],
    endsBy: "agent"
  }),
  // Lengths that can be, and nothing behind them.
  (random) => ({ pieces: [int32(random.pick([8, 100, 4_000])), random.bytes(random.below(8))], endsBy: "client" }),
  // Half a request after a whole one, byte by byte.
  (random) => ({
    pieces: bytewise(Buffer.concat([APIVERSIONS, APIVERSIONS.subarray(0, random.below(APIVERSIONS.length))])),
    endsBy: "client"
  }),
  // A request that no API knows, and one that its API cannot decode.
  (random) => ({
    pieces: [framed(Buffer.concat([Buffer.from("7fff0000", "hex"), random.bytes(20)]))],
    endsBy: "agent"
  }),
  () => ({ pieces: [framed(Buffer.from("00030009000000010000ff", "hex"))], endsBy: "agent" }),
  // The same, with the beginning of a large request behind it.
  (random) => ({
    pieces: [Buffer.concat([framed(Buffer.from("7fff0000000000000000", "hex")), int32(4_000 + random.below(4_000))])],
    endsBy: "agent"
  }),
  // Nothing at all; and a reset in the middle.
  () => ({ pieces: [], endsBy: "client" }),
  (random) => ({ pieces: [APIVERSIONS, random.bytes(random.below(100))], endsBy: "reset" }),
  (random) => ({ pieces: [framed(random.bytes(random.below(2_000)))], endsBy: "either" }),
  (random) => {
    const other = () => random.pick(goldenFrames)
    const frame = mutate(other(), random, other)
    // A Fetch may wait for as long as it says.
    if (frame.length >= 2 && frame.readInt16BE(0) === 1) return { pieces: [framed(frame)], endsBy: "reset" }
    return { pieces: [framed(frame), APIVERSIONS], endsBy: "either" }
  }
]

const bytewise = (bytes: Buffer): ReadonlyArray<Buffer> => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))

interface Outcome {
  readonly attack: Attack
  readonly peer: string
  readonly endedBy: "agent" | "client"
}

/** Plays the attack; resolves once the connection is gone. When `isOver`, the client need not stay any longer. */
const play = (port: number, attack: Attack, isOver: Promise<void>): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    let endedBy: Outcome["endedBy"] = "agent"
    let peer = ""
    const leave = (): void => {
      if (socket.destroyed) return
      endedBy = "client"
      if (attack.endsBy === "reset") socket.resetAndDestroy()
      else socket.destroy()
    }
    socket.once("connect", () => {
      peer = `127.0.0.1:${socket.localPort}`
      for (const piece of attack.pieces) socket.write(piece)
      if (attack.endsBy === "reset") leave()
    })
    socket.on("data", () => {
      if (attack.endsBy === "either") leave()
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") reject(error)
    })
    // The agent ends by FIN or, where bytes were not read, by a reset.
    socket.once("end", () => socket.destroy())
    socket.once("close", () => resolve({ attack, peer, endedBy }))
    if (attack.endsBy === "client" || attack.endsBy === "either") void isOver.then(leave)
  })

/** Attacks that end by themselves; then those are let go that wait on the agent's patience. */
const playAll = async (port: number, attacks: ReadonlyArray<Attack>): Promise<ReadonlyArray<Outcome>> => {
  let letGo = (): void => {}
  const isOver = new Promise<void>((resolve) => (letGo = resolve))
  const plays = attacks.map((attack) => play(port, attack, isOver))
  await Promise.all(plays.filter((_, index) => ["agent", "reset"].includes(attacks[index]!.endsBy)))
  // What may be answered has been by the time a request that came later is.
  const client = await KafkaClient.connect(port)
  await client.request(ApiVersions, 0, {})
  client.close()
  letGo()
  return Promise.all(plays)
}

/** Produces and fetches until it is told to stop; answers how often. Any failure ends the test. */
const goodClient = async (port: number, mayStop: () => boolean): Promise<number> => {
  const client = await KafkaClient.connect(port)
  const records = buildBatch({ records: [{ key: null, value: Buffer.from("good") }], timestampMs: Date.now() })
  let served = 0
  for (; served === 0 || !mayStop(); served++) {
    const produced = await client.request(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [{ name: "plain", partitionData: [{ index: 0, records }] }]
    })
    const { errorCode, baseOffset } = produced.responses[0]!.partitionResponses[0]!
    assert.strictEqual(errorCode, errorCodes.NONE)
    const partitions = [{ partition: 0, fetchOffset: baseOffset, partitionMaxBytes: 1_000 }]
    const fetched = await client.request(Fetch, 12, {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1_000,
      topics: [{ topic: "plain", partitions }]
    })
    assert.isAbove(fetched.responses[0]!.partitions[0]!.records!.length, 0)
  }
  client.close()
  return served
}

/** Turns of the event loop, bounded, until the agent has seen every connection go. */
const untilIdle = async (agent: FuzzAgent, connections: number): Promise<void> => {
  for (let turn = 0; turn < 50_000; turn++) {
    if (agent.connectionCount() <= connections && agent.fetchBytesHeld() === 0) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.fail(`${agent.connectionCount()} connections and ${agent.fetchBytesHeld()} B of fetches are still held`)
}

const judge = (agent: FuzzAgent, outcomes: ReadonlyArray<Outcome>): void => {
  for (const { attack, peer, endedBy } of outcomes) {
    const reasons = agent.closings.get(peer) ?? []
    const shown = `${Buffer.concat(attack.pieces).toString("hex")}: ${reasons.join("; ")}`
    if (attack.endsBy === "agent") assert.strictEqual(endedBy, "agent", shown)
    if (endedBy === "agent") assert.strictEqual(reasons.length, 1, `closed by the agent with one log event: ${shown}`)
    else assert.isAtMost(reasons.length, 1, shown)
  }
  // Ports come again.
  agent.closings.clear()
  assert.deepStrictEqual(agent.events, [], "nothing else is worth a log event")
}

const withAgent = (body: (agent: FuzzAgent, random: FuzzRandom) => Promise<void>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const seed = fuzzSeed()
      process.stdout.write(`sockets.test.ts: MERIDIAN_FUZZ_SEED=${seed} MERIDIAN_FUZZ_SOCKETS=${CONNECTIONS}\n`)
      const random = new FuzzRandom(seed)
      const agent = yield* startFuzzAgent({ random, network: tcp.layer, topics: FUZZ_TOPICS })
      yield* Effect.promise(() => body(agent, random))
      assert.strictEqual(agent.counters.requestsDefective, 0)
    })
  )

describe("hostile connections", () => {
  it.live(
    "end one by one while a good client is served",
    () =>
      withAgent(async (agent, random) => {
        let isDone = false
        const served = goodClient(agent.port, () => isDone)
        for (let done = 0; done < CONNECTIONS; done += CONNECTIONS_AT_ONCE) {
          const attacks = Array.from({ length: CONNECTIONS_AT_ONCE }, () => random.pick(ATTACKS)(random))
          const outcomes = await playAll(agent.port, attacks)
          await untilIdle(agent, 1)
          judge(agent, outcomes)
        }
        isDone = true
        assert.isAtLeast(await served, CONNECTIONS / CONNECTIONS_AT_ONCE, "it was served in every round")
        await untilIdle(agent, 0)
        assert.strictEqual(agent.requestBytesHeld(), 0, "no request's memory is kept")
      }),
    TIMEOUT_MS
  )

  it.live(
    "that come as a crowd, ask for nothing and go do not keep a good client waiting",
    () =>
      withAgent(async (agent) => {
        const crowd = Array.from({ length: CROWD }, (): Attack => ({ pieces: [], endsBy: "client" }))
        let isDone = false
        const served = goodClient(agent.port, () => isDone)
        const outcomes = await playAll(agent.port, crowd)
        isDone = true
        assert.isAtLeast(await served, 1)
        await untilIdle(agent, 0)
        judge(agent, outcomes)
        assert.isAtLeast(agent.counters.connectionsAccepted, CROWD)
      }),
    TIMEOUT_MS
  )
})
