/**
 * One playground per directory: a lock file with the owner's pid.
 *
 * Two playgrounds on one directory would give two sets of agents the same names. A lock whose owner is gone (kill -9,
 * power failure) is taken over; because pids come again, the owner's start time is part of the lock where the system
 * tells it (Linux).
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { Effect, type Scope } from "effect"
import { type CommandFailed, invalid } from "./command-failed.ts"
import { explainFileError } from "./file-error.ts"

interface Owner {
  readonly pid: number
  /** Clock ticks after boot, with the boot's id; empty where unknown. */
  readonly startedAt: string
}

export interface DirectoryLock {
  /** Whether its last owner went without releasing it. */
  readonly wasStale: boolean
}

/** Held until the scope closes. */
export const acquire = (path: string): Effect.Effect<DirectoryLock, CommandFailed, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => take(path),
      catch: (error) => {
        return error instanceof LockedByOther
          ? invalid(error.message)
          : invalid(`cannot write ${path}: ${explainFileError(error)}; choose another directory with --dir`)
      }
    }),
    () => Effect.sync(() => release(path))
  )

class LockedByOther extends Error {}

const take = (path: string): DirectoryLock => {
  const own = `${path}.${process.pid}`
  writeFileSync(own, JSON.stringify(ownerOfThisProcess()))
  try {
    let wasStale = false
    // Twice: a stale lock is removed once. Whoever is faster in between has the lock.
    for (let attempt = 0; attempt < 2; attempt++) {
      if (linked(own, path)) return { wasStale }
      const owner = readOwner(path)
      if (owner !== undefined && isAlive(owner)) {
        throw new LockedByOther(
          `a playground (pid ${owner.pid}) is running on this directory already; stop it or choose another with --dir`
        )
      }
      wasStale = true
      removeStale(path)
    }
    throw new LockedByOther(`another playground has just been started on this directory; choose another with --dir`)
  } finally {
    rmSync(own, { force: true })
  }
}

/** A hard link appears with its content or not at all. */
const linked = (own: string, path: string): boolean => {
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  }
}

/** By renaming: of several that find the same stale lock, each removes a file at most once. */
const removeStale = (path: string): void => {
  const aside = `${path}.stale-${process.pid}`
  try {
    renameSync(path, aside)
    const moved = readOwner(aside)
    // Someone was faster and this is already the new owner's lock: give it back.
    if (moved !== undefined && isAlive(moved)) linked(aside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

const release = (path: string): void => {
  if (readOwner(path)?.pid === process.pid) rmSync(path, { force: true })
}

const readOwner = (path: string): Owner | undefined => {
  try {
    const owner = JSON.parse(readFileSync(path, "utf8")) as Partial<Owner>
    return typeof owner.pid === "number" && typeof owner.startedAt === "string"
      ? { pid: owner.pid, startedAt: owner.startedAt }
      : undefined
  } catch {
    return undefined
  }
}

const ownerOfThisProcess = (): Owner => ({ pid: process.pid, startedAt: startedAt(process.pid) })

const isAlive = ({ pid, startedAt: recorded }: Owner): boolean => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false
  }
  return recorded === "" || startedAt(pid) === recorded
}

/** Field 22 of /proc/PID/stat, counted after the program's name, which may hold anything. */
const startedAt = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${fields[19]}`
  } catch {
    return ""
  }
}
