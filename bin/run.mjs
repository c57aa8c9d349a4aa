#!/usr/bin/env node
/**
 * What every npm script and `npx meridian` calls: makes the clone ready to run, then runs what was asked.
 *
 * Plain JavaScript for any Node >= 20, and nothing but Node's own modules: it must work before anything is installed.
 * In order: install what is missing (installation.mjs), find a Node 24 (runtime.mjs), build the bundle where sources are
 * newer (bundle.mjs), start the command as a child, pass signals on and keep its exit code (child.mjs).
 *
 * It must not know what the commands do, and prints nothing of its own to standard output, which belongs to them.
 */
import { existsSync, realpathSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { bundleFile, ensureBundle } from "./bundle.mjs"
import { runChild } from "./child.mjs"
import { ensureInstalled } from "./installation.mjs"
import { ENVIRONMENT, NODE_FLAGS } from "./process-settings.mjs"
import { findRuntime } from "./runtime.mjs"
import { SetupFailed } from "./setup-failed.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

const USAGE = `usage: node bin/run.mjs COMMAND [ARGUMENTS]

  meridian …     the meridian program (also: npx meridian …)
  test …         unit, contract and integration tests (vitest; arguments are passed on)
  test:system …  tests against real peers
  check          types, lint, format, and the lint of SQL
  format         formats the sources
  bench …        benchmarks
  simulate …     whole clusters under seeded faults, in simulated time
`

/** Runs one command and gives the exit code: 2 for what the caller can mend, else the child's own. */
export const main = async (args) => {
  try {
    return await dispatch(args)
  } catch (error) {
    if (!(error instanceof SetupFailed)) throw error
    process.stderr.write(`meridian: ${error.message}\n`)
    return error.exitCode
  }
}

const dispatch = async ([command, ...rest]) => {
  switch (command) {
    case "meridian":
      return await meridian(rest)
    case "test":
      return await script("node_modules/vitest/vitest.mjs", ["run", "--config", "test/vitest.config.ts", ...rest])
    case "test:system":
      return await script("test/system/run.ts", rest)
    case "bench":
      return await script("test/bench/run.ts", rest)
    case "check":
      return await check()
    case "format":
      return await tools([["oxfmt", ["."]]])
    case "simulate":
      return await script("test/simulation/run.ts", rest)
    default:
      process.stderr.write(USAGE)
      return command === "--help" || command === "help" ? 0 : 2
  }
}

const meridian = async (args) => {
  await ensureInstalled(root)
  const node = findRuntime(root)
  await ensureBundle(root)
  const env = { ...ENVIRONMENT, ...process.env }
  return await runChild({
    node,
    args: [...NODE_FLAGS, bundleFile(root), ...args],
    cwd: process.cwd(),
    env,
    leash: "own"
  })
}

/** A script of the clone, on Node 24, from sources. The bundle is made too: tests and benchmarks start `meridian`. */
const script = async (file, args) => {
  await ensureInstalled(root)
  const node = findRuntime(root)
  if (!existsSync(join(root, file))) throw new SetupFailed(`${file} is not in this checkout`, 2)
  await ensureBundle(root)
  return await runChild({ node, args: [join(root, file), ...args], cwd: root, env: process.env, leash: "preload" })
}

const check = () =>
  tools([
    ["tsc", ["-p", "."]],
    ["oxlint", ["--type-aware"]],
    ["oxfmt", ["--check", "."]],
    ["sql", [], "test/lint/sql-subset.ts"]
  ])

/** Runs all of them, also after one has failed, so that one look shows everything. */
const tools = async (commands) => {
  await ensureInstalled(root)
  const node = findRuntime(root)
  const failed = []
  for (const [name, args, script] of commands) {
    const bin = script === undefined ? realpathSync(join(root, "node_modules/.bin", name)) : join(root, script)
    const code = await runChild({ node, args: [bin, ...args], cwd: root, env: process.env, leash: "preload" })
    if (code !== 0) failed.push(name)
  }
  if (failed.length > 0) process.stderr.write(`failed: ${failed.join(", ")}\n`)
  return failed.length === 0 ? 0 : 1
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2))
}
