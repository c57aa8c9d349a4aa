/** The command line of `npm run simulate` [pure]. */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { SCENARIO_NAMES, type ScenarioName } from "../faults/scenarios.ts"

export interface RunArguments {
  readonly seeds: number
  readonly from: number
  readonly scenarios: ReadonlyArray<ScenarioName>
  readonly trace: boolean
  readonly jobs: number
  readonly failuresMax: number
  /** Names of mutations, all where it is empty; undefined: the product as it is. */
  readonly mutations: ReadonlyArray<string> | undefined
}

export const USAGE = `usage: npm run simulate -- [--seeds N] [--from S] [--scenario NAME,…] [--trace] [--jobs N] [--failures N]
       npm run simulate -- --mutations [NAME …] [--jobs N]

  --seeds N      so many seeds (default 100); with several scenarios they take turns
  --from S       the first seed (default 1)
  --scenario     ${SCENARIO_NAMES.join(", ")} (default: all)
  --trace        prints what happens, event by event
  --jobs N       so many processes (default: one for each processor)
  --failures N   stops after so many seeds have failed (default 5)
  --mutations    breaks the product on purpose, and expects the checkers to notice
`

export class BadArguments extends Error {}

export const parseArguments = (args: ReadonlyArray<string>): RunArguments | "help" => {
  const { values, positionals } = parsed(args)
  if (values.help === true) return "help"
  if (positionals.length > 0 && values.mutations !== true) throw new BadArguments(`what is ${positionals[0]}?`)
  return {
    seeds: wholeOf("seeds", values.seeds ?? "100", 1),
    from: wholeOf("from", values.from ?? "1", 0),
    scenarios: scenariosOf(values.scenario),
    trace: values.trace === true,
    jobs: wholeOf("jobs", values.jobs ?? String(availableParallelism()), 1),
    failuresMax: wholeOf("failures", values.failures ?? "5", 1),
    mutations: values.mutations === true ? positionals : undefined
  }
}

const parsed = (args: ReadonlyArray<string>) => {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        seeds: { type: "string" },
        from: { type: "string" },
        scenario: { type: "string" },
        trace: { type: "boolean" },
        jobs: { type: "string" },
        failures: { type: "string" },
        mutations: { type: "boolean" },
        help: { type: "boolean" }
      }
    })
  } catch (error) {
    throw new BadArguments(error instanceof Error ? error.message : String(error))
  }
}

const wholeOf = (name: string, text: string, min: number): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new BadArguments(`--${name} takes a whole number from ${min}, not ${text}`)
}

const scenariosOf = (text: string | undefined): ReadonlyArray<ScenarioName> => {
  if (text === undefined || text === "all") return SCENARIO_NAMES
  return text.split(",").map((name) => {
    const found = SCENARIO_NAMES.find((known) => known === name)
    if (found === undefined)
      throw new BadArguments(`no scenario is called ${name}; there are ${SCENARIO_NAMES.join(", ")}`)
    return found
  })
}
