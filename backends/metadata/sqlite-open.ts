/**
 * Opens the database file and brings its tables up to date, or says what an operator must do about it.
 *
 * Any number of processes may start at once: the whole upgrade is one transaction that holds the write lock from its first
 * statement. A file that is no database, someone else's, or newer than this program is left as it is.
 */
import { accessSync, constants, statSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { limits } from "#core/model/limits.ts"
import type { Failure, SqliteOptions } from "./sqlite-messages.ts"
import { APPLICATION_ID, MIGRATIONS, MIGRATIONS_TABLE } from "./sqlite-schema.ts"

export class SqliteFailure extends Error {
  readonly failure: Failure

  constructor(failure: Failure, cause?: unknown) {
    super(failure.message, { cause })
    this.failure = failure
  }
}

/** Throws SqliteFailure. The caller closes the database, and runs its statements with `whileBusy`. */
export const openDatabase = (options: SqliteOptions): DatabaseSync => {
  checkFile(options.file)
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(options.file, { timeout: 0 })
    checkOwner(database, options.file)
    whileBusy(() => database!.exec("PRAGMA journal_mode = WAL"))
    // FULL: a commit is on disk before it is acknowledged. NORMAL: the file stays sound whatever happens, and what a killed
    // process had committed is there; only a crash of the machine may take the last commits. OFF would risk the file.
    database.exec(`PRAGMA synchronous = ${options.fsync ? "FULL" : "NORMAL"}`)
    migrate(database, options.file)
    return database
  } catch (error) {
    database?.close()
    throw error instanceof SqliteFailure ? error : new SqliteFailure(openFailureOf(error, options.file), error)
  }
}

const SQLITE_PERM = 3
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_READONLY = 8
const SQLITE_CORRUPT = 11
const SQLITE_CANTOPEN = 14
const SQLITE_AUTH = 23
const SQLITE_NOTADB = 26
const SQLITE_CONSTRAINT = 19
const SQLITE_TOOBIG = 18

/** SQLite's extended result code; undefined where the error is not SQLite's. */
const sqliteCodeOf = (error: unknown): number | undefined => {
  const code = (error as { readonly errcode?: unknown } | null)?.errcode
  return typeof code === "number" ? code : undefined
}

/** What a failed statement means to the caller of the port. A read changes nothing, however it fails. */
export const failureOf = (error: unknown, kind: "read" | "write"): Failure => {
  if (error instanceof SqliteFailure) return error.failure
  const primary = (sqliteCodeOf(error) ?? 0) & 0xff
  const message = error instanceof Error ? error.message : String(error)
  const outcome = kind === "read" || DEFINITE.has(primary) ? "definite" : "indefinite"
  return { reason: REASONS.get(primary) ?? "Unavailable", outcome, message }
}

/** SQLite took the lock, or the statement, not at all. Anything else (a full disk, an I/O error) may be half done. */
const DEFINITE: ReadonlySet<number> = new Set([
  SQLITE_PERM,
  SQLITE_BUSY,
  SQLITE_LOCKED,
  SQLITE_READONLY,
  SQLITE_CANTOPEN,
  SQLITE_TOOBIG,
  SQLITE_CONSTRAINT,
  SQLITE_AUTH,
  SQLITE_NOTADB
])

const REASONS: ReadonlyMap<number, Failure["reason"]> = new Map([
  [SQLITE_PERM, "Misconfigured"],
  [SQLITE_READONLY, "Misconfigured"],
  [SQLITE_AUTH, "Misconfigured"],
  [SQLITE_CORRUPT, "Corrupt"],
  [SQLITE_NOTADB, "Corrupt"],
  [SQLITE_CONSTRAINT, "Corrupt"]
])

const misconfigured = (message: string, cause?: unknown): SqliteFailure =>
  new SqliteFailure({ reason: "Misconfigured", outcome: "definite", message }, cause)

const checkFile = (file: string): void => {
  if (file === "" || file.startsWith(":")) throw misconfigured(`"${file}" names no file: give the database's path`)
  const directory = dirname(file)
  const directoryStat = statSync(directory, { throwIfNoEntry: false })
  if (directoryStat?.isDirectory() !== true)
    throw misconfigured(`${directory}, where the database ${file} should be, is not a directory: create it`)
  const fileStat = statSync(file, { throwIfNoEntry: false })
  if (fileStat !== undefined && !fileStat.isFile())
    throw misconfigured(`${file} is not a file: name another for the database`)
  for (const path of fileStat === undefined ? [directory] : [directory, file]) {
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
    } catch (cause) {
      throw misconfigured(`no right to read and write ${path}: give it to this program's user`, cause)
    }
  }
}

const openFailureOf = (error: unknown, file: string): Failure => {
  const primary = (sqliteCodeOf(error) ?? 0) & 0xff
  const message = `${file}: ${error instanceof Error ? error.message : String(error)}`
  if (primary === SQLITE_NOTADB)
    return {
      reason: "Misconfigured",
      outcome: "definite",
      message: `${file} is not a SQLite database: name another file`
    }
  if (primary === SQLITE_CANTOPEN) return { reason: "Misconfigured", outcome: "definite", message }
  return { ...failureOf(error, "read"), message }
}

const checkOwner = (database: DatabaseSync, file: string): void => {
  const owner = whileBusy(() => database.prepare("PRAGMA application_id").get())?.["application_id"]
  if (owner === APPLICATION_ID) return
  const tables = whileBusy(() => database.prepare("SELECT count(*) AS count FROM sqlite_schema").get())?.["count"]
  if (owner !== 0 || tables !== 0) {
    // Another process may have made it ours between the two looks.
    const again = whileBusy(() => database.prepare("PRAGMA application_id").get())?.["application_id"]
    if (again !== APPLICATION_ID) throw misconfigured(`${file} is the database of another program: name another file`)
  }
}

const migrate = (database: DatabaseSync, file: string): void => {
  if (whileBusy(() => versionOf(database, file)) === MIGRATIONS.length) return
  whileBusy(() => database.exec("BEGIN IMMEDIATE"))
  try {
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    database.exec(MIGRATIONS_TABLE)
    const version = versionOf(database, file)
    const record = database.prepare("INSERT INTO migrations (version, name) VALUES (?, ?)")
    for (const migration of MIGRATIONS.slice(version)) {
      database.exec(migration.sql)
      record.run(migration.version, migration.name)
    }
    database.exec("COMMIT")
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw error
  }
}

/** 0 for a new database. Throws where the database is newer than this program. */
const versionOf = (database: DatabaseSync, file: string): number => {
  const found = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'").get()
  if (found === undefined) return 0
  const row = database.prepare("SELECT coalesce(max(version), 0) AS version FROM migrations").get()
  const version = Number(row?.["version"])
  if (version > MIGRATIONS.length)
    throw misconfigured(
      `${file} has schema version ${version}, newer than the ${MIGRATIONS.length} that this program knows: ` +
        `run the newer program`
    )
  return version
}

const sleepFlag = new Int32Array(new SharedArrayBuffer(4))
const BUSY_PAUSE_MS = 1

/**
 * Tries again, for limits.sqliteBusyMs, while another process holds the lock. SQLite's own wait does not serve: it pauses up
 * to a tenth of a second between two looks, so that among several writers the same one would win again and again; and it
 * does not wait at all where a wait could be a deadlock, as when several processes turn WAL on at once.
 */
export const whileBusy = <A>(statement: () => A): A => {
  const deadlineMs = performance.now() + limits.sqliteBusyMs
  for (;;) {
    try {
      return statement()
    } catch (error) {
      const primary = (sqliteCodeOf(error) ?? 0) & 0xff
      const isBusy = primary === SQLITE_BUSY || primary === SQLITE_LOCKED
      if (!isBusy || performance.now() >= deadlineMs) throw error
      Atomics.wait(sleepFlag, 0, 0, BUSY_PAUSE_MS)
    }
  }
}

/** Takes the write lock first, so that it never fails half way for a lock. */
export const inTransaction = (database: DatabaseSync, body: () => void): null => {
  database.exec("BEGIN IMMEDIATE")
  try {
    body()
    database.exec("COMMIT")
    return null
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw error
  }
}
