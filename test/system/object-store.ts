/** The object store adapters on real servers: their contract, run with the addresses of servers that are started here. */
import { join } from "node:path"
import { startS3Proxy } from "../peers/object-stores/s3proxy.ts"
import { runServerTests } from "./server-tests.ts"
import { type SystemTest } from "./system-test.ts"

const testsDeadlineMs = 240_000

export const s3OnS3Proxy: SystemTest = {
  name: "object-store: S3 on S3Proxy",
  needs: ["s3proxy"],
  // The first time, its jar has to come.
  deadlineMs: testsDeadlineMs + 360_000,
  run: async (context) => {
    const server = await startS3Proxy({ dir: join(context.dir, "s3proxy") })
    context.onEnd(() => server.stop())
    await runServerTests(context, {
      config: "test/vitest.s3.config.ts",
      files: "test/s3",
      env: {
        MERIDIAN_TEST_S3_URL: server.endpoint,
        AWS_ACCESS_KEY_ID: server.accessKeyId,
        AWS_SECRET_ACCESS_KEY: server.secretAccessKey
      },
      deadlineMs: testsDeadlineMs
    })
  }
}
