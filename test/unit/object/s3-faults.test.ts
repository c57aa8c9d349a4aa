/**
 * Goal: whatever S3 or the way to it does wrong, the port's caller sees a reason and an outcome that are true.
 * Method: the adapter on the fake over real HTTP, one fault at a time; what the fake holds afterwards says whether the
 * outcome was. Hangs end by the test's clock.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { type AddressInfo, createServer as createPlainServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as s3 from "#backends/object/s3.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { type HttpFault } from "../../peers/object-stores/http-faults.ts"
import { type S3Fake, type S3FakeOptions, startS3Fake } from "../../peers/object-stores/s3-fake.ts"

const PLAIN = "plain-bucket"
const EXPRESS = "express--use1-az4--x-s3"
const BODY = Buffer.from("0123456789")
const MIB = 1024 * 1024

const startFake = (options: Partial<S3FakeOptions> = {}): Effect.Effect<S3Fake, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => startS3Fake({ buckets: [PLAIN, EXPRESS], ...options })),
    (fake) => Effect.promise(() => fake.stop())
  )

const open = (
  fake: Pick<S3Fake, "endpoint" | "accessKeyId" | "secretAccessKey">,
  location: Partial<s3.S3BucketLocation> = {}
): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  s3.make({
    name: "east",
    location: {
      kind: "s3",
      bucket: PLAIN,
      prefix: "p/",
      endpoint: fake.endpoint,
      pathStyle: true,
      ...location
    } as never,
    credentials: fake
  })

const openExpress = (fake: S3Fake) => open(fake, { kind: "s3-express", bucket: EXPRESS })

const assertError = (
  error: ObjectStoreError,
  reason: ObjectStoreError["reason"],
  outcome: ObjectStoreError["outcome"] = "definite",
  text?: RegExp
): void => {
  assert.deepStrictEqual([error.reason, error.outcome], [reason, outcome], error.message)
  assert.strictEqual(error.bucket, "east")
  if (text !== undefined) assert.match(error.message, text)
}

/** Until the fake has so many requests of the operation; bounded by the test's own time. */
const requested = (fake: S3Fake, operation: string, count: number): Effect.Effect<void> =>
  Effect.promise(async () => {
    while (fake.requests.filter((request) => request.operation === operation).length < count) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })

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

const closed: HttpFault = { kind: "cut", when: "before" }

describe("a put", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      fault: HttpFault,
      reason: ObjectStoreError["reason"],
      outcome: "definite" | "indefinite",
      stored: boolean
    ]
  > = [
    ["whose connection ends before it took effect", closed, "Unavailable", "indefinite", false],
    ["whose reply is lost", { kind: "cut", when: "after" }, "Unavailable", "indefinite", true],
    ["whose connection ends in its body", { kind: "cut-body", afterBytes: 1 }, "Unavailable", "indefinite", false],
    [
      "that is throttled",
      { kind: "answer", when: "before", status: 503, code: "SlowDown" },
      "Unavailable",
      "indefinite",
      false
    ],
    [
      "that is stored and answered 500",
      { kind: "answer", when: "after", status: 500, code: "InternalError" },
      "Unavailable",
      "indefinite",
      true
    ],
    [
      "that races with a delete (409)",
      { kind: "answer", when: "before", status: 409, code: "ConditionalRequestConflict" },
      "Unavailable",
      "definite",
      false
    ],
    ["that is answered by a proxy's error page", { kind: "page", status: 502 }, "Unavailable", "indefinite", false],
    ["that is answered by a proxy's page of refusal", { kind: "page", status: 403 }, "AccessDenied", "definite", false],
    [
      "whose checksum comes back otherwise",
      { kind: "headers", headers: { "x-amz-checksum-crc32c": "AAAAAA==" } },
      "Corrupt",
      "indefinite",
      true
    ],
    [
      "into a full store",
      { kind: "answer", when: "before", status: 507, code: "XMinioStorageFull" },
      "StorageFull",
      "definite",
      false
    ]
  ]
  for (const [what, fault, reason, outcome, stored] of cases) {
    it.effect(`${what}: ${reason}, ${outcome}`, () =>
      Effect.gen(function* () {
        const fake = yield* startFake()
        const store = yield* open(fake)
        fake.faults.add({ operation: "put", times: 1, fault })
        assertError(
          yield* Effect.flip(store.put("k", [BODY])),
          reason,
          outcome,
          /^put k in bucket east: .*plain-bucket/
        )
        assert.strictEqual(fake.objects(PLAIN).has("p/k"), stored)
        // The store goes on, and settles what is not known.
        const again = yield* Effect.result(store.put("k", [BODY]))
        assert.strictEqual(Result.isSuccess(again), !stored)
        if (Result.isFailure(again)) assertError(again.failure, "AlreadyExists")
        assert.deepStrictEqual((yield* store.get("k")).bytes, BODY)
      })
    )
  }

  it.effect("sends one request, whatever happens: retries are the caller's", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      fake.faults.add({ fault: { kind: "answer", when: "before", status: 503, code: "SlowDown" } })
      yield* Effect.flip(store.put("k", [BODY]))
      yield* Effect.flip(store.deleteMany(["k"]))
      yield* Effect.flip(store.get("k"))
      const operations = fake.requests.slice(1).map(({ operation }) => operation)
      assert.deepStrictEqual(operations, ["put", "delete", "get"])
    })
  )

  it.effect("onto a taken key is AlreadyExists, or not known where the store answers before it has read the body", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      fake.faults.add({ operation: "put", fault: { kind: "answer-early", status: 412, code: "PreconditionFailed" } })
      for (let round = 0; round < 10; round++) {
        const error = yield* Effect.flip(store.put(`k${round}`, [Buffer.alloc(8 * MIB)]))
        if (error.reason === "AlreadyExists") assertError(error, "AlreadyExists")
        else assertError(error, "Unavailable", "indefinite")
      }
    })
  )

  it.effect("that hangs is TimedOut after the time that its size allows, and its connection ends", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      fake.faults.add({ operation: "put", times: 1, fault: { kind: "hang", when: "after" } })
      const fiber = yield* Effect.forkChild(Effect.flip(store.put("k", [Buffer.alloc(3 * MIB)])))
      yield* requested(fake, "put", 1)
      yield* TestClock.adjust(limits.storeCallMs + 3 * limits.storeCallMsPerMiB - 1)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assertError(yield* Fiber.join(fiber), "TimedOut", "indefinite")
      assert.isTrue((yield* Effect.flip(store.put("k", [BODY]))).reason === "AlreadyExists")
    })
  )

  it.effect("that is interrupted ends its connection at once", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      fake.faults.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      for (let round = 0; round < 2 * limits.storeSocketsMax; round++) {
        const fiber = yield* Effect.forkChild(store.put(`k${round}`, [BODY]), { startImmediately: true })
        yield* requested(fake, "put", round + 1)
        yield* Fiber.interrupt(fiber)
      }
      // Were one of them still there, no turn would be left.
      fake.faults.clear()
      yield* store.put("after", [BODY])
    })
  )
})

describe("a get", () => {
  const filled = Effect.gen(function* () {
    const fake = yield* startFake()
    const store = yield* open(fake)
    yield* store.put("k", [BODY])
    return { fake, store }
  })
  const cases: ReadonlyArray<readonly [what: string, fault: HttpFault, reason: ObjectStoreError["reason"]]> = [
    ["with a corrupt byte", { kind: "corrupt", byteIndex: 3 }, "Corrupt"],
    ["whose connection ends in mid-body", { kind: "truncate", bytes: 4 }, "Unavailable"],
    ["of a body that is shorter than was kept", { kind: "shorten", bytes: 4 }, "Corrupt"],
    ["whose connection ends", closed, "Unavailable"],
    ["that is throttled", { kind: "answer", when: "before", status: 503, code: "SlowDown" }, "Unavailable"],
    ["of a bucket that vanished", { kind: "answer", when: "before", status: 404, code: "NoSuchBucket" }, "Unavailable"],
    ["answered 404 by something else", { kind: "page", status: 404 }, "Unavailable"],
    [
      "of an archived object",
      { kind: "answer", when: "before", status: 403, code: "InvalidObjectState" },
      "Unavailable"
    ]
  ]
  for (const [what, fault, reason] of cases) {
    it.effect(`${what}: ${reason}`, () =>
      Effect.gen(function* () {
        const { fake, store } = yield* filled
        fake.faults.add({ operation: "get", times: 1, fault })
        assertError(yield* Effect.flip(store.get("k")), reason)
        assert.deepStrictEqual((yield* store.get("k")).bytes, BODY)
      })
    )
  }

  const ranges: ReadonlyArray<readonly [what: string, fault: HttpFault]> = [
    ["shorter than its range", { kind: "shorten", bytes: 2 }],
    ["of another range", { kind: "headers", headers: { "content-range": "bytes 3-6/10" } }],
    ["of an object of another size", { kind: "headers", headers: { "content-range": "bytes 2-5/4" } }]
  ]
  for (const [what, fault] of ranges) {
    it.effect(`answered with a body ${what}: Corrupt`, () =>
      Effect.gen(function* () {
        const { fake, store } = yield* filled
        fake.faults.add({ operation: "get", times: 1, fault })
        assertError(yield* Effect.flip(store.get("k", { offset: 2, length: 4 })), "Corrupt")
        assert.strictEqual((yield* store.get("k", { offset: 2, length: 4 })).bytes.toString(), "2345")
      })
    )
  }

  it.effect("of an object that is too large for one read is refused before memory is taken", () =>
    Effect.gen(function* () {
      const { fake, store } = yield* filled
      const length = String(limits.objectBytesMax + 1)
      const remove = fake.faults.add({
        operation: "get",
        fault: { kind: "headers", headers: { "content-length": length } }
      })
      // Were their connections kept, none would be left in the end.
      for (let round = 0; round <= limits.storeSocketsMax; round++) {
        assertError(yield* Effect.flip(store.get("k")), "InvalidRequest", "definite", /at most/)
      }
      remove()
      assert.deepStrictEqual((yield* store.get("k")).bytes, BODY)
    })
  )

  it.effect("takes an object without a checksum, as older stores keep them", () =>
    Effect.gen(function* () {
      const { fake, store } = yield* filled
      fake.faults.add({ operation: "get", fault: { kind: "headers", headers: { "x-amz-checksum-crc32c": undefined } } })
      assert.deepStrictEqual((yield* store.get("k")).bytes, BODY)
    })
  )

  it.effect("that hangs is TimedOut, also in mid-body", () =>
    Effect.gen(function* () {
      const { fake, store } = yield* filled
      fake.faults.add({ operation: "get", fault: { kind: "hang", when: "after" } })
      const fiber = yield* Effect.forkChild(Effect.flip(store.get("k", { last: 4 })))
      yield* requested(fake, "get", 2)
      yield* TestClock.adjust(limits.storeCallMs + limits.storeCallMsPerMiB)
      assertError(yield* Fiber.join(fiber), "TimedOut")
    })
  )
})

describe("a clock that is wrong", () => {
  it.effect("fails one call, which may be repeated, and says so; then the SDK has corrected its own", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      fake.settings.clockAheadMs = 3_600_000
      const error = yield* Effect.flip(store.put("k", [BODY]))
      assertError(error, "Unavailable", "definite", /RequestTimeTooSkewed.*synchronise/)
      assert.isTrue(error.isRetryable)
      yield* store.put("k", [BODY])
    })
  )
})

describe("a delete", () => {
  it.effect("of keys that one may not delete names the first of them, and is indefinite: others are gone", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      for (const key of ["a", "b", "c"]) yield* store.put(key, [BODY])
      fake.settings.isDenied = (operation, key) => operation === "delete" && key === "p/b"
      const error = yield* Effect.flip(store.deleteMany(["a", "b", "c"]))
      assertError(error, "AccessDenied", "indefinite", /^delete b in bucket east.*s3:DeleteObject/)
      assert.deepStrictEqual([...fake.objects(PLAIN).keys()], ["p/b"])
    })
  )

  it.effect("whose reply is lost is indefinite, and can be repeated", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      yield* store.put("a", [BODY])
      fake.faults.add({ operation: "delete", times: 1, fault: { kind: "cut", when: "after" } })
      assertError(yield* Effect.flip(store.deleteMany(["a"])), "Unavailable", "indefinite")
      yield* store.deleteMany(["a"])
    })
  )
})

describe("a list", () => {
  it.effect("leaves out what Meridian cannot have written, and follows pages that hold nothing else", () =>
    Effect.gen(function* () {
      const fake = yield* startFake({ pageKeys: 2 })
      const store = yield* open(fake)
      for (const key of ["p/", "p/a b", "p/a/", "p/ä", "other/x"])
        fake.objects(PLAIN).set(key, { bytes: BODY, crc32c: "" })
      for (const key of ["z1", "z2", "z3"]) yield* store.put(key, [BODY])
      const keys = (yield* store.list({ prefix: "", limit: 10 })).map(({ key }) => key)
      assert.deepStrictEqual(keys, ["z1", "z2", "z3"])
    })
  )

  it.effect("that has no order is Corrupt: nobody could go on after a key", () =>
    Effect.gen(function* () {
      const fake = yield* startFake()
      const store = yield* open(fake)
      for (let index = 0; index < 20; index++) yield* store.put(`k${index}`, [BODY])
      fake.settings.listsUnordered = true
      assertError(yield* Effect.flip(store.list({ prefix: "", limit: 20 })), "Corrupt", "definite", /out of order/)
    })
  )

  it.effect("of a directory bucket with very many keys is refused with what to do, in bounded requests", () =>
    Effect.gen(function* () {
      const fake = yield* startFake({ pageKeys: 1 })
      const store = yield* openExpress(fake)
      for (let index = 0; index <= limits.storeListPagesMax; index++) {
        fake.objects(EXPRESS).set(`p/d/${index}`, { bytes: BODY, crc32c: "" })
      }
      assertError(
        yield* Effect.flip(store.list({ prefix: "d/", limit: 1 })),
        "InvalidRequest",
        "definite",
        /longer prefix/
      )
      assert.strictEqual(fake.requests.filter(({ operation }) => operation === "list").length, limits.storeListPagesMax)
    })
  )
})

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
