/**
 * Goal: a log event becomes one line with its fields, whatever was handed to Effect's log functions, in both forms.
 * Method: the logger layer with a writer that keeps the lines.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import { type LogFormat, layer, renderPretty } from "#core/telemetry/log.ts"

const logged = (format: LogFormat, effect: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const fields = { region: "r1", agent: "a1" }
    yield* effect.pipe(Effect.provide(layer({ format, fields, write: (line) => lines.push(line) })))
    return lines
  })

describe("log events as JSON", () => {
  it.effect("one line holds time, level, event, the agent's fields and the event's", () =>
    Effect.gen(function* () {
      const lines = yield* logged("json", Effect.logWarning("bucket failed", { bucket: "b1", tries: 3 }))
      assert.lengthOf(lines, 1)
      const { time, ...rest } = JSON.parse(lines[0]!)
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.deepStrictEqual(rest, {
        region: "r1",
        agent: "a1",
        bucket: "b1",
        tries: 3,
        level: "warn",
        event: "bucket failed"
      })
    })
  )

  it.effect("annotations are fields too", () =>
    Effect.gen(function* () {
      const lines = yield* logged("json", Effect.logInfo("folded").pipe(Effect.annotateLogs({ shard: 0 })))
      assert.strictEqual(JSON.parse(lines[0]!).shard, 0)
    })
  )

  it.effect("a field cannot replace level or event, and bigints, errors and line breaks stay on one line", () =>
    Effect.gen(function* () {
      const fields = { event: "forged", level: "none", n: 2n ** 60n, error: new Error("first\nsecond") }
      const lines = yield* logged("json", Effect.logError("real", fields))
      assert.notInclude(lines[0]!, "\n")
      const parsed = JSON.parse(lines[0]!)
      assert.strictEqual(parsed.event, "real")
      assert.strictEqual(parsed.level, "error")
      assert.strictEqual(parsed.n, "1152921504606846976")
      assert.strictEqual(parsed.error, "first\nsecond")
    })
  )

  it.effect("a cause among the arguments becomes a field", () =>
    Effect.gen(function* () {
      const lines = yield* logged("json", Effect.logError("defect", Cause.die(new Error("boom"))))
      assert.include(JSON.parse(lines[0]!).cause, "boom")
    })
  )
})

describe("log events for people", () => {
  it("text with spaces is quoted, plain words are not", () => {
    const line = renderPretty({
      time: new Date(0),
      level: "Warn",
      event: "bucket failed",
      fields: { bucket: "b1", why: "no answer", count: 2 }
    })
    assert.strictEqual(line, '00:00:00.000 warn  bucket failed bucket=b1 why="no answer" count=2')
  })

  it.effect("is one line also for values with line breaks", () =>
    Effect.gen(function* () {
      const lines = yield* logged("pretty", Effect.logInfo("x", { text: "a\nb" }))
      assert.lengthOf(lines, 1)
      assert.notInclude(lines[0]!, "\n")
    })
  )
})
