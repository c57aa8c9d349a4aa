/** Requests that every object store must refuse before it does anything; keys and prefixes at the edge of what is allowed. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ByteRange } from "#core/ports/object-store.ts"
import { assertReason, bytesOf, type ObjectStoreContract } from "./object-store-expectations.ts"

const BAD_KEYS: ReadonlyArray<readonly [key: string, why: string]> = [
  ["", "empty"],
  ["/a", "absolute"],
  ["a/", "ends in a slash"],
  ["a//b", "has an empty part"],
  [".", "is ."],
  ["..", "is .."],
  ["a/../b", "leaves its directory"],
  ["a/./b", "has a part ."],
  ["a b", "has a space"],
  ["a\\b", "has a backslash"],
  ["a\0b", "has a zero byte"],
  ["a\n", "ends in a newline"],
  ["ä", "is not ASCII"],
  ["a+b", "has a plus"],
  ["x".repeat(256), "has a part of 256 bytes"],
  [`${"x".repeat(200)}/${"y".repeat(200)}/${"z".repeat(111)}`, "has 513 bytes"],
  [".tmp/a", "is in the directory of temporary files"],
  [".meridian-bucket", "is the bucket's marker"]
]

export const invalidRequests = (make: ObjectStoreContract["make"]): void => {
  for (const [key, why] of BAD_KEYS) {
    it.effect(`refuses a key that ${why}`, () =>
      Effect.gen(function* () {
        const store = yield* make
        assertReason(yield* Effect.flip(store.put(key, [bytesOf("x")])), "InvalidRequest")
        assertReason(yield* Effect.flip(store.get(key)), "InvalidRequest")
        assertReason(yield* Effect.flip(store.head(key)), "InvalidRequest")
        assertReason(yield* Effect.flip(store.deleteMany(["a", key])), "InvalidRequest")
        assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 10 }), [])
      })
    )
  }

  it.effect("takes keys of the largest size and all allowed characters", () =>
    Effect.gen(function* () {
      const store = yield* make
      const keys = ["ABCXYZabcxyz0189._=-", "...", `${"x".repeat(255)}/${"y".repeat(254)}/z`, ".tmpx/a", "b/.tmp/c"]
      for (const key of keys) yield* store.put(key, [bytesOf(key)])
      for (const key of keys) assert.strictEqual((yield* store.get(key)).bytes.toString("latin1"), key)
      assert.strictEqual((yield* store.list({ prefix: "", limit: 10 })).length, keys.length)
    })
  )

  for (const range of [
    { offset: -1, length: 1 },
    { offset: 0, length: 0 },
    { offset: 0, length: -1 },
    { offset: 0.5, length: 1 },
    { offset: Number.NaN, length: 1 },
    { offset: 2 ** 53, length: 1 },
    { last: 0 },
    { last: -1 },
    { last: 1.5 }
  ] satisfies ReadonlyArray<ByteRange>) {
    it.effect(`refuses the range ${JSON.stringify(range)}`, () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.put("a", [bytesOf("abc")])
        assertReason(yield* Effect.flip(store.get("a", range)), "InvalidRequest")
      })
    )
  }

  for (const request of [
    { prefix: "", limit: 0 },
    { prefix: "", limit: -1 },
    { prefix: "", limit: 1.5 },
    { prefix: "", limit: limits.listKeysMax + 1 },
    { prefix: "a b", limit: 1 },
    { prefix: "x".repeat(513), limit: 1 },
    { prefix: "", after: "ä", limit: 1 }
  ]) {
    it.effect(`refuses the list request ${JSON.stringify(request).slice(0, 60)}`, () =>
      Effect.gen(function* () {
        const store = yield* make
        assertReason(yield* Effect.flip(store.list(request)), "InvalidRequest")
      })
    )
  }

  it.effect("refuses more keys to delete than the limit, and deletes none", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("k0", [bytesOf("x")])
      const keys = Array.from({ length: limits.deleteKeysMax + 1 }, (_, index) => `k${index}`)
      assertReason(yield* Effect.flip(store.deleteMany(keys)), "InvalidRequest")
      yield* store.head("k0")
    })
  )

  it.effect("refuses a body above the limit", () =>
    Effect.gen(function* () {
      const store = yield* make
      const chunk = Buffer.alloc(1024 * 1024)
      const chunks = Array.from({ length: limits.objectBytesMax / chunk.length }, () => chunk)
      assertReason(yield* Effect.flip(store.put("a", [...chunks, bytesOf("x")])), "InvalidRequest")
      assertReason(yield* Effect.flip(store.head("a")), "NotFound")
    })
  )

  it.effect("does not list outside the bucket whatever the prefix", () =>
    Effect.gen(function* () {
      const store = yield* make
      yield* store.put("a/b", [bytesOf("x")])
      for (const prefix of ["../", "..", "/", "./", "a/../", "a/./", "a//", ".tmp/", ".meridian"]) {
        assert.deepStrictEqual(yield* store.list({ prefix, limit: 10 }), [], prefix)
      }
    })
  )
}
