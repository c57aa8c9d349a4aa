/**
 * Goal: a seed is the whole run: the same seed gives the same trace, byte for byte, in this process or another, first or
 * after others. Without that, a failing seed could not be looked at.
 * Method: every scenario, several seeds; traced twice with other runs in between, and once more in a process of its own.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { SCENARIO_NAMES } from "./faults/scenarios.ts"
import { run } from "./simulation.ts"

const RUN = fileURLToPath(new URL("run.ts", import.meta.url))

const traceOf = (seed: number, scenario: (typeof SCENARIO_NAMES)[number]): ReadonlyArray<string> =>
  run({ seed, scenario, trace: "lines" }).lines

const traceElsewhere = (seed: number, scenario: string): Promise<ReadonlyArray<string>> =>
  new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [RUN, "--scenario", scenario, "--seeds", "1", "--from", String(seed), "--trace"],
      { maxBuffer: 256 * 1024 * 1024, encoding: "utf8" },
      (error, stdout) => {
        if (error !== null) reject(error)
        else resolve(stdout.split("\n").filter((line) => line !== "" && !line.startsWith("#")))
      }
    )
  })

/** The first line that differs says more than two long texts. */
const assertSame = (first: ReadonlyArray<string>, second: ReadonlyArray<string>): void => {
  const at = first.findIndex((line, index) => line !== second[index])
  if (at >= 0) assert.strictEqual(second[at], first[at], `line ${at + 1} of the traces differs`)
  assert.strictEqual(second.length, first.length, "one trace goes on where the other ends")
}

describe("a seed is the whole run", () => {
  for (const scenario of SCENARIO_NAMES) {
    it(`${scenario}: the same trace twice, with others in between`, () => {
      const seeds = [11, 12]
      const first = seeds.map((seed) => traceOf(seed, scenario))
      const second = seeds.toReversed().map((seed) => traceOf(seed, scenario))
      assertSame(first[0]!, second[1]!)
      assertSame(first[1]!, second[0]!)
      assert.isAbove(first[0]!.length, 100, "a trace tells of what happened")
      assert.notDeepEqual(first[0], first[1], "another seed is another run")
    })
  }

  it("the same trace in another process", async () => {
    assertSame(traceOf(13, "default"), await traceElsewhere(13, "default"))
  })

  it("tracing changes nothing of what happens", () => {
    const traced = run({ seed: 14, scenario: "default", trace: "lines" })
    const silent = run({ seed: 14, scenario: "default", trace: "none" })
    assert.deepEqual(silent.counts, traced.counts)
    assert.strictEqual(silent.simulatedMs, traced.simulatedMs)
  })
})
