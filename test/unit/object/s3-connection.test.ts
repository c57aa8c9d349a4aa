/**
 * Goal: what is wrong with address, credentials, certificate, clock or session is told with its fix, and connections are
 * kept, bounded and given back. Method: the adapter on the fake over real HTTP and TLS.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { type AddressInfo, createServer as createPlainServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type * as s3 from "#backends/object/s3.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStoreError } from "#core/ports/object-store.ts"
import { assertError, BODY, open, openExpress, PLAIN, requested, startFake } from "./s3-fake-store.ts"

/** For 127.0.0.1, signed by itself. */
const certificate = (): { readonly key: string; readonly cert: string } => {
  const directory = mkdtempSync(join(tmpdir(), "meridian-tls-"))
  try {
    const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")]
    const flags = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    flags.push("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert)
    execFileSync("openssl", flags, { stdio: "pipe" })
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

describe("opening", () => {
  const refused: ReadonlyArray<
    readonly [what: string, location: Partial<s3.S3BucketLocation>, reason: ObjectStoreError["reason"], fix: RegExp]
  > = [
    [
      "a bucket that is not there",
      { bucket: "no-such-bucket" },
      "Unavailable",
      /NoSuchBucket.*make the bucket no-such-bucket/
    ],
    [
      "in the wrong region",
      { region: "eu-west-1" },
      "Unavailable",
      /write region=us-east-1 in its URL \(now eu-west-1\)/
    ],
    [
      "at a port where nothing listens",
      { endpoint: "http://127.0.0.1:1" },
      "Unavailable",
      /ECONNREFUSED.*nothing answers at http/
    ],
    [
      "at a name without address",
      { endpoint: "http://nowhere.invalid" },
      "Unavailable",
      /(ENOTFOUND|EAI_AGAIN).*no address/
    ]
  ]
  for (const [what, location, reason, fix] of refused) {
    it.effect(`${what}: ${reason}, with the fix`, () =>
      Effect.gen(function* () {
        const fake = yield* startFake()
        assertError(yield* Effect.flip(open(fake, location)), reason, "definite", fix)
      })
    )
  }

  it.effect(
    "with a wrong secret, an unknown key, a wrong clock, a bucket elsewhere, no permission: each with its fix",
    () =>
      Effect.gen(function* () {
        const fake = yield* startFake()
        const as = (accessKeyId: string, secretAccessKey: string) => ({
          endpoint: fake.endpoint,
          accessKeyId,
          secretAccessKey
        })
        const wrongSecret = yield* Effect.flip(open(as(fake.accessKeyId, "wrong")))
        assertError(wrongSecret, "AccessDenied", "definite", /SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY/)
        const wrongKey = yield* Effect.flip(open(as("AKNOBODY", "wrong")))
        assertError(wrongKey, "AccessDenied", "definite", /InvalidAccessKeyId.*not known/)
        assert.notInclude(`${wrongSecret.message} ${wrongKey.message}`, 'wrong"')
        fake.settings.elsewhere.set(PLAIN, "us-west-2")
        assertError(
          yield* Effect.flip(open(fake)),
          "Unavailable",
          "definite",
          /PermanentRedirect.*write region=us-west-2/
        )
        fake.settings.elsewhere.clear()
        fake.settings.isDenied = () => true
        assertError(yield* Effect.flip(open(fake)), "AccessDenied", "definite", /s3:GetObject.*s3:ListBucket/)
        fake.settings.isDenied = () => false
        fake.settings.clockAheadMs = 3_600_000
        assertError(yield* Effect.flip(open(fake)), "Unavailable", "definite", /RequestTimeTooSkewed.*clock/)
      })
  )

  it.effect("over TLS where the server has none: a connection's error that says so", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const error = yield* Effect.flip(open(fake, { endpoint: fake.endpoint.replace("http:", "https:") }))
      assertError(error, "Unavailable", "definite", /certificate|no answer of S3/)
    })
  )

  it.effect(
    "over TLS whose authority is not known: says which variable names it; known, bodies are not signed twice",
    () =>
      Effect.gen(function* () {
        const { key, cert } = certificate()
        const fake = yield* startFake({ tls: { key, cert } })
        const error = yield* Effect.flip(open(fake))
        assertError(error, "Unavailable", "definite", /DEPTH_ZERO_SELF_SIGNED_CERT.*NODE_EXTRA_CA_CERTS/)
        const before = getCACertificates("default")
        yield* Effect.acquireRelease(
          Effect.sync(() => setDefaultCACertificates([...before, cert])),
          () => Effect.sync(() => setDefaultCACertificates(before))
        )
        const store = yield* open(fake)
        yield* store.put("k", [BODY])
        assert.deepStrictEqual((yield* store.get("k")).bytes, BODY)
        const put = fake.requests.find(({ operation }) => operation === "put")
        assert.strictEqual(put?.payload, "UNSIGNED-PAYLOAD")
        fake.faults.add({ operation: "put", times: 1, fault: { kind: "corrupt-request", byteIndex: 5 } })
        assertError(yield* Effect.flip(store.put("damaged", [BODY])), "Unavailable", "definite", /BadDigest/)
        assert.isFalse(fake.objects(PLAIN).has("p/damaged"))
        fake.faults.add({ operation: "put", fault: { kind: "cut", when: "after" } })
        assertError(yield* Effect.flip(store.put("other", [BODY])), "Unavailable", "indefinite")
      })
  )

  it.effect("of a server that speaks no HTTP is Unavailable", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(
          () =>
            new Promise<ReturnType<typeof createPlainServer>>((resolve) => {
              const listening = createPlainServer(
                (socket) => void socket.on("error", () => {}).end("220 mail ready\r\n")
              )
              listening.listen(0, "127.0.0.1", () => resolve(listening))
            })
        ),
        (listening) => Effect.sync(() => listening.close())
      )
      const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const error = yield* Effect.flip(open({ endpoint, accessKeyId: "a", secretAccessKey: "b" }))
      assertError(error, "Unavailable", "definite", /no answer of S3/)
    })
  )
})

describe("a directory bucket's session", () => {
  it.effect("is made once for however many calls wait for it", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* openExpress(fake)
      yield* Effect.forEach(Array.from({ length: 20 }), (_, index) => store.put(`k${index}`, [BODY]), {
        concurrency: "unbounded"
      })
      assert.strictEqual(fake.requests.filter(({ operation }) => operation === "session").length, 1)
    })
  )

  it.effect("that the store does not know any more costs one retryable failure, then there is a new one", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* openExpress(fake)
      fake.forgetSessions()
      const error = yield* Effect.flip(store.put("k", [BODY]))
      assertError(error, "Unavailable", "definite", /new session/)
      assert.isTrue(error.isRetryable)
      yield* store.put("k", [BODY])
    })
  )

  it.effect("that cannot be had makes a put definite, and names the permission", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* openExpress(fake)
      fake.forgetSessions()
      yield* Effect.flip(store.put("k", [BODY]))
      fake.settings.isDenied = (operation) => operation === "session"
      const error = yield* Effect.flip(store.put("k", [BODY]))
      assertError(
        error,
        "AccessDenied",
        "definite",
        /CreateSession at s3:\/\/express--use1.*allow s3express:CreateSession/
      )
      fake.settings.isDenied = () => false
      fake.faults.add({ operation: "session", times: 1, fault: { kind: "cut", when: "before" } })
      assertError(yield* Effect.flip(store.put("k", [BODY])), "Unavailable", "definite")
      yield* store.put("k", [BODY])
    })
  )
})

describe("connections", () => {
  it.effect("are kept and bounded", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      const puts = (round: number) =>
        Effect.forEach(Array.from({ length: 200 }), (_, index) => store.put(`k${round}-${index}`, [BODY]), {
          concurrency: "unbounded"
        })
      for (let index = 0; index < 20; index++) {
        yield* store.put(`one-${index}`, [BODY])
        yield* store.get(`one-${index}`)
        yield* store.get(`one-${index}`, { last: 3 })
        yield* store.list({ prefix: "one", limit: 100 })
        yield* Effect.flip(store.get("missing"))
      }
      assert.strictEqual(fake.connections(), 1)
      yield* puts(1)
      yield* puts(2)
      assert.isAtMost(fake.connections(), limits.storeSocketsMax)
    })
  )

  it.effect("that are all taken make calls wait, and too many of those are refused", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      const remove = fake.faults.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      const hanging = yield* Effect.forEach(
        Array.from({ length: limits.storeSocketsMax + limits.directoryCallsWaiting }),
        (_, index) => Effect.forkChild(store.put(`k${index}`, [BODY]), { startImmediately: true })
      )
      assertError(yield* Effect.flip(store.put("more", [BODY])), "Unavailable", "definite", /too many calls wait/)
      remove()
      yield* Effect.forEach(hanging, Fiber.interrupt, { concurrency: "unbounded" })
      yield* store.put("more", [BODY])
    })
  )

  it.effect(
    "of a bucket that could not be opened, or given up, end at once: it is tried again and again in one scope",
    () =>
      Effect.gen(function* () {
        const fake = yield* startFake()
        fake.settings.isDenied = () => true
        for (let attempt = 0; attempt < 5; attempt++) yield* Effect.flip(open(fake))
        fake.settings.isDenied = () => false
        fake.faults.add({ operation: "get", fault: { kind: "hang", when: "before" } })
        const fiber = yield* Effect.forkChild(open(fake), { startImmediately: true })
        yield* requested(fake, "get", 1)
        yield* Fiber.interrupt(fiber)
        yield* Effect.promise(async () => {
          while (fake.connectionsOpen() > 0) await new Promise((resolve) => setTimeout(resolve, 1))
        })
        assert.isAbove(fake.connections(), 5)
      })
  )

  it.effect("end with the store's scope, and what is asked then is refused", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* Effect.scoped(open(fake))
      assertError(yield* Effect.flip(store.put("k", [BODY])), "Unavailable", "definite", /closed/)
    })
  )
})
