/**
 * The metadata store on real servers: the tests of test/postgres, run with the URLs of servers that are started here.
 *
 * They are vitest's, with a configuration of their own; their counts are printed, and each that fails is named.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { run } from "../peers/child-process.ts"
import { startCockroachdbContainer } from "../peers/containers.ts"
import { startPostgres } from "../peers/postgres/postgres.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const testsDeadlineMs = 400_000

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

/** Runs the files that match; fails with the names of what failed, or when nothing ran. */
async function runTests(context: Context, files: string, env: Readonly<Record<string, string>>): Promise<void> {
  const report = join(context.dir, "report.json")
  const args = [
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--config",
    "test/vitest.postgres.config.ts",
    files
  ]
  args.push("--reporter=json", `--outputFile=${report}`)
  await run(process.execPath, args, { deadlineMs: testsDeadlineMs, cwd: root, env, exitCodes: [0, 1] })
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

export const postgresStore: SystemTest = {
  name: "database-store: PostgreSQL",
  needs: ["postgresql"],
  deadlineMs: testsDeadlineMs + 60_000,
  run: async (context) => {
    const server = await startPostgres({ logFile: join(context.dir, "postgresql.log") })
    try {
      await runTests(context, "test/postgres", { MERIDIAN_TEST_POSTGRES_URL: server.url() })
    } finally {
      await server.stop()
    }
  }
}

export const cockroachdbStore: SystemTest = {
  name: "database-store: the CockroachDB of MERIDIAN_TEST_COCKROACHDB_URL",
  needs: ["cockroachdb-url"],
  deadlineMs: testsDeadlineMs + 60_000,
  // The variable is in the environment, which the tests inherit.
  run: async (context) => await runTests(context, "test/postgres/contract.test.ts", {})
}

export const cockroachdbContainer: SystemTest = {
  name: "database-store: CockroachDB in a container",
  needs: ["containers"],
  deadlineMs: testsDeadlineMs + 360_000,
  run: async (context) => {
    const container = await startCockroachdbContainer()
    try {
      await runTests(context, "test/postgres/contract.test.ts", { MERIDIAN_TEST_COCKROACHDB_URL: container.url })
    } finally {
      await container.stop()
    }
  }
}
