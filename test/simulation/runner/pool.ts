/**
 * Runs many seeds in several processes and tells of each result as it comes.
 *
 * A worker that dies (out of memory, a crash of Node) is no result: the run fails, and says on which seeds it was.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type ScenarioName } from "../faults/scenarios.ts"
import { type SeedReport } from "./report.ts"
// Its types only: loaded, it would answer the messages of whatever process this is.
import type { Batch, BatchDone } from "./worker.ts"

export interface PoolOptions {
  readonly runs: ReadonlyArray<{ readonly seed: number; readonly scenario: ScenarioName }>
  readonly jobs: number
  /** False: nothing more is begun. */
  readonly onReport: (report: SeedReport) => boolean
}

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url))
const BATCH_RUNS = 5

/** Ends when all that was begun has ended. */
export const runPool = async ({ runs, jobs, onReport }: PoolOptions): Promise<void> => {
  let next = 0
  let goesOn = true
  const take = (): Batch | undefined => {
    if (!goesOn || next >= runs.length) return undefined
    const batch = { runs: runs.slice(next, next + BATCH_RUNS) }
    next += BATCH_RUNS
    return batch
  }
  const report = (done: BatchDone): void => {
    for (const each of done.reports) if (goesOn) goesOn = onReport(each)
  }
  await Promise.all(Array.from({ length: jobs }, () => runWorker(take, report)))
}

const runWorker = (take: () => Batch | undefined, report: (done: BatchDone) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    let batch = take()
    if (batch === undefined) return resolve()
    // Not this process's own flags: what is preloaded here may be about its own channel.
    const worker: ChildProcess = fork(WORKER, {
      execArgv: ["--disable-warning=ExperimentalWarning"],
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    worker.once("error", reject)
    worker.once("exit", (code, signal) => {
      if (batch === undefined) return resolve()
      const seeds = batch.runs.map(({ seed, scenario }) => `${scenario} ${seed}`).join(", ")
      reject(new Error(`a worker ended with ${signal ?? code} on one of these: ${seeds}`))
    })
    worker.on("message", (done: BatchDone) => {
      report(done)
      batch = take()
      if (batch === undefined) worker.disconnect()
      else worker.send(batch)
    })
    worker.send(batch)
  })
