/**
 * Fuzzing of an agent by frames: connections that each send a stream of good and mutated requests, many at a time.
 *
 * One episode is one agent. It ends with an agent that holds nothing (budgets, connections) and serves a good client.
 * Nothing waits for a time: a connection that is not decided within a bounded number of turns of the event loop hangs.
 */
import { Effect, Layer } from "effect"
import { assert } from "#core/model/assert.ts"
import { type AcceptedTransport, Network } from "#core/ports/network.ts"
import { type Expectation, expectationOf, framesDecided, isDecided, problemOf } from "./connection-script.ts"
import { FUZZ_TOPICS, goldenFrames, liveFrames } from "./corpus.ts"
import { type FuzzAgent, startFuzzAgent } from "./fuzz-agent.ts"
import { FuzzPeer } from "./fuzz-peer.ts"
import { FuzzRandom } from "./fuzz-random.ts"
import { mutate } from "./mutation.ts"

/** What one thread is given. */
export interface FrameFuzzWork {
  readonly seeds: ReadonlyArray<number>
  readonly framesPerEpisode: number
}

export interface EpisodeResult {
  readonly frames: number
  readonly connections: number
  readonly answers: number
  /** Largest memory seen, of JavaScript objects and buffers. */
  readonly memoryBytes: number
}

const FRAME_BYTES_MAX = 262_144
const CONNECTIONS_AT_ONCE = 48
const FRAMES_PER_CONNECTION_MAX = 24
/** A turn without any news of any connection is a turn of waiting; a connection needs far fewer. */
const IDLE_TURNS_MAX = 20_000
/** Fetches wait at most so long: nothing that a connection may do takes longer than one pass of timers. */
const FETCH_WAIT_MS = 2

interface Script {
  readonly peer: FuzzPeer
  readonly stream: Buffer
  readonly expected: Expectation
  readonly hangsUpEarly: boolean
}

export const runEpisode = (options: { readonly seed: number; readonly frames: number }): Promise<EpisodeResult> => {
  const random = new FuzzRandom(options.seed)
  let accept: ((transport: AcceptedTransport) => void) | undefined
  const network = Layer.succeed(
    Network,
    Network.of({
      listen: ({ onConnection }) =>
        Effect.sync(() => {
          accept = onConnection
          return 9092
        })
    })
  )
  const episode = Effect.gen(function* () {
    const agent = yield* startFuzzAgent({ random, network, topics: FUZZ_TOPICS })
    return yield* Effect.promise(() => new FrameFuzzer(agent, accept!, random, options.seed).run(options.frames))
  })
  return Effect.runPromise(Effect.scoped(episode))
}

class FrameFuzzer {
  readonly #agent: FuzzAgent
  readonly #accept: (transport: AcceptedTransport) => void
  readonly #random: FuzzRandom
  readonly #seed: number
  readonly #frequent: ReadonlyArray<Buffer>
  readonly #rare: ReadonlyArray<Buffer>
  #frames = 0
  #connections = 0
  #answers = 0
  #memoryBytes = 0

  constructor(agent: FuzzAgent, accept: (transport: AcceptedTransport) => void, random: FuzzRandom, seed: number) {
    this.#agent = agent
    this.#accept = accept
    this.#random = random
    this.#seed = seed
    const { frequent, rare } = liveFrames(agent)
    this.#frequent = frequent
    this.#rare = rare
  }

  async run(frames: number): Promise<EpisodeResult> {
    await this.#serveGoodClient()
    while (this.#frames < frames) {
      await this.#round(Array.from({ length: CONNECTIONS_AT_ONCE }, () => this.#script()))
      this.#sampleMemory()
    }
    await this.#serveGoodClient()
    return {
      frames: this.#frames,
      connections: this.#connections,
      answers: this.#answers,
      memoryBytes: this.#memoryBytes
    }
  }

  /** Every request of the corpus that changes no topic, unmutated, on one connection: all are answered. */
  async #serveGoodClient(): Promise<void> {
    const frames = this.#frequent.map((frame, index) => numbered(Buffer.from(frame), index))
    const stream = Buffer.concat(frames.map(framed))
    const peer = new FuzzPeer(`good:${this.#connections++}`)
    const expected = expectationOf(stream, FRAME_BYTES_MAX)
    assert(!expected.mustClose && expected.answers > frames.length / 2, "the corpus is well-formed")
    await this.#round([{ peer, stream, expected, hangsUpEarly: false }])
  }

  #script(): Script {
    const random = this.#random
    const count = 1 + random.below(random.oneIn(3) ? FRAMES_PER_CONNECTION_MAX : 4)
    const parts: Array<Buffer> = []
    for (let index = 0; index < count; index++) parts.push(this.#frame(index))
    // A lie about the length, or bytes that are no frame at all.
    if (random.oneIn(40)) parts[random.below(parts.length)]!.writeInt32BE(random.pick(LENGTH_LIES), 0)
    if (random.oneIn(60)) parts.push(random.bytes(random.below(64)))
    // Answered last, so that what was silent before it was gone through.
    parts.push(framed(numbered(Buffer.from(APIVERSIONS), count)))
    const stream = Buffer.concat(parts)
    const peer = new FuzzPeer(`fuzz:${this.#connections++}`)
    peer.isStalled = random.oneIn(30)
    const hangsUpEarly = random.oneIn(12)
    const sent = hangsUpEarly ? stream.subarray(0, random.below(stream.length + 1)) : stream
    return { peer, stream: sent, expected: expectationOf(sent, FRAME_BYTES_MAX), hangsUpEarly }
  }

  /** With its length prefix. */
  #frame(index: number): Buffer {
    const random = this.#random
    const choice = random.below(100)
    const from = choice < 40 ? goldenFrames : choice < 97 ? this.#frequent : this.#rare
    const frame = random.pick(from)
    const isMutated = !random.oneIn(3)
    const changed = numbered(isMutated ? Buffer.from(mutate(frame, random, this.#other)) : Buffer.from(frame), index)
    return framed(withShortWait(changed))
  }

  readonly #other = (): Buffer => this.#random.pick(this.#random.oneIn(2) ? goldenFrames : this.#frequent)

  async #round(scripts: ReadonlyArray<Script>): Promise<void> {
    for (const { peer, stream } of scripts) {
      this.#accept(peer)
      peer.send(this.#pieces(stream))
    }
    await this.#untilDecided(scripts)
    for (const { peer } of scripts) peer.hangUp()
    await this.#untilIdle(scripts)
    for (const script of scripts) this.#judge(script)
    if (this.#agent.closings.size > 0)
      this.#fail(`log events of unknown peers: ${[...this.#agent.closings.keys()].join(", ")}`, scripts)
  }

  #pieces(stream: Buffer): ReadonlyArray<Buffer> {
    const random = this.#random
    if (random.oneIn(2)) return [stream]
    const bytesMax = random.pick([1, 7, 64, 512])
    const pieces: Array<Buffer> = []
    for (let at = 0; at < stream.length;) {
      const bytes = bytesMax === 1 && stream.length > 500 ? 97 : 1 + random.below(bytesMax)
      pieces.push(stream.subarray(at, at + bytes))
      at += bytes
    }
    return pieces
  }

  async #untilDecided(scripts: ReadonlyArray<Script>): Promise<void> {
    let open = scripts.filter(({ peer }) => peer.endedBy === undefined)
    let idleTurns = 0
    for (let turn = 0; open.length > 0; turn++) {
      await nextTurn()
      const still = open.filter(({ peer, expected, hangsUpEarly }) => {
        if (turn > 2) peer.drain()
        const isOver = isDecided(peer, expected) || (hangsUpEarly && turn > 3)
        if (isOver) peer.hangUp()
        return !isOver
      })
      idleTurns = still.length < open.length ? 0 : idleTurns + 1
      if (idleTurns > IDLE_TURNS_MAX) this.#fail(`${still.length} connections hang`, still)
      open = still
    }
  }

  /** What was interrupted gives its memory back; log events are written. */
  async #untilIdle(scripts: ReadonlyArray<Script>): Promise<void> {
    const agent = this.#agent
    const closed = scripts.filter(({ peer }) => peer.endedBy === "agent")
    for (let turn = 0; ; turn++) {
      const isIdle =
        agent.requestBytesHeld() === 0 &&
        agent.fetchBytesHeld() === 0 &&
        agent.connectionCount() === 0 &&
        closed.every(({ peer }) => agent.closings.has(peer.peer))
      if (isIdle && turn >= 2) return
      if (turn > IDLE_TURNS_MAX) {
        const held = `requests ${agent.requestBytesHeld()} B, fetches ${agent.fetchBytesHeld()} B`
        this.#fail(`the agent still holds: ${held}, ${agent.connectionCount()} connections`, scripts)
      }
      await nextTurn()
    }
  }

  #judge(script: Script): void {
    const { closings, events, counters } = this.#agent
    const { peer, expected } = script
    const reasons = closings.get(peer.peer) ?? []
    closings.delete(peer.peer)
    const problem = problemOf(peer, expected, reasons)
    if (problem !== undefined) this.#fail(problem, [script])
    if (counters.requestsDefective > 0) this.#fail(`a defect: ${events.join("\n")}`, [script])
    if (events.length > 0) this.#fail(`unexpected log events:\n${events.join("\n")}`, [script])
    this.#frames += framesDecided(peer, expected)
    this.#answers += peer.answers.length
  }

  #sampleMemory(): void {
    const { heapUsed, external } = process.memoryUsage()
    this.#memoryBytes = Math.max(this.#memoryBytes, heapUsed + external)
  }

  #fail(problem: string, scripts: ReadonlyArray<Script>): never {
    const streams = scripts.slice(0, 3).map(({ stream, peer }) => `${peer.peer} sent ${stream.toString("hex")}`)
    throw new Error(`seed ${this.#seed}, after ${this.#frames} frames: ${problem}\n${streams.join("\n")}`)
  }
}

const LENGTH_LIES = [0, -1, 1, 7, 8, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 0x7fffffff, -0x80000000, 1_000]
const APIVERSIONS = Buffer.from("0012000000000000ffff", "hex")

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Distinct correlation ids show answers out of order. */
const numbered = (frame: Buffer, correlationId: number): Buffer => {
  if (frame.length >= 8) frame.writeInt32BE(correlationId, 4)
  return frame
}

const framed = (frame: Buffer): Buffer => {
  const bytes = Buffer.allocUnsafe(4 + frame.length)
  bytes.writeInt32BE(frame.length)
  frame.copy(bytes, 4)
  return bytes
}

/** Long polls are no hangs: the wait of whatever may be a Fetch is cut. */
const withShortWait = (frame: Buffer): Buffer => {
  if (frame.length < 10 || frame.readInt16BE(0) !== 1) return frame
  const version = frame.readInt16BE(2)
  const tags = version >= 12 ? 1 : 0
  const at = 10 + Math.max(0, frame.readInt16BE(8)) + tags + (version < 15 ? 4 : 0)
  if (at + 4 <= frame.length && frame.readInt32BE(at) > FETCH_WAIT_MS) frame.writeInt32BE(FETCH_WAIT_MS, at)
  return frame
}
