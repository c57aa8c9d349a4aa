// Goal: a log that cannot be followed is asked seldom and said aloud, and followed again when it can be.
// Method: a tail over a store whose rows the test gives, on the test clock.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { createFold } from "#core/log/fold.ts"
import { LogTail } from "#core/log/log-tail.ts"
import { limits } from "#core/model/limits.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { idOf, rowAfter } from "./log-builders.ts"
import { inTime, memoryStore, type Store } from "./log-harness.ts"

/** From the log's beginning. */
const rowsOf = (count: number): ReadonlyArray<LogRow> => {
  const begun = { isKept: false, epoch: 0 }
  const first = rowAfter(createFold(0), [{ kind: "genesis", clusterId: idOf("cluster", 1) }], {
    ...begun,
    nonce: idOf("nonce", 1)
  })
  const rows = [first]
  while (rows.length < count) {
    const { seq, nonce } = rows.at(-1)!
    rows.push({
      ...rowAfter(createFold(0), [], { ...begun, nonce: idOf("nonce", seq + 1) }),
      seq: seq + 1,
      prevNonce: nonce
    })
  }
  return rows
}

describe("a poll that reads rows which do not follow, and finds no checkpoint", () => {
  it.effect("pauses longer and longer, says what is missing, and goes on when it is there", () => {
    const events: Array<readonly [string, Record<string, unknown>]> = []
    const logger = Logger.make<unknown, void>(({ message }) => void events.push(message as (typeof events)[number]))
    return Effect.gen(function* () {
      const rows = rowsOf(limits.logRowsPerRead * 2)
      let reads = 0
      let isGap = true
      const store: Store = {
        ...(yield* memoryStore),
        read: ({ after, limit }) =>
          Effect.suspend(() => {
            reads += 1
            // More than anyone should ask: a loop that does not pause ends here.
            if (reads > 1_000) return Effect.never
            return Effect.succeed(rows.filter(({ seq }) => seq > (isGap ? Math.max(after, 9) : after)).slice(0, limit))
          })
      }
      const tail = new LogTail({ store, shard: 0, pollIntervalMs: 25, clock: yield* Clock.Clock })
      yield* Effect.forkChild(tail.poll, { startImmediately: true })
      yield* inTime(Effect.sleep(10_000))
      assert.equal(tail.fold.seq, 0)
      assert.isAtMost(reads, 40)
      assert.equal(events.length, 1)
      assert.deepInclude(events[0]![1], {
        shard: 0,
        error: "rows 1 to 9 are missing, and there is no sound checkpoint after 0"
      })
      isGap = false
      yield* inTime(Effect.sleep(limits.logBackoffMaxMs + 25))
      assert.equal(tail.fold.seq, rows.length)
      assert.equal(events.length, 2)
      yield* TestClock.adjust(0)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})
