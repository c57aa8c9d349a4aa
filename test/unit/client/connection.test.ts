/**
 * Goal: each request gets its own answer or an error that says whether it may have taken effect, within bounds,
 * whatever the other side does. Method: a scripted server in memory that answers when the test says so, with a test
 * clock; at the end one server on the loopback for the real connector.
 */
import { createServer, type AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as tcp from "#backends/network/tcp-connector.ts"
import { type ClientError } from "#core/client/client-error.ts"
import { type Connection, connect } from "#core/client/connection.ts"
import { limits } from "#core/model/limits.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { DescribeCluster } from "#core/protocol/api/60-describe-cluster.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { decodeRequest, encodeResponse } from "#core/protocol/frame.ts"
import { advertisedVersions } from "#core/protocol/registry.ts"
import { api } from "#core/protocol/schema.ts"
import { ScriptedServer } from "./scripted-server.ts"

const OPTIONS = { host: "test", port: 1, clientId: "tester" }
const ASK = { transactionalId: null, transactionTimeoutMs: 1 }
const PRODUCE = { acks: 0, timeoutMs: 1, topicData: [] }

/** A connected client and its server. */
const connected = Effect.gen(function* () {
  const server = new ScriptedServer()
  const fiber = yield* Effect.forkChild(Effect.provide(connect(OPTIONS), server.layer), { startImmediately: true })
  server.answerVersions()
  return { server, connection: yield* Fiber.join(fiber) }
})

const ask = (connection: Connection) =>
  Effect.forkChild(connection.request(InitProducerId, 4, ASK), { startImmediately: true })

const answer = (server: ScriptedServer, producerId: number): void =>
  server.answer(InitProducerId, { errorCode: 0, producerEpoch: 0, producerId })

const errorOf = <A>(fiber: Fiber.Fiber<A, ClientError>) => Effect.flip(Fiber.join(fiber))
const summary = ({ reason, outcome }: ClientError): string => `${reason} ${outcome}`

describe("faults of the other side", () => {
  const faults: ReadonlyArray<readonly [string, string, (server: ScriptedServer) => void]> = [
    ["hangs up", "Closed", (server) => server.destroy()],
    ["announces a frame that is too long", "Malformed", (server) => server.receive(Buffer.from("7fffffff", "hex"))],
    ["announces a negative length", "Malformed", (server) => server.receive(Buffer.from("80000000", "hex"))],
    [
      "announces a frame too short for an answer",
      "Malformed",
      (server) => server.receive(Buffer.from("00000003", "hex"))
    ],
    [
      "answers with a body that cannot be decoded",
      "Malformed",
      (server) => {
        const bytes = server.answerTo(InitProducerId, { errorCode: 0, producerEpoch: 0 })
        bytes[bytes.length - 1] = 5
        server.receive(bytes)
      }
    ],
    [
      "answers another request first",
      "Malformed",
      (server) => {
        server.requests.shift()
        answer(server, 1)
      }
    ]
  ]
  for (const [what, reason, commit] of faults) {
    it.effect(`a server that ${what} ends the connection with everything under way`, () =>
      Effect.gen(function* () {
        const { server, connection } = yield* connected
        const sent: Array<Fiber.Fiber<unknown, ClientError>> = []
        for (let index = 0; index < limits.clientRequestsInFlight + 1; index++) sent.push(yield* ask(connection))
        const queued = sent.pop()!
        commit(server)
        assert.isTrue(server.isDestroyed)
        assert.equal(summary(yield* errorOf(sent[0]!)), `${reason} indefinite`)
        for (const fiber of sent.slice(1)) assert.equal(summary(yield* errorOf(fiber)), "Closed indefinite")
        assert.equal(summary(yield* errorOf(queued)), "Closed definite")
        const late = yield* Effect.flip(connection.request(InitProducerId, 4, ASK))
        assert.equal(summary(late), "Closed definite")
        assert.include(late.message, reason)
      })
    )
  }

  it.effect("an answer that nobody asked for ends the connection", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      server.receive(Buffer.from("000000060000000700000000", "hex"))
      assert.isTrue(server.isDestroyed)
      assert.equal(summary(yield* Effect.flip(connection.request(InitProducerId, 4, ASK))), "Closed definite")
    })
  )

  it.effect("no answer in time ends the connection, for all that would come after it", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const first = yield* ask(connection)
      yield* TestClock.adjust(limits.clientRequestTimeoutMs - 1)
      const second = yield* ask(connection)
      assert.isFalse(server.isDestroyed)
      yield* TestClock.adjust(1)
      assert.equal(summary(yield* errorOf(first)), "TimedOut indefinite")
      assert.equal(summary(yield* errorOf(second)), "Closed indefinite")
      assert.isTrue(server.isDestroyed)
    })
  )

  it.effect("a request that waited for the socket all the time surely took no effect", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      server.isFull = true
      yield* ask(connection)
      answer(server, 1)
      const waiting = yield* ask(connection)
      yield* TestClock.adjust(limits.clientRequestTimeoutMs)
      assert.equal(summary(yield* errorOf(waiting)), "TimedOut definite")
    })
  )

  it.effect("a server that refuses every version of ApiVersions is told from one that is gone", () =>
    Effect.gen(function* () {
      const server = new ScriptedServer()
      const fiber = yield* Effect.forkChild(Effect.provide(connect(OPTIONS), server.layer), { startImmediately: true })
      const refusal = { errorCode: errorCodes.UNSUPPORTED_VERSION, apiKeys: [] }
      server.answer(ApiVersions, refusal, 0)
      yield* Effect.yieldNow
      server.answer(ApiVersions, refusal, 0)
      assert.equal(summary(yield* errorOf(fiber)), "UnsupportedVersion definite")
    })
  )
})

describe("mistakes of the caller", () => {
  it.effect("a body or a version that cannot be encoded is refused, and the connection goes on", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const bad = yield* Effect.flip(connection.request(InitProducerId, 4, { ...ASK, transactionTimeoutMs: 0.5 }))
      assert.equal(summary(bad), "Unencodable definite")
      const unknown = yield* Effect.flip(connection.request(InitProducerId, 9, ASK))
      assert.equal(summary(unknown), "UnsupportedVersion definite")
      const fiber = yield* ask(connection)
      answer(server, 5)
      assert.equal((yield* Fiber.join(fiber)).producerId, 5)
    })
  )

  it.effect("more requests than limits.clientRequestsQueued waiting are refused at once", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const all = limits.clientRequestsInFlight + limits.clientRequestsQueued
      for (let index = 0; index < all; index++) yield* ask(connection)
      assert.equal(server.requests.length, limits.clientRequestsInFlight)
      const error = yield* Effect.flip(connection.request(InitProducerId, 4, ASK))
      assert.equal(summary(error), "Overloaded definite")
      assert.isTrue(error.isRetryable)
    })
  )
})

describe("requests", () => {
  it.effect("are pipelined, and answered in order to those who asked", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const fibers = [yield* ask(connection), yield* ask(connection), yield* ask(connection)]
      assert.equal(server.requests.length, 3)
      assert.equal(new Set(server.requests.map(({ correlationId }) => correlationId)).size, 3)
      assert.deepInclude(server.requests[0], { apiKey: InitProducerId.key, apiVersion: 4, clientId: "tester" })
      for (const producerId of [7, 8, 9]) answer(server, producerId)
      const answers = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
      assert.deepStrictEqual(
        answers.map(({ producerId }) => producerId),
        [7, 8, 9]
      )
    })
  )

  it.effect("beyond limits.clientRequestsInFlight wait until an answer came", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      for (let index = 0; index < limits.clientRequestsInFlight + 2; index++) yield* ask(connection)
      assert.equal(server.requests.length, limits.clientRequestsInFlight)
      answer(server, 1)
      assert.equal(server.requests.length, limits.clientRequestsInFlight)
      assert.equal(server.requests.at(-1)!.correlationId, limits.clientRequestsInFlight + 1)
    })
  )

  it.effect("wait while the socket takes nothing", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      server.isFull = true
      yield* ask(connection)
      yield* ask(connection)
      assert.equal(server.requests.length, 1)
      server.drain()
      assert.equal(server.requests.length, 2)
    })
  )

  it.effect("whose callers have gone leave the others' answers alone", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const [gone, stays] = [yield* ask(connection), yield* ask(connection)]
      yield* Fiber.interrupt(gone)
      answer(server, 1)
      answer(server, 2)
      assert.equal((yield* Fiber.join(stays)).producerId, 2)
    })
  )

  it.effect("whose callers have gone before they were sent are never sent", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      server.isFull = true
      yield* ask(connection)
      const gone = yield* ask(connection)
      yield* Fiber.interrupt(gone)
      server.drain()
      assert.equal(server.requests.length, 1)
    })
  )

  it.effect("that are never answered end when they were sent, and shift nobody's answer", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      yield* connection.send(Produce, 9, PRODUCE)
      assert.equal(server.requests.shift()!.apiKey, Produce.key)
      const fiber = yield* ask(connection)
      answer(server, 3)
      assert.equal((yield* Fiber.join(fiber)).producerId, 3)
    })
  )

  it.effect("get their answers however the bytes are cut", () =>
    Effect.gen(function* () {
      const { server, connection } = yield* connected
      const fibers = [yield* ask(connection), yield* ask(connection)]
      const body = { errorCode: 0, producerEpoch: 0 }
      const bytes = Buffer.concat([
        server.answerTo(InitProducerId, { ...body, producerId: 1 }),
        server.answerTo(InitProducerId, { ...body, producerId: 2 })
      ])
      for (let at = 0; at < bytes.length; at++) server.receive(bytes.subarray(at, at + 1))
      assert.equal((yield* Fiber.join(fibers[0]!)).producerId, 1)
      assert.equal((yield* Fiber.join(fibers[1]!)).producerId, 2)
      const more = [yield* ask(connection), yield* ask(connection)]
      const together = [3, 4].map((producerId) => server.answerTo(InitProducerId, { ...body, producerId }))
      server.receive(Buffer.concat(together))
      assert.equal((yield* Fiber.join(more[1]!)).producerId, 4)
    })
  )

  it.effect("end with the scope", () =>
    Effect.gen(function* () {
      const server = new ScriptedServer()
      const scope = yield* Scope.make()
      const opening = connect(OPTIONS).pipe(Effect.provide(server.layer), Effect.provideService(Scope.Scope, scope))
      const fiber = yield* Effect.forkChild(opening, { startImmediately: true })
      server.answerVersions()
      const connection = yield* Fiber.join(fiber)
      const request = yield* ask(connection)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(server.isDestroyed)
      assert.equal(summary(yield* errorOf(request)), "Closed indefinite")
    })
  )
})

describe("versions", () => {
  it.effect("are what the server advertises, and the newest common one is chosen", () =>
    Effect.gen(function* () {
      const { connection } = yield* connected
      assert.equal(connection.apiVersions.size, advertisedVersions.length)
      assert.deepStrictEqual(connection.apiVersions.get(Produce.key), { min: 0, max: 13 })
      assert.equal(yield* connection.versionOf(Produce), 13)
      assert.equal(yield* connection.versionOf(Produce, 8), 8)
      assert.equal(summary(yield* Effect.flip(connection.versionOf(Produce, 2))), "UnsupportedVersion definite")
      const Foreign = api({ key: 77, name: "Foreign", versions: "0-1", flexible: "none", request: {}, response: {} })
      assert.equal(summary(yield* Effect.flip(connection.versionOf(Foreign))), "UnsupportedVersion definite")
    })
  )

  for (const [answered, expected] of [
    [[{ apiKey: 18, minVersion: 0, maxVersion: 2 }], 2],
    [[], 0]
  ] as const) {
    it.effect(`are asked for again as v${expected} when the server knows only older ones`, () =>
      Effect.gen(function* () {
        const server = new ScriptedServer()
        const fiber = yield* Effect.forkChild(Effect.provide(connect(OPTIONS), server.layer), {
          startImmediately: true
        })
        assert.equal(server.requests[0]!.apiVersion, ApiVersions.versionMax)
        server.answer(ApiVersions, { errorCode: errorCodes.UNSUPPORTED_VERSION, apiKeys: answered }, 0)
        yield* Effect.yieldNow
        assert.equal(server.requests[0]!.apiVersion, expected)
        server.answer(ApiVersions, { errorCode: 0, apiKeys: [{ apiKey: 0, minVersion: 3, maxVersion: 7 }] })
        assert.equal(yield* (yield* Fiber.join(fiber)).versionOf(Produce), 7)
      })
    )
  }
})

describe("over TCP", () => {
  /** Answers ApiVersions and DescribeCluster; calls back when a client has gone. */
  const listening = (onGone: () => void) =>
    Effect.acquireRelease(
      Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
        const server = createServer((socket) => {
          socket.on("data", (chunk) => {
            const { api: asked, apiVersion: version, correlationId } = decodeRequest(chunk.subarray(4))
            const body =
              asked.key === ApiVersions.key
                ? { errorCode: 0, apiKeys: advertisedVersions }
                : { errorCode: 0, clusterId: "c", brokers: [] }
            const encoded = encodeResponse({ api: asked as never, version, correlationId, body: body as never })
            socket.write(Buffer.concat(encoded.chunks))
          })
          socket.on("close", onGone)
          socket.on("error", () => socket.destroy())
        })
        server.listen(0, "127.0.0.1", () => {
          resume(Effect.succeed({ port: (server.address() as AddressInfo).port, close: () => void server.close() }))
        })
      }),
      (server) => Effect.sync(server.close)
    )

  it.live("a request is answered, and the connection ends with its scope", () =>
    Effect.gen(function* () {
      let gone: () => void = () => {}
      const isGone = new Promise<void>((resolve) => (gone = resolve))
      const { port } = yield* listening(() => gone())
      const answer = yield* Effect.gen(function* () {
        const connection = yield* connect({ host: "127.0.0.1", port, clientId: "tcp" })
        return yield* connection.request(DescribeCluster, 2, { includeClusterAuthorizedOperations: false })
      }).pipe(Effect.scoped, Effect.provide(tcp.layer))
      assert.equal(answer.clusterId, "c")
      yield* Effect.promise(() => isGone)
    })
  )

  it.live("a port on which nobody listens is told as such", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(listening(() => {}))
      const options = { host: "127.0.0.1", port, clientId: "tcp" }
      const error = yield* Effect.flip(Effect.provide(connect(options), Layer.fresh(tcp.layer)))
      assert.equal(summary(error), "Unreachable definite")
      assert.include(error.message, "Refused")
    })
  )
})
