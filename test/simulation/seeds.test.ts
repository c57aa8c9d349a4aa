/**
 * Goal: the product keeps its promises under everything that the scenarios do to it.
 * Method: a thousand seeds, all scenarios in turn, in processes of their own. A failing seed says how it is run again.
 */
import { assert, describe, it } from "@effect/vitest"
import { SCENARIO_NAMES } from "./faults/scenarios.ts"
import { commitText } from "./runner/commit.ts"
import { runPool } from "./runner/pool.ts"
import { failureText, Totals } from "./runner/report.ts"

const SEEDS = 1_000
/** Two processors; more would only wait for them. */
const JOBS = 2
const FAILURES_MAX = 3

describe("simulated clusters", () => {
  it(`keep every promise on ${SEEDS} seeds`, { timeout: 600_000 }, async () => {
    const totals = new Totals()
    const failures: Array<string> = []
    await runPool({
      runs: Array.from({ length: SEEDS }, (_, index) => ({
        seed: index + 1,
        scenario: SCENARIO_NAMES[index % SCENARIO_NAMES.length]!
      })),
      jobs: JOBS,
      onReport: (report) => {
        totals.add(report)
        if (report.failure !== undefined) failures.push(failureText(report, commitText()))
        return failures.length < FAILURES_MAX
      }
    })
    assert.deepEqual(failures, [], `${failures.join("\n")}\n${totals.table()}`)
    assert.strictEqual(totals.seeds, SEEDS)
    assert.isAbove(totals.withoutOffset, SEEDS, "old duplicates are among what comes again")
  })
})
