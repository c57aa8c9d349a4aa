/** Reads the topology file, for every command that needs it; `meridian topology check` shows what it says. */
import { readFile } from "node:fs/promises"
import { resolve } from "node:path"
import { Effect } from "effect"
import { type Topology, type TopologyError, parseTopology } from "#regions/topology.ts"
import { type CommandFailed, invalid } from "./command-failed.ts"
import { explainFileError } from "./file-error.ts"

/** Fails with all problems of the file at once, each with its field, its value and what to do. */
export const readTopology = (file: string): Effect.Effect<Topology, CommandFailed> =>
  Effect.gen(function* () {
    const text = yield* Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (error) => invalid(`cannot read the topology file ${file}: ${explainFileError(error)}`)
    })
    // Relative paths in it begin in its own directory, wherever the program was started.
    const parsed = parseTopology(text, resolve(file))
    return yield* Effect.mapError(Effect.fromResult(parsed), (error) => invalid(problemsOf(file, error)))
  })

const problemsOf = (file: string, { problems }: TopologyError): string => {
  const lines = problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
  return lines.length === 1 ? `${file}: ${lines[0]}` : `${file} has ${lines.length} problems:\n  ${lines.join("\n  ")}`
}

export const check = (file: string): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    const topology = yield* readTopology(file)
    const count = (n: number, thing: string): string => `${n} ${thing}${n === 1 ? "" : "s"}`
    const sets = [...topology.bucketSets.values()].map(
      ({ name, writes, buckets }) => `${name} writes ${writes} of ${buckets.length}`
    )
    process.stdout.write(
      `${file} is sound: cluster ${topology.cluster}, ${count(topology.regions.length, "region")}, ` +
        `${count(topology.buckets.length, "bucket")}; ${sets.join("; ")}\n`
    )
  })
