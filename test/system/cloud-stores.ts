/**
 * The adapters for cloud stores on emulators that are not ours: the tests of test/clouds, run with the URLs of an emulator
 * that is installed and started here. They are vitest's; their counts are printed, and each that fails is named.
 */
import { join } from "node:path"
import { AZURITE_ACCOUNT, AZURITE_KEY, startAzurite } from "../peers/object-stores/azurite.ts"
import { startFakeGcsServer } from "../peers/object-stores/fake-gcs-server.ts"
import { runServerTests } from "./server-tests.ts"
import { type SystemTest } from "./system-test.ts"

const testsDeadlineMs = 200_000
const installDeadlineMs = 660_000
const config = "test/vitest.clouds.config.ts"
const bucket = "segments"

export const gcsStore: SystemTest = {
  name: "cloud-stores: Google Cloud Storage on fake-gcs-server",
  needs: ["fake-gcs-server"],
  deadlineMs: testsDeadlineMs + installDeadlineMs,
  run: async (context) => {
    const server = await startFakeGcsServer({ folder: context.dir, bucket })
    context.onEnd(server.stop)
    const env = { MERIDIAN_TEST_GCS_URL: server.endpoint, MERIDIAN_TEST_GCS_BUCKET: bucket }
    await runServerTests(context, {
      config,
      files: join("test", "clouds", "gcs.test.ts"),
      env,
      deadlineMs: testsDeadlineMs
    })
  }
}

export const azureStore: SystemTest = {
  name: "cloud-stores: Azure Blob Storage on Azurite",
  needs: ["azurite"],
  deadlineMs: testsDeadlineMs + installDeadlineMs,
  run: async (context) => {
    const server = await startAzurite({ folder: context.dir })
    context.onEnd(server.stop)
    const env = {
      MERIDIAN_TEST_AZURE_URL: server.endpoint,
      MERIDIAN_TEST_AZURE_ACCOUNT: AZURITE_ACCOUNT,
      MERIDIAN_TEST_AZURE_KEY: AZURITE_KEY
    }
    await runServerTests(context, {
      config,
      files: join("test", "clouds", "azure.test.ts"),
      env,
      deadlineMs: testsDeadlineMs
    })
  }
}
