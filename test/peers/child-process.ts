/**
 * Foreign programs as children: started in a process group of their own, each with a deadline, ended by pid.
 *
 * Invariant: when the process that imported this file ends, for whatever reason it can still see, nothing that it
 * started lives on. It must not look for processes by name, and must never signal a pid that it did not start.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { createWriteStream } from "node:fs"

export interface User {
  readonly uid: number
  readonly gid: number
}

export interface RunOptions {
  /** The child is killed, and the call fails, after so long. */
  readonly deadlineMs: number
  readonly input?: Buffer | string
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** As whom; root only. */
  readonly user?: User
  /** Exit codes that are no failure; 0 when left out. */
  readonly exitCodes?: readonly number[]
}

export interface Finished {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
  readonly durationMs: number
}

export interface Running {
  readonly pid: number
  readonly child: ChildProcess
  /** Settles, never rejects, with the exit code or the name of the signal. */
  readonly exited: Promise<number | string>
  readonly isRunning: () => boolean
  /** Signals the whole group of the child. */
  readonly kill: (signal: NodeJS.Signals) => void
}

export interface StartOptions {
  readonly logFile: string
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** As whom; root only. */
  readonly user?: User
  /** Gets every piece of standard output, as text. */
  readonly onStdout?: (text: string) => void
  /** "pipe" gives `child.stdin`; by default standard input is empty. */
  readonly stdin?: "pipe" | "ignore"
}

/** More than the largest expected answer of a consumer; a runaway child fails here and not by memory. */
const outputBytesMax = 512 * 1024 * 1024
const stopGraceMs = 15_000

const groups = new Set<number>()

/** Runs a program to its end. Fails on a deadline or an unexpected exit code, with what the program said last. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const startedAtMs = performance.now()
  const shown = `${command} ${args.join(" ")}`.slice(0, 400)
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      detached: true,
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      ...options.user,
      stdio: ["pipe", "pipe", "pipe"]
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let outBytes = 0
    let verdict = ""
    const pid = child.pid
    if (pid !== undefined) groups.add(pid)
    const end = (reason: string): void => {
      verdict ||= reason
      if (pid !== undefined) signalGroup(pid, "SIGKILL")
    }
    const timer = setTimeout(() => end(`still running after ${options.deadlineMs} ms`), options.deadlineMs)
    child.stdout.on("data", (piece: Buffer) => {
      outBytes += piece.length
      if (outBytes > outputBytesMax) end(`wrote more than ${outputBytesMax} bytes`)
      else out.push(piece)
    })
    child.stderr.on("data", (piece: Buffer) => {
      err.push(piece)
      if (err.length > 2_000) err.splice(0, 1_000)
    })
    // A child that ends early closes its input: its exit code says more than our EPIPE.
    child.stdin.on("error", () => undefined)
    child.stdin.end(options.input)
    child.on("error", (error) => {
      clearTimeout(timer)
      reject(new Error(`cannot run ${shown}: ${error.message}`))
    })
    child.on("close", (code) => {
      clearTimeout(timer)
      if (pid !== undefined) groups.delete(pid)
      const finished = {
        code,
        stdout: Buffer.concat(out),
        stderr: Buffer.concat(err).toString(),
        durationMs: performance.now() - startedAtMs
      }
      if (verdict === "" && code !== null && (options.exitCodes ?? [0]).includes(code)) resolve(finished)
      else reject(new Error(`${shown}\n${verdict || `ended with ${code}`}\n${lastLines(finished)}`))
    })
  })
}

/** Starts a program that stays: a server, or a producer that runs until it is told to end. */
export function start(command: string, args: readonly string[], options: StartOptions): Running {
  const log = createWriteStream(options.logFile, { flags: "a" })
  const child = spawn(command, args, {
    detached: true,
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    ...options.user,
    stdio: [options.stdin ?? "ignore", "pipe", "pipe"]
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`cannot start ${command}: is it installed?`)
  groups.add(pid)
  let running = true
  child.stdout?.on("data", (piece: Buffer) => {
    log.write(piece)
    options.onStdout?.(piece.toString())
  })
  child.stderr?.on("data", (piece: Buffer) => log.write(piece))
  child.stdin?.on("error", () => undefined)
  const exited = new Promise<number | string>((resolve) => {
    const ended = (how: number | string): void => {
      running = false
      forgetOnceEmpty(pid)
      resolve(how)
    }
    child.on("error", (error) => {
      log.end()
      ended(error.message)
    })
    // "exit", not "close": grandchildren may hold the pipes long after the child that we wait for is gone.
    child.on("exit", (code, signal) => ended(code ?? signal ?? "unknown"))
    // And what they still say belongs into the log.
    child.on("close", () => log.end())
  })
  return { pid, child, exited, isRunning: () => running, kill: (signal) => signalGroup(pid, signal) }
}

/** Asks a program and all its children to end, and insists after a grace time. */
export async function stop(running: Running): Promise<void> {
  running.kill("SIGTERM")
  await Promise.race([running.exited, delay(stopGraceMs)])
  running.kill("SIGKILL")
  await Promise.race([running.exited, delay(2_000)])
  groups.delete(running.pid)
}

/** Kills every group started here: for ends of the process and for deadlines of whole tests. */
export function killAll(): void {
  for (const pid of groups) signalGroup(pid, "SIGKILL")
  groups.clear()
}

/** True when a program can be started at all. */
export function isInstalled(command: string, versionArgs: readonly string[] = ["--version"]): boolean {
  const result = spawnSync(command, versionArgs, { stdio: "ignore", timeout: 30_000 })
  return result.error === undefined && result.status === 0
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}

/** Waits until a condition holds; the one place where the system tests poll. */
export async function waitUntil(
  what: string,
  deadlineMs: number,
  condition: () => boolean | Promise<boolean>
): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function lastLines(finished: { readonly stdout: Buffer; readonly stderr: string }): string {
  const text = finished.stderr.trim() === "" ? finished.stdout.subarray(-4_000).toString() : finished.stderr
  return text.trim().split("\n").slice(-15).join("\n").slice(-4_000)
}

/** Once nobody is left in a group, its number may soon be that of others, who must not be signalled. */
function forgetOnceEmpty(pid: number): void {
  if (!groups.has(pid)) return
  try {
    process.kill(-pid, 0)
    setTimeout(() => forgetOnceEmpty(pid), 100).unref()
  } catch {
    groups.delete(pid)
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group has ended by itself: just what is wanted.
  }
}

process.on("exit", killAll)
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129]
] as const) {
  process.on(signal, () => process.exit(code))
}
