/**
 * Goal: the bundle is built when it is missing or older than the sources, not otherwise, safely by two at once, and what
 * does not build is said with file and line. Method: bin/bundle.mjs on a tiny source tree of its own.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "vitest"
import { repository } from "./meridian-process.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

interface Bundle {
  readonly bundleFile: (root: string) => string
  readonly ensureBundle: (root: string) => Promise<void>
}

// Plain JavaScript without types of its own.
const { bundleFile, ensureBundle } = (await import(join(repository, "bin/bundle.mjs") as string)) as Bundle

const write = (root: string, path: string, text: string): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

const sourceTree = (): string => {
  const root = temporaryDirectory()
  write(root, "package.json", JSON.stringify({ type: "module", imports: { "#core/*": "./core/*" } }))
  write(
    root,
    "bin/meridian.ts",
    'import { text } from "#core/text.ts"\nconsole.log(text, (await import("./lazy.ts")).lazy)\n'
  )
  write(root, "bin/lazy.ts", 'export const lazy = "lazy"\n')
  write(root, "core/text.ts", 'export const text: string = "first"\n')
  write(root, "backends/metadata/sqlite-worker.ts", "export {}\n")
  write(root, "backends/object/fs-worker.ts", "export {}\n")
  symlinkSync(join(repository, "node_modules"), join(root, "node_modules"))
  return root
}

const run = (root: string): string =>
  spawnSync(process.execPath, [bundleFile(root)], { encoding: "utf8" }).stdout.trim()

const failure = async (root: string): Promise<string> => {
  try {
    await ensureBundle(root)
  } catch (error) {
    return (error as Error).message
  }
  return assert.fail("it was built")
}

describe("bundle", () => {
  it("sources that do not build are named with file and line, and what was built before stays", async () => {
    const root = sourceTree()
    await ensureBundle(root)
    write(root, "core/text.ts", "\nexport const text = = 1\n")
    assert.match(await failure(root), /core\/text\.ts:2:/)
    assert.strictEqual(run(root), "first lazy")
    assert.deepStrictEqual(
      readdirSync(join(root, "dist")).filter((name) => name.startsWith(".")),
      [],
      "nothing half done"
    )
  })

  it("a missing import is named", async () => {
    const root = sourceTree()
    write(root, "core/text.ts", 'export { text } from "./other.ts"\n')
    assert.match(await failure(root), /core\/text\.ts:1: .*other\.ts/)
  })

  it("is built once, and again after an edit", async () => {
    const root = sourceTree()
    await ensureBundle(root)
    assert.strictEqual(run(root), "first lazy")
    const builtAtMs = statSync(bundleFile(root)).mtimeMs
    await ensureBundle(root)
    assert.strictEqual(statSync(bundleFile(root)).mtimeMs, builtAtMs)
    write(root, "core/text.ts", 'export const text: string = "the second"\n')
    await ensureBundle(root)
    assert.strictEqual(run(root), "the second lazy")
  })

  it("a running program can still load the chunks of its own build after the next one", async () => {
    const root = sourceTree()
    await ensureBundle(root)
    const before = readdirSync(join(root, "dist"))
    write(root, "bin/lazy.ts", 'export const lazy = "other"\n')
    await ensureBundle(root)
    assert.includeMembers(readdirSync(join(root, "dist")), before)
    assert.strictEqual(run(root), "first other")
  })

  it("several at once end with one whole bundle", async () => {
    const root = sourceTree()
    const script = `await (await import(${JSON.stringify(join(repository, "bin/bundle.mjs"))})).ensureBundle(${JSON.stringify(root)})`
    const codes = await Promise.all(
      Array.from({ length: 4 }, () => {
        const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" })
        return new Promise((resolve) => child.once("exit", resolve))
      })
    )
    assert.deepStrictEqual(codes, [0, 0, 0, 0])
    assert.strictEqual(run(root), "first lazy")
    assert.match(readFileSync(bundleFile(root), "utf8"), /^\/\/ sources [0-9a-f]{32}\n/)
  })
})
