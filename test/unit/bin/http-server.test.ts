/**
 * Goal: probes and scrapers get what they rely on, and nothing else is answered. Method: a real server on a free port of
 * the loopback, with readiness and metrics in the test's hand.
 */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { listen } from "../../../bin/http-server.ts"

const serve = (notReady: () => ReadonlyArray<string> = () => [], degraded?: () => ReadonlyArray<string>) =>
  Effect.map(
    listen({
      host: "127.0.0.1",
      port: 0,
      notReady,
      ...(degraded === undefined ? {} : { degraded }),
      serveMetrics: (_request, response) => response.end("meridian_ready 1\n")
    }),
    (port) => ({
      port,
      get: (path: string, method = "GET") =>
        Effect.promise(async () => {
          const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
          return { status: response.status, text: await response.text() }
        })
    })
  )

describe("HTTP port", () => {
  it.effect("refuses a port in use with the reason", () =>
    Effect.gen(function* () {
      const { port } = yield* serve()
      const options = { host: "127.0.0.1", port, notReady: () => [], serveMetrics: () => {} }
      assert.strictEqual((yield* Effect.flip(listen(options))).reason, "AddressInUse")
    })
  )

  it.effect("/ready follows readiness: 503 with the reasons, then 200, then 503 again", () =>
    Effect.gen(function* () {
      let reasons: ReadonlyArray<string> = ["the agent is starting"]
      const { get } = yield* serve(() => reasons)
      const before = yield* get("/ready")
      assert.strictEqual(before.status, 503)
      assert.deepStrictEqual(JSON.parse(before.text), { status: "not ready", reasons: ["the agent is starting"] })
      reasons = []
      assert.strictEqual((yield* get("/ready")).status, 200)
      reasons = ["the database has not answered for 9 s"]
      assert.strictEqual((yield* get("/ready?verbose=1")).status, 503)
    })
  )

  it.effect("/ready says in its 200 what is not well all the same, and nothing where all is well", () =>
    Effect.gen(function* () {
      let reasons: ReadonlyArray<string> = []
      let degraded: ReadonlyArray<string> = []
      const { get } = yield* serve(
        () => reasons,
        () => degraded
      )
      assert.deepStrictEqual(JSON.parse((yield* get("/ready")).text), { status: "ready" })
      degraded = ["bucket us-west-2 does not take writes"]
      const answer = yield* get("/ready")
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual(JSON.parse(answer.text), { status: "ready", degraded })
      reasons = ["no"]
      assert.strictEqual((yield* get("/ready")).status, 503)
    })
  )

  it.effect("/live is 200 also while the agent is not ready", () =>
    Effect.gen(function* () {
      const { get } = yield* serve(() => ["no"])
      assert.strictEqual((yield* get("/live")).status, 200)
    })
  )

  it.effect("/metrics gives the exporter's text", () =>
    Effect.gen(function* () {
      const { get } = yield* serve()
      assert.deepStrictEqual(yield* get("/metrics"), { status: 200, text: "meridian_ready 1\n" })
    })
  )

  it.effect("other paths are 404 and other methods 405", () =>
    Effect.gen(function* () {
      const { get } = yield* serve()
      for (const path of ["/", "/live/", "/../etc/passwd", "//", "/metricsx"]) {
        assert.strictEqual((yield* get(path)).status, 404, path)
      }
      assert.strictEqual((yield* get("/live", "POST")).status, 405)
      assert.strictEqual((yield* get("/live", "HEAD")).status, 200)
    })
  )

  it.effect("a header beyond the bound ends the connection with an error", () =>
    Effect.gen(function* () {
      const { port } = yield* serve()
      const answer = yield* Effect.promise(
        () =>
          new Promise<string>((resolve) => {
            let text = ""
            const socket = connect(port, "127.0.0.1", () => {
              socket.write(`GET /live HTTP/1.1\r\nhost: x\r\nx: ${"a".repeat(limits.httpHeaderBytesMax)}\r\n\r\n`)
            })
            socket.on("data", (chunk) => (text += chunk.toString()))
            socket.on("error", () => {})
            socket.on("close", () => resolve(text))
          })
      )
      assert.match(answer, /^HTTP\/1\.1 431 /)
    })
  )
})
