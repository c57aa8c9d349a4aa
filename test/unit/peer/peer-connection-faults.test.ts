/**
 * Goal: what is sent, waits, is lost or comes too late stays within bounds, and each request says whether it may have taken
 * effect. Method: listener and client over a network in memory, with a test clock and handlers that the test answers for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { connect as connectClient } from "#core/client/connection.ts"
import { limits } from "#core/model/limits.ts"
import { PeerHello } from "#core/peer/api/10000-peer-hello.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { connect } from "#core/peer/peer-connection.ts"
import { MemoryNetwork, settled } from "./memory-network.ts"
import {
  CLIENT,
  CLUSTER,
  connectedInMemory,
  errorOf,
  HeldHandlers,
  listenOnLoopback,
  PING_ANSWER,
  submit,
  submitOf,
  summary,
  TIMEOUT,
  to
} from "./peer-world.ts"

describe("bounds", () => {
  it.effect("beyond limits.peerRequestsInFlight requests wait at the client, and then are refused", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection } = yield* connectedInMemory(handlers)
      const most = limits.peerRequestsInFlight + limits.peerRequestsQueued
      const fibers = yield* Effect.forEach(
        Array.from({ length: most }, (_, index) => index),
        (index) => submit(connection, index)
      )
      const error = yield* Effect.flip(connection.request(PeerSubmit, submitOf(0), TIMEOUT))
      assert.strictEqual(summary(error), "Overloaded definite")
      yield* settled
      assert.lengthOf(handlers.started, limits.peerRequestsInFlight)
      handlers.started[0]!.answer()
      yield* settled
      assert.lengthOf(handlers.started, limits.peerRequestsInFlight + 1)
      for (let index = 1; index < most; index++) {
        if (handlers.started[index] === undefined) yield* settled
        handlers.started[index]!.answer()
      }
      const answers = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(
        answers.map(({ seq }) => seq),
        fibers.map((_, index) => index)
      )
    })
  )

  it.effect("the server pauses the socket of a client that sends more, and reads on when it has answered", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { network, port } = yield* connectedInMemory(handlers)
      const greedy = yield* Effect.provide(
        connectClient({
          host: "127.0.0.1",
          port,
          clientId: "greedy",
          bounds: {
            requestsInFlight: 10_000,
            requestsQueued: 10_000,
            requestBytesMax: limits.peerFrameBytesMax,
            answerBytesMax: limits.peerFrameBytesMax
          }
        }),
        network.layer
      )
      yield* greedy.request(PeerHello, 0, { clusterId: CLUSTER, ...CLIENT, secret: null })
      const count = limits.peerRequestsInFlight + 50
      const fibers = yield* Effect.forEach(
        Array.from({ length: count }, (_, index) => index),
        (index) => Effect.forkChild(greedy.request(PeerSubmit, 0, submitOf(index)), { startImmediately: true })
      )
      yield* settled
      assert.lengthOf(handlers.started, limits.peerRequestsInFlight)
      assert.isTrue(network.last.isPaused)
      handlers.started[0]!.answer()
      yield* settled
      assert.lengthOf(handlers.started, limits.peerRequestsInFlight + 1)
      for (let index = 1; index < count; index++) {
        if (handlers.started[index] === undefined) yield* settled
        handlers.started[index]!.answer()
      }
      for (const fiber of fibers) yield* Fiber.join(fiber)
      assert.isFalse(network.last.isPaused)
    })
  )
})

describe("a connection that is lost", () => {
  it.effect("fails what was sent as indefinite and what was not as definite, and is told once", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection, pair } = yield* connectedInMemory(handlers)
      const told: Array<string> = []
      connection.onClosed((error) => told.push(summary(error)))
      const forgotten = connection.onClosed(() => told.push("never"))
      forgotten()
      const sent = yield* submit(connection, 1)
      pair.fillClientSocket(true)
      const lastSent = yield* submit(connection, 2)
      const unsent = yield* submit(connection, 3)
      yield* settled
      assert.lengthOf(handlers.started, 2)
      const closed = yield* Deferred.make<void>()
      handlers.started[0]!.from.onClose(() => Deferred.doneUnsafe(closed, Effect.void))
      pair.end()
      assert.strictEqual(yield* errorOf(sent), "Closed indefinite")
      assert.strictEqual(yield* errorOf(lastSent), "Closed indefinite")
      assert.strictEqual(yield* errorOf(unsent), "Closed definite")
      assert.isTrue(connection.closed)
      assert.deepStrictEqual(told, ["Closed definite"])
      connection.onClosed(() => told.push("at once"))
      assert.deepStrictEqual(told, ["Closed definite", "at once"])
      assert.strictEqual(yield* errorOf(yield* submit(connection, 4)), "Closed definite")
      yield* Deferred.await(closed)
      yield* settled
      assert.deepStrictEqual(handlers.interrupted, [1, 2])
      let late = 0
      handlers.started[0]!.from.onClose(() => late++)
      assert.strictEqual(late, 1, "who comes too late is told at once")
    })
  )

  it.effect("ends with its scope", () =>
    Effect.gen(function* () {
      const network = new MemoryNetwork()
      const handlers = new HeldHandlers()
      const port = yield* Effect.provide(listenOnLoopback(handlers), network.layer)
      const scope = yield* Scope.make()
      const connection = yield* connect(to(port)).pipe(Effect.provide(network.layer), Scope.provide(scope))
      const pending = yield* submit(connection, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* errorOf(pending), "Closed indefinite")
      assert.isTrue(network.last.isClosed)
    })
  )
})

describe("time", () => {
  it.effect("a short deadline behind a long one fails alone", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection, pair } = yield* connectedInMemory(handlers)
      const long = yield* submit(connection, 1, 10_000)
      const ping = yield* Effect.forkChild(connection.request(PeerPing, { shard: 0 }, { timeoutMs: 500 }), {
        startImmediately: true
      })
      yield* settled
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* errorOf(ping), "TimedOut indefinite")
      assert.isFalse(pair.isClosed)
      handlers.started[0]!.answer()
      assert.strictEqual((yield* Fiber.join(long)).seq, 1)
      yield* settled
      assert.deepStrictEqual(
        yield* connection.request(PeerPing, { shard: 0 }, TIMEOUT),
        PING_ANSWER,
        "not the old one's"
      )
    })
  )

  it.effect("a deadline that passes while others are answered costs nobody else anything", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection, pair } = yield* connectedInMemory(handlers)
      const first = yield* submit(connection, 1, 1_000)
      const second = yield* submit(connection, 2, 1_000)
      yield* settled
      yield* TestClock.adjust(900)
      handlers.started[0]!.answer()
      yield* Fiber.join(first)
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* errorOf(second), "TimedOut indefinite")
      assert.isFalse(pair.isClosed, "an answer came in its time")
    })
  )

  it.effect("a connection without any answer in a request's time is closed when nobody in front waits either", () =>
    Effect.gen(function* () {
      const { connection, pair } = yield* connectedInMemory(new HeldHandlers())
      pair.holdAnswers(true)
      const ping = yield* Effect.forkChild(connection.request(PeerPing, { shard: 0 }, { timeoutMs: 500 }), {
        startImmediately: true
      })
      const behind = yield* submit(connection, 2, 10_000)
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* errorOf(ping), "TimedOut indefinite")
      assert.strictEqual(yield* errorOf(behind), "Closed indefinite")
      assert.isTrue(pair.isClosed)
    })
  )

  it.effect("a request that was never sent surely took no effect", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection, pair } = yield* connectedInMemory(handlers)
      pair.fillClientSocket(true)
      const sent = yield* submit(connection, 1, 10_000)
      const unsent = yield* submit(connection, 2, 500)
      yield* settled
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* errorOf(unsent), "TimedOut definite")
      pair.fillClientSocket(false)
      yield* settled
      assert.deepStrictEqual(handlers.order, ["submit 1"])
      handlers.started[0]!.answer()
      yield* Fiber.join(sent)
    })
  )

  it.effect("a caller that goes away leaves the others their answers", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const { connection } = yield* connectedInMemory(handlers)
      const gone = yield* submit(connection, 1)
      const stays = yield* submit(connection, 2)
      yield* settled
      yield* Fiber.interrupt(gone)
      handlers.started[0]!.answer()
      handlers.started[1]!.answer()
      assert.strictEqual((yield* Fiber.join(stays)).seq, 2)
    })
  )
})
