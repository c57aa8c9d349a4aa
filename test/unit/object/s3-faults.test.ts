/**
 * Goal: whatever S3 or the way to it does wrong, the port's caller sees a reason and an outcome that are true.
 * Method: the adapter on the fake over real HTTP, one fault at a time; what the fake holds afterwards says whether the
 * outcome was. Hangs end by the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import { limits } from "#core/model/limits.ts"
import { type ObjectStoreError } from "#core/ports/object-store.ts"
import { type S3Fault } from "../../peers/object-stores/s3-faults.ts"
import { assertError, BODY, EXPRESS, open, openExpress, PLAIN, requested, startFake } from "./s3-fake-store.ts"

const MIB = 1024 * 1024

const closed: S3Fault = { kind: "cut", when: "before" }

describe("a put", () => {
  const cases: ReadonlyArray<
    readonly [
      what: string,
      fault: S3Fault,
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
  const cases: ReadonlyArray<readonly [what: string, fault: S3Fault, reason: ObjectStoreError["reason"]]> = [
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

  const ranges: ReadonlyArray<readonly [what: string, fault: S3Fault]> = [
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
