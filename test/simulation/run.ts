/**
 * `npm run simulate`: runs seeds of scenarios and says what came of them. Exit codes: 0 all is well, 1 a check failed, 2 the
 * command line cannot be understood.
 */
import { type ScenarioName } from "./faults/scenarios.ts"
import { runMutations } from "./mutations/run-mutations.ts"
import { BadArguments, parseArguments, type RunArguments, USAGE } from "./runner/arguments.ts"
import { commitText } from "./runner/commit.ts"
import { runPool } from "./runner/pool.ts"
import { failureText, reportOf, Totals } from "./runner/report.ts"
import { run } from "./simulation.ts"

const PROGRESS_MS = 10_000

const main = async (args: ReadonlyArray<string>): Promise<number> => {
  let given: RunArguments | "help"
  try {
    given = parseArguments(args)
  } catch (error) {
    if (!(error instanceof BadArguments)) throw error
    process.stderr.write(`simulate: ${error.message}\n\n${USAGE}`)
    return 2
  }
  if (given === "help") {
    process.stdout.write(USAGE)
    return 0
  }
  if (given.mutations !== undefined) return await runMutations({ names: given.mutations, jobs: given.jobs })
  return given.trace ? traceSeeds(given) : await runSeeds(given)
}

const runsOf = ({ seeds, from, scenarios }: RunArguments): ReadonlyArray<{ seed: number; scenario: ScenarioName }> =>
  Array.from({ length: seeds }, (_, index) => ({
    seed: from + index,
    scenario: scenarios[index % scenarios.length]!
  }))

/** One after the other in this process, every event a line. */
const traceSeeds = (given: RunArguments): number => {
  let failed = 0
  for (const { seed, scenario } of runsOf(given)) {
    process.stdout.write(`# scenario ${scenario}, seed ${seed}, commit ${commitText()}\n`)
    const before = process.cpuUsage()
    const result = run({ seed, scenario, trace: "lines" })
    process.stdout.write(`${result.lines.join("\n")}\n`)
    const report = reportOf(result, process.cpuUsage(before).user / 1_000)
    process.stdout.write(`# ${JSON.stringify(report.counts)}\n`)
    if (report.failure === undefined) continue
    failed++
    process.stdout.write(`\n${failureText(report, commitText())}`)
  }
  return failed > 0 ? 1 : 0
}

const runSeeds = async (given: RunArguments): Promise<number> => {
  const totals = new Totals()
  const commit = commitText()
  const startedMs = performance.now()
  let toldMs = startedMs
  let failed = 0
  await runPool({
    runs: runsOf(given),
    jobs: given.jobs,
    onReport: (report) => {
      totals.add(report)
      if (report.failure !== undefined) {
        failed++
        process.stdout.write(`${failureText(report, commit)}\n`)
      }
      if (performance.now() - toldMs >= PROGRESS_MS) {
        toldMs = performance.now()
        process.stdout.write(`${progressText(totals, given.seeds, performance.now() - startedMs)}\n`)
      }
      return failed < given.failuresMax
    }
  })
  process.stdout.write(`${totals.table()}\n${progressText(totals, given.seeds, performance.now() - startedMs)}\n`)
  if (failed > 0) process.stdout.write(`${failed} of ${totals.seeds} seeds failed\n`)
  return failed > 0 ? 1 : 0
}

const progressText = (totals: Totals, seeds: number, elapsedMs: number): string => {
  const { simulatedMs, cpuMs } = totals
  return (
    `${totals.seeds} of ${seeds} seeds in ${(elapsedMs / 1000).toFixed(1)} s, ` +
    `${((totals.seeds / elapsedMs) * 1000).toFixed(1)} a second; ${(simulatedMs / 60_000).toFixed(1)} simulated minutes, ` +
    `${(simulatedMs / cpuMs).toFixed(0)} per minute of a processor`
  )
}

process.exitCode = await main(process.argv.slice(2))
