/**
 * The metadata store on real servers: the tests of test/postgres, run with the URLs of servers that are started here.
 *
 * They are vitest's, with a configuration of their own; their counts are printed, and each that fails is named.
 */
import { join } from "node:path"
import { startCockroachdbContainer } from "../peers/containers.ts"
import { startPostgres } from "../peers/postgres/postgres.ts"
import { type Context, type SystemTest } from "./system-test.ts"
import { runVitest } from "./vitest-run.ts"

const testsDeadlineMs = 400_000

const runTests = (context: Context, files: string, env: Readonly<Record<string, string>>): Promise<void> =>
  runVitest(context, { config: "test/vitest.postgres.config.ts", files, env, deadlineMs: testsDeadlineMs })

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
