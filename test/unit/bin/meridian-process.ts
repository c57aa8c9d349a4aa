/** Runs `meridian …` as users do, through bin/run.mjs, and ends it whatever happens. For tests. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

export const repository = fileURLToPath(new URL("../../..", import.meta.url))

export interface Ended {
  /** null where a signal ended it. */
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface MeridianProcess {
  readonly child: ChildProcess
  readonly output: () => { readonly stdout: string; readonly stderr: string }
  readonly ended: Promise<Ended>
}

/** A run that takes longer is killed, and its exit code is null. */
const RUN_TIMEOUT_MS = 45_000

export const startMeridian = (...args: ReadonlyArray<string>): MeridianProcess => {
  const child = spawn(process.execPath, ["bin/run.mjs", "meridian", ...args], {
    cwd: repository,
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (exitCode) => resolve({ exitCode, stdout, stderr }))
  })
  return { child, output: () => ({ stdout, stderr }), ended }
}

export const runMeridian = async (...args: ReadonlyArray<string>): Promise<Ended> => {
  const { child, ended } = startMeridian(...args)
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_TIMEOUT_MS)
  try {
    return await ended
  } finally {
    clearTimeout(timer)
  }
}
