/**
 * Put-if-absent between writers that know nothing of each other: several stores on one bucket, each with connections of its
 * own. For real servers, whose own locking decides.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Result, type Scope } from "effect"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { assertReason, type ObjectStoreContract } from "./object-store-expectations.ts"

const STORES = 4
const PUTS_OF_EACH = 4
const ROUNDS = 20

/** `openAll` opens so many stores on one empty place. */
export const manyWritersContract = (contract: {
  readonly openAll: (count: number) => Effect.Effect<ReadonlyArray<ObjectStore>, ObjectStoreError, Scope.Scope>
  readonly conflictsWhenRacing?: ObjectStoreContract["conflictsWhenRacing"]
}): void => {
  it.effect("has one winner of writers of many stores", () =>
    Effect.gen(function* () {
      const stores = yield* contract.openAll(STORES)
      for (let round = 0; round < ROUNDS; round++) {
        const results = yield* Effect.forEach(
          Array.from({ length: PUTS_OF_EACH }, () => stores).flat(),
          (store, index) => Effect.result(store.put(`k${round}`, [Buffer.alloc(10_000, index)])),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(results.filter(Result.isSuccess).length, 1)
        for (const result of results) {
          if (Result.isSuccess(result)) continue
          const isConflict = contract.conflictsWhenRacing === true && result.failure.reason === "Unavailable"
          assertReason(result.failure, isConflict ? "Unavailable" : "AlreadyExists")
        }
      }
    })
  )
}
