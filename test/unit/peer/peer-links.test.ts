/**
 * Goal: links connect when they are used, come back when they are lost, rest when nobody uses them, and say why they are
 * down; streams are connections of their own. Method: over real TCP on the loopback for what works, and over a network in
 * memory with a test clock for what fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { limits } from "#core/model/limits.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { type PeerError } from "#core/peer/peer-error.ts"
import { make, type PeerAddress, type PeerLink } from "#core/peer/peer-links.ts"
import { MemoryNetwork, settled } from "./memory-network.ts"
import {
  agentAt,
  CLIENT,
  CLUSTER,
  HeldHandlers,
  identity,
  listenOnLoopback,
  loopback,
  PING_ANSWER,
  SERVER,
  submitOf
} from "./peer-world.ts"

const TIMEOUT = { timeoutMs: 5_000 }
const summary = ({ reason, outcome }: PeerError): string => `${reason} ${outcome}`
const ping = (link: PeerLink, timeoutMs = TIMEOUT.timeoutMs) => link.request(PeerPing, { shard: 0 }, { timeoutMs })
const start = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
const failureOf = <A, R>(effect: Effect.Effect<A, PeerError, R>) => Effect.map(Effect.flip(effect), summary)

/** States as its listeners saw them. */
const statesOf = (link: PeerLink): Array<string> => {
  const states: Array<string> = []
  link.onChange(() => states.push(link.downReason === undefined ? link.state : `${link.state}: ${link.downReason}`))
  return states
}

/** An agent in memory and the links of another one to it. */
const world = Effect.gen(function* () {
  const network = new MemoryNetwork()
  const handlers = new HeldHandlers()
  const listener = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(listener, Exit.void))
  const port = yield* listenOnLoopback(handlers).pipe(Effect.provide(network.layer), Scope.provide(listener))
  const agent = agentAt(SERVER, port)
  const members: { present: ReadonlyArray<PeerAddress> } = { present: [agent] }
  const linksScope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(linksScope, Exit.void))
  const links = yield* make({ self: CLIENT, clusterId: CLUSTER, members: () => members.present }).pipe(
    Effect.provide(network.layer),
    Scope.provide(linksScope)
  )
  const stopLinks = Scope.close(linksScope, Exit.void)
  const stopListening = Scope.close(listener, Exit.void)
  return { network, handlers, agent, members, links, link: links.link(agent), stopLinks, stopListening }
})

/** A link with a good connection: one that has lasted. */
const linked = Effect.gen(function* () {
  const made = yield* world
  yield* ping(made.link)
  yield* TestClock.adjust(limits.peerSettledMs)
  return made
})

describe("a link", () => {
  it.live("connects at the first request, and is the same for the same process", () =>
    Effect.gen(function* () {
      const agent = agentAt(SERVER, yield* listenOnLoopback(new HeldHandlers()))
      const links = yield* make({ self: CLIENT, clusterId: CLUSTER, members: () => [agent] })
      const link = links.link(agent)
      assert.strictEqual(links.link({ ...agent }), link)
      assert.notStrictEqual(links.link({ ...agent, session: "f".repeat(32) }), link)
      assert.strictEqual(link.state, "down")
      assert.isUndefined(link.downReason)
      const states = statesOf(link)
      assert.deepStrictEqual(yield* ping(link), PING_ANSWER)
      assert.deepStrictEqual(states, ["connecting", "connected"])
    }).pipe(Effect.provide(loopback))
  )

  it.effect("uses one connection for all requests, in the order of the calls, also of those that waited for it", () =>
    Effect.gen(function* () {
      const { network, handlers, link } = yield* world
      const requests = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => index),
        (index) => start(link.request(PeerSubmit, submitOf(index), TIMEOUT))
      )
      // As soon as it is connected: behind those that waited.
      const late: Array<Fiber.Fiber<unknown, PeerError>> = []
      link.onChange(() => {
        if (link.state === "connected") late.push(Effect.runFork(link.request(PeerSubmit, submitOf(50), TIMEOUT)))
      })
      yield* settled
      assert.strictEqual(network.attempts, 1)
      assert.deepStrictEqual(
        handlers.started.map(({ request }) => request.epoch),
        Array.from({ length: 51 }, (_, index) => index)
      )
      for (const { answer } of handlers.started) answer()
      for (const fiber of requests) yield* Fiber.join(fiber)
      yield* Fiber.join(late[0]!)
    })
  )

  it.effect(
    "that cannot connect fails what waits, pauses longer and longer up to a bound, and fails at once meanwhile",
    () =>
      Effect.gen(function* () {
        const { network, link, stopListening } = yield* world
        yield* stopListening
        assert.strictEqual(yield* failureOf(ping(link)), "Refused definite")
        assert.strictEqual(link.state, "down")
        assert.strictEqual(link.downReason, "Refused")
        assert.include(link.downError!.message, SERVER.name)
        const pausesMs: Array<number> = []
        for (let round = 0; round < 12; round++) {
          const attempts = network.attempts
          assert.strictEqual(yield* failureOf(ping(link)), "Refused definite")
          assert.strictEqual(network.attempts, attempts, "nothing is tried in a pause")
          let pauseMs = 0
          for (; network.attempts === attempts && pauseMs < 10_000; pauseMs++) yield* TestClock.adjust(1)
          pausesMs.push(pauseMs)
        }
        for (const [round, pauseMs] of pausesMs.entries()) {
          const longestMs = Math.min(limits.peerReconnectMsMax, limits.peerReconnectMs * 2 ** round)
          assert.isAtLeast(pauseMs, longestMs / 2, `pause ${round}`)
          assert.isAtMost(pauseMs, longestMs + 1, `pause ${round}`)
        }
        assert.isAbove(new Set(pausesMs.slice(6)).size, 1, "jitter")
      })
  )

  it.effect("that was good and is lost connects again at once, and its requests wait for that", () =>
    Effect.gen(function* () {
      const { network, handlers, link } = yield* linked
      const states = statesOf(link)
      const pending = yield* start(link.request(PeerSubmit, submitOf(1), TIMEOUT))
      yield* settled
      network.last.end()
      assert.strictEqual(link.state, "connecting", "told before anyone else runs")
      const next = yield* start(link.request(PeerSubmit, submitOf(2), TIMEOUT))
      assert.strictEqual(yield* failureOf(Fiber.join(pending)), "Closed indefinite")
      yield* settled
      assert.strictEqual(network.attempts, 2)
      assert.deepStrictEqual(states, ["connecting: Closed", "connected"])
      handlers.started.at(-1)!.answer()
      assert.strictEqual((yield* Fiber.join(next)).seq, 2)
    })
  )

  it.effect("whose agent has died says so after one attempt", () =>
    Effect.gen(function* () {
      const { network, link, stopListening } = yield* linked
      const states = statesOf(link)
      yield* stopListening
      network.last.end()
      yield* settled
      assert.strictEqual(network.attempts, 2)
      assert.deepStrictEqual(states, ["connecting: Closed", "down: Refused"])
    })
  )

  it.effect("that is lost again and again is not opened in a hot loop", () =>
    Effect.gen(function* () {
      const { network, link } = yield* linked
      for (let round = 0; round < 8; round++) {
        network.last.end()
        yield* settled
        if (link.state === "down") yield* TestClock.adjust(limits.peerReconnectMsMax)
        yield* settled
        assert.strictEqual(link.state, "connected")
      }
      const attempts = network.attempts
      network.last.end()
      yield* settled
      yield* TestClock.adjust(limits.peerReconnectMsMax / 2 - 1)
      assert.strictEqual(network.attempts, attempts, "the longest pause by now")
    })
  )

  it.effect("whose agent does not answer the attempt fails requests at their own deadlines", () =>
    Effect.gen(function* () {
      const { network, link } = yield* world
      network.mode = "hang"
      const short = yield* start(ping(link, 500))
      const long = yield* start(ping(link, 10_000))
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* failureOf(Fiber.join(short)), "TimedOut definite")
      yield* TestClock.adjust(limits.peerConnectMs - 500)
      assert.strictEqual(yield* failureOf(Fiber.join(long)), "TimedOut definite")
      assert.strictEqual(link.downReason, "TimedOut")
    })
  )

  it.effect("asks nothing for callers that went away while it connected", () =>
    Effect.gen(function* () {
      const { handlers, link } = yield* world
      const gone = yield* start(link.request(PeerSubmit, submitOf(1), TIMEOUT))
      const stays = yield* start(link.request(PeerSubmit, submitOf(2), TIMEOUT))
      yield* Fiber.interrupt(gone)
      yield* settled
      assert.deepStrictEqual(handlers.order, ["submit 2"])
      handlers.started[0]!.answer()
      yield* Fiber.join(stays)
    })
  )

  it.effect("takes limits.peerRequestsQueued requests while it connects, and no more", () =>
    Effect.gen(function* () {
      const { network, link } = yield* world
      network.mode = "hang"
      for (let index = 0; index < limits.peerRequestsQueued; index++) yield* start(ping(link))
      assert.strictEqual(yield* failureOf(ping(link)), "Overloaded definite")
    })
  )

  it.effect("to another process than the one that listens there is never connected", () =>
    Effect.gen(function* () {
      const { links, agent, network } = yield* world
      const link = links.link({ ...agent, session: "e".repeat(32) })
      assert.strictEqual(yield* failureOf(ping(link)), "Foreign definite")
      assert.isTrue(network.last.isClosed)
      const nowhere = links.link({ ...agent, session: "d".repeat(32), peerPort: 0 })
      assert.strictEqual(yield* failureOf(ping(nowhere)), "Unreachable definite")
    })
  )
})

describe("the end of a link", () => {
  it.effect("it rests when nobody has used it for limits.peerLinkIdleMs, and connects again when someone does", () =>
    Effect.gen(function* () {
      const { network, link } = yield* linked
      yield* TestClock.adjust(limits.peerLinkIdleMs - limits.peerSettledMs - 1)
      yield* ping(link)
      yield* TestClock.adjust(limits.peerLinkIdleMs - 1)
      assert.strictEqual(link.state, "connected")
      const states = statesOf(link)
      yield* TestClock.adjust(limits.peerLinkSweepMs)
      yield* settled
      assert.strictEqual(link.state, "down")
      assert.isUndefined(link.downReason)
      assert.strictEqual(states[0], "down: Closed", "no attempt to come back")
      assert.isTrue(network.last.isClosed)
      yield* TestClock.adjust(limits.peerLinkIdleMs)
      assert.strictEqual(network.attempts, 1)
      assert.deepStrictEqual(yield* ping(link), PING_ANSWER)
      assert.strictEqual(network.attempts, 2)
    })
  )

  it.effect("it rests without a pause, also when its connection came late", () =>
    Effect.gen(function* () {
      const { network, link } = yield* world
      network.mode = "Refused"
      yield* failureOf(ping(link))
      yield* TestClock.adjust(limits.peerLinkIdleMs - limits.peerReconnectMsMax - 500)
      network.mode = "connect"
      yield* TestClock.adjust(limits.peerReconnectMsMax + 100)
      yield* settled
      assert.strictEqual(link.state, "connected")
      yield* TestClock.adjust(400)
      yield* settled
      assert.strictEqual(link.state, "down")
      assert.deepStrictEqual(yield* ping(link), PING_ANSWER)
    })
  )

  it.effect("it does not rest under a request that takes long", () =>
    Effect.gen(function* () {
      const { handlers, link } = yield* linked
      const request = link.request(PeerSubmit, submitOf(1), { timeoutMs: limits.clientRequestTimeoutMs })
      yield* TestClock.adjust(limits.peerLinkIdleMs - limits.peerLinkSweepMs)
      const pending = yield* start(request)
      yield* settled
      yield* TestClock.adjust(3 * limits.peerLinkSweepMs)
      assert.strictEqual(link.state, "connected")
      handlers.started[0]!.answer()
      yield* Fiber.join(pending)
    })
  )

  it.effect("attempts end when nobody wants it any more", () =>
    Effect.gen(function* () {
      const { network, link, stopListening } = yield* world
      yield* stopListening
      yield* failureOf(ping(link))
      yield* TestClock.adjust(limits.peerLinkIdleMs + limits.peerReconnectMsMax)
      const attempts = network.attempts
      yield* TestClock.adjust(60_000)
      assert.strictEqual(network.attempts, attempts)
      assert.strictEqual(link.state, "down")
    })
  )

  it.effect("it ends for good when its agent is no member for two looks in a row", () =>
    Effect.gen(function* () {
      const { network, link, links, agent, members } = yield* linked
      const states = statesOf(link)
      members.present = []
      yield* TestClock.adjust(limits.peerLinkSweepMs)
      yield* ping(link)
      members.present = [agent]
      yield* TestClock.adjust(limits.peerLinkSweepMs)
      members.present = []
      yield* TestClock.adjust(limits.peerLinkSweepMs)
      yield* ping(link)
      assert.deepStrictEqual(states, [])
      yield* TestClock.adjust(limits.peerLinkSweepMs)
      yield* settled
      assert.deepStrictEqual(states, ["down: Closed"])
      assert.isTrue(network.last.isClosed)
      assert.strictEqual(yield* failureOf(ping(link)), "Closed definite")
      const attempts = network.attempts
      yield* TestClock.adjust(60_000)
      assert.strictEqual(network.attempts, attempts)
      assert.notStrictEqual(links.link(agent), link, "asked for again it is a new one")
    })
  )

  it.effect("all end with their scope, also in the middle of an attempt", () =>
    Effect.gen(function* () {
      const { network, link, links, agent, stopLinks } = yield* linked
      network.mode = "hang"
      const other = links.link({ ...agent, session: "c".repeat(32) })
      const waiting = yield* start(ping(other))
      yield* stopLinks
      assert.strictEqual(yield* failureOf(Fiber.join(waiting)), "Closed definite")
      assert.isTrue(network.last.isClosed)
      assert.strictEqual(yield* failureOf(ping(link)), "Closed definite")
    })
  )

  it.effect("there are limits.peerLinksMax at most", () =>
    Effect.gen(function* () {
      const { links, agent } = yield* world
      for (let index = 1; index < limits.peerLinksMax; index++) {
        links.link({ ...agent, session: String(index).padStart(32, "0") })
      }
      const tooMany = links.link({ ...agent, session: "b".repeat(32) })
      assert.strictEqual(yield* failureOf(ping(tooMany)), "Overloaded definite")
    })
  )
})

describe("a stream", () => {
  it.effect("is a connection of its own, fails as a whole, and is not opened again", () =>
    Effect.gen(function* () {
      const { network, handlers, link, links, agent } = yield* linked
      const stream = yield* links.openStream(agent)
      assert.strictEqual(network.attempts, 2)
      const submits = yield* Effect.forEach([1, 2, 3], (epoch) =>
        start(stream.request(PeerSubmit, submitOf(epoch), TIMEOUT))
      )
      yield* settled
      assert.lengthOf(handlers.started, 3)
      network.last.end()
      for (const submit of submits) assert.strictEqual(yield* failureOf(Fiber.join(submit)), "Closed indefinite")
      assert.isTrue(stream.closed)
      assert.strictEqual(yield* failureOf(stream.request(PeerSubmit, submitOf(4), TIMEOUT)), "Closed definite")
      assert.deepStrictEqual(yield* ping(link), PING_ANSWER, "the link goes on")
      assert.strictEqual(network.attempts, 2)
    })
  )

  it.effect("ends with its scope; there are limits.peerStreamsMax at most", () =>
    Effect.gen(function* () {
      const { network, links, agent } = yield* world
      const scope = yield* Scope.make()
      for (let index = 0; index < limits.peerStreamsMax; index++) {
        yield* start(Scope.provide(links.openStream(agent), scope))
      }
      assert.strictEqual(yield* failureOf(links.openStream(agent)), "Overloaded definite")
      yield* Scope.close(scope, Exit.void)
      yield* settled
      assert.isTrue(network.pairs.every(({ isClosed }) => isClosed))
      const again = yield* links.openStream(agent)
      assert.deepStrictEqual(again.peer, identity("server", 2))
    })
  )
})
