// Tests of the S3 adapter on a real server. Not part of `npm test`, which needs no server: the system test
// `object-store: S3 …` (test/system) starts servers and runs these with their addresses in the environment.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

export default defineConfig({
  root,
  test: {
    include: ["test/s3/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // They share one machine with the server.
    fileParallelism: false
  }
})
