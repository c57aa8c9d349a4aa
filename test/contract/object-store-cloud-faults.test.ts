/**
 * What a caller of the port sees when a cloud's store misbehaves: on the wire, in its answers, or in what it is told.
 *
 * Method: the adapters on the project's fakes with a plan of faults; what really happened is asked of the fake's own
 * objects and of the requests that it saw. Both clouds go through the same cases, with what differs in a table.
 */
import { createServer, type Socket } from "node:net"
import { type AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Scope, Exit } from "effect"
import * as azure from "#backends/object/azure.ts"
import * as gcs from "#backends/object/gcs.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { startAzureFake } from "../peers/object-stores/azure-fake.ts"
import { startGcsFake } from "../peers/object-stores/gcs-fake.ts"
import { type FakeObjects, type HttpFake } from "../peers/object-stores/http-fake.ts"
import { assertReason } from "./object-store.contract.ts"

const KEY = Buffer.alloc(64, 5).toString("base64")
const TOKEN = "s3cret-t0ken"
const BODY = [Buffer.from("0123456789"), Buffer.alloc(200_000, 1)]
const BODY_BYTES = 200_010
/** For calls that hang; all others have the product's time, since machines that test are busy. */
const HASTY_MS = 700
const CONNECT_MS = 300

interface Opened {
  readonly store: ObjectStore
  readonly http: HttpFake
  readonly objects: FakeObjects
  readonly setThere: (isThere: boolean) => void
}

interface Cloud {
  readonly name: "gcs" | "azure"
  readonly open: (requestMs?: number) => Effect.Effect<Opened, ObjectStoreError, Scope.Scope>
  /** At any address; the path of Azure's account is added. */
  readonly openAt: (endpoint: string, requestMs?: number) => Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope>
  /** What a body that was changed on its way is answered with. */
  readonly changedBody: ObjectStoreError["reason"]
  /** How a taken key is told. */
  readonly taken: { readonly status: number; readonly code: string }
  readonly permission: RegExp
  readonly missing: RegExp
}

const gcsAt = (endpoint: string, requestMs?: number) =>
  gcs.make({
    bucket: "test",
    location: { kind: "gcs", bucket: "segments", prefix: "p/", endpoint },
    authorize: () => Promise.resolve({ authorization: `Bearer ${TOKEN}` }),
    ...(requestMs === undefined ? {} : { requestMs, connectMs: CONNECT_MS }),
    bucketSeenMs: -1
  })

const azureAt = (
  endpoint: string,
  requestMs?: number,
  environment: azure.AzureStoreOptions["environment"] = { AZURE_STORAGE_KEY: KEY }
) =>
  azure.make({
    bucket: "test",
    location: { kind: "azure", account: "acct", container: "segments", prefix: "p/", endpoint },
    environment,
    ...(requestMs === undefined ? {} : { requestMs, connectMs: CONNECT_MS })
  })

const gcsFake = Effect.acquireRelease(
  Effect.promise(() => startGcsFake({ bucket: "segments", token: TOKEN })),
  ({ http }) => Effect.promise(() => http.close())
)

const azureFake = Effect.acquireRelease(
  Effect.promise(() => startAzureFake({ account: "acct", container: "segments" })),
  ({ http }) => Effect.promise(() => http.close())
)

const CLOUDS: ReadonlyArray<Cloud> = [
  {
    name: "gcs",
    open: Effect.fnUntraced(function* (requestMs?: number) {
      const fake = yield* gcsFake
      const { http, objects } = fake
      return {
        store: yield* gcsAt(fake.url, requestMs),
        http,
        objects,
        setThere: (isThere) => void (fake.isBucketThere = isThere)
      }
    }),
    openAt: gcsAt,
    changedBody: "InvalidRequest",
    taken: { status: 412, code: "conditionNotMet" },
    permission: /storage\.objects\.create on bucket segments/,
    missing: /make the bucket segments/
  },
  {
    name: "azure",
    open: Effect.fnUntraced(function* (requestMs?: number) {
      const fake = yield* azureFake
      const { http, objects } = fake
      return {
        store: yield* azureAt(fake.url, requestMs),
        http,
        objects,
        setThere: (isThere) => void (fake.isContainerThere = isThere)
      }
    }),
    openAt: azureAt,
    changedBody: "Corrupt",
    taken: { status: 409, code: "BlobAlreadyExists" },
    permission: /role "Storage Blob Data Contributor"/,
    missing: /make the container segments in account acct/
  }
]

const textOf = (error: unknown): string => (error as { readonly cause: Error }).cause.message

/** Requests for objects: not those of opening. */
const asked = (http: HttpFake, operation: string) => http.seen.filter((request) => request.operation === operation)

for (const cloud of CLOUDS) {
  describe(`${cloud.name}: puts`, () => {
    for (const when of ["before", "after"] as const) {
      it.effect(`that are answered with 503 ${when} their work are indefinite, and not tried again`, () =>
        Effect.gen(function* () {
          const { store, http, objects } = yield* cloud.open()
          http.add({ operation: "put", fault: { kind: "status", when, status: 503, code: "ServerBusy" } })
          const error = yield* Effect.flip(store.put("k", BODY))
          assertReason(error, "Unavailable", "indefinite")
          assert.isTrue(error.isRetryable)
          assert.strictEqual(objects.get("p/k") !== undefined, when === "after")
          assert.strictEqual(asked(http, "put").length, 1)
        })
      )
    }

    it.effect("that are throttled with 429 changed nothing", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "status", when: "before", status: 429, code: "TooManyRequests" } })
        const error = yield* Effect.flip(store.put("k", BODY))
        assertReason(error, "Unavailable", "definite")
        assert.match(textOf(error), /fewer requests/)
      })
    )

    it.effect("that are forbidden name the permission that is missing", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({
          operation: "put",
          fault: { kind: "status", when: "before", status: 403, code: "AuthorizationPermissionMismatch" }
        })
        const error = yield* Effect.flip(store.put("k", BODY))
        assertReason(error, "AccessDenied", "definite")
        assert.isFalse(error.isRetryable)
        assert.match(textOf(error), cloud.permission)
      })
    )

    for (const when of ["head", "body"] as const) {
      it.effect(`whose connection is cut at the ${when} of the request are indefinite`, () =>
        Effect.gen(function* () {
          const { store, http, objects } = yield* cloud.open()
          http.add({ operation: "put", times: 1, fault: { kind: "cut", when } })
          assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "indefinite")
          assert.isUndefined(objects.get("p/k"))
          yield* store.put("k", BODY)
        })
      )
    }

    it.effect("whose answer is lost are indefinite, and AlreadyExists when they come again", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", times: 1, fault: { kind: "cut", when: "after" } })
        assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "indefinite")
        assertReason(yield* Effect.flip(store.put("k", BODY)), "AlreadyExists", "definite")
        assert.strictEqual((yield* store.head("k")).objectBytes, BODY_BYTES)
      })
    )

    for (const when of ["before", "after"] as const) {
      it.effect(`that hang ${when} their work end in time, indefinite, and hold no connection`, () =>
        Effect.gen(function* () {
          const { store, http } = yield* cloud.open(HASTY_MS)
          http.add({ operation: "put", fault: { kind: "hang", when } })
          const error = yield* Effect.flip(store.put("k", BODY))
          assertReason(error, "TimedOut", "indefinite")
          yield* socketsClosed(http)
        })
      )
    }

    it.effect("whose bytes change on the way do not come to be", () =>
      Effect.gen(function* () {
        const { store, http, objects } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "corrupt-request", byteIndex: 100_000 } })
        assertReason(yield* Effect.flip(store.put("k", BODY)), cloud.changedBody, "definite")
        assert.isUndefined(objects.get("p/k"))
      })
    )

    it.effect(
      "that are refused before their body was read are AlreadyExists, or indefinite where the reset came first",
      () =>
        Effect.gen(function* () {
          const { store, http } = yield* cloud.open()
          const remove = http.add({ operation: "put", fault: { kind: "early", ...cloud.taken } })
          const body = Buffer.alloc(4 * 1024 * 1024)
          for (let round = 0; round < 20; round++) {
            const error = yield* Effect.flip(store.put("k", [body]))
            if (error.reason === "AlreadyExists") assertReason(error, "AlreadyExists", "definite")
            else assertReason(error, "Unavailable", "indefinite")
          }
          remove()
          yield* store.put("k", [body])
        })
    )

    it.effect("that are interrupted let go of their connection at once", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "hang", when: "before" } })
        const fiber = yield* Effect.forkChild(store.put("k", BODY))
        yield* until(() => asked(http, "put").length === 1)
        yield* Fiber.interrupt(fiber)
        yield* socketsClosed(http)
      })
    )

    it.effect("that are answered with what no store would say are not believed", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "nonsense", body: "<html>hello</html>" } })
        const error = yield* Effect.flip(store.put("k", BODY))
        assert.strictEqual(error.outcome, "indefinite")
      })
    )
  })

  describe(`${cloud.name}: reads`, () => {
    for (const range of [undefined, { offset: 5, length: 100_000 }]) {
      const what = range === undefined ? "whole objects" : "ranges"
      it.effect(`of ${what} whose answer ends too early are Corrupt`, () =>
        Effect.gen(function* () {
          const { store, http } = yield* cloud.open()
          yield* store.put("k", BODY)
          http.add({ operation: "get", times: 1, fault: { kind: "truncate", bytes: 70_000 } })
          assertReason(yield* Effect.flip(store.get("k", range)), "Corrupt", "definite")
          assert.strictEqual((yield* store.get("k", range)).objectBytes, BODY_BYTES)
        })
      )
    }

    it.effect("of ranges that are answered with fewer bytes than the answer's own range are Corrupt", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        yield* store.put("k", BODY)
        http.add({ operation: "get", fault: { kind: "shorten", bytes: 10 } })
        assertReason(yield* Effect.flip(store.get("k", { offset: 5, length: 20 })), "Corrupt")
      })
    )

    it.effect("are definite whatever fails, and come through when the answer is only slow", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open(HASTY_MS)
        yield* store.put("k", BODY)
        const faults = [
          [{ kind: "cut", when: "head" }, "Unavailable"],
          [{ kind: "cut", when: "after" }, "Unavailable"],
          [{ kind: "hang", when: "before" }, "TimedOut"],
          [{ kind: "status", when: "before", status: 500 }, "Unavailable"],
          [{ kind: "status", when: "before", status: 503, code: "ServerBusy" }, "Unavailable"],
          [{ kind: "status", when: "before", status: 403 }, "AccessDenied"]
        ] as const
        for (const [fault, reason] of faults) {
          http.add({ operation: "get", times: 1, fault })
          http.add({ operation: "head", times: 1, fault })
          http.add({ operation: "list", times: 1, fault })
          assertReason(yield* Effect.flip(store.get("k")), reason, "definite")
          assertReason(yield* Effect.flip(store.head("k")), reason, "definite")
          assertReason(yield* Effect.flip(store.list({ prefix: "", limit: 5 })), reason, "definite")
        }
        http.add({ operation: "get", fault: { kind: "slow", pieces: 20, pauseMs: 5 } })
        assert.isTrue(Buffer.concat(BODY).equals((yield* store.get("k")).bytes))
      })
    )

    it.effect("of lists that are no lists fail", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "list", fault: { kind: "nonsense", body: "<html>hello" } })
        assertReason(yield* Effect.flip(store.list({ prefix: "", limit: 5 })), "Unavailable")
      })
    )
  })

  describe(`${cloud.name}: deletes`, () => {
    it.effect("that fail for one key name it, and are indefinite where others may be gone", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        for (const key of ["a", "b", "c"]) yield* store.put(key, BODY)
        http.add({
          operation: "delete",
          keyPrefix: "p/b",
          fault: { kind: "status", when: "before", status: 403, code: "forbidden" }
        })
        const error = yield* Effect.flip(store.deleteMany(["a", "b", "c"]))
        assertReason(error, "AccessDenied", "indefinite")
        assert.strictEqual(error.key, "b")
        yield* store.head("b")
        assertReason(yield* Effect.flip(store.deleteMany(["b"])), "AccessDenied", "definite")
      })
    )

    it.effect("go on at most so many at a time, and their lost answers are indefinite", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        const keys = Array.from({ length: 100 }, (_, index) => `d/${index}`)
        yield* Effect.forEach(keys, (key) => store.put(key, []), { concurrency: 4 })
        http.add({ operation: "delete", fault: { kind: "delay", ms: 2 } })
        yield* store.deleteMany(keys)
        assert.isAtMost(http.socketsMax, limits.cloudDeletesRunning)
        assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 5 }), [])
        http.add({ operation: "delete", fault: { kind: "cut", when: "after" } })
        assertReason(yield* Effect.flip(store.deleteMany(["x"])), "Unavailable", "indefinite")
      })
    )
  })

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

    it.effect("takes a bounded number of calls over a bounded number of sockets", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open(HASTY_MS)
        http.add({ operation: "head", fault: { kind: "hang", when: "before" } })
        const fibers = yield* Effect.forEach(Array.from({ length: limits.cloudCallsPerBucket }), () =>
          Effect.forkChild(Effect.result(store.head("k")), { startImmediately: true })
        )
        yield* until(() => asked(http, "head").length === limits.cloudSocketsPerBucket)
        const error = yield* Effect.flip(store.head("k"))
        assertReason(error, "Unavailable", "definite")
        assert.match(textOf(error), /calls are under way/)
        for (const fiber of fibers) {
          const result = yield* Fiber.join(fiber)
          assert.isTrue(Result.isFailure(result) && result.failure.reason === "TimedOut")
        }
        assert.isAtMost(http.socketsMax, limits.cloudSocketsPerBucket)
        yield* store.put("k", BODY)
      })
    )

    it.effect("ends what is under way, and what waits, with its scope", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { store, http } = yield* Scope.provide(cloud.open(), scope)
        http.add({ operation: "head", fault: { kind: "hang", when: "before" } })
        const count = limits.cloudSocketsPerBucket + 10
        const fibers = yield* Effect.forEach(Array.from({ length: count }), () =>
          Effect.forkChild(Effect.flip(store.head("k")), { startImmediately: true })
        )
        yield* until(() => asked(http, "head").length === limits.cloudSocketsPerBucket)
        yield* Scope.close(scope, Exit.void)
        for (const fiber of fibers) assertReason(yield* Fiber.join(fiber), "Unavailable", "definite")
        assert.strictEqual(asked(http, "head").length, limits.cloudSocketsPerBucket)
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
      assertReason(error, "InvalidRequest")
      assert.match(textOf(error), /hierarchical namespace/)
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

/** Polls what happens on sockets, which no effect waits for; bounded by the test's own time. */
const until = Effect.fnUntraced(function* (condition: () => boolean) {
  while (!condition()) yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
})

const socketsClosed = (http: HttpFake) => until(() => http.openSockets === 0)

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
