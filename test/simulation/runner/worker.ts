/** A process that runs seeds for the runner: takes batches of them from its channel, and answers each with what came of it. */
import { run } from "../simulation.ts"
import { type ScenarioName } from "../faults/scenarios.ts"
import { reportOf, type SeedReport } from "./report.ts"

export interface Batch {
  readonly runs: ReadonlyArray<{ readonly seed: number; readonly scenario: ScenarioName }>
}

export interface BatchDone {
  readonly reports: ReadonlyArray<SeedReport>
}

// Errors are everyday here, and their stacks cost more than they are; a run with --trace has them.
Error.stackTraceLimit = 0

process.on("message", ({ runs }: Batch) => {
  const reports = runs.map(({ seed, scenario }) => {
    const before = process.cpuUsage()
    const result = run({ seed, scenario, trace: "none" })
    const { user, system } = process.cpuUsage(before)
    return reportOf(result, (user + system) / 1_000)
  })
  process.send?.({ reports } satisfies BatchDone)
})
process.on("disconnect", () => process.exit())
