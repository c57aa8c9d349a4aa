/**
 * Goal: no agent begins a new log over the segments of an existing cluster; fresh clusters start, whoever is first.
 * Method: memory buckets, one that fails and one that never answers, on the test's clock; the database is any file.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "#backends/object/memory.ts"
import { type Bucket, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import * as Log from "#core/telemetry/log.ts"
import { refuseMissingDatabase } from "../../../bin/database-missing.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

const bucketOf = (name: string, list?: ObjectStore["list"]): { readonly bucket: Bucket } => {
  const store = MemoryStore.make({ bucket: name })
  return { bucket: { name, region: name, zone: name, store: list === undefined ? store : { ...store, list } } }
}

const withSegment = (name: string) => {
  const made = bucketOf(name)
  const put = made.bucket.store.put("segments/quorum/2026-03-01/17/000000000000001-0", [Buffer.from("x")])
  return Effect.as(put, made)
}

const failing = bucketOf("failing", () =>
  Effect.fail(
    new ObjectStoreError({
      reason: "Unavailable",
      outcome: "definite",
      operation: "list",
      bucket: "failing",
      key: "",
      cause: new Error("away")
    })
  )
)
const hanging = bucketOf("hanging", () => Effect.never)

const missingFile = (): string => join(temporaryDirectory(), "metadata.db")

describe("a database that does not exist", () => {
  it.effect("is refused where a bucket holds segments, with file, bucket and what to do", () =>
    Effect.gen(function* () {
      const file = missingFile()
      const buckets = [bucketOf("empty"), yield* withSegment("full"), failing]
      const error = yield* Effect.flip(refuseMissingDatabase(file, buckets))
      assert.strictEqual(error.exitCode, 2)
      assert.include(error.message, `${file} does not exist`)
      assert.match(error.message, /segments of an existing cluster: full; restore the database, or give empty buckets/)
      assert.notInclude(error.message, "\n")
    })
  )

  it.effect("may be made where all buckets are empty of segments, without a word", () => {
    const lines: Array<string> = []
    return Effect.gen(function* () {
      const other = bucketOf("other")
      yield* other.bucket.store.put("probes/x", [Buffer.from("x")])
      yield* refuseMissingDatabase(missingFile(), [bucketOf("empty"), other])
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(Log.layer({ format: "json", fields: {}, write: (line) => lines.push(line) })))
  })

  it.effect("is made with a warning where a bucket fails or does not answer within 2 s", () => {
    const lines: Array<string> = []
    return Effect.gen(function* () {
      const buckets = [bucketOf("empty"), failing, hanging]
      const looking = yield* Effect.forkChild(refuseMissingDatabase(missingFile(), buckets), { startImmediately: true })
      yield* TestClock.adjust(1_999)
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust(1)
      yield* Fiber.join(looking)
      const told = lines.map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        told.map(({ level, unknown }) => [level, unknown]),
        [["warn", "failing, hanging"]]
      )
    }).pipe(Effect.provide(Log.layer({ format: "json", fields: {}, write: (line) => lines.push(line) })))
  })

  it.effect("is that of an agent which started at the same time, where it is there after the look", () =>
    Effect.gen(function* () {
      const file = missingFile()
      const full = yield* withSegment("full")
      const list: ObjectStore["list"] = (options) =>
        Effect.andThen(
          Effect.sync(() => writeFileSync(file, "")),
          full.bucket.store.list(options)
        )
      yield* refuseMissingDatabase(file, [bucketOf("raced", list), full])
    })
  )

  it.effect("is the only one that buckets are asked for", () =>
    Effect.gen(function* () {
      const file = missingFile()
      writeFileSync(file, "")
      yield* refuseMissingDatabase(file, [hanging, yield* withSegment("full")])
    })
  )
})
