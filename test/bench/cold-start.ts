/**
 * How an agent starts with very many committed batches behind it: from its process to a fold that has everything, and the
 * most memory that it ever held, against 5 s and 512 MiB. 10 million batches; 1.5 million in quick mode.
 *
 * The history is made by the product's own judge, fold and materializer through the real store: index pages, checkpoints,
 * and a log that is trimmed. Then a new process, set up as an agent's, starts over it several times as an agent does: newest
 * checkpoint, restore, the log's tail. It has no listener and no caches, which an agent has besides. When it is ready it looks
 * for records at the beginning, in the middle and at the end. SQLite in a folder of its own, or a PostgreSQL
 * database given by URL in MERIDIAN_BENCH_POSTGRES_URL, which must be empty.
 */
import { fork } from "node:child_process"
import { join } from "node:path"
import { ENVIRONMENT, NODE_FLAGS } from "../../bin/process-settings.mjs"
import { type Benchmark, type Figures, median, printTable, rounded } from "./benchmark.ts"

export interface HistoryMade {
  readonly batches: number
  readonly seconds: number
  readonly pages: number
  readonly logRows: number
}

export interface Started {
  /** From the start of the process. */
  readonly readyMs: number
  /** Of the processor, by then: what a machine that is busy with other things does not change. */
  readonly cpuMs: number
  /** Where the time went, in order; together `readyMs`. */
  readonly phases: Readonly<Record<string, number>>
  readonly peakMiB: number
  readonly batches: number
  readonly checkpointBytes: number
  readonly tailRows: number
}

/** Never imported, not even for its types: it is a program, and an import would run it. */
const program = join(import.meta.dirname, "cold-start-process.ts")
const readyLimitSeconds = 5
const memoryLimitMiB = 512

export const coldStart: Benchmark = {
  name: "cold-start",
  needsKafka: false,
  run: async ({ dir, quick }) => {
    const url = process.env["MERIDIAN_BENCH_POSTGRES_URL"] ?? ""
    const batches = quick ? 1_500_000 : 10_000_000
    const database = url === "" ? join(dir, "metadata.db") : url
    const made = await inProcess<HistoryMade>("make", database, String(batches))
    const starts: Started[] = []
    for (let round = 0; round < (quick ? 2 : 5); round += 1) starts.push(await inProcess<Started>("start", database))
    const [first] = starts
    if (first === undefined) throw new Error("nothing was started")
    if (first.batches !== made.batches) throw new Error(`${first.batches} of ${made.batches} batches are there`)
    const figures = {
      batches: made.batches,
      makeSeconds: rounded(made.seconds, 0),
      indexPages: made.pages,
      logRows: made.logRows,
      checkpointBytes: first.checkpointBytes,
      tailRows: first.tailRows,
      readySeconds: rounded(median(starts.map(({ readyMs }) => readyMs)) / 1_000),
      readySecondsMax: rounded(Math.max(...starts.map(({ readyMs }) => readyMs)) / 1_000),
      cpuSeconds: rounded(median(starts.map(({ cpuMs }) => cpuMs)) / 1_000),
      peakMiB: Math.max(...starts.map(({ peakMiB }) => peakMiB)),
      phases: Object.fromEntries(
        Object.keys(first.phases).map((name) => [
          name,
          rounded(median(starts.map((each) => each.phases[name] ?? 0)), 0)
        ])
      )
    } satisfies Figures
    printTable([
      [
        `${(made.batches / 1e6).toFixed(1)} million batches behind it (${url === "" ? "SQLite" : "PostgreSQL"})`,
        "",
        "of"
      ],
      ["from the process to ready, s", figures.readySeconds.toFixed(2), String(readyLimitSeconds)],
      ["the slowest of them, s", figures.readySecondsMax.toFixed(2), String(readyLimitSeconds)],
      ["of the processor, s", figures.cpuSeconds.toFixed(2), ""],
      ...Object.entries(figures.phases).map(([name, ms]) => [`  ${name}`, ms.toFixed(0), ""]),
      ["peak resident memory, MiB", String(figures.peakMiB), String(memoryLimitMiB)],
      ["checkpoint, MB", (first.checkpointBytes / 1e6).toFixed(2), ""],
      ["rows of the log: all, read behind the checkpoint", `${made.logRows}, ${first.tailRows}`, ""],
      ["index pages", String(made.pages), ""]
    ])
    return figures
  }
}

/** Ends when the process has told and ended. */
function inProcess<A>(...args: ReadonlyArray<string>): Promise<A> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [...args], { execArgv: [...NODE_FLAGS], env: { ...process.env, ...ENVIRONMENT } })
    let told: A | undefined
    child.on("message", (message) => (told = message as A))
    child.on("exit", (code) => {
      if (told === undefined || code !== 0) reject(new Error(`cold-start ${args[0] ?? ""} ended with ${code}`))
      else resolve(told)
    })
  })
}
