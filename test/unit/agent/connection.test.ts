// Goal: order, overlap and bounds of one connection. Method: a transport in memory and a dispatcher whose requests end when
// the test says so. A request is 8 bytes: kind (0 overlaps), then its name.
import { Effect } from "effect"
import { assert, describe, it } from "vitest"
import { RequestBudget } from "#core/agent/request-budget.ts"
import { type Answer, Connection, type Hangup } from "#core/agent/connection.ts"
import { FramePool } from "#core/agent/frame-pool.ts"
import { framed, MemoryTransport } from "./memory-transport.ts"

const OVERLAPS = 0
const ALONE = 1
const IN_FLIGHT_MAX = 64

/** Of it small requests have a quarter, and these are all small. */
const setUp = (budgetBytes = 1_000_000) => {
  const transport = new MemoryTransport()
  const budget = new RequestBudget(budgetBytes)
  const started: Array<string> = []
  const ends: Array<string> = []
  const interrupted: Array<string> = []
  const held: Array<string> = []
  const budgets = new Map<string, () => void>()
  const finish = new Map<string, (answer: Answer | Hangup) => void>()
  let pauses = 0
  const connection = new Connection(transport, "local", {
    requestBudget: budget,
    framePool: new FramePool(),
    frameBytesMax: 1_000,
    requestsInFlightMax: IN_FLIGHT_MAX,
    run: (effect) => Effect.runFork(effect),
    onPaused: () => {
      pauses += 1
    },
    onEnd: (_, reason, manner) => ends.push(`${manner}: ${reason}`),
    dispatcher: {
      overlaps: (frame) => frame.readInt16BE(0) === OVERLAPS,
      dispatch: (frame, _, { hold, takeBudget }) =>
        Effect.callback<Answer | Hangup>((resume) => {
          const name = frame.toString("latin1", 2, 8).trim()
          if (name.startsWith("own")) budgets.set(name, takeBudget())
          started.push(name)
          hold(() => held.push(name))
          finish.set(name, (answer) => resume(Effect.succeed(answer)))
          return Effect.sync(() => interrupted.push(name))
        })
    }
  })
  const send = (kind: number, name: string, bytes = 8) => {
    const body = Buffer.alloc(bytes, " ")
    body.writeInt16BE(kind)
    body.write(name, 2, "latin1")
    transport.receive(framed(body))
  }
  const answer = async (name: string) => {
    finish.get(name)!({ chunks: [Buffer.from(name)] })
    await Effect.runPromise(Effect.yieldNow)
  }
  const written = () => transport.written.map(String).join(" ")
  const all = {
    transport,
    budget,
    budgets,
    connection,
    started,
    ends,
    interrupted,
    held,
    finish,
    send,
    answer,
    written
  }
  return { ...all, pauses: () => pauses }
}

describe("Connection", () => {
  it("answers overlapping requests in the order in which they came", async () => {
    const { send, answer, written, started, budget } = setUp()
    send(OVERLAPS, "a")
    send(OVERLAPS, "b")
    send(OVERLAPS, "c")
    assert.deepStrictEqual(started, ["a", "b", "c"])
    await answer("c")
    await answer("b")
    assert.strictEqual(written(), "")
    assert.strictEqual(budget.heldBytes, 24)
    await answer("a")
    assert.strictEqual(written(), "abc", "one write for all that can go")
    assert.strictEqual(budget.heldBytes, 0)
  })

  it("starts another kind of request only when everything before it is answered", async () => {
    const { send, answer, started, written } = setUp()
    send(OVERLAPS, "p1")
    send(ALONE, "x")
    send(OVERLAPS, "p2")
    assert.deepStrictEqual(started, ["p1"])
    await answer("p1")
    assert.deepStrictEqual(started, ["p1", "x"])
    await answer("x")
    assert.deepStrictEqual(started, ["p1", "x", "p2"])
    await answer("p2")
    assert.strictEqual(written(), "p1 x p2")
  })

  it("writes nothing for a request without answer and keeps the order of the others", async () => {
    const { send, answer, finish, written } = setUp()
    send(OVERLAPS, "a")
    send(OVERLAPS, "b")
    finish.get("a")!({ chunks: [] })
    await answer("b")
    assert.strictEqual(written(), "b")
  })

  it("pauses the socket while too many requests are held and reads on later", async () => {
    const { send, answer, transport, started, pauses } = setUp()
    const most = IN_FLIGHT_MAX
    for (let index = 0; index < most; index++) send(OVERLAPS, `r${index}`)
    assert.isFalse(transport.paused)
    send(OVERLAPS, "over")
    assert.isTrue(transport.paused)
    assert.strictEqual(started.length, most)
    await answer("r0")
    assert.isFalse(transport.paused)
    assert.strictEqual(started.at(-1), "over")
    assert.strictEqual(pauses(), 1)
  })

  it("counts one pause where one bound is reached after another, and each that comes after reading", async () => {
    const { send, answer, transport, budget, pauses } = setUp(4 * 8 * (IN_FLIGHT_MAX + 2))
    for (let index = 0; index <= IN_FLIGHT_MAX; index++) send(OVERLAPS, `r${index}`)
    assert.strictEqual(pauses(), 1, "too many are held")
    const others = 8 * 2
    assert.isTrue(budget.tryReserve(others))
    const waiting: Array<number> = []
    budget.reserve(8, () => waiting.push(8))
    await answer("r0")
    assert.isTrue(transport.paused, "now it is the memory")
    assert.strictEqual(pauses(), 1)
    budget.release(others)
    assert.isFalse(transport.paused)
    assert.deepStrictEqual(waiting, [8])
    send(OVERLAPS, "over")
    assert.isTrue(transport.paused)
    assert.strictEqual(pauses(), 2)
  })

  it("pauses the socket while the memory of all connections is used up", async () => {
    const { send, answer, transport, budget, started } = setUp(400)
    assert.isTrue(budget.tryReserve(95))
    send(OVERLAPS, "a")
    assert.isTrue(transport.paused)
    assert.deepStrictEqual(started, [])
    budget.release(95)
    assert.isFalse(transport.paused)
    assert.deepStrictEqual(started, ["a"])
    await answer("a")
    assert.strictEqual(budget.heldBytes, 0)
  })

  it("starts nothing while the peer does not take its answers, and frees their memory when it does", async () => {
    const { send, answer, transport, started, held } = setUp()
    transport.stalled = true
    send(ALONE, "a")
    send(ALONE, "b")
    await answer("a")
    assert.deepStrictEqual(started, ["a"], "the answer is written but not taken")
    assert.deepStrictEqual(held, [])
    transport.drain()
    assert.deepStrictEqual(started, ["a", "b"])
    assert.deepStrictEqual(held, ["a"])
  })

  it("interrupts what runs and gives all memory back when the peer goes away", () => {
    const { send, transport, budget, interrupted, held, ends, connection } = setUp()
    send(OVERLAPS, "a")
    send(ALONE, "b")
    transport.receive(framed(Buffer.alloc(500)).subarray(0, 100))
    assert.strictEqual(budget.heldBytes, 8 + 8 + 500)
    transport.hangUp()
    assert.strictEqual(budget.heldBytes, 0)
    assert.deepStrictEqual(interrupted, ["a"])
    assert.deepStrictEqual(held, ["a"])
    assert.deepStrictEqual(ends, ["orderly: closed by the peer"])
    assert.isTrue(connection.isEnded)
  })

  it("leaves its share of the budget to a request that has taken it over, also when the peer goes away", async () => {
    const { send, transport, budget, budgets, answer } = setUp()
    send(OVERLAPS, "own1")
    send(OVERLAPS, "own2")
    send(OVERLAPS, "c")
    await answer("own1")
    assert.strictEqual(budget.heldBytes, 24, "answered, but not given back")
    budgets.get("own1")!()
    assert.strictEqual(budget.heldBytes, 16)
    transport.hangUp()
    assert.strictEqual(budget.heldBytes, 8)
    budgets.get("own2")!()
    assert.strictEqual(budget.heldBytes, 0)
  })

  it("gives a waiting reservation up when the peer goes away", () => {
    const { send, transport, budget } = setUp(400)
    budget.tryReserve(100)
    send(OVERLAPS, "a")
    assert.strictEqual(budget.waiting, 1)
    transport.hangUp()
    assert.strictEqual(budget.waiting, 0)
    budget.release(100)
    assert.strictEqual(budget.heldBytes, 0)
  })

  it("starts nothing behind a request that will end the connection", async () => {
    const { send, answer, finish, started, ends } = setUp()
    send(OVERLAPS, "a")
    send(OVERLAPS, "bad")
    finish.get("bad")!({ hangup: "cannot be" })
    await Effect.runPromise(Effect.yieldNow)
    send(OVERLAPS, "c")
    assert.deepStrictEqual(started, ["a", "bad"])
    await answer("a")
    assert.deepStrictEqual(ends, ["fault: cannot be"])
    assert.deepStrictEqual(started, ["a", "bad"])
  })

  it("hangs up where a request cannot be answered, after the answers before it", async () => {
    const { send, answer, finish, transport, written, ends } = setUp()
    send(OVERLAPS, "a")
    send(OVERLAPS, "b")
    send(OVERLAPS, "c")
    finish.get("b")!({ hangup: "malformed" })
    await answer("a")
    assert.strictEqual(written(), "a")
    assert.isTrue(transport.destroyed)
    assert.deepStrictEqual(ends, ["fault: malformed"])
  })

  it("closes on a frame longer than allowed, once", () => {
    const { transport, ends } = setUp()
    transport.receive(framed(Buffer.alloc(1_001)))
    assert.strictEqual(ends.length, 1)
    assert.match(ends[0]!, /^fault: a frame of 1001 bytes was announced; at most 1000/)
  })

  it("answers what came before a frame that is too long, then closes", async () => {
    const { send, transport, answer, written, ends } = setUp()
    send(OVERLAPS, "a")
    transport.receive(framed(Buffer.alloc(1_001)))
    assert.deepStrictEqual(ends, [])
    await answer("a")
    assert.strictEqual(written(), "a")
    assert.match(ends[0]!, /1001 bytes/)
  })

  it("holds no memory for what stands behind the request that ended it", () => {
    const { transport, budget } = setUp()
    const ending = framed(Buffer.alloc(8, " "))
    const beginning = Buffer.alloc(6)
    beginning.writeInt32BE(900)
    transport.receive(framed(Buffer.alloc(8, " ")))
    transport.hangUp()
    transport.destroyed = false
    transport.receive(Buffer.concat([ending, beginning]))
    assert.strictEqual(budget.heldBytes, 0)
  })

  it("gives up a peer that holds memory which others wait for, and sends too slowly", () => {
    const bounds = { idleMs: 1_000_000, stalledMs: 1_000_000 }
    const { transport, budget, connection, ends } = setUp(400)
    const begun = Buffer.alloc(20)
    begun.writeInt32BE(90)
    transport.receive(begun)
    connection.sweep(0, bounds)
    connection.sweep(5_000, bounds)
    assert.deepStrictEqual(ends, [], "nobody waits")
    const giveUp = budget.reserve(50, () => {})
    connection.sweep(10_000, bounds)
    assert.match(ends[0]!, /too slowly/)
    assert.strictEqual(budget.heldBytes, 50)
    giveUp()
  })

  it("closes the connection whose request hits a defect", async () => {
    const transport = new MemoryTransport()
    const ends: Array<string> = []
    new Connection(transport, "local", {
      requestBudget: new RequestBudget(400),
      framePool: new FramePool(),
      frameBytesMax: 100,
      requestsInFlightMax: IN_FLIGHT_MAX,
      run: (effect) => Effect.runFork(effect),
      onPaused: () => {},
      onEnd: (_, reason) => ends.push(reason),
      dispatcher: { overlaps: () => true, dispatch: () => Effect.die("boom") }
    })
    transport.receive(framed(Buffer.alloc(8)))
    await Effect.runPromise(Effect.yieldNow)
    assert.strictEqual(ends.length, 1)
    assert.isTrue(transport.destroyed)
  })

  it("sweeps away the idle, the stalled in mid-request and those who take nothing, and nobody else", async () => {
    const bounds = { idleMs: 1_000, stalledMs: 100 }
    const idle = setUp()
    idle.connection.sweep(0, bounds)
    idle.connection.sweep(1_000, bounds)
    assert.deepStrictEqual(idle.ends, [])
    idle.connection.sweep(1_001, bounds)
    assert.deepStrictEqual(idle.ends, ["orderly: idle"])

    const halfway = setUp()
    halfway.transport.receive(Buffer.from([0, 0, 0, 50, 1]))
    halfway.connection.sweep(0, bounds)
    halfway.connection.sweep(101, bounds)
    assert.match(halfway.ends[0]!, /middle of a request/)

    const deaf = setUp()
    deaf.transport.stalled = true
    deaf.send(ALONE, "a")
    await deaf.answer("a")
    deaf.connection.sweep(0, bounds)
    deaf.connection.sweep(101, bounds)
    assert.match(deaf.ends[0]!, /does not take/)

    const slow = setUp()
    slow.transport.stalled = true
    slow.send(ALONE, "a")
    await slow.answer("a")
    for (let now = 0; now <= 900; now += 90) {
      slow.transport.unsent = 10_000 - now
      slow.connection.sweep(now, bounds)
    }
    assert.deepStrictEqual(slow.ends, [], "who reads slowly is not stalled")

    const queued = setUp(400)
    queued.budget.tryReserve(100)
    queued.send(ALONE, "a")
    for (let now = 0; now <= 5_000; now += 1_000) queued.connection.sweep(now, bounds)
    assert.deepStrictEqual(queued.ends, [], "who waits for memory is not idle")

    const waiting = setUp()
    waiting.send(ALONE, "a")
    for (let now = 0; now <= 5_000; now += 1_000) waiting.connection.sweep(now, bounds)
    assert.deepStrictEqual(waiting.ends, [], "a long poll is not idle")
  })
})
