/**
 * Runs the simulation on broken copies of the product, and says which of them nobody noticed.
 *
 * A copy is a temporary directory with the product's sources and the simulation's, and with the installed packages by link.
 * Nothing in this checkout is changed.
 */
import { execFile } from "node:child_process"
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type CheckName } from "../engine/check-failed.ts"
import { type Mutation } from "./mutation.ts"
import { MUTATIONS } from "./mutations.ts"

const ROOT = fileURLToPath(new URL("../../..", import.meta.url))
/** What the simulation runs. */
const COPIED = ["core", "backends", "regions", "replication", "bin", "test/simulation", "package.json"]
const SEEDS_MAX = 400
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

export interface MutationOutcome {
  readonly mutation: Mutation
  readonly outcome: "caught" | "caught by another" | "not caught" | "does not apply"
  /** The checkers that failed first, or why it could not be run. */
  readonly found: string
}

/** Exit code 1 where one was not caught as it should be. */
export const runMutations = async (options: {
  readonly names: ReadonlyArray<string>
  readonly jobs: number
}): Promise<number> => {
  const { names, jobs } = options
  const unknown = names.find((name) => !MUTATIONS.some((mutation) => mutation.name === name))
  if (unknown !== undefined) {
    process.stderr.write(
      `no mutation is called ${unknown}; there are ${MUTATIONS.map(({ name }) => name).join(", ")}\n`
    )
    return 2
  }
  let failed = 0
  for (const mutation of MUTATIONS) {
    if (names.length > 0 && !names.includes(mutation.name)) continue
    const { outcome, found } = await tryMutation(mutation, { jobs, seeds: SEEDS_MAX })
    if (outcome !== "caught") failed++
    process.stdout.write(`${outcome.padEnd(18)} ${mutation.name}: ${found}\n`)
  }
  return failed > 0 ? 1 : 0
}

export const tryMutation = async (
  mutation: Mutation,
  options: { readonly jobs: number; readonly seeds: number }
): Promise<MutationOutcome> => {
  const directory = await mkdtemp(join(tmpdir(), "meridian-mutation-"))
  try {
    for (const each of COPIED) await cp(join(ROOT, each), join(directory, each), { recursive: true })
    await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"))
    for (const edit of mutation.edits) {
      const file = join(directory, edit.file)
      const source = await readFile(file, "utf8")
      const count = source.split(edit.find).length - 1
      if (count !== 1) {
        return { mutation, outcome: "does not apply", found: `its text occurs ${count} times in ${edit.file}` }
      }
      await writeFile(
        file,
        source.replace(edit.find, () => edit.replace)
      )
    }
    const output = await simulate(directory, mutation, options)
    return outcomeOf(mutation, output)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const outcomeOf = (mutation: Mutation, output: string): MutationOutcome => {
  const check = /^FAILED ([a-z-]+): (.*)$/m.exec(output)
  const seeds = [...output.matchAll(/^(\d+) of \d+ seeds in/gm)].at(-1)
  if (check === null) {
    const ended = seeds === undefined ? output.slice(-2_000) : `no check failed on ${seeds[1]} seeds`
    return { mutation, outcome: "not caught", found: ended }
  }
  const found = `${check[1]}: ${check[2]}`
  const isExpected = mutation.caughtBy.includes(check[1] as CheckName)
  return { mutation, outcome: isExpected ? "caught" : "caught by another", found }
}

const simulate = (
  directory: string,
  { scenario }: Mutation,
  { jobs, seeds }: { readonly jobs: number; readonly seeds: number }
): Promise<string> =>
  new Promise((resolve) => {
    const args = [
      "--disable-warning=ExperimentalWarning",
      join(directory, "test/simulation/run.ts"),
      "--scenario",
      scenario,
      "--seeds",
      String(seeds),
      "--failures",
      "1",
      "--jobs",
      String(jobs)
    ]
    execFile(
      process.execPath,
      args,
      { cwd: directory, maxBuffer: OUTPUT_BYTES_MAX, encoding: "utf8" },
      (_error, stdout, stderr) => resolve(stdout + stderr)
    )
  })
