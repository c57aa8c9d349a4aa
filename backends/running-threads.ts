/**
 * Threads whose system calls may block, as long as they run.
 *
 * Node waits for its threads when it ends, also in process.exit: one that is blocked by a hanging directory would keep the
 * process for ever. So whoever ends the process asks here (bin/process-end.ts). Loads nothing: the end must not be slow.
 */
import type { Worker } from "node:worker_threads"

const running = new Map<Worker, string>()

/** `name` says what the thread does and where, for people. */
export const watchThread = (worker: Worker, name: string): void => {
  running.set(worker, name)
  worker.once("exit", () => running.delete(worker))
}

/** Asks all of them to end, which those that block do not. */
export const endThreads = (): void => {
  for (const worker of running.keys()) void worker.terminate()
}

export const runningThreads = (): ReadonlyArray<string> => [...running.values()]
