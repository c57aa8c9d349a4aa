/**
 * What every object store adapter must do (core/ports/object-store.ts), as one suite.
 *
 * Method: the suite is a function of a factory; each test makes a store of its own and sees it through the port only.
 * Error paths come first. Randomness is seeded, the seed is in the test's name or message.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ByteRange, type ObjectStoreError } from "#core/ports/object-store.ts"
import { assertReason, bytesOf, type ObjectStoreContract } from "./object-store-expectations.ts"
import { invalidRequests } from "./object-store-requests.contract.ts"
import { seededRandom } from "./seeded-random.ts"

export const objectStoreContract = (contract: ObjectStoreContract): void => {
  const { name, make, nestedKeys = "refused", conflictsWhenRacing = false } = contract
  describe(`object store contract: ${name}`, () => {
    invalidRequests(make)
    absence(make, nestedKeys === "failing" ? ["b", "a", "a/c"] : ["b", "a", "a/c", "a/b/c", "a/b/c/d"])
    putIfAbsent(make, conflictsWhenRacing)
    reading(make)
    listing(make)
    deleting(make, nestedKeys === "failing")
    interrupting(make)
    if (nestedKeys === "refused") nestedKeysRefused(make)
    else if (nestedKeys === "allowed") nestedKeysAllowed(make)
  })
}

type Make = ObjectStoreContract["make"]

const absence = (make: Make, absent: ReadonlyArray<string>): void => {
  it.effect("says NotFound of keys that are not there, and names bucket, key and operation", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a/b", [bytesOf("x")])
      for (const key of absent) {
        const getError = yield* Effect.flip(store.get(key))
        assertReason(getError, "NotFound")
        assert.deepStrictEqual([getError.bucket, getError.key, getError.operation], [store.bucket, key, "get"])
        assertReason(yield* Effect.flip(store.get(key, { last: 5 })), "NotFound")
        assertReason(yield* Effect.flip(store.head(key)), "NotFound")
      }
    })
  )
}

const putIfAbsent = (make: Make, conflictsWhenRacing: boolean): void => {
  it.effect("does not overwrite: the second put says AlreadyExists and changes nothing", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a/b", [bytesOf("first")])
      for (const body of ["second", "", "first"]) {
        const error = yield* Effect.flip(store.put("a/b", [bytesOf(body)]))
        assertReason(error, "AlreadyExists")
        assert.isFalse(error.isRetryable)
      }
      assert.strictEqual((yield* store.get("a/b")).bytes.toString(), "first")
    })
  )

  it.effect("lets exactly one of many racing puts win, whose whole body readers see or nothing", () =>
    Effect.gen(function* () {
      const store = yield* make
      for (let round = 0; round < 10; round++) {
        const key = `race/${round}`
        const bodies = Array.from({ length: 16 }, (_, index) => Buffer.alloc(50_000, index + 1))
        const readers = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 20 }), () => Effect.result(store.get(key)))
        )
        const results = yield* Effect.forEach(
          bodies,
          (body) => Effect.result(store.put(key, [body.subarray(0, 100), body.subarray(100)])),
          { concurrency: "unbounded" }
        )
        const winners = results.flatMap((result, index) => (Result.isSuccess(result) ? [index] : []))
        assert.strictEqual(winners.length, 1)
        for (const result of results) {
          if (Result.isSuccess(result)) continue
          const isConflict = conflictsWhenRacing && result.failure.reason === "Unavailable"
          assertReason(result.failure, isConflict ? "Unavailable" : "AlreadyExists")
        }
        const winner = bodies[winners[0]!]!
        assert.isTrue(winner.equals((yield* store.get(key)).bytes))
        for (const seen of yield* Fiber.join(readers)) {
          if (Result.isSuccess(seen)) assert.isTrue(winner.equals(seen.success.bytes))
          else assertReason(seen.failure, "NotFound")
        }
      }
    })
  )

  it.effect("keeps its own copy: neither the putter's nor a reader's bytes are the object's", () =>
    Effect.gen(function* () {
      const store = yield* make
      const chunk = bytesOf("abc")
      yield* store.put("a", [chunk])
      chunk.fill("x")
      const first = yield* store.get("a")
      assert.strictEqual(first.bytes.toString(), "abc")
      first.bytes.fill("y")
      assert.strictEqual((yield* store.get("a")).bytes.toString(), "abc")
    })
  )

  it.effect("answers with bytes that keep no larger block of memory alive", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a", [Buffer.alloc(1000)])
      const { bytes } = yield* store.get("a", { offset: 10, length: 20 })
      assert.deepStrictEqual([bytes.length, bytes.buffer.byteLength], [20, 20])
    })
  )

  it.effect("stores an empty object, of no chunks or of empty ones", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("none", [])
      yield* store.put("empty", [Buffer.alloc(0), new Uint8Array(0)])
      for (const key of ["none", "empty"]) {
        const { bytes, objectBytes } = yield* store.get(key)
        assert.deepStrictEqual([bytes.length, objectBytes], [0, 0])
        assert.deepStrictEqual(yield* store.head(key), { key, objectBytes: 0 })
        assertReason(yield* Effect.flip(store.get(key, { offset: 0, length: 1 })), "RangeNotSatisfiable")
        assertReason(yield* Effect.flip(store.get(key, { last: 1 })), "RangeNotSatisfiable")
      }
      assertReason(yield* Effect.flip(store.put("none", [bytesOf("x")])), "AlreadyExists")
    })
  )

  const seed = 20_260_301
  it.effect(`stores 8 MiB of thousands of chunks in order (seed ${seed})`, () =>
    Effect.gen(function* () {
      const store = yield* make
      const random = seededRandom(seed)
      const body = Buffer.alloc(8 * 1024 * 1024)
      for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(Math.floor(random() * 2 ** 32), at)
      const chunks: Array<Uint8Array> = []
      for (let at = 0; at < body.length;) {
        const length = random() < 0.05 ? 0 : Math.min(body.length - at, Math.floor(random() ** 3 * 8_000))
        chunks.push(random() < 0.5 ? body.subarray(at, at + length) : new Uint8Array(body.subarray(at, at + length)))
        at += length
      }
      assert.isAbove(chunks.length, 3_000)
      yield* store.put("large", chunks)
      const whole = yield* store.get("large")
      assert.isTrue(body.equals(whole.bytes))
      const part = yield* store.get("large", { offset: 1_000_001, length: 4_000_000 })
      assert.isTrue(body.subarray(1_000_001, 5_000_001).equals(part.bytes))
    })
  )
}

const reading = (make: Make): void => {
  const cases: ReadonlyArray<readonly [range: ByteRange, expected: string]> = [
    [{ offset: 0, length: 1 }, "0"],
    [{ offset: 0, length: 10 }, "0123456789"],
    [{ offset: 0, length: 11 }, "0123456789"],
    [{ offset: 3, length: 4 }, "3456"],
    [{ offset: 9, length: 1 }, "9"],
    [{ offset: 9, length: 2 ** 40 }, "9"],
    [{ offset: 5, length: Number.MAX_SAFE_INTEGER }, "56789"],
    [{ last: 1 }, "9"],
    [{ last: 9 }, "123456789"],
    [{ last: 10 }, "0123456789"],
    [{ last: 65_536 }, "0123456789"]
  ]
  it.effect("answers ranges, cut where the object ends, with the size of the whole", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a", [bytesOf("01234"), bytesOf("56789")])
      for (const [range, expected] of cases) {
        const { bytes, objectBytes } = yield* store.get("a", range)
        assert.deepStrictEqual([bytes.toString(), objectBytes], [expected, 10], JSON.stringify(range))
      }
    })
  )

  it.effect("says RangeNotSatisfiable where the range begins at or after the end", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a", [bytesOf("0123456789")])
      for (const offset of [10, 11, Number.MAX_SAFE_INTEGER]) {
        assertReason(yield* Effect.flip(store.get("a", { offset, length: 1 })), "RangeNotSatisfiable")
      }
    })
  )

  it.effect("says the size of an object", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("x/y", [bytesOf("abc"), bytesOf("de")])
      assert.deepStrictEqual(yield* store.head("x/y"), { key: "x/y", objectBytes: 5 })
    })
  )
}

/** Neighbours of "/" in ASCII are "." and "0", so order by parts and order by bytes differ here. */
const ORDER_KEYS = [
  "A",
  "B/x",
  "_",
  "a-b",
  "a.b",
  "a.b.c",
  "a/0",
  "a/b",
  "a/b-",
  "a/c/1",
  "a/c/2",
  "a/c.d",
  "a/c-d/e",
  "a0",
  "a=b/c",
  "aa/b",
  "b",
  "c-/x",
  "c./x",
  "c/x",
  "c0/x",
  "z9",
  "...",
  "9"
]

const listing = (make: Make): void => {
  const filled = Effect.gen(function* () {
    const store = yield* make
    for (const key of ORDER_KEYS) yield* store.put(key, [bytesOf(key)])
    return store
  })
  const sorted = ORDER_KEYS.toSorted((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)))
  const keysOf = (heads: ReadonlyArray<{ readonly key: string }>) => heads.map((head) => head.key)

  it.effect("lists nothing of an empty bucket", () =>
    Effect.gen(function* () {
      const store = yield* make
      assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 5 }), [])
      assert.deepStrictEqual(yield* store.list({ prefix: "a/b/c", after: "a", limit: 5 }), [])
    })
  )

  it.effect("lists in order of the keys' bytes, with sizes", () =>
    Effect.gen(function* () {
      const store = yield* filled
      const heads = yield* store.list({ prefix: "", limit: limits.listKeysMax })
      assert.deepStrictEqual(
        heads,
        sorted.map((key) => ({ key, objectBytes: key.length }))
      )
    })
  )

  it.effect("lists by any prefix, also one that ends within a name", () =>
    Effect.gen(function* () {
      const store = yield* filled
      const prefixes = new Set([...ORDER_KEYS, "a", "a/", "a/c", "a/c/", "a/c/1/", "c", ".", "..", "zz", "a/zz/"])
      for (const prefix of prefixes) {
        const expected = sorted.filter((key) => key.startsWith(prefix))
        assert.deepStrictEqual(keysOf(yield* store.list({ prefix, limit: 100 })), expected, prefix)
      }
    })
  )

  it.effect("continues after any key, whether it exists or not", () =>
    Effect.gen(function* () {
      const store = yield* filled
      for (const after of [...ORDER_KEYS, "", "a", "a/", "a/b/zzz", "a/c", "a/c/", "a/c/1x", "b/", "zzzz", "c/"]) {
        const isAfter = (key: string) => Buffer.compare(bytesOf(key), bytesOf(after)) > 0
        assert.deepStrictEqual(
          keysOf(yield* store.list({ prefix: "", after, limit: 100 })),
          sorted.filter(isAfter),
          `after ${after}`
        )
        assert.deepStrictEqual(
          keysOf(yield* store.list({ prefix: "a/c", after, limit: 100 })),
          sorted.filter((key) => isAfter(key) && key.startsWith("a/c")),
          `a/c after ${after}`
        )
      }
    })
  )

  it.effect("pages through all keys without gap or repetition", () =>
    Effect.gen(function* () {
      const store = yield* filled
      for (const limit of [1, 2, 7, sorted.length]) {
        const seen: Array<string> = []
        let after: string | undefined
        for (let page = 0; page <= sorted.length; page++) {
          const keys = keysOf(yield* store.list({ prefix: "", limit, ...(after === undefined ? {} : { after }) }))
          assert.isAtMost(keys.length, limit)
          if (keys.length === 0) break
          seen.push(...keys)
          after = keys[keys.length - 1]
        }
        assert.deepStrictEqual(seen, sorted)
      }
    })
  )
}

const deleting = (make: Make, directoriesFail: boolean): void => {
  it.effect("deletes what is there, and keys that are not there are no error", () =>
    Effect.gen(function* () {
      const store = yield* make
      for (const key of ["a", "b/c", "b/d", "e/f/g"]) yield* store.put(key, [bytesOf(key)])
      yield* store.deleteMany([])
      const nested = directoriesFail ? [] : ["e/f", "a/b"]
      yield* store.deleteMany(["a", "b/c", "b/c", "missing", "b/missing", "e/f/g", ...nested])
      assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 10 }), [{ key: "b/d", objectBytes: 3 }])
      assertReason(yield* Effect.flip(store.get("a")), "NotFound")
      yield* store.deleteMany(["a", "b/c"])
      assert.strictEqual((yield* store.get("b/d")).bytes.toString(), "b/d")
    })
  )

  it.effect("takes a deleted key again", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a/b/c", [bytesOf("1")])
      yield* store.deleteMany(["a/b/c"])
      yield* store.put("a/b/c", [bytesOf("2")])
      assert.strictEqual((yield* store.get("a/b/c")).bytes.toString(), "2")
    })
  )

  it.effect("puts and deletes in one directory at once without losing a put", () =>
    Effect.gen(function* () {
      const store = yield* make
      const surely = directoriesFail ? settled : (call: Effect.Effect<void, ObjectStoreError>) => call
      const puts = Effect.forEach(Array.from({ length: 40 }), (_, index) =>
        surely(store.put(`d/e/${index}/f`, [bytesOf("x")]))
      )
      const churn = Effect.forEach(Array.from({ length: 40 }), (_, index) =>
        Effect.andThen(surely(store.put(`d/e/${index}/t`, [])), surely(store.deleteMany([`d/e/${index}/t`])))
      )
      yield* Effect.all([churn, puts], { concurrency: "unbounded" })
      assert.strictEqual((yield* store.list({ prefix: "d/e/", limit: 100 })).length, 40)
    })
  )
}

/** Again where the store failed, as writers do: the key is taken where an attempt that failed had been stored. */
const settled = (call: Effect.Effect<void, ObjectStoreError>): Effect.Effect<void, ObjectStoreError> =>
  Effect.retry(call, { while: (error) => error.reason === "Unavailable", times: 10 }).pipe(
    Effect.catch((error) => (error.reason === "AlreadyExists" ? Effect.void : Effect.fail(error)))
  )

const nestedKeysRefused = (make: Make): void => {
  it.effect("refuses a key that is a directory of another, and one below an object", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("d/e/f", [bytesOf("x")])
      for (const key of ["d", "d/e", "d/e/f/g"]) {
        assertReason(yield* Effect.flip(store.put(key, [bytesOf("y")])), "InvalidRequest")
      }
      const keys = (yield* store.list({ prefix: "", limit: 10 })).map((head) => head.key)
      assert.deepStrictEqual(keys, ["d/e/f"])
    })
  )

  it.effect("takes a key where a directory was, once the last key below it is deleted", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a/b/c", [bytesOf("1")])
      yield* store.put("a/b/d", [bytesOf("2")])
      yield* store.deleteMany(["a/b/c"])
      assertReason(yield* Effect.flip(store.put("a", [bytesOf("3")])), "InvalidRequest")
      yield* store.deleteMany(["a/b/d"])
      yield* store.put("a", [bytesOf("4")])
      assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 5 }), [{ key: "a", objectBytes: 1 }])
    })
  )
}

const nestedKeysAllowed = (make: Make): void => {
  it.effect("takes a key that is a directory of another, and one below an object: each is its own", () =>
    Effect.gen(function* () {
      const store = yield* make
      for (const key of ["d/e/f", "d", "d/e", "d/e/f/g"]) yield* store.put(key, [bytesOf(key)])
      const keys = (yield* store.list({ prefix: "", limit: 10 })).map((head) => head.key)
      assert.deepStrictEqual(keys, ["d", "d/e", "d/e/f", "d/e/f/g"])
      yield* store.deleteMany(["d/e"])
      assert.strictEqual((yield* store.get("d/e/f")).bytes.toString(), "d/e/f")
      assertReason(yield* Effect.flip(store.head("d/e")), "NotFound")
    })
  )
}

const interrupting = (make: Make): void => {
  it.effect("can be interrupted: a put is there wholly or not at all, and the store goes on", () =>
    Effect.gen(function* () {
      const store = yield* make
      const body = Buffer.alloc(300_000, 7)
      for (let round = 0; round < 10; round++) {
        const key = `i/${round}`
        const fiber = yield* Effect.forkChild(store.put(key, [body.subarray(0, 1), body.subarray(1)]))
        for (let step = 0; step < round; step++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        const seen = yield* Effect.result(store.get(key))
        if (Result.isSuccess(seen)) assert.isTrue(body.equals(seen.success.bytes))
        else assertReason(seen.failure, "NotFound")
        const reader = yield* Effect.forkChild(store.get(key))
        yield* Fiber.interrupt(reader)
      }
      yield* store.put("after", [body])
      assert.isTrue(body.equals((yield* store.get("after")).bytes))
    })
  )
}
