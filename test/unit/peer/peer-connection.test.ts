/**
 * Goal: agents find each other by hello and by nothing else; requests keep their order, overlap, and end with an answer or
 * an error that says whether they may have taken effect. Method: listener and client over real TCP on the loopback, with
 * handlers that the test answers for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { limits } from "#core/model/limits.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { connect, type PeerConnectOptions } from "#core/peer/peer-connection.ts"
import {
  CLIENT,
  CLUSTER,
  HeldHandlers,
  listenOnLoopback,
  loopback,
  PING_ANSWER,
  SERVER,
  submitOf
} from "./peer-world.ts"

const TIMEOUT = { timeoutMs: limits.clientRequestTimeoutMs }

const to = (port: number, options: Partial<PeerConnectOptions> = {}): PeerConnectOptions => {
  return { host: "127.0.0.1", port, self: CLIENT, clusterId: CLUSTER, expected: SERVER, ...options }
}

describe("hello", () => {
  it.live("tells each side who the other is, and requests are answered from then on", () =>
    Effect.gen(function* () {
      const handlers = new HeldHandlers()
      const port = yield* listenOnLoopback(handlers)
      const connection = yield* connect(to(port))
      assert.deepStrictEqual(connection.peer, SERVER)
      assert.deepStrictEqual(yield* connection.request(PeerPing, { shard: 4 }, TIMEOUT), PING_ANSWER)
      const submit = yield* Effect.forkChild(connection.request(PeerSubmit, submitOf(5), TIMEOUT))
      yield* handlers.untilStarted(1)
      const { request, from, answer } = handlers.started[0]!
      assert.deepStrictEqual(from.peer, CLIENT)
      assert.strictEqual(request.command.toString(), "command")
      answer()
      assert.deepStrictEqual(yield* Fiber.join(submit), {
        errorCode: 0,
        errorMessage: null,
        seq: 5,
        answer: Buffer.from("5")
      })
    }).pipe(Effect.provide(loopback))
  )
})
