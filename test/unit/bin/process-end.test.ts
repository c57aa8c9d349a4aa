/**
 * Goal: a process ends in bounded time and with its exit code whatever hangs, and at once where nothing does.
 * Method: child processes with a named pipe in an object's place, which blocks whoever opens it.
 */
import { execFileSync, spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

const CHILD = fileURLToPath(new URL("process-end-child.ts", import.meta.url))

interface Ending {
  readonly code: number | null
  readonly signal: string | null
  readonly errorText: string
  /** From when it began to end. */
  readonly tookMs: number
}

const run = (mode: string, code: number): Promise<Ending> => {
  const directory = join(temporaryDirectory(), "bucket")
  mkdirSync(directory)
  // A bucket is made in an empty directory only, so the marker comes before the pipe.
  execFileSync("sh", ["-c", `printf '{"format":1,"bucket":"sick"}' > .meridian-bucket; mkfifo hanging`], {
    cwd: directory
  })
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", CHILD, mode, directory, String(code)],
    {
      stdio: ["ignore", "pipe", "pipe"]
    }
  )
  let endingAtMs = 0
  let errorText = ""
  child.stdout.once("data", () => (endingAtMs = performance.now()))
  child.stderr.on("data", (text) => (errorText += text))
  return new Promise((resolve) => {
    child.once("close", (exitCode, signal) =>
      resolve({ code: exitCode, signal, errorText, tookMs: performance.now() - endingAtMs })
    )
  })
}

describe("the end of a process", () => {
  it("waits for a bucket's hanging thread, names it, and goes without it with the exit code", async () => {
    for (const code of [0, 7]) {
      const ending = await run("get", code)
      assert.deepStrictEqual([ending.code, ending.signal], [code, null])
      assert.match(ending.errorText, /^meridian: ending without what hangs: get thread of bucket sick \(.*bucket\)\n$/)
      assert.isBelow(ending.tookMs, limits.agentStopMs - limits.logEndMs)
    }
  })

  it("goes without a system call that hangs", async () => {
    const ending = await run("system-call", 3)
    assert.deepStrictEqual([ending.code, ending.signal], [3, null])
    assert.match(ending.errorText, /^meridian: ending without what hangs: 1 system call\n$/)
  })

  it("says nothing where nothing hangs", async () => {
    const ending = await run("nothing", 5)
    assert.deepStrictEqual([ending.code, ending.signal, ending.errorText], [5, null, ""])
  })
})
