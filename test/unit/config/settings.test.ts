/**
 * Goal: a wrong setting is refused with its name, the value and the fix; right ones are taken; the table is consistent.
 * Method: wrong values of each kind first, then text and scalars, then the table against itself.
 */
import { assert, describe, it } from "vitest"
import { didYouMean, formatProblems, showValue } from "#core/config/problem.ts"
import { defaultSettings, parseSettings, settingsTable } from "#core/config/settings.ts"

const problemOf = (written: Record<string, unknown>): string => {
  const result = parseSettings(written)
  return result.ok ? "none" : formatProblems(result.problems)
}

describe("settings", () => {
  it("refuse an unknown name with the likely one", () => {
    assert.strictEqual(
      problemOf({ "flush.intervall.ms": 5 }),
      'flush.intervall.ms: no such setting (did you mean "flush.interval.ms"?)'
    )
    assert.strictEqual(problemOf({ zzz: 5 }), "zzz: no such setting")
  })

  it("refuse what is no whole number, too small or too large, and say what to write", () => {
    const range = "write a whole number from 1 to 10000 (count; default 1)"
    assert.strictEqual(problemOf({ "num.partitions": "x" }), `num.partitions: "x" is not a whole number: ${range}`)
    assert.strictEqual(problemOf({ "num.partitions": 1.5 }), `num.partitions: 1.5 is not a whole number: ${range}`)
    assert.strictEqual(problemOf({ "num.partitions": null }), `num.partitions: null is not a whole number: ${range}`)
    assert.strictEqual(problemOf({ "num.partitions": true }), `num.partitions: true is not a whole number: ${range}`)
    assert.strictEqual(problemOf({ "num.partitions": 0 }), `num.partitions: 0 is too small: ${range}`)
    assert.strictEqual(problemOf({ "num.partitions": 10_001 }), `num.partitions: 10001 is too large: ${range}`)
  })

  it("refuse what is no boolean", () => {
    assert.strictEqual(
      problemOf({ "auto.create.topics.enable": "yes" }),
      'auto.create.topics.enable: "yes" is neither true nor false: write true or false'
    )
  })

  it("report all problems together", () => {
    const result = parseSettings({ nope: 1, "num.partitions": 0, "cache.bytes": "big" })
    assert.isFalse(result.ok)
    assert.deepStrictEqual(result.ok ? [] : result.problems.map((problem) => problem.path), [
      "nope",
      "num.partitions",
      "cache.bytes"
    ])
  })

  it("refuse values that contradict each other", () => {
    assert.match(
      problemOf({ "request.bytes.in.flight": 1_048_576 }),
      /^request\.bytes\.in\.flight: .*at least 16777216$/
    )
    assert.match(problemOf({ "fetch.max.bytes": 67_108_864, "fetch.bytes.in.flight": 1_048_576 }), /^fetch\.bytes/)
    assert.match(problemOf({ "bucket.read.hedge.ms": 5_000 }), /^bucket\.read\.hedge\.ms: 5000 is not less than/)
  })

  it("take numbers, booleans and text alike", () => {
    const result = parseSettings({
      "num.partitions": "12",
      "auto.create.topics.enable": "false",
      "flush.interval.ms": 0
    })
    assert.isTrue(result.ok)
    if (!result.ok) return
    assert.strictEqual(result.settings.numPartitions, 12)
    assert.isFalse(result.settings.autoCreateTopics)
    assert.strictEqual(result.settings.flushIntervalMs, 0)
    assert.strictEqual(result.settings.cacheBytes, defaultSettings.cacheBytes)
  })

  it("have names that differ, units in the names of times and sizes, and defaults that are valid", () => {
    assert.strictEqual(new Set(settingsTable.map((setting) => setting.name)).size, settingsTable.length)
    for (const setting of settingsTable) {
      if (setting.type === "integer" && setting.unit === "ms") assert.match(setting.name, /\.ms$/)
      if (setting.type === "integer" && setting.unit === "bytes") assert.match(setting.name, /bytes/)
    }
    const written = Object.fromEntries(settingsTable.map((setting) => [setting.name, setting.defaultValue]))
    assert.deepStrictEqual(parseSettings(written), { ok: true, settings: defaultSettings })
  })
})

describe("problems", () => {
  it("cut long values and show missing ones", () => {
    assert.strictEqual(showValue(undefined), "nothing")
    assert.isBelow(showValue("x".repeat(10_000)).length, 100)
  })

  it("suggest a close name only", () => {
    assert.strictEqual(didYouMean("regoin", ["region", "zone"]), ' (did you mean "region"?)')
    assert.strictEqual(didYouMean("REGION", ["region"]), ' (did you mean "region"?)')
    assert.strictEqual(didYouMean("bucket", ["region", "zone"]), "")
    assert.strictEqual(didYouMean("", []), "")
  })
})
