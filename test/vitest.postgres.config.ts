// Tests of the metadata store on real PostgreSQL and CockroachDB servers. Not part of `npm test`, which needs no server: the
// system test `postgres-store` (test/system) starts servers and runs these with their URLs in the environment.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

export default defineConfig({
  root,
  test: {
    include: ["test/postgres/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // They share one machine with the servers that they kill and hang.
    fileParallelism: false
  }
})
