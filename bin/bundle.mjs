/**
 * Builds dist/ from the sources where they are newer: dist/meridian.mjs, the programs of its threads and the chunks that they
 * load when needed. Bundled because start-up counts: one file loads in a tenth of the time of its hundreds of modules.
 *
 * Two starts at once are safe. Each builds into a directory of its own and moves the files into place one by one, chunks
 * before those who name them; a chunk's name is the hash of its content. A file says in its first line which state of
 * the sources it is of, taken before the build, so a build overtaken by an edit is built again by the next start.
 */
import { createHash } from "node:crypto"
import { closeSync, mkdirSync, openSync, readSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { join, relative } from "node:path"
import { SetupFailed } from "./setup-failed.mjs"

const SOURCE_FOLDERS = ["bin", "core", "backends", "regions", "replication"]
const SOURCE_FILES = ["package.json", "package-lock.json"]
/** Native code, loaded from node_modules. */
const EXTERNAL = ["@node-rs/crc32", "snappy", "lz4-napi"]
/** A program that is just starting may still load chunks of the build before; after this time they go. */
const OLD_CHUNK_KEPT_MS = 600_000
const STAMP = "// sources "

export const bundleFile = (root) => join(root, "dist", "meridian.mjs")

export const ensureBundle = async (root) => {
  const state = sourceState(root)
  if (builtState(bundleFile(root)) !== state) await build(root, state)
}

/** Names, sizes and times of all sources: any edit changes it. */
const sourceState = (root) => {
  const hash = createHash("sha256")
  const add = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat !== undefined) hash.update(`${relative(root, path)} ${stat.size} ${stat.mtimeMs}\n`)
  }
  for (const file of SOURCE_FILES) add(join(root, file))
  for (const folder of SOURCE_FOLDERS) {
    for (const name of sourcesIn(join(root, folder))) add(join(root, folder, name))
  }
  return hash.digest("hex").slice(0, 32)
}

const sourcesIn = (folder) => {
  try {
    return readdirSync(folder, { recursive: true })
      .filter((name) => /\.m?ts$|\.mjs$/.test(name))
      .sort()
  } catch (error) {
    if (error.code === "ENOENT") return []
    throw error
  }
}

const builtState = (file) => {
  let fd
  try {
    fd = openSync(file, "r")
    const head = Buffer.alloc(STAMP.length + 32)
    readSync(fd, head, 0, head.length, 0)
    const text = head.toString("latin1")
    return text.startsWith(STAMP) ? text.slice(STAMP.length) : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

const build = async (root, state) => {
  const dist = join(root, "dist")
  const fresh = join(dist, `.build-${process.pid}`)
  try {
    mkdirSync(fresh, { recursive: true })
    await bundle(root, fresh, state)
    moveInto(dist, fresh)
    removeOldChunks(dist)
  } catch (error) {
    if (error instanceof SetupFailed) throw error
    throw new SetupFailed(`cannot build ${relative(process.cwd(), dist) || dist}: ${error.message}`)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

const bundle = async (root, outdir, state) => {
  const { build: run } = await import("esbuild")
  try {
    await run({
      absWorkingDir: root,
      entryPoints: [
        { in: "bin/meridian.ts", out: "meridian" },
        { in: "backends/metadata/sqlite-worker.ts", out: "sqlite-worker" },
        { in: "backends/object/fs-worker.ts", out: "fs-worker" }
      ],
      outdir,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      splitting: true,
      chunkNames: "chunk-[hash]",
      platform: "node",
      format: "esm",
      target: "node24",
      sourcemap: true,
      // A stack trace needs lines and names, not another copy of the sources.
      sourcesContent: false,
      external: EXTERNAL,
      // CommonJS packages inside the bundle call `require` of Node's own modules.
      banner: {
        js: `${STAMP}${state}\nimport { createRequire as __meridianRequire } from "node:module"\nconst require = __meridianRequire(import.meta.url)`
      },
      logLevel: "silent"
    })
  } catch (error) {
    const first = (error.errors ?? []).slice(0, 10).map(({ text, location }) => {
      return location === null ? text : `${location.file}:${location.line}: ${text}`
    })
    throw new SetupFailed(`the sources do not build:\n${first.join("\n") || error.message}`)
  }
}

/** Entries last, meridian.mjs (whose stamp counts) the very last; a source map before its file. */
const moveInto = (dist, fresh) => {
  const rank = (name) => (name.startsWith("chunk-") ? 0 : /^(sqlite|fs)-worker/.test(name) ? 2 : 4)
  const order = (name) => rank(name) + (name.endsWith(".map") ? 0 : 1)
  const names = readdirSync(fresh).sort((a, b) => order(a) - order(b))
  for (const name of names) renameSync(join(fresh, name), join(dist, name))
}

const removeOldChunks = (dist) => {
  const newest = statSync(join(dist, "meridian.mjs")).mtimeMs
  for (const name of readdirSync(dist)) {
    if (!/^chunk-|^\.build-/.test(name)) continue
    const path = join(dist, name)
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat !== undefined && newest - stat.mtimeMs > OLD_CHUNK_KEPT_MS) rmSync(path, { recursive: true, force: true })
  }
}
