/**
 * Goal: the benchmarks' wide-area network delays by what it says, in both directions and in order, so that latencies over it
 * mean something.
 * Method: connections with Vitest's fake timers, the store on virtual time.
 */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { make as makeMemory } from "#backends/metadata/memory.ts"
import { type LogRow, MetadataError } from "#core/ports/metadata-store.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { DelayLine, delayedStore, delayedTransport } from "../../bench/wan.ts"
import { MemoryPair } from "../peer/memory-network.ts"

const IGNORE = (): void => {}

describe("a delay line", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }))
  afterEach(() => void vi.useRealTimers())

  it("delivers each value after its delay, in order", () => {
    const delivered: Array<readonly [number, number]> = []
    const startedAtMs = performance.now()
    const line = new DelayLine<number>(40, (value) => delivered.push([value, performance.now() - startedAtMs]))
    line.push(1)
    vi.advanceTimersByTime(10)
    line.push(2)
    line.push(3)
    vi.advanceTimersByTime(29)
    assert.deepEqual(delivered, [])
    vi.advanceTimersByTime(100)
    assert.deepEqual(delivered, [
      [1, 40],
      [2, 50],
      [3, 50]
    ])
  })

  it("delivers what is pushed while it delivers later, and nothing after it was cleared", () => {
    const delivered: Array<number> = []
    const line = new DelayLine<number>(40, (value) => {
      delivered.push(value)
      if (value < 3) line.push(value + 1)
    })
    line.push(1)
    vi.advanceTimersByTime(40)
    assert.deepEqual(delivered, [1])
    vi.advanceTimersByTime(40)
    assert.deepEqual(delivered, [1, 2])
    line.clear()
    vi.advanceTimersByTime(1_000)
    assert.deepEqual(delivered, [1, 2])
  })
})

describe("a delayed connection", () => {
  const opened = () => {
    const pair = new MemoryPair("memory:0")
    const client = delayedTransport(pair.client, 40)
    const events: Array<string> = []
    const room = Buffer.alloc(100)
    pair.server.readInto({
      room: () => room,
      received: (bytes) => events.push(`server got ${room.toString("latin1", 0, bytes)}`)
    })
    client.onData((chunk) => events.push(`client got ${chunk.toString("latin1")}`))
    client.onClose(() => events.push("client closed"))
    return { pair, client, events }
  }
  /** Bytes arrive in a later turn than they were written. */
  const pass = async (ms: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(ms))

  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }))
  afterEach(() => void vi.useRealTimers())

  it("takes half a round trip in each direction", async () => {
    const { pair, client, events } = opened()
    client.write([Buffer.from("there")], IGNORE)
    pair.server.write([Buffer.from("back")], IGNORE)
    await pass(39)
    assert.deepEqual(events, [])
    await pass(5)
    assert.sameMembers(events, ["server got there", "client got back"])
  })

  it("is closed for the client after the last bytes of the server have come", async () => {
    const { pair, events } = opened()
    pair.server.write([Buffer.from("last")], IGNORE)
    await pass(10)
    pair.end()
    await pass(30)
    assert.deepEqual(events, ["client got last"])
    await pass(10)
    assert.deepEqual(events, ["client got last", "client closed"])
  })

  it("is over at once for a client that ends it, and nothing comes any more", async () => {
    const { pair, client, events } = opened()
    pair.server.write([Buffer.from("last")], IGNORE)
    client.write([Buffer.from("never")], IGNORE)
    await pass(10)
    client.destroy()
    await pass(100)
    assert.deepEqual(events, ["client closed"])
  })

  it("tells a client to wait that has too much under way, and when it may go on", async () => {
    const { client } = opened()
    let drains = 0
    client.onDrain(() => (drains += 1))
    const chunk = Buffer.alloc(9 * 1024 * 1024)
    assert.equal(client.write([chunk], IGNORE), "more")
    assert.equal(client.write([chunk], IGNORE), "full")
    assert.equal(drains, 0)
    await pass(41)
    assert.equal(drains, 1)
  })
})

describe("a delayed store", () => {
  const row: LogRow = {
    shard: 0,
    seq: 1,
    epoch: 0,
    nonce: "01".repeat(16),
    prevNonce: UUID_ZERO,
    isKept: true,
    entry: Buffer.from("entry")
  }

  it.effect("answers a write after round trip and quorum; it is seen after the way there and quorum", () =>
    Effect.gen(function* () {
      const inner = yield* makeMemory
      const far = delayedStore(inner, { oneWayMs: 40, quorumMs: 65 })
      const append = yield* Effect.forkChild(far.append(row), { startImmediately: true })
      yield* TestClock.adjust(104)
      assert.equal((yield* inner.tail(0)).seq, 0)
      yield* TestClock.adjust(1)
      assert.equal((yield* inner.tail(0)).seq, 1)
      yield* TestClock.adjust(39)
      assert.isUndefined(append.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.equal(yield* Fiber.join(append), "appended")
    })
  )

  it.effect("answers a read after a round trip, with what was there half way", () =>
    Effect.gen(function* () {
      const inner = yield* makeMemory
      const far = delayedStore(inner, { oneWayMs: 40, quorumMs: 65 })
      const tail = yield* Effect.forkChild(far.tail(0), { startImmediately: true })
      const agents = yield* Effect.forkChild(far.agents, { startImmediately: true })
      yield* TestClock.adjust(41)
      yield* inner.append(row)
      yield* TestClock.adjust(38)
      assert.isUndefined(tail.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.equal((yield* Fiber.join(tail)).seq, 0)
      assert.deepEqual(yield* Fiber.join(agents), [])
    })
  )

  it.effect("tells of a failure after a round trip", () =>
    Effect.gen(function* () {
      const inner = yield* makeMemory
      const error = new MetadataError({ reason: "Unavailable", outcome: "definite", operation: "tail", cause: "away" })
      const far = delayedStore({ ...inner, tail: () => Effect.fail(error) }, { oneWayMs: 40, quorumMs: 65 })
      const tail = yield* Effect.forkChild(Effect.flip(far.tail(0)), { startImmediately: true })
      yield* TestClock.adjust(79)
      assert.isUndefined(tail.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.equal(yield* Fiber.join(tail), error)
    })
  )
})
