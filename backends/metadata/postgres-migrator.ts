/**
 * Brings the tables of the database up to date, whoever else is doing so at the same time.
 *
 * One process migrates at a time: it holds the guard, a row with an end that it moves on while it works, and whose holder may
 * be replaced when the end has passed. A holder that slept and goes on beside its successor does no harm: every statement does
 * nothing where it has been done, and what was applied is recorded once. Nothing here goes back, and a schema that is newer than
 * this program is left alone.
 */
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type Answer, type PostgresConnection } from "./postgres-connection.ts"
import { type Run } from "./postgres-database.ts"
import { type DialectName } from "./postgres-dialect.ts"
import { PostgresFailure, refusal, UNDEFINED_TABLE, UNIQUE_VIOLATION } from "./postgres-failure.ts"
import {
  beginningStatements,
  MIGRATIONS,
  migrationStatements,
  SCHEMA_VERSION,
  statementsOf
} from "./postgres-migrations.ts"
import { clusterRegions, type Placement, placementStatements, placementText } from "./postgres-placement.ts"
import { sessionStatements, type Statement } from "./postgres-statements.ts"

/** What the database says of its schema. */
export interface SchemaState {
  /** 0: there are no tables of ours. */
  readonly version: number
  /** The newest that this program knows. */
  readonly versionKnown: number
  readonly identity: { readonly databaseId: Uuid; readonly cluster: string; readonly placement: string } | undefined
}

export interface MigrateOptions {
  readonly cluster: string
  readonly placement: Placement
  /** A new random id for each call. */
  readonly uuid: () => Uuid
}

export interface Migrated {
  /** Names of the migrations that were applied here. */
  readonly applied: ReadonlyArray<string>
  readonly placement: PlacementResult
}

export type PlacementResult =
  | { readonly kind: "none" }
  | { readonly kind: "unchanged" | "applied"; readonly text: string }
  | { readonly kind: "left"; readonly why: string }

export const schemaState = async (run: Run): Promise<SchemaState> => {
  const row = async (statement: Statement): Promise<Record<string, unknown> | undefined> => {
    try {
      return (await run(statement)).rows[0]
    } catch (error) {
      if (error instanceof PostgresFailure && error.code === UNDEFINED_TABLE) return undefined
      throw error
    }
  }
  const version = Number((await row(sessionStatements.schemaVersion))?.["version"] ?? 0)
  if (version > SCHEMA_VERSION) throw refusal("Misconfigured", newerMessage(version), "statement")
  const identity = version === 0 ? undefined : await row(sessionStatements.identity)
  return { version, versionKnown: SCHEMA_VERSION, identity: identity as SchemaState["identity"] }
}

const newerMessage = (version: number): string =>
  `the database has schema version ${version}, newer than the ${SCHEMA_VERSION} that this program knows: run the newer program`

/** `connection` is for schema changes alone; it may take long over one. Fails with a PostgresFailure. */
export const migrate = async (
  run: Run,
  connection: PostgresConnection,
  options: MigrateOptions,
  signal: AbortSignal
): Promise<Migrated> => {
  const holder = options.uuid()
  for (const statement of beginningStatements) await changeSchema(connection, statement)
  await run(migrationStatements.makeGuard, holder)
  await takeGuard(run, holder, signal)
  const guard = keepGuard(run, holder)
  try {
    const applied = await applyMigrations(run, connection, guard)
    await run(migrationStatements.recordIdentity, options.uuid(), options.cluster)
    return { applied, placement: await place(run, connection, options.placement, guard) }
  } finally {
    await guard.leave()
  }
}

/** Until another's guard has ended, which it does by itself where that process is dead. */
const takeGuard = async (run: Run, holder: Uuid, signal: AbortSignal): Promise<void> => {
  while ((await run(migrationStatements.takeGuard, holder)).count === 0) {
    if (signal.aborted) throw refusal("TimedOut", "the migration was given up", "statement")
    await new Promise((resolve) => {
      setTimeout(resolve, limits.migrationPollMs)
    })
  }
}

interface Guard {
  /** Fails where another process has the guard. */
  readonly require: () => void
  readonly leave: () => Promise<void>
}

const keepGuard = (run: Run, holder: Uuid): Guard => {
  let isLost = false
  let keeping: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    keeping = run(migrationStatements.keepGuard, holder).then(
      ({ count }) => {
        if (count === 0) isLost = true
      },
      // The next attempt may do better; the guard ends by itself if none does.
      () => undefined
    )
  }, limits.migrationGuardMs / 3)
  return {
    require: () => {
      if (isLost) throw refusal("Unavailable", "another process has taken over the migration", "statement")
    },
    leave: async () => {
      clearInterval(timer)
      await keeping
      await run(migrationStatements.leaveGuard, holder).catch(() => undefined)
    }
  }
}

const applyMigrations = async (
  run: Run,
  connection: PostgresConnection,
  guard: Guard
): Promise<ReadonlyArray<string>> => {
  const dialect: DialectName = connection.facts.dialect.name
  const { version } = await schemaState(run)
  const applied: Array<string> = []
  for (const migration of MIGRATIONS.slice(version)) {
    for (const statement of statementsOf(migration, dialect)) {
      guard.require()
      await changeSchema(connection, statement)
    }
    await run(migrationStatements.recordMigration, migration.version, migration.name)
    applied.push(`${migration.version} ${migration.name}`)
  }
  return applied
}

/** Codes of a change that another process has just made, or is making: PostgreSQL looks and makes in two steps. */
const AGAIN: ReadonlySet<string> = new Set([UNIQUE_VIOLATION, "42P07", "42710", "40001", "40P01", "55P03"])

const changeSchema = async (connection: PostgresConnection, statement: Statement): Promise<Answer> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await connection.run(statement, [], limits.migrationStatementMs)
    } catch (error) {
      const mayRun = error instanceof PostgresFailure && error.code !== undefined && AGAIN.has(error.code)
      if (!mayRun || attempt >= limits.migrationBeginAttemptsMax) throw error
      await new Promise((resolve) => {
        setTimeout(resolve, Math.random() * limits.migrationPollMs)
      })
    }
  }
}

/** Only where the servers have said in which regions they are: a single server, or a cluster for tests, has no regions. */
const place = async (
  run: Run,
  connection: PostgresConnection,
  placement: Placement,
  guard: Guard
): Promise<PlacementResult> => {
  if (connection.facts.dialect.name !== "cockroachdb") return { kind: "none" }
  const text = placementText(placement)
  const noted = (await schemaState(run)).identity?.placement ?? ""
  if (noted === text) return { kind: "unchanged", text }
  const { rows } = await connection.run(clusterRegions, [], limits.migrationStatementMs)
  const known = new Set(rows.map((row) => row["region"]))
  const missing = placement.regions.filter((region) => !known.has(region))
  if (missing.length > 0) {
    const told = known.size === 0 ? "its servers were started without --locality" : `it has ${[...known].join(", ")}`
    return { kind: "left", why: `the cluster has no region ${missing.join(", ")}: ${told}` }
  }
  for (const statement of placementStatements(connection.server.database, placement, noted === "" ? "none" : "some")) {
    guard.require()
    try {
      await changeSchema(connection, statement)
    } catch (error) {
      // A right or a licence is missing: agents work without, if not as far apart as they should.
      if (error instanceof PostgresFailure && error.code !== undefined) return { kind: "left", why: error.message }
      throw error
    }
  }
  await run(migrationStatements.recordPlacement, text)
  return { kind: "applied", text }
}
