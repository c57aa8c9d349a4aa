/** Temporary database files, and processes of their own, for the tests of metadata stores. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Effect } from "effect"

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "meridian-metadata-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Of a file that is not there yet. */
export const temporaryFile = Effect.map(temporaryDirectory, (directory) => join(directory, "meridian.db"))

export interface Child {
  readonly process: ChildProcess
  /** Grows as it prints. */
  readonly lines: Array<string>
  /** Ends with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>
}

/** metadata-store-child.ts with the arguments, in a process of its own; killed at the end of the scope at the latest. */
export const child = (args: ReadonlyArray<string>, onLine?: (child: Child) => void) =>
  childOf(new URL("./metadata-store-child.ts", import.meta.url), args, onLine)

/** Any program; it may be told to end by the end of its standard input. */
export const childOf = (program: URL, args: ReadonlyArray<string>, onLine: (child: Child) => void = () => undefined) =>
  Effect.acquireRelease(
    Effect.sync((): Child => {
      const started = spawn(process.execPath, [program.pathname, ...args], { stdio: ["pipe", "pipe", "inherit"] })
      const lines: Array<string> = []
      const ended = new Promise<number | string>((resolve) => {
        started.on("close", (code, signal) => resolve(code ?? signal ?? "unknown"))
      })
      const self: Child = { process: started, lines, ended }
      createInterface({ input: started.stdout }).on("line", (line) => {
        lines.push(line)
        onLine(self)
      })
      return self
    }),
    (self) =>
      Effect.promise(() => {
        self.process.kill("SIGKILL")
        return self.ended
      })
  )
