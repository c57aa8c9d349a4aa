/**
 * What a failure of a database server means: its reason, whether the statement may have taken effect, and a message for
 * people that names the field of the topology and the fix [pure].
 *
 * Rules: what was never sent is definite. A sent write is indefinite unless the server's code says that it took nothing;
 * a code that is not known says nothing. Nothing here matches on a message's text, and no message holds a password.
 */
import { type MetadataError } from "#core/ports/metadata-store.ts"

/** Who a failure concerns beside the statement. */
export type FailureScope =
  /** Nobody: the connection goes on. */
  | "statement"
  /** The connection is of no more use. */
  | "connection"
  /** The server is of no use at present: others may be. */
  | "server"

export class PostgresFailure extends Error {
  override readonly name = "PostgresFailure"
  readonly reason: MetadataError["reason"]
  /** Of a write; a read is always definite. */
  readonly outcome: MetadataError["outcome"]
  readonly scope: FailureScope
  /** The server's SQLSTATE, where it is the server that failed. */
  readonly code: string | undefined
  readonly constraint: string | undefined

  constructor(options: {
    readonly reason: MetadataError["reason"]
    readonly outcome: MetadataError["outcome"]
    readonly scope: FailureScope
    readonly message: string
    readonly code?: string | undefined
    readonly constraint?: string | undefined
  }) {
    super(options.message)
    this.reason = options.reason
    this.outcome = options.outcome
    this.scope = options.scope
    this.code = options.code
    this.constraint = options.constraint
  }

  /** The database undid the statement and asks for it again. */
  get isRerunAsked(): boolean {
    return this.code === SERIALIZATION_FAILURE || this.code === DEADLOCK_DETECTED
  }
}

/** What a message needs of a server to say who is meant. */
export interface ServerName {
  /** Of the topology: `metadata.url`. */
  readonly field: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

export const SERIALIZATION_FAILURE = "40001"
export const DEADLOCK_DETECTED = "40P01"
export const UNIQUE_VIOLATION = "23505"
export const UNDEFINED_TABLE = "42P01"
export const READ_ONLY = "25006"
export const TOO_MANY_CONNECTIONS = "53300"

/** A failure before the server took statements: nothing was sent. */
export const connectFailure = (error: unknown, server: ServerName): PostgresFailure => {
  if (error instanceof PostgresFailure) return error
  const failure = (reason: MetadataError["reason"], message: string, code?: string): PostgresFailure =>
    new PostgresFailure({ reason, outcome: "definite", scope: "server", message, code })
  const code = codeOf(error)
  const at = addressOf(server)
  const field = `(${server.field})`
  const known = code === undefined ? undefined : CONNECT_MESSAGES.get(code)?.(server, at, field)
  if (known !== undefined) return failure(known[0], known[1], code)
  if (isSqlState(code)) return failure(reasonOf(code), `${at} refused the connection ${field}: ${textOf(error)}`, code)
  return code !== undefined && isTlsCode(code)
    ? failure(
        "Misconfigured",
        `the certificate of ${at} is not trusted ${field}: ${textOf(error)}; give its authority with sslrootcert=FILE`
      )
    : failure("Unavailable", `cannot connect to ${at} ${field}: ${textOf(error)}`)
}

type ConnectMessage = (
  server: ServerName,
  at: string,
  field: string
) => readonly [reason: MetadataError["reason"], message: string]

const nothingListens: ConnectMessage = (_server, at, field) => [
  "Unavailable",
  `nothing listens at ${at} ${field}: start the database, or correct host and port`
]
const unknownHost: ConnectMessage = ({ host }, _at, field) => [
  "Unavailable",
  `the host "${host}" is not known ${field}: correct its name`
]
const unreachable: ConnectMessage = (_server, at, field) => [
  "Unavailable",
  `there is no way from here to ${at} ${field}: correct host and port, or the network`
]
const refusedUser: ConnectMessage = ({ user }, at, field) => [
  "Misconfigured",
  `${at} refuses user "${user}" with the password that it was given ${field}: correct user or password`
]

const CONNECT_MESSAGES: ReadonlyMap<string, ConnectMessage> = new Map<string, ConnectMessage>(
  Object.entries({
    ECONNREFUSED: nothingListens,
    ENOTFOUND: unknownHost,
    EAI_AGAIN: unknownHost,
    EHOSTUNREACH: unreachable,
    ENETUNREACH: unreachable,
    "28P01": refusedUser,
    "28000": refusedUser,
    "3D000": ({ database }, at, field) => [
      "Misconfigured",
      `the database "${database}" does not exist at ${at} ${field}: create it (CREATE DATABASE ${quoteName(database)}), or correct the name`
    ],
    [TOO_MANY_CONNECTIONS]: (_server, at, field) => [
      "Unavailable",
      `${at} takes no more connections ${field}: raise its limit (max_connections), or run fewer agents`
    ],
    "57P03": (_server, at, field) => ["Unavailable", `${at} is starting or stopping ${field}: it will be tried again`],
    "42501": ({ user, database }, at, field) => [
      "Misconfigured",
      `user "${user}" may not connect to the database "${database}" at ${at} ${field}: ` +
        `GRANT CONNECT ON DATABASE ${quoteName(database)} TO ${quoteName(user)}`
    ]
  } satisfies Record<string, ConnectMessage>)
)

/** A failure that the server told about a statement. */
export const statementFailure = (error: unknown, statement: string, server: ServerName): PostgresFailure => {
  const code = codeOf(error)
  if (!isSqlState(code)) {
    // The answer was there and could not be understood, as a number too large: whatever was asked had happened.
    const message = `the answer of ${addressOf(server)} to ${statement} cannot be understood: ${textOf(error)}`
    return new PostgresFailure({ reason: "Corrupt", outcome: "indefinite", scope: "connection", message })
  }
  return new PostgresFailure({
    reason: reasonOf(code),
    outcome: isDefinite(code) ? "definite" : "indefinite",
    scope: scopeOf(code),
    message: statementMessage(code, error, statement, server),
    code,
    constraint: (error as { readonly constraint?: string }).constraint
  })
}

const statementMessage = (code: string, error: unknown, statement: string, server: ServerName): string => {
  const at = addressOf(server)
  const told = `${textOf(error)} (${code})`
  switch (code) {
    case READ_ONLY:
      return readOnlyMessage(server)
    case UNDEFINED_TABLE:
    case "42703":
      return `the tables of Meridian are not all in database "${server.database}" at ${at} (${server.field}): ${told}; run \`meridian metadata migrate\``
    case "42501":
      if (statement.startsWith("migration-")) {
        return (
          `user "${server.user}" may not make tables in database "${server.database}" at ${at} (${server.field}): ${told}; ` +
          `GRANT CREATE ON SCHEMA public TO ${quoteName(server.user)}, or run \`meridian metadata migrate\` as a user who may`
        )
      }
      return `user "${server.user}" lacks a right in database "${server.database}" at ${at} (${server.field}): ${told}; grant it`
    default:
      return `${at}: ${statement}: ${told}`
  }
}

export const readOnlyMessage = (server: ServerName): string =>
  `${addressOf(server)} takes no writes (${server.field}): it is a standby, or transactions there are read-only by default; ` +
  "name the server that takes writes"

/** The connection went away, or was cut because no answer came, after the statement had been sent. */
export const lostFailure = (
  statement: string,
  server: ServerName,
  why: { readonly kind: "lost"; readonly cause: unknown } | { readonly kind: "timeout"; readonly waitedMs: number }
): PostgresFailure =>
  new PostgresFailure({
    reason: why.kind === "timeout" ? "TimedOut" : "Unavailable",
    outcome: "indefinite",
    scope: "connection",
    message:
      why.kind === "timeout"
        ? `${addressOf(server)} did not answer to ${statement} within ${why.waitedMs} ms`
        : `the connection to ${addressOf(server)} was lost during ${statement}: ${textOf(why.cause)}`
  })

/** Nothing was sent: too many wait, no time is left, the store is closed. */
export const refusal = (
  reason: "Unavailable" | "TimedOut" | "Misconfigured",
  message: string,
  scope: FailureScope = "server"
): PostgresFailure => new PostgresFailure({ reason, outcome: "definite", scope, message })

export const addressOf = ({ host, port }: Pick<ServerName, "host" | "port">): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

const codeOf = (error: unknown): string | undefined => {
  const code = (error as { readonly code?: unknown } | null)?.code
  return typeof code === "string" ? code : undefined
}

const textOf = (error: unknown): string => {
  const told = error instanceof AggregateError ? error.errors[0] : error
  const text = told instanceof Error ? told.message : String(told)
  return text === "" ? (codeOf(error) ?? "no reason given") : text
}

const isSqlState = (code: string | undefined): code is string => code !== undefined && /^[0-9A-Z]{5}$/.test(code)

const isTlsCode = (code: string): boolean =>
  code.startsWith("ERR_TLS_") || code.includes("CERT") || code.startsWith("UNABLE_TO_")

/**
 * Codes, or classes by their first two letters, after which nothing of the statement is left: it was undone or not run.
 * Not among them: 40003, 08…, 57P01 and 57P02 (the commit may have been through), 57014 (it may have been cancelled while the
 * commit waited for others), XX… and whatever a newer server may say.
 */
const DEFINITE_CODES: ReadonlySet<string> = new Set(["40001", "40002", "40P01", "25006", "57P03"])
const DEFINITE_CLASSES: ReadonlySet<string> = new Set([
  "0A",
  "21",
  "22",
  "23",
  "26",
  "28",
  "3D",
  "3F",
  "42",
  "53",
  "54",
  "55"
])

const isDefinite = (code: string): boolean => DEFINITE_CODES.has(code) || DEFINITE_CLASSES.has(code.slice(0, 2))

const reasonOf = (code: string): MetadataError["reason"] => {
  if (code === "XX001" || code === "XX002") return "Corrupt"
  switch (code.slice(0, 2)) {
    // A constraint that no call of this program may break, or a value that it does not understand.
    case "22":
    case "23":
      return "Corrupt"
    case "0A":
    case "28":
    case "3D":
    case "3F":
    case "42":
      return "Misconfigured"
    default:
      return code === "57014" ? "TimedOut" : "Unavailable"
  }
}

const scopeOf = (code: string): FailureScope => {
  if (code === READ_ONLY) return "server"
  switch (code.slice(0, 2)) {
    case "08":
    case "57":
    // A prepared statement that is gone, or whose answer has another shape since a migration.
    case "0A":
    case "26":
    case "XX":
      return "connection"
    default:
      return "statement"
  }
}
