/**
 * Goal: every reason and outcome that the port can show can be shown on demand, and an outcome never lies.
 * Method: one planned fault at an append on a store in memory; what the store holds afterwards is compared with the outcome.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as faulty from "#backends/metadata/faulty.ts"
import * as memory from "#backends/metadata/memory.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { rowOf } from "./metadata-store-rows.ts"

const REASONS: ReadonlyArray<MetadataError["reason"]> = ["Unavailable", "TimedOut", "Misconfigured", "Corrupt"]

/** The store beneath, and the one that fails at the first append. */
const failingOnce = (fault: faulty.Fault, operation: faulty.StoreOperation = "append") =>
  Effect.map(memory.make, (inner) => ({
    inner,
    store: faulty.make(inner, (call) => (call.operation === operation && call.index === 0 ? fault : undefined))
  }))

describe("faults of the metadata store", () => {
  for (const reason of REASONS) {
    for (const outcome of ["definite", "indefinite"] as const) {
      it.effect(`${reason}, ${outcome}, before the call: nothing happened`, () =>
        Effect.gen(function* () {
          const { inner, store } = yield* failingOnce({ kind: "fail-before", reason, outcome })
          const error = yield* Effect.flip(store.append(rowOf(1)))
          assert.deepEqual([error.reason, error.outcome, error.operation], [reason, outcome, "append"])
          assert.equal(error.isRetryable, reason === "Unavailable" || reason === "TimedOut")
          assert.equal((yield* inner.tail(0)).seq, 0)
          assert.equal(yield* store.append(rowOf(1)), "appended")
        })
      )
    }

    it.effect(`${reason} after the call: it happened, and nobody can know`, () =>
      Effect.gen(function* () {
        const { inner, store } = yield* failingOnce({ kind: "fail-after", reason })
        const error = yield* Effect.flip(store.append(rowOf(1)))
        assert.deepEqual([error.reason, error.outcome], [reason, "indefinite"])
        assert.equal((yield* inner.tail(0)).seq, 1)
        assert.equal(yield* store.append(rowOf(1)), "taken")
      })
    )
  }

  it.effect("a read that fails is always definite", () =>
    Effect.gen(function* () {
      const { store } = yield* failingOnce({ kind: "fail-after", reason: "TimedOut" }, "tail")
      assert.equal((yield* Effect.flip(store.tail(0))).outcome, "definite")
    })
  )

  for (const [kind, seq] of [
    ["hang-before", 0],
    ["hang-after", 1]
  ] as const) {
    it.effect(`${kind} never answers, and can be given up`, () =>
      Effect.gen(function* () {
        const { inner, store } = yield* failingOnce({ kind })
        const call = yield* Effect.forkChild(Effect.timeoutOption(store.append(rowOf(1)), "1 hour"))
        yield* TestClock.adjust("1 hour")
        assert.isTrue(Option.isNone(yield* Fiber.join(call)))
        assert.equal((yield* inner.tail(0)).seq, seq)
      })
    )
  }

  it.effect("a delayed call takes effect late, and one delivered twice is answered as the second", () =>
    Effect.gen(function* () {
      const delayed = yield* failingOnce({ kind: "delay", delayMs: 500 })
      const call = yield* Effect.forkChild(delayed.store.append(rowOf(1)))
      yield* TestClock.adjust(499)
      assert.equal((yield* delayed.inner.tail(0)).seq, 0)
      yield* TestClock.adjust(1)
      assert.equal(yield* Fiber.join(call), "appended")
      const twice = yield* failingOnce({ kind: "duplicate" })
      assert.equal(yield* twice.store.append(rowOf(1)), "taken")
      assert.equal((yield* twice.inner.tail(0)).seq, 1)
    })
  )
})
