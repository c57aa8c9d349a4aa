import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "#backends/metadata/memory.ts"
import { LogClock } from "#core/log/log-clock.ts"
import { limits } from "#core/model/limits.ts"
import { type MetadataStore } from "#core/ports/metadata-store.ts"

const DATABASE_MS = 1_800_000_000_000

const setUp = Effect.gen(function* () {
  const database = { nowMs: DATABASE_MS, thereMs: 0, backMs: 0 }
  const store: MetadataStore["Service"] = {
    ...(yield* MemoryStore.make),
    now: Effect.gen(function* () {
      yield* Effect.sleep(database.thereMs)
      const { nowMs } = database
      yield* Effect.sleep(database.backMs)
      return nowMs
    })
  }
  const fold = { timeMs: 0 }
  const clock = yield* Clock.Clock
  const logClock = new LogClock({ store, clock, fold })
  const look = Effect.gen(function* () {
    const looking = yield* Effect.forkChild(logClock.look, { startImmediately: true })
    yield* TestClock.adjust(database.thereMs)
    yield* TestClock.adjust(database.backMs)
    yield* Fiber.join(looking)
  })
  return { database, fold, logClock, look }
})

describe("LogClock", () => {
  it.effect("goes by the database's clock, whatever this machine's says", () =>
    Effect.gen(function* () {
      const { logClock, look } = yield* setUp
      yield* TestClock.setTime(DATABASE_MS + 86_400_000)
      yield* look
      assert.strictEqual(logClock.nowMs(), DATABASE_MS)
      assert.strictEqual(logClock.wallAheadMs(), 86_400_000)
      yield* TestClock.adjust(1_500)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 1_500)
    })
  )

  it.effect("does not follow this machine's clock when somebody sets it back", () =>
    Effect.gen(function* () {
      const { logClock, look } = yield* setUp
      yield* TestClock.setTime(DATABASE_MS)
      yield* look
      yield* TestClock.setTime(1_000)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS)
    })
  )

  it.effect("is not moved by an answer that was long under way, as long as it may be true", () =>
    Effect.gen(function* () {
      const { database, logClock, look } = yield* setUp
      yield* look
      yield* TestClock.adjust(10_000)
      database.nowMs = DATABASE_MS + 10_000 + 3_000
      database.thereMs = 3_000
      database.backMs = 1_000
      yield* look
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 14_000)
      database.backMs = 0
      database.nowMs = DATABASE_MS + 14_000 + 3_000 + 500
      yield* look
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 17_500, "ahead by 0.5 s of what was possible")
    })
  )

  it.effect("goes on slowly where the database's clock was set back behind what the log says", () =>
    Effect.gen(function* () {
      const { database, fold, logClock, look } = yield* setUp
      yield* look
      fold.timeMs = DATABASE_MS
      database.nowMs = DATABASE_MS - 60_000
      yield* look
      assert.strictEqual(logClock.nowMs(), DATABASE_MS)
      yield* TestClock.adjust(500)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 250)
      yield* TestClock.adjust(58_500)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 1_000, "little ahead of the log while nothing is committed")
      yield* TestClock.adjust(3_000)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 2_000, "reached again")
    })
  )

  it.effect("goes on at half its pace however often something is committed meanwhile", () =>
    Effect.gen(function* () {
      const { database, fold, logClock, look } = yield* setUp
      yield* look
      fold.timeMs = DATABASE_MS
      database.nowMs = DATABASE_MS - 3_600_000
      yield* look
      for (let ms = 0; ms < 10_000; ms++) {
        yield* TestClock.adjust(1)
        fold.timeMs = logClock.nowMs()
      }
      assert.isAtLeast(fold.timeMs, DATABASE_MS + 4_990)
      assert.isAtMost(fold.timeMs, DATABASE_MS + 5_000)
    })
  )

  it.effect("looks again and again", () =>
    Effect.gen(function* () {
      const { database, logClock } = yield* setUp
      yield* Effect.forkChild(logClock.watch, { startImmediately: true })
      yield* TestClock.adjust(0)
      database.nowMs = DATABASE_MS + 3_600_000
      yield* TestClock.adjust(limits.logClockLookMs - 1)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + limits.logClockLookMs - 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(logClock.nowMs(), DATABASE_MS + 3_600_000)
    })
  )
})
