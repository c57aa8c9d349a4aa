/**
 * Runs a child in the foreground as if it were this process: same terminal, signals passed on, exit code kept.
 *
 * The child hangs on a leash, an IPC channel that closes when this process ends in whatever way, also by kill -9. The
 * meridian program watches the channel itself and stops cleanly (`own`); other programs get a small preloaded module
 * that ends them (`preload`).
 */
import { spawn } from "node:child_process"
import { constants } from "node:os"
import { delimiter, dirname } from "node:path"
import { SetupFailed } from "./setup-failed.mjs"

const LEASH = `data:text/javascript,${encodeURIComponent(
  "if (process.channel) { process.on('disconnect', () => process.exit(1)); process.channel.unref() }"
)}`

const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]

/** Ends with the child's exit code, 128 + the signal's number where a signal ended it. */
export const runChild = ({ node, args, cwd, env, leash }) =>
  new Promise((resolve, reject) => {
    const child = spawn(
      node,
      ["--disable-warning=ExperimentalWarning", ...(leash === "preload" ? ["--import", LEASH] : []), ...args],
      { cwd, env: withRuntimeFirst(env, node), stdio: ["inherit", "inherit", "inherit", "ipc"] }
    )
    const forwards = FORWARDED.map((signal) => [signal, () => child.kill(signal)])
    for (const [signal, forward] of forwards) process.on(signal, forward)
    const settle = (end) => {
      for (const [signal, forward] of forwards) process.off(signal, forward)
      end()
    }
    child.once("error", (error) => settle(() => reject(new SetupFailed(`cannot start ${node}: ${error.message}`))))
    child.once("exit", (code, signal) => settle(() => resolve(code ?? 128 + (constants.signals[signal] ?? 0))))
  })

/** Programs that the child starts by `#!/usr/bin/env node` must find the same Node. */
const withRuntimeFirst = (env, node) => ({ ...env, PATH: `${dirname(node)}${delimiter}${env.PATH ?? ""}` })
