// Tests of the adapters for cloud stores on emulators. Not part of `npm test`, which needs no server: the system tests
// `cloud-stores` (test/system) start the emulators and run these with their URLs in the environment.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

export default defineConfig({
  root,
  test: {
    include: ["test/clouds/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // They share one emulator, and one machine with it.
    fileParallelism: false
  }
})
