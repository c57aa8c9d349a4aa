/**
 * Goal: an agent starts with the buckets that are there, takes up the others when they come, and never makes one anew
 * where it has vanished. Method: directory buckets in a temporary directory, real file operations and a real clock.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { type TopologyBucket } from "#regions/topology.ts"
import { openBuckets } from "../../../bin/buckets.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

const declared = (name: string, directory: string): TopologyBucket => ({
  name,
  region: name,
  zone: name,
  location: { kind: "file", directory, fsync: false }
})

const put = [Buffer.from("x")]

describe("opening buckets", () => {
  it.live("a directory that belongs to another bucket ends the start, naming both", () =>
    Effect.gen(function* () {
      const directory = join(temporaryDirectory(), "b")
      mkdirSync(directory)
      yield* Effect.scoped(openBuckets([declared("one", directory)]))
      const error = yield* Effect.flip(openBuckets([declared("two", directory)]))
      assert.strictEqual(error.exitCode, 2)
      assert.match(error.message, /^bucket two: .*"one"/)
    })
  )

  it.live("a directory with foreign files ends the start", () =>
    Effect.gen(function* () {
      const directory = temporaryDirectory()
      writeFileSync(join(directory, "thesis.txt"), "")
      const error = yield* Effect.flip(openBuckets([declared("one", directory)]))
      assert.strictEqual(error.exitCode, 2)
      assert.include(error.message, "thesis.txt")
    })
  )

  it.live("one that is not there answers Unavailable, is not made, and works from the moment on that it is there", () =>
    Effect.gen(function* () {
      const root = temporaryDirectory()
      mkdirSync(join(root, "here"))
      const [here, away] = yield* openBuckets([
        declared("here", join(root, "here")),
        declared("away", join(root, "away"))
      ])
      assert.isTrue(here!.isOpen())
      yield* here!.bucket.store.put("k", put)
      assert.isFalse(away!.isOpen())
      const error = yield* Effect.flip(away!.bucket.store.put("k", put))
      assert.strictEqual(error.reason, "Unavailable")
      assert.strictEqual(error.outcome, "definite")
      assert.isFalse(existsSync(join(root, "away")))
      mkdirSync(join(root, "away.new"))
      renameSync(join(root, "away.new"), join(root, "away"))
      const retried = Effect.retry(
        away!.bucket.store.put("k", put),
        Schedule.max([Schedule.spaced(20), Schedule.recurs(1_000)])
      )
      yield* retried
      assert.isTrue(away!.isOpen())
      assert.isAtLeast(away!.counters.put.errors.Unavailable, 1)
      assert.strictEqual(away!.counters.put.succeeded, 1)
    })
  )
})
