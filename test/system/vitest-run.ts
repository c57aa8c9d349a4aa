/** Tests of vitest's that need a server, as a part of a system test that has started it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { run } from "../peers/child-process.ts"
import { type Context } from "./system-test.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[]
    }>
  }>
}

export interface VitestRun {
  /** Its configuration, and the files that match; both below the project's root. */
  readonly config: string
  readonly files: string
  readonly env: Readonly<Record<string, string>>
  readonly deadlineMs: number
}

/** Runs the files that match; fails with the names of what failed, or when nothing ran. */
export async function runVitest(context: Context, { config, files, env, deadlineMs }: VitestRun): Promise<void> {
  const report = join(context.dir, "report.json")
  const args = [join(root, "node_modules/vitest/vitest.mjs"), "run", "--config", config, files]
  args.push("--reporter=json", `--outputFile=${report}`)
  await run(process.execPath, args, { deadlineMs, cwd: root, env, exitCodes: [0, 1] })
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(
    readFileSync(report, "utf8")
  ) as Report
  context.say(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`)
  const failures = testResults.flatMap((file) => {
    // A file that could not be loaded has no tests that could fail.
    if (file.status === "failed" && file.assertionResults.length === 0) return [`${file.name}: ${file.message}`]
    return file.assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split("\n")[0] ?? "failed"}`)
  })
  if (failures.length > 0) throw new Error(`${failures.length} failed:\n${failures.join("\n")}`)
  if (numPassedTests === 0) throw new Error("no test ran")
}
