/**
 * What a caller of the port sees when a cloud's store as a whole is not what it should be: gone, without its bucket, crowded,
 * closed, wrongly set up, or with a clock of its own.
 *
 * Method: as in object-store-cloud-faults.test.ts.
 */
import { type AddressInfo, createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Result, Scope } from "effect"
import * as gcs from "#backends/object/gcs.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStoreError } from "#core/ports/object-store.ts"
import { startAzureFake } from "../peers/object-stores/azure-fake.ts"
import {
  asked,
  azureAt,
  BODY,
  CLOUDS,
  gcsFake,
  HASTY_MS,
  KEY,
  socketsClosed,
  textOf,
  TOKEN,
  until
} from "./object-store-clouds.ts"
import { assertReason } from "./object-store-expectations.ts"

for (const cloud of CLOUDS) {
  describe(`${cloud.name}: the whole store`, () => {
    it.effect("that lost its bucket says of no key that it is missing", () =>
      Effect.gen(function* () {
        const { store, setThere } = yield* cloud.open()
        yield* store.put("k", BODY)
        setThere(false)
        for (const call of [store.put("n", BODY), store.get("k"), store.head("k"), store.deleteMany(["k"])]) {
          const error = yield* Effect.flip<unknown, ObjectStoreError, never>(call)
          assertReason(error, "Unavailable")
          assert.match(textOf(error), cloud.missing)
        }
        assert.match(textOf(yield* Effect.flip(store.list({ prefix: "", limit: 1 }))), cloud.missing)
        setThere(true)
        assertReason(yield* Effect.flip(store.head("other")), "NotFound")
      })
    )

    it.effect(
      "that could not be opened, or was given up, leaves nothing: it is tried again and again in one scope",
      () =>
        Effect.gen(function* () {
          const { http, url, setThere } = yield* cloud.open()
          yield* until(() => http.openSockets === 1)
          setThere(false)
          for (let attempt = 0; attempt < 5; attempt++) yield* Effect.flip(cloud.openAt(url))
          http.add({ operation: "list", fault: { kind: "hang", when: "before" } })
          const before = asked(http, "list").length
          const fiber = yield* Effect.forkChild(Effect.result(cloud.openAt(url)), { startImmediately: true })
          yield* until(() => asked(http, "list").length > before)
          yield* Fiber.interrupt(fiber)
          // The first store's own is left.
          yield* until(() => http.openSockets === 1)
        })
    )

    it.effect("takes a bounded number of calls over a bounded number of sockets", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open(HASTY_MS)
        http.add({ operation: "head", fault: { kind: "hang", when: "before" } })
        const fibers = yield* Effect.forEach(Array.from({ length: limits.cloudCallsPerBucket }), () =>
          Effect.forkChild(Effect.result(store.head("k")), { startImmediately: true })
        )
        yield* until(() => asked(http, "head").length === limits.storeSocketsMax)
        const error = yield* Effect.flip(store.head("k"))
        assertReason(error, "Unavailable", "definite")
        assert.match(textOf(error), /calls are under way/)
        for (const fiber of fibers) {
          const result = yield* Fiber.join(fiber)
          assert.isTrue(Result.isFailure(result) && result.failure.reason === "TimedOut")
        }
        assert.isAtMost(http.socketsMax, limits.storeSocketsMax)
        yield* store.put("k", BODY)
      })
    )

    it.effect("ends what is under way, and what waits, with its scope", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { store, http } = yield* Scope.provide(cloud.open(), scope)
        http.add({ operation: "head", fault: { kind: "hang", when: "before" } })
        const count = limits.storeSocketsMax + 10
        const fibers = yield* Effect.forEach(Array.from({ length: count }), () =>
          Effect.forkChild(Effect.flip(store.head("k")), { startImmediately: true })
        )
        yield* until(() => asked(http, "head").length === limits.storeSocketsMax)
        yield* Scope.close(scope, Exit.void)
        for (const fiber of fibers) assertReason(yield* Fiber.join(fiber), "Unavailable", "definite")
        assert.strictEqual(asked(http, "head").length, limits.storeSocketsMax)
      })
    )

    it.effect("answers nothing any more when its scope has ended", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { store, http } = yield* Scope.provide(cloud.open(), scope)
        yield* store.put("k", BODY)
        yield* Scope.close(scope, Exit.void)
        assertReason(yield* Effect.flip(store.get("k")), "Unavailable")
        yield* socketsClosed(http)
      })
    )

    it.effect("says that this machine's clock is wrong where a signature is refused", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.clockSkewMs = -3_600_000
        http.add({ fault: { kind: "status", when: "before", status: 403, code: "AuthenticationFailed" } })
        const error = yield* Effect.flip(store.put("k", BODY))
        assertReason(error, "AccessDenied")
        assert.match(textOf(error), /clock is 360[01] s ahead of the store's/)
      })
    )

    it.effect("never shows its credentials in an error", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        const faults = [
          { kind: "status", when: "before", status: 403 },
          { kind: "cut", when: "head" },
          { kind: "nonsense", body: "x" }
        ] as const
        for (const fault of faults) {
          http.add({ times: 1, fault })
          const error = yield* Effect.flip(store.list({ prefix: "", limit: 5 }))
          const shown = `${String(error)} ${JSON.stringify(error)} ${(error.cause as Error).stack}`
          assert.notInclude(shown, TOKEN)
          assert.notInclude(shown, KEY)
          assert.notMatch(shown, /Bearer|SharedKey|sig=/)
        }
      })
    )

    it.effect("where nobody listens cannot be opened, and says so", () =>
      Effect.gen(function* () {
        const port = yield* closedPort
        const error = yield* Effect.flip(cloud.openAt(`http://127.0.0.1:${port}`))
        assertReason(error, "Unavailable")
        assert.match(textOf(error), /nobody listens there/)
      })
    )

    it.effect("that does not finish a TLS handshake is given up, and nothing was sent", () =>
      Effect.gen(function* () {
        const port = yield* silentPort
        const error = yield* Effect.flip(cloud.openAt(`https://127.0.0.1:${port}`, HASTY_MS))
        assertReason(error, "Unavailable")
        assert.match(textOf(error), /no connection in 300 ms/)
      })
    )

    it.effect("that speaks no TLS is told as that", () =>
      Effect.gen(function* () {
        const { url } = yield* gcsFake
        const error = yield* Effect.flip(cloud.openAt(url.replace("http:", "https:")))
        assertReason(error, "Unavailable")
        assert.match(textOf(error), /TLS failed/)
      })
    )
  })
}

describe("gcs alone", () => {
  it.effect("finds changed bytes of whole objects by Google's CRC-32C", () =>
    Effect.gen(function* () {
      const { store, http } = yield* CLOUDS[0]!.open()
      yield* store.put("k", BODY)
      http.add({ operation: "get", times: 1, fault: { kind: "corrupt", byteIndex: 77 } })
      assertReason(yield* Effect.flip(store.get("k")), "Corrupt")
      http.add({ operation: "get", times: 1, fault: { kind: "shorten", bytes: 77 } })
      assertReason(yield* Effect.flip(store.get("k")), "Corrupt")
      yield* store.get("k")
    })
  )

  it.effect("cannot be opened with a wrong token", () =>
    Effect.gen(function* () {
      const { url } = yield* gcsFake
      const location = { kind: "gcs", bucket: "segments", prefix: "", endpoint: url } as const
      assertReason(yield* Effect.flip(gcs.make({ bucket: "test", location })), "AccessDenied")
    })
  )

  for (const [what, location] of [
    ["a bucket's name that is none", { bucket: "Up/../x" }],
    ["a prefix without a slash at its end", { prefix: "p" }],
    ["a prefix that leaves the bucket", { prefix: "../" }],
    ["an endpoint that is no URL", { endpoint: "here" }],
    ["an endpoint with a path", { endpoint: "http://127.0.0.1:1/storage" }]
  ] as const) {
    it.effect(`refuses ${what}`, () =>
      Effect.gen(function* () {
        const whole = { kind: "gcs", bucket: "segments", prefix: "", ...location } as const
        assertReason(yield* Effect.flip(gcs.make({ bucket: "test", location: whole })), "InvalidRequest")
      })
    )
  }
})

describe("azure alone", () => {
  it.effect("refuses an account with a hierarchical namespace by the order of its lists", () =>
    Effect.gen(function* () {
      const fake = yield* Effect.acquireRelease(
        Effect.promise(() => startAzureFake({ account: "acct", container: "segments", isHierarchical: true })),
        ({ http }) => Effect.promise(() => http.close())
      )
      const store = yield* azureAt(fake.url)
      for (const key of ["a-b", "a/b"]) yield* store.put(key, BODY)
      const error = yield* Effect.flip(store.list({ prefix: "", limit: 5 }))
      assertReason(error, "Corrupt")
      assert.match(textOf(error), /Fix: use an account without hierarchical namespace/)
    })
  )

  it.effect("refuses to go without credentials, and says which there are", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(azureAt("http://127.0.0.1:1", HASTY_MS, {}))
      assertReason(error, "InvalidRequest")
      assert.match(textOf(error), /AZURE_STORAGE_KEY.*AZURE_STORAGE_SAS_TOKEN.*managed identity is not supported yet/)
    })
  )
})

const listening = (onConnection: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => undefined)
        onConnection(socket)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { server, sockets, port: (server.address() as AddressInfo).port }
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )

const silentPort = Effect.map(
  listening(() => undefined),
  ({ port }) => port
)

const closedPort = Effect.scoped(silentPort)
