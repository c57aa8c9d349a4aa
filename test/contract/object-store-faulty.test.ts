/**
 * Every fault that the faulty decorator offers breaks what it says it breaks, and every reason of ObjectStoreError
 * comes out of some call. Method: a memory store behind the decorator; what the store really did is asked of the store
 * itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import { type Fault, FaultPlan, make as makeFaulty } from "#backends/object/faulty.ts"
import * as instrumented from "#backends/object/instrumented.ts"
import * as memory from "#backends/object/memory.ts"
import { type ObjectStore, ObjectStoreReason } from "#core/ports/object-store.ts"
import { assertReason } from "./object-store-expectations.ts"

const BODY = [Buffer.from("0123"), Buffer.from("456789")]

const makePair = () => {
  const plan = new FaultPlan()
  const inner = memory.make({ bucket: "test" })
  return { plan, inner, store: makeFaulty(inner, plan) }
}

const exists = (store: ObjectStore, key: string) => Effect.map(Effect.result(store.head(key)), Result.isSuccess)

/** All calls of the port, by operation; "k" is there, "new" is not. */
const callsOf = (store: ObjectStore) =>
  ({
    put: store.put("new", BODY),
    get: store.get("k"),
    head: store.head("k"),
    list: store.list({ prefix: "", limit: 5 }),
    delete: store.deleteMany(["k"])
  }) as const

const OPERATIONS = ["put", "get", "head", "list", "delete"] as const

describe("faults that fail calls", () => {
  for (const reason of ObjectStoreReason.literals) {
    for (const outcome of ["definite", "indefinite"] as const) {
      it.effect(`any operation can fail with ${reason}, ${outcome}, before or after its work`, () =>
        Effect.gen(function* () {
          for (const operation of OPERATIONS) {
            for (const when of ["before", "after"] as const) {
              const { plan, inner, store } = makePair()
              yield* inner.put("k", BODY)
              plan.add({ operation, fault: { kind: "fail", when, reason, outcome } })
              const error = yield* Effect.flip<unknown, { readonly operation: string }, never>(
                callsOf(store)[operation]
              )
              assertReason(error, reason, outcome)
              assert.strictEqual(error.operation, operation)
              assert.strictEqual(yield* exists(inner, "new"), operation === "put" && when === "after")
              assert.strictEqual(yield* exists(inner, "k"), !(operation === "delete" && when === "after"))
            }
          }
        })
      )
    }
  }

  it.effect("a put whose reply is lost is indefinite, there, and AlreadyExists when it is repeated", () =>
    Effect.gen(function* () {
      const { plan, store } = makePair()
      plan.add({ operation: "put", times: 1, fault: { kind: "lose-reply" } })
      assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "indefinite")
      assertReason(yield* Effect.flip(store.put("k", BODY)), "AlreadyExists")
      assert.strictEqual((yield* store.get("k")).bytes.toString(), "0123456789")
    })
  )

  it.effect("a full store refuses puts and nothing else", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      yield* inner.put("k", BODY)
      plan.add({ fault: { kind: "storage-full" } })
      assertReason(yield* Effect.flip(store.put("new", BODY)), "StorageFull")
      assert.isFalse(yield* exists(inner, "new"))
      yield* store.get("k")
      yield* store.list({ prefix: "", limit: 5 })
      yield* store.deleteMany(["k"])
      assert.isFalse(yield* exists(inner, "k"))
    })
  )

  it.effect("a vanished bucket fails everything, does nothing, and comes back", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      yield* inner.put("k", BODY)
      const restore = plan.add({ fault: { kind: "bucket-vanished" } })
      for (const operation of OPERATIONS) {
        const error = yield* Effect.flip<unknown, unknown, never>(callsOf(store)[operation])
        assertReason(error, "Unavailable")
      }
      assert.deepStrictEqual([yield* exists(inner, "k"), yield* exists(inner, "new")], [true, false])
      restore()
      for (const operation of OPERATIONS) yield* callsOf(store)[operation]
    })
  )
})

describe("faults of time", () => {
  for (const when of ["before", "after"] as const) {
    it.effect(`a call that hangs ${when} its work never ends, and can be interrupted`, () =>
      Effect.gen(function* () {
        for (const operation of OPERATIONS) {
          const { plan, inner, store } = makePair()
          yield* inner.put("k", BODY)
          plan.add({ operation, fault: { kind: "hang", when } })
          const fiber = yield* Effect.forkChild(callsOf(store)[operation] as Effect.Effect<unknown>, {
            startImmediately: true
          })
          yield* TestClock.adjust("1 day")
          assert.isUndefined(fiber.pollUnsafe())
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(yield* exists(inner, "new"), operation === "put" && when === "after")
          assert.strictEqual(yield* exists(inner, "k"), !(operation === "delete" && when === "after"))
        }
      })
    )
  }

  it.effect("delays add up, and the fault behind them follows", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      plan.add({ operation: "put", fault: { kind: "delay", ms: 300 } })
      plan.add({ operation: "put", fault: { kind: "delay", ms: 200 } })
      plan.add({ operation: "put", fault: { kind: "storage-full" } })
      const fiber = yield* Effect.forkChild(Effect.flip(store.put("k", BODY)), { startImmediately: true })
      yield* TestClock.adjust(499)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assertReason(yield* Fiber.join(fiber), "StorageFull")
      assert.isFalse(yield* exists(inner, "k"))
    })
  )

  it.effect("a call that is only delayed does its work after the delay, not before", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      plan.add({ fault: { kind: "delay", ms: 100 } })
      const fiber = yield* Effect.forkChild(store.put("k", BODY), { startImmediately: true })
      yield* TestClock.adjust(99)
      assert.isFalse(yield* exists(inner, "k"))
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      assert.isTrue(yield* exists(inner, "k"))
    })
  )
})

describe("faults of bytes", () => {
  it.effect("a corrupt answer differs in one byte, and the object stays as it is", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      yield* inner.put("k", BODY)
      plan.add({ operation: "get", times: 1, fault: { kind: "corrupt", byteIndex: 13 } })
      const { bytes } = yield* store.get("k")
      const original = [...Buffer.from("0123456789")]
      const changed = original.flatMap((byte, index) => (byte === bytes[index] ? [] : [index]))
      assert.deepStrictEqual(changed, [3])
      assert.strictEqual((yield* store.get("k")).bytes.toString(), "0123456789")
    })
  )

  it.effect("a corrupt put stores one other byte, and leaves the caller's bytes alone", () =>
    Effect.gen(function* () {
      const { plan, store } = makePair()
      plan.add({ operation: "put", fault: { kind: "corrupt", byteIndex: 0 } })
      yield* store.put("k", BODY)
      yield* store.put("empty", [])
      assert.strictEqual(Buffer.concat(BODY).toString(), "0123456789")
      const { bytes } = yield* store.get("k")
      assert.strictEqual(bytes[0], "0".charCodeAt(0) ^ 0xff)
      assert.strictEqual(bytes.toString("latin1", 1), "123456789")
    })
  )

  it.effect("truncation is silent: a shorter object, or a shorter answer of a whole one", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      plan.add({ operation: "put", times: 1, fault: { kind: "truncate", bytes: 4 } })
      yield* store.put("cut", BODY)
      assert.strictEqual((yield* inner.head("cut")).objectBytes, 4)
      yield* store.put("whole", BODY)
      plan.add({ operation: "get", fault: { kind: "truncate", bytes: 4 } })
      const answer = yield* store.get("whole")
      assert.deepStrictEqual([answer.bytes.toString(), answer.objectBytes], ["0123", 10])
    })
  )
})

describe("the plan", () => {
  it.effect("counts only calls that match: operation, key prefix, skipped ones, number of times", () =>
    Effect.gen(function* () {
      const { plan, inner, store } = makePair()
      const fault: Fault = { kind: "fail", when: "before", reason: "TimedOut", outcome: "definite" }
      plan.add({ operation: "put", keyPrefix: "a/", skip: 1, times: 2, fault })
      const fails = (key: string) => Effect.map(Effect.result(store.put(key, BODY)), Result.isFailure)
      assert.isFalse(yield* fails("b"))
      yield* store.list({ prefix: "a/", limit: 1 })
      assert.isFalse(yield* fails("a/1"))
      assert.isTrue(yield* fails("a/2"))
      assert.isFalse(yield* fails("ab"))
      assert.isTrue(yield* fails("a/3"))
      assert.strictEqual(plan.size, 0)
      assert.isFalse(yield* fails("a/4"))
      assert.deepStrictEqual(
        (yield* inner.list({ prefix: "", limit: 10 })).map((head) => head.key),
        ["a/1", "a/4", "ab", "b"]
      )
    })
  )

  it.effect("can be changed while calls are under way; a call keeps what it drew", () =>
    Effect.gen(function* () {
      const { plan, store } = makePair()
      const remove = plan.add({ fault: { kind: "hang", when: "before" } })
      const fiber = yield* Effect.forkChild(store.put("a", BODY), { startImmediately: true })
      remove()
      yield* store.put("b", BODY)
      assert.isUndefined(fiber.pollUnsafe())
      plan.add({ fault: { kind: "bucket-vanished" } })
      plan.clear()
      yield* store.put("c", BODY)
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("the counters of an instrumented store", () => {
  it.effect("tell successes, errors by reason, interruptions, bytes and durations apart", () =>
    Effect.gen(function* () {
      const { plan, store: faulty } = makePair()
      const { store, counters } = instrumented.make(faulty)
      yield* store.put("k", BODY)
      yield* Effect.flip(store.put("k", BODY))
      yield* store.get("k", { offset: 0, length: 4 })
      yield* Effect.flip(store.get("absent"))
      yield* store.head("k")
      yield* store.list({ prefix: "", limit: 5 })
      plan.add({ operation: "delete", times: 1, fault: { kind: "delay", ms: 30 } })
      const slow = yield* Effect.forkChild(store.deleteMany(["k", "l"]), { startImmediately: true })
      assert.strictEqual(counters.delete.inFlight, 1)
      yield* TestClock.adjust(30)
      yield* Fiber.join(slow)
      plan.add({ operation: "get", fault: { kind: "hang", when: "before" } })
      const hung = yield* Effect.forkChild(store.get("k"), { startImmediately: true })
      yield* TestClock.adjust(20_000)
      yield* Fiber.interrupt(hung)
      const { put, get, head, list, delete: deleted } = counters
      assert.deepStrictEqual([put.requests, put.succeeded, put.errors.AlreadyExists, put.bytes], [2, 1, 1, 10])
      assert.deepStrictEqual([get.requests, get.succeeded, get.errors.NotFound, get.interrupted], [3, 1, 1, 1])
      assert.deepStrictEqual([get.bytes, get.keys, get.inFlight], [4, 1, 0])
      assert.deepStrictEqual([head.succeeded, list.succeeded, list.keys, deleted.keys], [1, 1, 1, 2])
      assert.deepStrictEqual([deleted.durationMsSum, deleted.durationMsMax, deleted.inFlight], [30, 30, 0])
      assert.deepStrictEqual(deleted.durationBuckets[instrumented.DURATION_BOUNDS_MS.indexOf(50)], 1)
      assert.strictEqual(get.durationBuckets[instrumented.DURATION_BOUNDS_MS.length], 1)
      assert.strictEqual(counters.bucket, "test")
    })
  )
})
