/**
 * What differs between PostgreSQL and CockroachDB, in one table [pure]. Everything else is the same for both.
 *
 * Which one a server is, its `version()` says.
 */
import { session, type Statement } from "./postgres-statements.ts"

export type DialectName = "postgres" | "cockroachdb"

export interface Dialect {
  readonly name: DialectName
  /** For people. */
  readonly title: string
  /** The oldest major version that has all that is used here. */
  readonly versionMin: number
  /** The major version in `version()`'s text. */
  readonly versionOf: RegExp
  /** Run on each new connection. */
  readonly setUp: ReadonlyArray<Statement>
  /**
   * Tells the history that a server follows, as a number that only grows, where servers may differ in it: one with a lower
   * number than was seen before was replaced, and does not know.
   */
  readonly timeline: Statement | undefined
}

export const DIALECTS: Readonly<Record<DialectName, Dialect>> = {
  postgres: {
    name: "postgres",
    title: "PostgreSQL",
    versionMin: 15,
    versionOf: /^PostgreSQL (\d+)/,
    // A server may be set to acknowledge what is on no disk yet, or on one machine only though a standby is waited for.
    setUp: [
      session(
        "set-up-durability",
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"
      )
    ],
    timeline: session("timeline", "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline")
  },
  cockroachdb: {
    name: "cockroachdb",
    title: "CockroachDB",
    versionMin: 23,
    versionOf: /^CockroachDB .*?v(\d+)\./,
    setUp: [],
    timeline: undefined
  }
}

/** The dialect of a server by its `version()`, or what is wrong with the server. */
export const dialectOf = (version: string): Dialect | string => {
  const dialect = version.startsWith("CockroachDB") ? DIALECTS.cockroachdb : DIALECTS.postgres
  const major = Number(dialect.versionOf.exec(version)?.[1])
  const told = version.slice(0, 80)
  if (!Number.isSafeInteger(major)) return `calls itself "${told}", which is neither PostgreSQL nor CockroachDB`
  return major >= dialect.versionMin
    ? dialect
    : `is "${told}": Meridian needs ${dialect.title} ${dialect.versionMin} or newer`
}
