// What `npm test` runs: everything that needs no server, no root and no network. System tests have their own runner
// (test/system), because they start real peers and report what they had to skip.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

export default defineConfig({
  root,
  test: {
    include: ["test/{unit,contract,fuzz,integration,simulation}/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 30_000
  }
})
