/**
 * Goal: a reader that takes nothing costs lines, never the event loop or memory. Method: a real pipe (mkfifo's two ends)
 * that the test reads or leaves alone.
 */
import { spawn } from "node:child_process"
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { makeLogWriter } from "../../../bin/log-writer.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

describe("log writer", () => {
  it("writes lines in order, all of them by the time it is drained", async () => {
    const file = join(temporaryDirectory(), "log")
    writeFileSync(file, "")
    const fd = openSync(file, "a")
    const writer = makeLogWriter(fd)
    const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index}`)
    for (const line of lines) writer.write(line)
    await writer.drained()
    closeSync(fd)
    assert.strictEqual(readFileSync(file, "utf8"), `${lines.join("\n")}\n`)
    assert.strictEqual(writer.droppedCount(), 0)
  })

  it("drops and counts what nobody takes, and drained() still ends", async () => {
    // A child that never reads: its pipe fills up.
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {
      stdio: ["pipe", "ignore", "ignore"]
    })
    try {
      const { fd } = (child.stdin as unknown as { _handle: { fd: number } })._handle
      const writer = makeLogWriter(fd)
      const line = "x".repeat(200)
      for (let count = 0; count < limits.logLinesQueued * 3; count++) writer.write(line)
      const startedAtMs = performance.now()
      await writer.drained()
      assert.isBelow(performance.now() - startedAtMs, limits.logEndMs * 4)
      assert.isAtLeast(writer.droppedCount(), limits.logLinesQueued)
    } finally {
      child.kill("SIGKILL")
    }
  })
})
