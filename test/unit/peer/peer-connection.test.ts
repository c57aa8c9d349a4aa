/**
 * Goal: agents find each other by hello and by nothing else; requests keep their order, overlap, and end with an answer or
 * an error that says whether they may have taken effect. Method: listener and client over real TCP on the loopback where
 * bytes matter, over a network in memory with a test clock where faults and time do; handlers that the test answers for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { makeConnectionSet } from "#core/agent/connection-set.ts"
import { makeDispatcher } from "#core/agent/dispatcher.ts"
import { FramePool } from "#core/agent/frame-pool.ts"
import { answerApiVersions } from "#core/agent/handlers/18-api-versions.ts"
import { RequestBudget } from "#core/agent/request-budget.ts"
import { connect as connectClient } from "#core/client/connection.ts"
import { limits } from "#core/model/limits.ts"
import { PeerHello } from "#core/peer/api/10000-peer-hello.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { PeerEntries } from "#core/peer/api/10002-peer-entries.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { advertisedPeerVersions } from "#core/peer/peer-apis.ts"
import { connect, type PeerConnection } from "#core/peer/peer-connection.ts"
import { type PeerError } from "#core/peer/peer-error.ts"
import { type PeerHandlers } from "#core/peer/peer-listener.ts"
import { Network } from "#core/ports/network.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { advertisedVersions } from "#core/protocol/registry.ts"
import { MemoryNetwork, settled } from "./memory-network.ts"
import {
  CLIENT,
  CLUSTER,
  connectedInMemory,
  ENTRIES_ANSWER,
  errorOf,
  HeldHandlers,
  identity,
  listenOnLoopback,
  loopback,
  PING_ANSWER,
  SERVER,
  submit,
  submitOf,
  summary,
  TIMEOUT,
  to
} from "./peer-world.ts"

const ROW = { epoch: 3, nonce: "a".repeat(32), prevNonce: "b".repeat(32), isKept: false }

describe("hello", () => {
  it.live("tells each side who the other is, and requests are answered from then on", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const port = yield* listenOnLoopback(handlers)
      const connection = yield* connect(to(port))
      assert.deepStrictEqual(connection.peer, SERVER)
      assert.deepStrictEqual(yield* connection.request(PeerPing, { shard: 4 }, TIMEOUT), PING_ANSWER)
      const submitted = yield* submit(connection, 5)
      yield* handlers.untilStarted(1)
      const { request, from, answer } = handlers.started[0]!
      assert.deepStrictEqual(from.peer, CLIENT)
      assert.strictEqual(request.command.toString(), "command")
      answer()
      const settledAs = { errorCode: 0, errorMessage: null, seq: 5, answer: Buffer.from("5") }
      assert.deepStrictEqual(yield* Fiber.join(submitted), settledAs)
    }).pipe(Effect.provide(loopback))
  )

  it.live("of another cluster is refused, and both clusters are named", () =>
    Effect.gen(function* () {
      const port = yield* listenOnLoopback(new HeldHandlers())
      const error = yield* Effect.flip(connect(to(port, { clusterId: "other-cluster" })))
      assert.strictEqual(summary(error), "Foreign definite")
      assert.include(error.message, CLUSTER)
      assert.include(error.message, "other-cluster")
      assert.isFalse(error.isRetryable)
    }).pipe(Effect.provide(loopback))
  )

  it.live("answered by another agent, or by another process of the same one, is no connection", () =>
    Effect.gen(function* () {
      const port = yield* listenOnLoopback(new HeldHandlers())
      for (const expected of [identity("server", 2, "9"), identity("other", 2)]) {
        const error = yield* Effect.flip(connect(to(port, { expected })))
        assert.strictEqual(summary(error), "Foreign definite")
        assert.include(error.message, expected.session)
        assert.include(error.message, SERVER.session)
      }
      const anyone = yield* connect(to(port, { expected: undefined }))
      assert.deepStrictEqual(anyone.peer, SERVER)
    }).pipe(Effect.provide(loopback))
  )

  it.live("without a name is refused", () =>
    Effect.gen(function* () {
      const port = yield* listenOnLoopback(new HeldHandlers())
      const error = yield* Effect.flip(connect(to(port, { self: { ...CLIENT, name: "" } })))
      assert.strictEqual(summary(error), "Malformed definite")
    }).pipe(Effect.provide(loopback))
  )

  it.live("nobody listening is told from everything else", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const port = yield* Scope.provide(listenOnLoopback(new HeldHandlers()), scope)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(summary(yield* Effect.flip(connect(to(port)))), "Refused definite")
      assert.strictEqual(summary(yield* Effect.flip(connect(to(0)))), "Unreachable definite")
    }).pipe(Effect.provide(loopback))
  )

  it.live("a Kafka port is no agent's port", () =>
    Effect.gen(function* () {
      const port = yield* listenAsKafka
      const error = yield* Effect.flip(connect(to(port)))
      assert.strictEqual(summary(error), "Foreign definite")
    }).pipe(Effect.provide(loopback))
  )

  it.effect("that is never answered ends with limits.peerConnectMs, and leaves nothing open", () =>
    Effect.gen(function* () {
      const network = new MemoryNetwork()
      const port = yield* Effect.provide(listenOnLoopback(new HeldHandlers()), network.layer)
      const fiber = yield* Effect.forkChild(Effect.provide(connect(to(port)), network.layer), {
        startImmediately: true
      })
      network.last.holdAnswers(true)
      yield* settled
      yield* TestClock.adjust(limits.peerConnectMs)
      assert.strictEqual(yield* errorOf(fiber), "TimedOut definite")
      assert.isTrue(network.last.isClosed, "though the caller's scope is open")
      network.mode = "hang"
      const hanging = yield* Effect.forkChild(Effect.provide(connect(to(port)), network.layer), {
        startImmediately: true
      })
      yield* TestClock.adjust(limits.peerConnectMs)
      assert.strictEqual(yield* errorOf(hanging), "TimedOut definite")
    })
  )
})

/** A listener that serves ApiVersions with Kafka's keys, and nothing else. */
const listenAsKafka = Effect.gen(function* () {
  const network = yield* Network
  const clock = yield* Clock.Clock
  const counters = {
    connectionsAccepted: 0,
    connectionsFailed: 0,
    socketsPaused: 0,
    requests: 0,
    requestBytes: 0,
    responseBytes: 0,
    requestsUnsupported: 0,
    requestsMalformed: 0,
    requestsDefective: 0
  }
  const connections = yield* makeConnectionSet({ listener: "kafka", idleMs: 60_000, counters })
  const dispatcher = makeDispatcher({
    served: [
      {
        api: ApiVersions,
        overlaps: false,
        handle: (request, { apiVersion }) => answerApiVersions(advertisedVersions, request, apiVersion)
      }
    ],
    counters,
    clock
  })
  const policy = {
    dispatcher,
    requestBudget: new RequestBudget(1_000_000),
    framePool: new FramePool(),
    frameBytesMax: 10_000,
    requestsInFlightMax: 10
  }
  return yield* network.listen({
    host: "127.0.0.1",
    port: 0,
    connectionsMax: 10,
    onConnection: (transport) => connections.accept(transport, policy)
  })
})

describe("strangers", () => {
  const stranger = (port: number) => connectClient({ host: "127.0.0.1", port, clientId: "stranger" })
  const hello = { clusterId: CLUSTER, ...CLIENT, secret: null }

  it.live("see which APIs there are", () =>
    Effect.gen(function* () {
      const connection = yield* stranger(yield* listenOnLoopback(new HeldHandlers()))
      assert.deepStrictEqual(
        [...connection.apiVersions.keys()],
        advertisedPeerVersions.map(({ apiKey }) => apiKey)
      )
    }).pipe(Effect.provide(loopback))
  )

  for (const [api, body] of [
    [PeerSubmit, submitOf(1)],
    [PeerEntries, { shard: 0, epoch: 1, tailSeq: 1, relayTo: [], rows: [] }],
    [PeerPing, { shard: 0 }]
  ] as const) {
    it.live(`that ask for ${api.name} before they said who they are are hung up on`, () =>
      Effect.gen(function* () {
        const handlers = new HeldHandlers()
        const connection = yield* stranger(yield* listenOnLoopback(handlers))
        const error = yield* Effect.flip(connection.request(api, 0, body as never))
        assert.strictEqual(error.reason, "Closed")
        assert.deepStrictEqual(handlers.order, [])
      }).pipe(Effect.provide(loopback))
    )
  }

  it.live("that were refused are hung up on when they ask all the same, and so is a second hello", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const port = yield* listenOnLoopback(handlers)
      const refused = yield* stranger(port)
      const answer = yield* refused.request(PeerHello, 0, { ...hello, clusterId: "other" })
      assert.notStrictEqual(answer.errorCode, 0)
      assert.strictEqual((yield* Effect.flip(refused.request(PeerPing, 0, { shard: 0 }))).reason, "Closed")
      const twice = yield* stranger(port)
      assert.strictEqual((yield* twice.request(PeerHello, 0, hello)).errorCode, 0)
      assert.strictEqual((yield* Effect.flip(twice.request(PeerHello, 0, hello))).reason, "Closed")
      assert.deepStrictEqual(handlers.order, [])
    }).pipe(Effect.provide(loopback))
  )

  it.live("cannot send long frames", () =>
    Effect.gen(function* () {
      const port = yield* listenOnLoopback(new HeldHandlers())
      const connection = yield* stranger(port)
      const secret = Buffer.alloc(limits.peerHelloBytesMax)
      assert.strictEqual((yield* Effect.flip(connection.request(PeerHello, 0, { ...hello, secret }))).reason, "Closed")
    }).pipe(Effect.provide(loopback))
  )

  it.effect("that say nothing are hung up on after limits.peerHelloMs, and agents are not", () =>
    Effect.gen(function* () {
      const { network, port, pair, connection } = yield* connectedInMemory(new HeldHandlers())
      const silent = yield* Effect.forkChild(Effect.provide(stranger(port), network.layer), { startImmediately: true })
      yield* settled
      assert.isFalse(network.last.isClosed)
      yield* TestClock.adjust(2 * limits.peerHelloMs)
      assert.isTrue(network.last.isClosed)
      assert.isFalse(pair.isClosed)
      assert.isFalse(connection.closed)
      yield* Fiber.interrupt(silent)
    })
  )
})

describe("an attempt that fails", () => {
  it.effect("leaves no connection open, though its caller's scope is", () =>
    Effect.gen(function* () {
      const { network, port } = yield* connectedInMemory(new HeldHandlers())
      const foreign = to(port, { expected: identity("server", 2, "9") })
      assert.strictEqual(
        summary(yield* Effect.flip(Effect.provide(connect(foreign), network.layer))),
        "Foreign definite"
      )
      assert.isTrue(network.last.isClosed)
      const pending = yield* Effect.forkChild(Effect.provide(connect(to(port)), network.layer), {
        startImmediately: true
      })
      yield* Fiber.interrupt(pending)
      assert.isTrue(network.last.isClosed)
    })
  )
})

describe("requests", () => {
  it.live("overlap: they start in the order of the calls, and are answered in it", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const connection = yield* connect(to(yield* listenOnLoopback(handlers)))
      const ended: Array<string> = []
      const noted = <A>(name: string, effect: Effect.Effect<A, PeerError>) =>
        Effect.forkChild(
          Effect.tap(effect, () => Effect.sync(() => ended.push(name))),
          { startImmediately: true }
        )
      const entries = {
        shard: 0,
        epoch: 1,
        tailSeq: 8,
        relayTo: [1, 2],
        rows: [{ seq: 8, entry: Buffer.from("e"), ...ROW }]
      }
      const fibers = [
        yield* noted("submit 1", connection.request(PeerSubmit, submitOf(1), TIMEOUT)),
        yield* noted("entries", connection.request(PeerEntries, entries, TIMEOUT)),
        yield* noted("submit 2", connection.request(PeerSubmit, submitOf(2), TIMEOUT)),
        yield* noted("ping", connection.request(PeerPing, { shard: 6 }, TIMEOUT)),
        yield* noted("submit 3", connection.request(PeerSubmit, submitOf(3), TIMEOUT))
      ]
      yield* handlers.untilStarted(3)
      assert.deepStrictEqual(handlers.order, ["submit 1", "entries 8", "submit 2", "ping 6", "submit 3"])
      handlers.started[2]!.answer()
      handlers.started[1]!.answer()
      yield* settled
      assert.deepStrictEqual(ended, [], "the first one is not answered")
      handlers.started[0]!.answer()
      const answers = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber as Fiber.Fiber<unknown, PeerError>))
      assert.deepStrictEqual(ended, ["submit 1", "entries", "submit 2", "ping", "submit 3"])
      assert.deepStrictEqual(answers[1], ENTRIES_ANSWER)
      assert.deepStrictEqual((answers[4] as { seq: number }).seq, 3)
      const { rows, relayTo } = handlers.entriesSeen[0]!
      assert.deepStrictEqual(relayTo, [1, 2])
      assert.deepStrictEqual(rows, [
        { seq: 8, epoch: ROW.epoch, nonce: ROW.nonce, prevNonce: ROW.prevNonce, isKept: false, entry: Buffer.from("e") }
      ])
    }).pipe(Effect.provide(loopback))
  )

  it.live("are pipelined: two hundred are started before the first is answered", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const connection = yield* connect(to(yield* listenOnLoopback(handlers)))
      const fibers = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) => submit(connection, index)
      )
      yield* handlers.untilStarted(200)
      assert.deepStrictEqual(
        handlers.started.map(({ request }) => request.epoch),
        fibers.map((_, index) => index)
      )
      for (const started of handlers.started.toReversed()) started.answer()
      const answers = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(
        answers.map(({ seq, answer }) => [seq, answer.toString()]),
        fibers.map((_, index) => [index, String(index)])
      )
    }).pipe(Effect.provide(loopback))
  )

  it.live("see what earlier ones left in the state of their connection, and of no other", () =>
    Effect.gen(function* () {
      const refusing: PeerHandlers["submit"] = ({ epoch }, { state }) =>
        Effect.sync(() => {
          state.submitsRefused ||= epoch === 13
          return { errorCode: state.submitsRefused ? 1 : 0, errorMessage: null, seq: epoch, answer: Buffer.alloc(0) }
        })
      const held = new HeldHandlers()
      const port = yield* listenOnLoopback({ submit: refusing, entries: held.entries, ping: held.ping })
      const [poisoned, clean] = [yield* connect(to(port)), yield* connect(to(port))]
      const codesOf = (connection: PeerConnection) =>
        Effect.forEach(
          [12, 13, 14],
          (epoch) => Effect.map(connection.request(PeerSubmit, submitOf(epoch), TIMEOUT), ({ errorCode }) => errorCode),
          { concurrency: "unbounded" }
        )
      assert.deepStrictEqual(yield* codesOf(poisoned), [0, 1, 1])
      const answer = yield* clean.request(PeerSubmit, submitOf(12), TIMEOUT)
      assert.strictEqual(answer.errorCode, 0)
    }).pipe(Effect.provide(loopback))
  )

  it.live("of a whole entry and answers of a block fit, and a request beyond the bound is refused at once", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const connection = yield* connect(to(yield* listenOnLoopback(handlers)))
      const entry = Buffer.alloc(limits.entryBytesMax, 7)
      const entries = { shard: 0, epoch: 1, tailSeq: 1, relayTo: [], rows: [{ seq: 1, entry, ...ROW }] }
      yield* connection.request(PeerEntries, entries, TIMEOUT)
      assert.isTrue(handlers.entriesSeen[0]!.rows[0]!.entry.equals(entry))
      const submitted = yield* submit(connection, 1)
      yield* handlers.untilStarted(1)
      const block = Buffer.alloc(limits.blockBytes, 9)
      handlers.started[0]!.answer({ answer: block })
      assert.isTrue((yield* Fiber.join(submitted)).answer.equals(block))
      const tooLong = Buffer.alloc(limits.peerFrameBytesMax)
      const error = yield* Effect.flip(connection.request(PeerSubmit, submitOf(1, tooLong), TIMEOUT))
      assert.strictEqual(summary(error), "Malformed definite")
      assert.deepStrictEqual(yield* connection.request(PeerPing, { shard: 4 }, TIMEOUT), PING_ANSWER, "it goes on")
    }).pipe(Effect.provide(loopback))
  )

  it.live("leave their bytes to the handler, for ever", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const connection = yield* connect(to(yield* listenOnLoopback(handlers)))
      for (let fill = 1; fill <= 20; fill++) {
        const rows = [{ seq: fill, entry: Buffer.alloc(200_000, fill), ...ROW }]
        yield* connection.request(PeerEntries, { shard: 0, epoch: 1, tailSeq: fill, relayTo: [], rows }, TIMEOUT)
      }
      for (const [index, { rows }] of handlers.entriesSeen.entries()) {
        assert.isTrue(rows[0]!.entry.equals(Buffer.alloc(200_000, index + 1)), `entry ${index + 1} has changed`)
      }
    }).pipe(Effect.provide(loopback))
  )
})
