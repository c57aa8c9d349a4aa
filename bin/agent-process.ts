/**
 * One agent as a child process: started, watched, started again when it dies, stopped.
 *
 * The agent hangs on an IPC channel: it reports over it that it is ready or why it cannot be, and stops by itself when
 * the supervisor is gone. It runs in a process group of its own, so that Ctrl-C reaches the supervisor alone, which then
 * stops it. Restarts back off, bounded, while it keeps dying.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { rmSync, writeFileSync } from "node:fs"
import { Deferred, Effect, Fiber, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { type AgentMessage, isAgentMessage } from "./agent-message.ts"
import { type CommandFailed, failed, invalid } from "./command-failed.ts"
import { eachLine } from "./line-splitter.ts"
import { ENVIRONMENT, NODE_FLAGS } from "./process-settings.mjs"

export interface AgentProcessOptions {
  readonly name: string
  /** Of the `agent` command. */
  readonly args: ReadonlyArray<string>
  readonly pidFile: string
  readonly restart: boolean
  /** What the agent writes to its standard output and error. */
  readonly onLine: (line: string) => void
  /** What happens to it, for people. */
  readonly onEvent: (text: string) => void
}

export interface AgentProcess {
  /** Ends when the agent is ready for the first time; fails with the reason where it ends before. */
  readonly ready: Effect.Effect<void, CommandFailed>
  /** Ends when the agent has died and is not started again. */
  readonly gone: Effect.Effect<void>
}

interface Ending {
  readonly why: string
  readonly failure: Extract<AgentMessage, { readonly type: "failed" }> | undefined
  readonly ranMs: number
}

/** Runs it until the scope closes; then it has ended. */
export const supervise = (options: AgentProcessOptions): Effect.Effect<AgentProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const ready = yield* Deferred.make<void, CommandFailed>()
    const fiber = yield* Effect.forkScoped(keepRunning(options, ready))
    return { ready: Deferred.await(ready), gone: Effect.asVoid(Fiber.await(fiber)) }
  })

const keepRunning = Effect.fnUntraced(function* (
  options: AgentProcessOptions,
  ready: Deferred.Deferred<void, CommandFailed>
) {
  let pauseMs: number = limits.agentRestartMs
  while (true) {
    const ending = yield* runOnce(options, (pid) => {
      const isFirst = Deferred.doneUnsafe(ready, Effect.void)
      if (!isFirst) options.onEvent(`agent ${options.name} is back (pid ${pid})`)
    })
    if (!(yield* Deferred.isDone(ready))) {
      const { failure, why } = ending
      const text = failure?.message ?? `${why} before it was ready`
      const error = failure?.exitCode === 2 ? invalid(text) : failed(`agent ${options.name}: ${text}`)
      yield* Deferred.fail(ready, error)
      return
    }
    const reason = ending.failure === undefined ? ending.why : `${ending.why}: ${ending.failure.message}`
    if (!options.restart) {
      options.onEvent(`agent ${options.name} ${reason}; it stays down (--no-restart)`)
      return
    }
    if (ending.ranMs >= limits.agentSettledMs) pauseMs = limits.agentRestartMs
    options.onEvent(`agent ${options.name} ${reason}; starting it again in ${pauseMs} ms`)
    yield* Effect.sleep(pauseMs)
    pauseMs = Math.min(pauseMs * 2, limits.agentRestartMsMax)
  }
})

/** Ends when the process has ended. Interrupted, it stops it first. */
const runOnce = (options: AgentProcessOptions, onReady: (pid: number) => void): Effect.Effect<Ending> =>
  Effect.gen(function* () {
    const startedAtMs = yield* monotonicMs
    let failure: Ending["failure"]
    const child = start(options, (message) => {
      if (message.type === "failed") failure = message
      else onReady(child.pid!)
    })
    // Asked for once, before anything can interrupt: an exit that is missed would be waited for in vain.
    const exited = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(`could not be started: ${error.message}`))
      child.once("close", (code, signal) =>
        resolve(signal === null ? `ended with exit code ${code}` : `was killed (${signal})`)
      )
    })
    const why = yield* Effect.onInterrupt(
      Effect.callback<string>((resume) => {
        void exited.then((text) => resume(Effect.succeed(text)))
      }),
      () => stop(child, exited, options)
    )
    rmSync(options.pidFile, { force: true })
    return { why, failure, ranMs: (yield* monotonicMs) - startedAtMs }
  })

/** However this process ends, also by a defect, no agent may outlive it. (Killed, it cannot do this: they see the channel close.) */
const running = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

const start = (options: AgentProcessOptions, onMessage: (message: AgentMessage) => void): ChildProcess => {
  const child = spawn(process.execPath, [...NODE_FLAGS, process.argv[1]!, "agent", "--supervised", ...options.args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    detached: true,
    env: { ...ENVIRONMENT, ...process.env }
  })
  if (child.pid !== undefined) writeFileSync(options.pidFile, `${child.pid}\n`)
  running.add(child)
  child.once("close", () => running.delete(child))
  child.on("message", (message) => {
    if (isAgentMessage(message)) onMessage(message)
  })
  eachLine(child.stdout!, options.onLine)
  eachLine(child.stderr!, options.onLine)
  return child
}

/** Asks, waits, and kills what does not end by itself. */
const stop = (child: ChildProcess, exited: Promise<string>, options: AgentProcessOptions): Effect.Effect<void> =>
  Effect.gen(function* () {
    child.kill("SIGTERM")
    const ended = Effect.promise(() => exited)
    yield* Effect.timeoutOrElse(ended, {
      duration: limits.agentStopMs,
      orElse: () =>
        Effect.suspend(() => {
          options.onEvent(`agent ${options.name} did not stop within ${limits.agentStopMs / 1000} s and is killed`)
          child.kill("SIGKILL")
          return ended
        })
    })
    rmSync(options.pidFile, { force: true })
  })
