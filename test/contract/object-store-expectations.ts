/** What the suites of the object store contract share: how a store is given to them, and what they ask of its errors. */
import { assert } from "@effect/vitest"
import { type Effect, type Scope } from "effect"
import { type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"

export interface ObjectStoreContract {
  readonly name: string
  /** An empty store of its own for each test. */
  readonly make: Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope>
  /**
   * Whether a key may be a "directory" of others; `refused` where it is left out. The port lets stores do both, and callers
   * never ask. `failing` stores answer some error, also to a read or a delete of a key below an object, and to a put while a
   * delete empties its directory. `unspecified`: only puts are not asked.
   */
  readonly nestedKeys?: "refused" | "allowed" | "failing" | "unspecified"
  /** Whether a put that races with another of its key may be told Unavailable (definite) instead of AlreadyExists. */
  readonly conflictsWhenRacing?: boolean
}

export const assertReason = (
  error: unknown,
  reason: ObjectStoreError["reason"],
  outcome: ObjectStoreError["outcome"] = "definite"
): void => {
  assert.instanceOf(error, ObjectStoreError)
  assert.deepStrictEqual([error.reason, error.outcome], [reason, outcome], String(error.cause))
}

export const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1")
