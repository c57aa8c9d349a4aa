/** `meridian bench`: the benchmarks live in the repository, beside the peers that they compare with, and run from sources. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { type CommandFailed, failed, invalid } from "./command-failed.ts"

const runner = fileURLToPath(new URL("../test/bench/run.ts", import.meta.url))

export const run = (args: ReadonlyArray<string>): Effect.Effect<void, CommandFailed> =>
  Effect.suspend(() => {
    if (!existsSync(runner))
      return invalid("the benchmarks need a clone of the repository: there is no test/bench here")
    return Effect.callback<void, CommandFailed>((resume) => {
      const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", runner, ...args], {
        stdio: "inherit"
      })
      child.once("error", (error) => resume(failed(`cannot start the benchmarks: ${error.message}`)))
      child.once("exit", (code, signal) => {
        const why = `the benchmarks ended with ${signal ?? `exit code ${code}`}`
        resume(code === 0 ? Effect.void : code === 2 ? invalid(why) : failed(why))
      })
      return Effect.sync(() => child.kill("SIGTERM"))
    })
  })
