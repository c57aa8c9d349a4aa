/**
 * One connection to a database server: connected, looked at, and then one statement at a time.
 *
 * Invariants: a connection that is handed out belongs to one caller until it is given back, so a statement is on the wire when
 * `run` is called, and not before. Every statement ends within its time: one that does not costs the connection, because what
 * its answer would be is then unknown. Only servers that take writes come through `open`.
 */
import { readFileSync } from "node:fs"
import { Socket } from "node:net"
import { type ConnectionOptions } from "node:tls"
import { Redacted } from "effect"
import pg from "pg"
import { limits } from "#core/model/limits.ts"
import { type Dialect, dialectOf } from "./postgres-dialect.ts"
import {
  addressOf,
  connectFailure,
  lostFailure,
  type PostgresFailure,
  readOnlyMessage,
  refusal,
  type ServerName,
  statementFailure,
  UNDEFINED_TABLE
} from "./postgres-failure.ts"
import { sessionStatements, type Statement } from "./postgres-statements.ts"
import { parserOf } from "./postgres-types.ts"

/** A server of the topology. */
export interface PostgresServer extends ServerName {
  /** Where there is none, the environment's PGPASSWORD or ~/.pgpass has one. */
  readonly password: Redacted.Redacted<string> | undefined
  /** `prefer`: TLS where the server has it; its certificate is looked at by `verify-full` only. */
  readonly tls: "disable" | "prefer" | "require" | "verify-full"
  readonly authorityFile: string | undefined
  readonly certificateFile: string | undefined
  readonly keyFile: string | undefined
  readonly applicationName: string
}

export interface Answer {
  readonly rows: ReadonlyArray<Record<string, unknown>>
  /** Rows that a write changed. */
  readonly count: number
}

/** What a server must be to be used: found out by earlier connections to any. */
export interface Expected {
  /** The database's own id, once it is known. */
  readonly databaseId: string | undefined
  /** Highest that was seen. */
  readonly timeline: string | undefined
}

export interface OpenOptions {
  readonly expected: Expected
  /** Statement that sets how long the server lets statements run. */
  readonly timeout: Statement
  readonly timeoutMs: number
}

/** What was found out about a server while connecting. */
export interface ServerFacts {
  readonly dialect: Dialect
  readonly version: string
  readonly timeline: string | undefined
  readonly isEncrypted: boolean
}

export class PostgresConnection {
  readonly server: PostgresServer
  readonly facts: ServerFacts
  /** When it was last given back. */
  idleSinceMs = 0
  /** When the statement was sent that has no answer yet. */
  sentAtMs: number | undefined
  private readonly client: pg.Client
  private readonly socket: Socket
  private isGone = false
  private cut: ((cause: unknown) => void) | undefined

  private constructor(server: PostgresServer, raw: RawConnection, facts: ServerFacts) {
    this.server = server
    this.client = raw.client
    this.socket = raw.socket
    this.facts = facts
    raw.onLost((cause) => {
      this.isGone = true
      this.cut?.(cause)
    })
  }

  /** Fails with a PostgresFailure, definite, within `timeoutMs`. */
  static async open(server: PostgresServer, options: OpenOptions): Promise<PostgresConnection> {
    const opening: Opening = { isOver: false, socket: undefined }
    try {
      return await withinMs(options.timeoutMs, openWith(server, options, opening), () =>
        refusal(
          "Unavailable",
          `${addressOf(server)} did not answer within ${options.timeoutMs} ms (${server.field}): is it reachable from here?`
        )
      )
    } catch (error) {
      opening.isOver = true
      opening.socket?.destroy()
      throw connectFailure(error, server)
    }
  }

  static of(server: PostgresServer, raw: RawConnection, facts: ServerFacts): PostgresConnection {
    return new PostgresConnection(server, raw, facts)
  }

  get isUsable(): boolean {
    return !this.isGone
  }

  /** Sends the statement and waits for its answer, for `timeoutMs` at most. Fails with a PostgresFailure. */
  run(statement: Statement, values: ReadonlyArray<unknown>, timeoutMs: number): Promise<Answer> {
    if (this.isGone)
      return Promise.reject(refusal("Unavailable", `the connection to ${addressOf(this.server)} is gone`))
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        this.sentAtMs = undefined
        this.cut = undefined
      }
      const fail = (failure: PostgresFailure): void => {
        end()
        if (failure.scope !== "statement") this.destroy()
        reject(failure)
      }
      const timer = setTimeout(
        () => fail(lostFailure(statement.name, this.server, { kind: "timeout", waitedMs: timeoutMs })),
        timeoutMs
      )
      this.cut = (cause) => fail(lostFailure(statement.name, this.server, { kind: "lost", cause }))
      this.sentAtMs = performance.now()
      query(this.client, statement, values).then(
        (answer) => {
          end()
          resolve(answer)
        },
        // What is lost is told by `cut`, with its cause; the driver tells it as well.
        (error: unknown) =>
          this.isGone ? this.cut?.(error) : fail(statementFailure(error, statement.name, this.server))
      )
    })
  }

  /** Says goodbye where it is idle. Ends when the socket is closed. */
  async close(): Promise<void> {
    if (this.isGone) return
    const closed = new Promise<void>((resolve) => void this.socket.once("close", () => resolve()))
    this.isGone = true
    if (this.sentAtMs === undefined) void this.client.end().catch(() => undefined)
    else this.cutOff(new Error("the store was closed"))
    const timer = setTimeout(() => this.socket.destroy(), limits.postgresCloseMs)
    await closed
    clearTimeout(timer)
  }

  /** Cuts the connection, and fails the statement that it has. */
  cutOff(cause: unknown): void {
    const { cut } = this
    this.destroy()
    cut?.(cause)
  }

  private destroy(): void {
    this.isGone = true
    this.socket.destroy()
  }
}

interface RawConnection {
  readonly client: pg.Client
  readonly socket: Socket
  readonly isEncrypted: boolean
  /** Called once; at once where the connection is gone already. */
  readonly onLost: (listener: (cause: unknown) => void) => void
}

/** An attempt that may be given up while it is under way. */
interface Opening {
  isOver: boolean
  socket: Socket | undefined
}

const openWith = async (
  server: PostgresServer,
  options: OpenOptions,
  opening: Opening
): Promise<PostgresConnection> => {
  const raw = await connected(server, opening)
  const facts = await factsOf(raw, server, options)
  return PostgresConnection.of(server, raw, facts)
}

/** The driver's own words for a server without TLS, which it tells without a code. */
const NO_TLS_MESSAGE = "The server does not support SSL connections"

const connected = async (server: PostgresServer, opening: Opening): Promise<RawConnection> => {
  if (server.tls === "disable") return await connectedBy(server, opening, false)
  try {
    return await connectedBy(server, opening, tlsOptions(server))
  } catch (error) {
    if (!(error instanceof Error && error.message === NO_TLS_MESSAGE)) throw error
    if (server.tls === "prefer") return await connectedBy(server, opening, false)
    throw refusal(
      "Misconfigured",
      `${addressOf(server)} has no TLS, which sslmode=${server.tls} asks for (${server.field}): ` +
        "give it a certificate, or write sslmode=disable"
    )
  }
}

const connectedBy = async (
  server: PostgresServer,
  opening: Opening,
  ssl: ConnectionOptions | false
): Promise<RawConnection> => {
  if (opening.isOver) throw new Error("given up")
  const socket = new Socket()
  opening.socket = socket
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    database: server.database,
    user: server.user,
    // Asked for only where the server wants one.
    password: () => passwordOf(server),
    ssl,
    application_name: server.applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: limits.postgresProbeMs,
    stream: () => socket,
    types: { getTypeParser: parserOf as unknown as typeof pg.types.getTypeParser }
  })
  let lost: { readonly cause: unknown } | undefined
  const listeners: Array<(cause: unknown) => void> = []
  const lose = (cause: unknown): void => {
    if (lost !== undefined) return
    lost = { cause }
    for (const listener of listeners) listener(cause)
  }
  client.on("error", lose)
  client.on("end", () => lose(new Error("the server closed the connection")))
  await client.connect()
  const onLost = (listener: (cause: unknown) => void): void => {
    if (lost === undefined) listeners.push(listener)
    else listener(lost.cause)
  }
  return { client, socket, isEncrypted: ssl !== false, onLost }
}

const passwordOf = (server: PostgresServer): string => {
  const password = server.password === undefined ? process.env["PGPASSWORD"] : Redacted.value(server.password)
  if (password !== undefined) return password
  throw refusal(
    "Misconfigured",
    `${addressOf(server)} asks for the password of user "${server.user}", and there is none: ` +
      `write it into ${server.field}, or set PGPASSWORD`
  )
}

const tlsOptions = (server: PostgresServer): ConnectionOptions => {
  const file = (path: string | undefined, parameter: string): Buffer | undefined => {
    if (path === undefined) return undefined
    try {
      return readFileSync(path)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw refusal("Misconfigured", `cannot read the file of ${parameter} (${server.field}): ${why}`)
    }
  }
  const [ca, cert, key] = [
    file(server.authorityFile, "sslrootcert"),
    file(server.certificateFile, "sslcert"),
    file(server.keyFile, "sslkey")
  ]
  return {
    rejectUnauthorized: server.tls === "verify-full",
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key })
  }
}

/** Makes the session what statements expect, and refuses a server that is not what is needed. */
const factsOf = async (raw: RawConnection, server: PostgresServer, options: OpenOptions): Promise<ServerFacts> => {
  const { expected, timeout } = options
  const [told, readOnly] = await together(raw.client, [
    sessionStatements.version,
    sessionStatements.readOnly,
    timeout,
    sessionStatements.setUpBytes
  ])
  const version = String(told?.["version"])
  const dialect = dialectOf(version)
  if (typeof dialect === "string") throw refusal("Misconfigured", `${addressOf(server)} ${dialect} (${server.field})`)
  if (readOnly?.["transaction_read_only"] !== "off") throw refusal("Unavailable", readOnlyMessage(server))
  const { timeline: asked } = dialect
  const answers = await together(raw.client, [...dialect.setUp, ...(asked === undefined ? [] : [asked])])
  const timeline = asked === undefined ? undefined : String(answers.at(-1)?.["timeline"])
  if (timeline !== undefined && expected.timeline !== undefined && timeline < expected.timeline) {
    throw refusal(
      "Unavailable",
      `${addressOf(server)} was replaced by another server and does not know of it (${server.field}): ` +
        "what it holds is old; make it that one's standby"
    )
  }
  await requireDatabase(raw, server, expected)
  return { dialect, version, timeline, isEncrypted: raw.isEncrypted }
}

/** Servers that an agent goes over to must hold the database that it began with. */
const requireDatabase = async (raw: RawConnection, server: PostgresServer, { databaseId }: Expected): Promise<void> => {
  if (databaseId === undefined) return
  const [found] = await together(raw.client, [sessionStatements.identity]).catch(
    (error: { readonly code?: string }) => {
      if (error.code === UNDEFINED_TABLE) return []
      throw error
    }
  )
  if (found?.["databaseId"] === databaseId) return
  throw refusal(
    "Misconfigured",
    `"${server.database}" at ${addressOf(server)} is another database than this agent works with (${server.field}): ` +
      "all endpoints must lead to the same"
  )
}

/** Statements of the session, sent as one text: one round trip. Each answers with its first row. */
const together = async (
  client: pg.Client,
  statements: ReadonlyArray<Statement>
): Promise<ReadonlyArray<Record<string, unknown> | undefined>> => {
  if (statements.length === 0) return []
  const answer: unknown = await client.query(statements.map(({ sql }) => sql).join("; "))
  const results = (Array.isArray(answer) ? answer : [answer]) as ReadonlyArray<pg.QueryResult<Record<string, unknown>>>
  return results.map(({ rows }) => rows[0])
}

const query = async (client: pg.Client, statement: Statement, values: ReadonlyArray<unknown>): Promise<Answer> => {
  const { rows, rowCount } = await client.query<Record<string, unknown>>(
    statement.isPrepared ? { name: statement.name, text: statement.sql, values: [...values] } : statement.sql
  )
  return { rows, count: rowCount ?? 0 }
}

const withinMs = async <A>(durationMs: number, work: Promise<A>, late: () => Error): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), durationMs)
  })
  work.catch(() => undefined)
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
