/**
 * The end of the process, also where a directory or a name server hangs.
 *
 * Node waits for its threads when it ends, in process.exit too: one that is blocked in a system call (a dead network mount
 * under a bucket) would keep a stopped agent for ever, until its supervisor kills it. So the end waits for them itself, for
 * a bounded time, and then replaces the process by one that only ends, which takes all threads away. The exit code is the
 * same on both ways: nothing that was acknowledged depends on what is left behind.
 */
import { endThreads, runningThreads } from "#backends/running-threads.ts"
import { limits } from "#core/model/limits.ts"

/** The first call counts. */
export const endProcess = (code: number): void => {
  if (isEnding) return
  isEnding = true
  endThreads()
  const giveUpAtMs = performance.now() + limits.processEndMs
  const look = (): void => {
    const blocked = blockedNow()
    if (blocked.length === 0) process.exit(code)
    if (performance.now() >= giveUpAtMs) endWithout(blocked, code)
    setTimeout(look, limits.processEndPollMs)
  }
  look()
}

let isEnding = false

/** What process.exit would wait for. */
const blockedNow = (): ReadonlyArray<string> => {
  const calls = process.getActiveResourcesInfo().filter((name) => POOL_CALLS.test(name)).length
  return calls === 0 ? runningThreads() : [...runningThreads(), `${calls} system call${calls === 1 ? "" : "s"}`]
}

/** Of libuv's threads: files and names. */
const POOL_CALLS = /^FSReq|^Get(Addr|Name)Info/

const endWithout = (blocked: ReadonlyArray<string>, code: number): void => {
  process.stderr.write(`meridian: ending without what hangs: ${blocked.join(", ")}\n`)
  try {
    process.emit("exit", code)
    process.execve?.(process.execPath, [process.execPath, "--eval", `process.exit(${code})`], {})
  } finally {
    process.kill(process.pid, "SIGKILL")
  }
}
