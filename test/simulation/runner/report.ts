/** What is told of a run, between processes and to people [pure]. */
import { CHECKS, type CheckName } from "../engine/check-failed.ts"
import { type ScenarioName } from "../faults/scenarios.ts"
import { type Counts, type RunResult } from "../simulation.ts"

export interface SeedReport {
  readonly seed: number
  readonly scenario: ScenarioName
  readonly failure: { readonly check: CheckName; readonly message: string; readonly facts: string } | undefined
  readonly simulatedMs: number
  /** Of a processor. */
  readonly cpuMs: number
  readonly counts: Counts
}

export const reportOf = ({ seed, scenario, failure, simulatedMs, counts }: RunResult, cpuMs: number): SeedReport => ({
  seed,
  scenario,
  failure:
    failure === undefined
      ? undefined
      : { check: failure.check, message: failure.message, facts: JSON.stringify(failure.facts) },
  simulatedMs,
  cpuMs,
  counts
})

/** What failed, and how to see it again. */
export const failureText = ({ seed, scenario, failure }: SeedReport, commit: string): string =>
  failure === undefined
    ? ""
    : [
        `FAILED ${failure.check}: ${failure.message}`,
        `  the promise: ${CHECKS[failure.check]}`,
        `  the facts: ${failure.facts}`,
        `  again: npm run simulate -- --scenario ${scenario} --from ${seed} --seeds 1 --trace   # commit ${commit}`,
        ""
      ].join("\n")

/** Sums over many runs, by scenario. */
export class Totals {
  readonly #byScenario = new Map<ScenarioName, ScenarioTotals>()
  seeds = 0
  /** Records that were acknowledged as old duplicates. */
  withoutOffset = 0
  simulatedMs = 0
  /** Of processors, all workers together. */
  cpuMs = 0

  add(report: SeedReport): void {
    const { scenario, counts, simulatedMs, cpuMs, failure } = report
    this.seeds++
    this.simulatedMs += simulatedMs
    this.cpuMs += cpuMs
    const totals = this.#byScenario.get(scenario) ?? { ...NOTHING }
    this.#byScenario.set(scenario, totals)
    totals.seeds++
    if (failure !== undefined) totals.failed++
    totals.simulatedMs += simulatedMs
    totals.cpuMs += cpuMs
    totals.faults += counts.faults
    totals.rows += counts.rows
    totals.acknowledged += counts.acknowledged
    this.withoutOffset += counts.withoutOffset
    totals.recordsRead += counts.recordsRead
    totals.recoveryMsMax = Math.max(totals.recoveryMsMax, counts.recoveryMs)
  }

  table(): string {
    const rows = [...this.#byScenario].map(([scenario, totals]) => [
      scenario,
      String(totals.seeds),
      String(totals.failed),
      (totals.simulatedMs / totals.cpuMs).toFixed(0),
      perSeed(totals.faults, totals),
      perSeed(totals.rows, totals),
      perSeed(totals.acknowledged, totals),
      perSeed(totals.recordsRead, totals),
      (totals.recoveryMsMax / 1000).toFixed(1)
    ])
    const all = [HEADINGS, ...rows]
    const widths = HEADINGS.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
    return all.map((row) => row.map((cell, column) => pad(cell, widths[column]!, column)).join("  ")).join("\n")
  }
}

interface ScenarioTotals {
  seeds: number
  failed: number
  simulatedMs: number
  cpuMs: number
  faults: number
  rows: number
  acknowledged: number
  recordsRead: number
  recoveryMsMax: number
}

const NOTHING: ScenarioTotals = {
  seeds: 0,
  failed: 0,
  simulatedMs: 0,
  cpuMs: 0,
  faults: 0,
  rows: 0,
  acknowledged: 0,
  recordsRead: 0,
  recoveryMsMax: 0
}

const HEADINGS = ["scenario", "seeds", "failed", "x real time", "faults", "entries", "acked", "read", "recovery s"]

const perSeed = (sum: number, { seeds }: ScenarioTotals): string => (sum / seeds).toFixed(1)

const pad = (cell: string, width: number, column: number): string =>
  column === 0 ? cell.padEnd(width) : cell.padStart(width)
