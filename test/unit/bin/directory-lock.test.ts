/**
 * Goal: a directory has at most one playground, and one that was killed does not block the next. Method: the lock in this
 * process, with lock files of other owners written by hand.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { acquire } from "../../../bin/directory-lock.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

describe("directory lock", () => {
  it.effect("is refused while its owner lives, naming the owner", () =>
    Effect.gen(function* () {
      const path = join(temporaryDirectory(), "lock")
      yield* acquire(path)
      const error = yield* Effect.flip(acquire(path))
      assert.strictEqual(error.exitCode, 2)
      assert.include(error.message, `pid ${process.pid}`)
    })
  )

  it.effect("is there again when its scope has closed, and nothing is left behind", () =>
    Effect.gen(function* () {
      const directory = temporaryDirectory()
      const path = join(directory, "lock")
      yield* Effect.scoped(acquire(path))
      assert.deepStrictEqual(readdirSync(directory), [])
      assert.isFalse((yield* acquire(path)).wasStale)
    })
  )

  it.effect("of a process that is gone is taken over", () =>
    Effect.gen(function* () {
      const path = join(temporaryDirectory(), "lock")
      // Above any pid that a system gives.
      writeFileSync(path, JSON.stringify({ pid: 2 ** 30, startedAt: "" }))
      assert.isTrue((yield* acquire(path)).wasStale)
      assert.strictEqual(JSON.parse(readFileSync(path, "utf8")).pid, process.pid)
    })
  )

  it.effect.skipIf(!existsSync("/proc/self/stat"))("of a process whose pid another one has now is taken over", () =>
    Effect.gen(function* () {
      const path = join(temporaryDirectory(), "lock")
      writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt: "another boot 1" }))
      assert.isTrue((yield* acquire(path)).wasStale)
    })
  )

  it.effect("that is damaged is taken over", () =>
    Effect.gen(function* () {
      const path = join(temporaryDirectory(), "lock")
      writeFileSync(path, "{")
      assert.isTrue((yield* acquire(path)).wasStale)
    })
  )

  it.effect("in a directory that is not there is a clear refusal", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(acquire(join(temporaryDirectory(), "missing", "lock")))
      assert.strictEqual(error.exitCode, 2)
      assert.include(error.message, "no such file or directory")
    })
  )
})
