/**
 * Installs the dependencies where they are missing or older than package-lock.json.
 *
 * Says so in one line, stays quiet while it works, and shows everything npm said where it fails. Of several starts at
 * once one installs and the others wait: `npm ci` begins by removing node_modules, so it must never run twice at a time
 * nor under a program that runs.
 */
import { spawn } from "node:child_process"
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { SetupFailed } from "./setup-failed.mjs"

/** Longest wait for another start that is installing. */
const WAIT_MS = 600_000
const POLL_MS = 200
/** What npm may say before older output is dropped. */
const OUTPUT_LENGTH_MAX = 1_000_000

export const ensureInstalled = async (root) => {
  if (isInstalled(root)) return
  const release = await lock(join(root, ".meridian"))
  try {
    if (!isInstalled(root)) await install(root)
  } finally {
    release()
  }
}

/** npm writes node_modules/.package-lock.json last, so it is there only after a whole installation. */
const isInstalled = (root) => {
  const installedAtMs = modifiedAtMs(join(root, "node_modules/.package-lock.json"))
  return installedAtMs !== undefined && installedAtMs >= (modifiedAtMs(join(root, "package-lock.json")) ?? 0)
}

const modifiedAtMs = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs

const install = async (root) => {
  process.stderr.write("meridian: installing dependencies (npm ci), once; this takes some seconds …\n")
  const args = ["ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"]
  // The npm that called us, where one did, else the one in the path.
  const own = process.env.npm_execpath
  const [program, ...prefix] = own?.endsWith("npm-cli.js") ? [process.execPath, own] : ["npm"]
  const { code, output } = await runQuietly(program, [...prefix, ...args], root)
  if (code !== 0) throw new SetupFailed(`npm ci failed (exit code ${code}):\n${output}`)
  const stamp = join(root, "node_modules/.package-lock.json")
  const now = new Date()
  utimesSync(stamp, now, now)
}

const runQuietly = (program, args, cwd) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: cleanEnvironment(), stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    const collect = (chunk) => {
      output = (output + chunk).slice(-OUTPUT_LENGTH_MAX)
    }
    child.stdout.on("data", collect)
    child.stderr.on("data", collect)
    child.once("error", (error) => reject(new SetupFailed(`cannot start ${program}: ${error.message}`)))
    child.once("close", (code, signal) => resolve({ code: code ?? signal, output }))
  })

/** Without what an outer npm or npx has put there for its own run, save how to reach the registry. */
const cleanEnvironment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        !/^npm_(lifecycle|package|command|node_execpath|config_(local_prefix|package|call|yes|prefix))/.test(name)
    )
  )

/** A lock file with the owner's pid. One whose owner is gone is taken over. */
const lock = async (directory) => {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, "install.lock")
  const own = `${path}.${process.pid}`
  writeFileSync(own, String(process.pid))
  try {
    for (let waitedMs = 0; ; waitedMs += POLL_MS) {
      if (takeLock(own, path)) return () => rmSync(path, { force: true })
      if (!isAlive(ownerOf(path))) rmSync(path, { force: true })
      else if (waitedMs >= WAIT_MS) throw new SetupFailed(`another start is installing for too long: see ${path}`)
      else await sleep(POLL_MS)
    }
  } finally {
    rmSync(own, { force: true })
  }
}

/** A hard link appears with its content or not at all, so nobody reads a lock without an owner. */
const takeLock = (own, path) => {
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if (error.code === "EEXIST") return false
    throw new SetupFailed(`cannot write ${path}: ${error.message}`, 2)
  }
}

const ownerOf = (path) => {
  try {
    return Number(readFileSync(path, "utf8"))
  } catch {
    return undefined
  }
}

/** undefined: the lock has just been released. */
const isAlive = (pid) => {
  if (pid === undefined) return true
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === "EPERM"
  }
}
