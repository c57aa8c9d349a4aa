/**
 * URLs of PostgreSQL and CockroachDB servers [pure].
 *
 *   postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full&sslrootcert=ca.pem
 *
 * The password may be left out: the environment's PGPASSWORD has it then. It is held redacted, and since whatever is wrong with
 * a URL may lie in the password, messages show single parts that are wrong and never the URL. Every parameter that is not
 * known is refused, so that a misspelt sslmode cannot silently leave a connection unencrypted.
 */
import { isAbsolute, join } from "node:path"
import { Redacted } from "effect"
import { didYouMean, showValue } from "#core/config/problem.ts"

export interface PostgresLocation {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: Redacted.Redacted<string> | undefined
  /** `prefer`: encrypted where the server can. Only `verify-full` looks at who the server is. */
  readonly tls: TlsMode
  /** Certificates of authorities that are trusted; undefined: those that Node has. */
  readonly authorityFile: string | undefined
  readonly certificateFile: string | undefined
  readonly keyFile: string | undefined
  readonly applicationName: string
}

export type TlsMode = "disable" | "prefer" | "require" | "verify-full"

/** Where the URL gives no name; agents add theirs, so that the database's own lists of connections say whose they are. */
export const APPLICATION_NAME = "meridian"

export const POSTGRES_SCHEMES = ["postgres", "postgresql"] as const

const TLS_MODES: ReadonlyArray<string> = [
  "disable",
  "prefer",
  "require",
  "verify-full"
] satisfies ReadonlyArray<TlsMode>
const PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name"] as const
const EXAMPLE = "postgres://USER:PASSWORD@HOST:5432/DATABASE"
const DEFAULT_PORT = 5432
const PORT_MAX = 65_535

export const isPostgresUrl = (url: string): boolean =>
  POSTGRES_SCHEMES.some((scheme) => url.toLowerCase().startsWith(`${scheme}:`))

/** The location, or what is wrong with the URL. `directory` is where relative paths of certificates begin. */
export const parsePostgresUrl = (url: string, directory: string): PostgresLocation | string => {
  const rest = /^[a-z]+:\/\/(.*)$/is.exec(url)?.[1]
  if (rest === undefined) return `is no URL of a database server: write ${EXAMPLE}`
  const end = rest.search(/[/?#]/)
  const authority = end < 0 ? rest : rest.slice(0, end)
  const at = authority.lastIndexOf("@")
  const address = addressOf(authority.slice(at + 1))
  if (typeof address === "string") return address
  const login = loginOf(at < 0 ? "" : authority.slice(0, at))
  if (typeof login === "string") return login
  const path = end < 0 ? "" : rest.slice(end)
  const [, name, query] = /^(?:\/([^/?#]*))?(?:\?([^#]*))?$/.exec(path) ?? []
  if (path !== "" && name === undefined && query === undefined) {
    return `has more after host and port than a database's name and parameters: write ${EXAMPLE} (% escapes for / ? # @ : in names and passwords)`
  }
  const database = decoded(name ?? "")
  if (database === undefined || database === "") return `names no database: write ${EXAMPLE}`
  const parameters = parametersOf(query ?? "", directory)
  return typeof parameters === "string" ? parameters : { ...address, ...login, database, ...parameters }
}

const decoded = (text: string): string | undefined => {
  try {
    const value = decodeURIComponent(text)
    return value.includes("\0") ? undefined : value
  } catch {
    return undefined
  }
}

const addressOf = (text: string): Pick<PostgresLocation, "host" | "port"> | string => {
  const [, bracketed, plain, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*))(?::([0-9]*))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  // It may be a password that lost its place: not shown.
  if (host === undefined)
    return `has no usable host and port: write ${EXAMPLE} (% escapes for / ? # @ : in the password)`
  if (host === "") return `names no host: write ${EXAMPLE}`
  const port = digits === undefined || digits === "" ? DEFAULT_PORT : Number(digits)
  if (port < 1 || port > PORT_MAX) return `has the port ${digits}: write one from 1 to ${PORT_MAX}`
  return { host, port }
}

const loginOf = (text: string): Pick<PostgresLocation, "user" | "password"> | string => {
  const colon = text.indexOf(":")
  const user = decoded(colon < 0 ? text : text.slice(0, colon))
  const password = colon < 0 ? undefined : decoded(text.slice(colon + 1))
  if (user === undefined || (colon >= 0 && password === undefined)) {
    return "has a % in user or password that begins no escape: write %25 for a percent sign"
  }
  if (user === "") return `names no user: write ${EXAMPLE}`
  return { user, password: password === undefined ? undefined : Redacted.make(password) }
}

type Parameters = Pick<PostgresLocation, "tls" | "authorityFile" | "certificateFile" | "keyFile" | "applicationName">

const parametersOf = (query: string, directory: string): Parameters | string => {
  const given = new Map<string, string>()
  for (const [key, value] of new URLSearchParams(query)) {
    if (!(PARAMETERS as ReadonlyArray<string>).includes(key)) {
      return `has an unknown parameter ${showValue(key)}${didYouMean(key, PARAMETERS)}: known are ${PARAMETERS.join(", ")}`
    }
    if (given.has(key)) return `has ${key} twice: write it once`
    if (value === "") return `has ${key} without a value: write one, or leave it out`
    given.set(key, value)
  }
  const tls = given.get("sslmode") ?? "prefer"
  if (!TLS_MODES.includes(tls)) {
    return `has sslmode=${tls}${didYouMean(tls, TLS_MODES)}: write ${TLS_MODES.join(", ")}`
  }
  if (given.has("sslrootcert") && tls !== "verify-full") {
    return `has sslrootcert, which sslmode=${tls} does not look at: write sslmode=verify-full`
  }
  if (given.has("sslcert") !== given.has("sslkey")) return "has one of sslcert and sslkey: write both, or none"
  if (given.has("sslcert") && tls === "disable") return "has sslcert, which sslmode=disable does not use: leave one out"
  const file = (key: string): string | undefined => {
    const path = given.get(key)
    return path === undefined || isAbsolute(path) ? path : join(directory, path)
  }
  return {
    tls: tls as TlsMode,
    authorityFile: file("sslrootcert"),
    certificateFile: file("sslcert"),
    keyFile: file("sslkey"),
    applicationName: given.get("application_name") ?? APPLICATION_NAME
  }
}
