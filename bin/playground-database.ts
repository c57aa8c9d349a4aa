/**
 * The database server of a playground that has one (`--metadata`).
 *
 * The topology file in the playground's directory remembers it; a flag that says otherwise is refused, because buckets and log
 * belong together. Whether the server can be used is found out before any agent starts, so that a mistake is one line.
 */
import { Effect, Logger, Redacted } from "effect"
import { parsePostgresUrl, isPostgresUrl, type PostgresLocation } from "#regions/postgres-url.ts"
import { type Topology } from "#regions/topology.ts"
import { causeText, type CommandFailed, invalid } from "./command-failed.ts"
import { openPostgres } from "./metadata-database.ts"

/** What is wrong with the flag's URL; undefined: nothing. */
export const flagProblem = (url: string): string | undefined => {
  if (!isPostgresUrl(url))
    return "--metadata: is no URL of a database server: write postgres://USER:PASSWORD@HOST:5432/DATABASE"
  const location = parsePostgresUrl(url, process.cwd())
  return typeof location === "string" ? `--metadata: ${location}` : undefined
}

/** What is wrong with the flag in a directory whose topology is that; undefined: nothing. */
export const conflictProblem = (
  { metadata }: Pick<Topology, "metadata">,
  url: string,
  file: string
): string | undefined => {
  const asked = parsePostgresUrl(url, process.cwd())
  if (typeof asked === "string") return `--metadata: ${asked}`
  const fix = "leave --metadata out to go on with that, or give another directory with --dir"
  if (metadata.kind !== "postgres") {
    const kept = metadata.kind === "sqlite" ? metadata.file : "memory"
    return `--metadata names ${shown(asked)}, but this playground keeps its metadata in ${kept} (${file}): ${fix}`
  }
  const [kept] = metadata.endpoints
  if (kept === undefined || isSame(kept, asked)) return undefined
  const named =
    shown(kept) === shown(asked) ? "with another password or other parameters" : `and not in ${shown(asked)}`
  return `this playground keeps its metadata in ${shown(kept)} (${file}), ${named}: ${fix}`
}

/** Fails with field and fix where agents could not use the database; makes nothing there. */
export const requireUsable = (topology: Topology): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    const postgres = yield* openPostgres(topology, "")
    yield* Effect.mapError(postgres.schema, ({ cause }) => invalid(`the metadata database: ${causeText(cause)}`))
  }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

/** Without the password. */
const shown = ({ user, host, port, database }: PostgresLocation): string =>
  `postgres://${user}@${host}:${port}/${database}`

const isSame = (left: PostgresLocation, right: PostgresLocation): boolean =>
  shown(left) === shown(right) &&
  passwordOf(left) === passwordOf(right) &&
  left.tls === right.tls &&
  left.applicationName === right.applicationName

const passwordOf = ({ password }: PostgresLocation): string | undefined =>
  password === undefined ? undefined : Redacted.value(password)
