/**
 * A real PostgreSQL server from Debian's packages, in a folder and on a port of its own.
 *
 * It runs in the foreground under its own user (PostgreSQL refuses root), so its pid is known: it can be killed with -9 and
 * started again on its data. Files are not synced: a killed server loses nothing by that, and nobody cuts the power here.
 * A standby follows a primary and takes no writes until it is promoted.
 */
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { delay, run, type Running, start, type User, waitUntil } from "../child-process.ts"

const packages = "/usr/lib/postgresql"
const versionMin = 15
const startDeadlineMs = 30_000
const startAttemptsMax = 40

export const POSTGRES_USER = "postgres"
/** No log and no message may hold it. */
export const POSTGRES_PASSWORD = "Pa55-of-the-test"

export interface PostgresOptions {
  /** Where the server's log goes. */
  readonly logFile: string
  /** Settings by name, as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  /** TLS, with a certificate for "localhost" that it has signed itself: `certificateFile`. Needs openssl. */
  readonly tls?: "self-signed"
  /** Follow this one. */
  readonly primary?: PostgresServerProcess
}

export interface PostgresServerProcess {
  readonly port: number
  readonly folder: string
  /** Of a database of it, with user and password. */
  readonly url: (database?: string) => string
  readonly certificateFile: string
  readonly isRunning: () => boolean
  /** The server's main process; the others end when it has. */
  readonly kill: (signal: NodeJS.Signals) => Promise<void>
  /** On the same data and port, after it has ended. */
  readonly startAgain: () => Promise<void>
  /** Makes a standby take writes. */
  readonly promote: () => Promise<void>
  /** Ends it and deletes its data. */
  readonly stop: () => Promise<void>
}

/** Newest installed, or what is missing. */
export function postgresMissing(): string | undefined {
  if (binaries() === undefined) {
    return `PostgreSQL ${versionMin} or newer is missing (${packages}/*/bin): apt-get install postgresql`
  }
  return serverUser() === "missing" ? 'this is root and there is no user "postgres" to run PostgreSQL as' : undefined
}

export async function startPostgres(options: PostgresOptions): Promise<PostgresServerProcess> {
  const missing = postgresMissing()
  const bin = binaries()
  if (missing !== undefined || bin === undefined) throw new Error(missing)
  const user = serverUser()
  const folder = mkdtempSync(join(tmpdir(), "meridian-postgres-"))
  chmodSync(folder, 0o755)
  const data = join(folder, "data")
  const owned = (path: string): void => {
    if (typeof user === "object") chownSync(path, user.uid, user.gid)
  }
  mkdirSync(data, { mode: 0o700 })
  owned(data)
  const server: Server = { bin, data, user, port: await freePort(), options, running: undefined }
  try {
    await (options.primary === undefined ? initialize(server, folder, owned) : copy(server, options.primary))
    if (options.tls !== undefined) await makeCertificate(server, folder)
    await launch(server)
  } catch (error) {
    await end(server, "SIGKILL")
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
  return {
    port: server.port,
    folder,
    url: (database = "postgres") =>
      `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${server.port}/${database}`,
    certificateFile: join(folder, certificateName),
    isRunning: () => server.running?.isRunning() ?? false,
    kill: (signal) => end(server, signal),
    startAgain: () => launch(server),
    promote: async () => {
      await run(join(bin, "pg_ctl"), ["promote", "-D", data, "-w"], { deadlineMs: startDeadlineMs, ...asUser(user) })
    },
    stop: async () => {
      await end(server, "SIGINT")
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Runs statements one after another on a connection of their own, and answers with the last one's rows. */
export async function sql(url: string, ...statements: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  // A server that ends under it tells the statement already.
  client.on("error", () => undefined)
  await client.connect()
  try {
    let rows: readonly Record<string, unknown>[] = []
    for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows
    return rows
  } finally {
    await client.end().catch(() => undefined)
  }
}

let databasesMade = 0

/**
 * A database of its own on the server of the URL, also where that is CockroachDB; answers with its URL. `statements` are run
 * with DATABASE_NAME replaced by its name.
 */
export async function makeDatabase(url: string, ...statements: readonly string[]): Promise<string> {
  const name = `test_${process.pid}_${++databasesMade}`
  await sql(
    url,
    `CREATE DATABASE ${name}`,
    ...statements.map((statement) => statement.replaceAll("DATABASE_NAME", name))
  )
  return databaseUrl(url, name)
}

/** `url`: as it was given to makeDatabase. */
export async function dropDatabase(url: string, database: string): Promise<void> {
  const name = new URL(database).pathname.slice(1)
  const [row] = await sql(url, "SELECT version() LIKE 'CockroachDB%' AS is_cockroachdb")
  await sql(url, `DROP DATABASE IF EXISTS ${name} ${row?.["is_cockroachdb"] === true ? "CASCADE" : "WITH (FORCE)"}`)
}

export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

interface Server {
  readonly bin: string
  readonly data: string
  readonly user: User | "self" | "missing"
  readonly port: number
  readonly options: PostgresOptions
  running: Running | undefined
}

function binaries(): string | undefined {
  if (!existsSync(packages)) return undefined
  const versions = readdirSync(packages)
    .map(Number)
    .filter((version) => version >= versionMin && existsSync(join(packages, String(version), "bin", "postgres")))
  return versions.length === 0 ? undefined : join(packages, String(Math.max(...versions)), "bin")
}

/** Root runs it as `postgres`, everyone else as themselves. */
function serverUser(): User | "self" | "missing" {
  if (process.getuid?.() !== 0) return "self"
  try {
    const id = (flag: string): number => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
    return { uid: id("-u"), gid: id("-g") }
  } catch {
    return "missing"
  }
}

function asUser(user: Server["user"]): { readonly user?: User } {
  return typeof user === "object" ? { user } : {}
}

async function initialize({ bin, data, user }: Server, folder: string, owned: (path: string) => void): Promise<void> {
  const passwordFile = join(folder, "password")
  writeFileSync(passwordFile, POSTGRES_PASSWORD, { mode: 0o600 })
  owned(passwordFile)
  const flags = ["-D", data, "-U", POSTGRES_USER, "-A", "scram-sha-256", `--pwfile=${passwordFile}`]
  flags.push("-E", "UTF8", "--locale=C", "--no-sync")
  await run(join(bin, "initdb"), flags, { deadlineMs: startDeadlineMs, cwd: folder, ...asUser(user) })
  writeFileSync(join(data, "pg_hba.conf"), "host replication all 127.0.0.1/32 scram-sha-256\n", { flag: "a" })
}

const certificateName = "server.crt"

async function makeCertificate({ data, user }: Server, folder: string): Promise<void> {
  const [key, certificate] = [join(data, "server.key"), join(data, certificateName)]
  const flags = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
  flags.push("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate)
  await run("openssl", flags, { deadlineMs: startDeadlineMs, cwd: folder, ...asUser(user) })
  chmodSync(key, 0o600)
  copyFileSync(certificate, join(folder, certificateName))
}

async function copy({ bin, data, user }: Server, primary: PostgresServerProcess): Promise<void> {
  const flags = ["-D", data, "-d", primary.url(), "-R", "--no-sync", "--checkpoint=fast"]
  await run(join(bin, "pg_basebackup"), flags, { deadlineMs: startDeadlineMs, cwd: "/", ...asUser(user) })
}

async function launch(server: Server): Promise<void> {
  const { bin, data, port, user, options } = server
  const settings = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
    log_line_prefix: "%m [%p] ",
    ...(options.tls === undefined ? {} : { ssl: "on" }),
    ...options.settings
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const base = `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${port}/postgres`
  for (let attempt = 1; ; attempt++) {
    const running = start(join(bin, "postgres"), ["-D", data, ...flags], {
      logFile: options.logFile,
      cwd: data,
      ...asUser(user)
    })
    server.running = running
    try {
      await waitUntil("PostgreSQL takes connections", startDeadlineMs, async () => {
        if (!running.isRunning()) throw new Error(`PostgreSQL ended: see ${options.logFile}`)
        return await sql(base, "SELECT 1").then(
          () => true,
          () => false
        )
      })
      return
    } catch (error) {
      // The processes of a killed server hold its shared memory for a moment longer.
      if (running.isRunning() || attempt === startAttemptsMax) throw error
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}

async function end(server: Server, signal: NodeJS.Signals): Promise<void> {
  const { running } = server
  if (running === undefined || !running.isRunning()) return
  running.kill(signal)
  const ended = await Promise.race([running.exited.then(() => true), delay(startDeadlineMs).then(() => false)])
  if (!ended) {
    running.kill("SIGKILL")
    await running.exited
  }
}

export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))
      )
    })
  })
}
