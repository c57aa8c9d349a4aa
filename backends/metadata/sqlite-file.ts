/**
 * Whether the opened database is still the file that its path names.
 *
 * A file that is removed or replaced while it is open lives on without a name: its connections go on writing what nobody
 * will ever read, and whoever opens the path next begins another log. So the identity (device and inode) of the path is
 * compared with that of the opened file; once they differ the connection is lost for good, also if the file comes back,
 * because others may have written to another in between. The write-ahead log is looked at too: as long as a connection is
 * open, SQLite neither removes nor replaces it.
 *
 * It must never open the file itself: closing any descriptor of it would drop the process's locks on it.
 */
import { statSync } from "node:fs"
import type { FileIdentity, Failure, SqliteOptions } from "./sqlite-messages.ts"
import { SqliteFailure } from "./sqlite-open.ts"

const CHECK_INTERVAL_MS = 1_000

export class OpenedFile {
  readonly identity: FileIdentity
  private readonly file: string
  private readonly walIdentity: FileIdentity | undefined
  private lost: Failure | undefined = undefined
  private checkedAtMs: number

  /** To be called when the database is open and was read. Throws where it is another than `before`. */
  constructor(file: string, before: FileIdentity | undefined) {
    const identity = identityOf(file)
    if (identity === undefined || !isSame(before ?? identity, identity)) throw new SqliteFailure(lostFailure(file))
    this.file = file
    this.identity = identity
    this.walIdentity = identityOf(walOf(file))
    this.checkedAtMs = performance.now()
  }

  /** Why nothing may be asked or answered any more. Looks at most once an interval, unless it `must`. */
  problem(must: boolean): Failure | undefined {
    const nowMs = performance.now()
    if (this.lost !== undefined || (!must && nowMs - this.checkedAtMs < CHECK_INTERVAL_MS)) return this.lost
    this.checkedAtMs = nowMs
    try {
      const changed = this.changedPath()
      if (changed !== undefined) this.lost = lostFailure(changed)
      return this.lost
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      return { reason: "Unavailable", outcome: "definite", message: `the database file cannot be looked at: ${why}` }
    }
  }

  private changedPath(): string | undefined {
    if (!isSame(this.identity, identityOf(this.file))) return this.file
    if (this.walIdentity !== undefined && !isSame(this.walIdentity, identityOf(walOf(this.file)))) {
      return walOf(this.file)
    }
    return undefined
  }
}

/** What the path names before it is opened. Throws where an earlier thread of this process had another file open. */
export const identityBeforeOpening = ({ file, expected }: SqliteOptions): FileIdentity | undefined => {
  const identity = identityOf(file)
  if (expected !== undefined && !isSame(expected, identity)) throw new SqliteFailure(lostFailure(file))
  return identity
}

const walOf = (file: string): string => `${file}-wal`

const identityOf = (path: string): FileIdentity | undefined => {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : { device: stat.dev, inode: stat.ino }
}

const isSame = (one: FileIdentity, other: FileIdentity | undefined): boolean =>
  one.device === other?.device && one.inode === other.inode

const lostFailure = (path: string): Failure => ({
  reason: "Misconfigured",
  outcome: "definite",
  isFileLost: true,
  message: `the database file ${path} was removed or replaced while it was open; stop all agents and restore it`
})
