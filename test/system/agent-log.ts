/**
 * What agents logged while something went on: whether it would have annoyed whoever watches them.
 *
 * Errors mean that somebody has to act, so faults that end by themselves leave none. A warning is told once, not at each
 * attempt; the same one about another agent or server counts for itself.
 */
import { strict as assert } from "node:assert"

/** Of one agent, within one fault: once when it begins, once more should it come back. */
const sameWarningsMax = 2

export interface Warning {
  readonly level: "warn" | "error"
  /** Who says it, what, and of whom. */
  readonly what: string
}

export function warningsOf(log: string): Warning[] {
  return log.split("\n").flatMap((line): Warning[] => {
    const [, agent, level, rest = ""] = /^(\S+) \| [\d:.]+ (warn|error) +(.*)$/.exec(line) ?? []
    if (agent === undefined) return []
    const [event] = rest.split(/ \w+=/, 1)
    const [, whom = ""] = / (?:other|server|bucket)=(\S+)/.exec(rest) ?? []
    return [
      { level: level === "error" ? "error" : "warn", what: `${agent}: ${event}${whom === "" ? "" : ` (${whom})`}` }
    ]
  })
}

/** Answers with the number of warnings. */
export function requireQuiet(log: string): number {
  const warnings = warningsOf(log)
  const [error] = warnings.filter(({ level }) => level === "error")
  assert.equal(error, undefined, `nobody has to act, and yet there is an error: ${error?.what}`)
  for (const [what, same] of Map.groupBy(warnings, (warning) => warning.what)) {
    assert(same.length <= sameWarningsMax, `told ${same.length} times within one fault: ${what}`)
  }
  return warnings.length
}
