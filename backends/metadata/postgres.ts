/**
 * The metadata store on PostgreSQL and CockroachDB.
 *
 * `open` connects to nothing: the store's calls find a server when they are made, and say in time when there is none. `prepare`
 * is for whoever starts: it says what an operator must mend, and makes the tables where they are missing. Both can be tried
 * again as often as needed, so that an agent can stay alive, and say why it is not ready, while its database is not there.
 *
 * What a call means is written in postgres-operations.ts, how it becomes statements in postgres-database.ts, and which server
 * gets them in postgres-servers.ts.
 */
import { randomBytes } from "node:crypto"
import { Effect, Layer, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"
import { type MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { type PostgresServer } from "./postgres-connection.ts"
import { PostgresDatabase } from "./postgres-database.ts"
import { refusal } from "./postgres-failure.ts"
import { SCHEMA_VERSION } from "./postgres-migrations.ts"
import { migrate, type Migrated, type SchemaState, schemaState } from "./postgres-migrator.ts"
import { storeOf } from "./postgres-operations.ts"
import { type Placement, placementText } from "./postgres-placement.ts"
import { type ServerEvent, PostgresServers } from "./postgres-servers.ts"

export interface PostgresOptions {
  /** In order of preference; at least one. */
  readonly servers: ReadonlyArray<PostgresServer>
  readonly cluster: string
  readonly placement: Placement
}

export interface PrepareOptions {
  /** `manual`: tables that are missing or old are an error. */
  readonly migrate: "auto" | "manual"
  /**
   * Called before the first table is made. Whether it is still needed can be asked again: another agent may have made them.
   */
  readonly onNew?: (isStillNew: Effect.Effect<boolean, MetadataError>) => Effect.Effect<void, MetadataError>
}

export interface Postgres {
  readonly store: MetadataStore["Service"]
  /** Ends when the database can be used. Idempotent. */
  readonly prepare: (options: PrepareOptions) => Effect.Effect<Migrated, MetadataError>
  readonly schema: Effect.Effect<SchemaState, MetadataError>
  /** Why servers are not used; from memory. */
  readonly outOfUse: () => ReadonlyArray<string>
}

export const open = (options: PostgresOptions): Effect.Effect<Postgres, never, Scope.Scope> =>
  Effect.gen(function* () {
    const servers = yield* Effect.acquireRelease(
      Effect.sync(() => new PostgresServers(options.servers)),
      (opened) => Effect.promise(() => opened.close())
    )
    const database = new PostgresDatabase(servers)
    yield* Effect.forkScoped(watch(servers))
    const schema = database.call({ operation: "schema", kind: "read" }, schemaState)
    return {
      store: storeOf(database),
      schema,
      prepare: (how) => prepare(database, schema, options, how),
      outOfUse: () => servers.outOfUse()
    }
  })

/** Opened and prepared. */
export const make = (
  options: PostgresOptions,
  how: PrepareOptions = { migrate: "auto" }
): Effect.Effect<MetadataStore["Service"], MetadataError, Scope.Scope> =>
  Effect.flatMap(open(options), ({ prepare: prepared, store }) => Effect.as(prepared(how), store))

export const layer = (options: PostgresOptions, how?: PrepareOptions): Layer.Layer<MetadataStore, MetadataError> =>
  Layer.effect(MetadataStore, make(options, how))

const prepare = Effect.fnUntraced(function* (
  database: PostgresDatabase,
  schema: Effect.Effect<SchemaState, MetadataError>,
  options: PostgresOptions,
  how: PrepareOptions
) {
  const fail = (message: string): Effect.Effect<never, MetadataError> =>
    database.call({ operation: "prepare", kind: "read" }, () =>
      Promise.reject(refusal("Misconfigured", message, "statement"))
    )
  const found = yield* schema
  if (found.identity !== undefined && found.identity.cluster !== options.cluster) {
    return yield* fail(
      `the database belongs to the cluster "${found.identity.cluster}", and this topology is of "${options.cluster}": ` +
        "name another database in metadata.url"
    )
  }
  if (found.identity !== undefined) database.servers.expectDatabase(found.identity.databaseId)
  let migrated: Migrated = { applied: [], placement: { kind: "none" } }
  if (found.version < SCHEMA_VERSION || found.identity === undefined) {
    if (how.migrate === "manual") {
      return yield* fail(
        `the database has schema version ${found.version} of ${SCHEMA_VERSION}: run \`meridian metadata migrate\` ` +
          "(metadata.migrate is manual)"
      )
    }
    if (found.version === 0) yield* how.onNew?.(Effect.map(schema, ({ version }) => version === 0)) ?? Effect.void
    migrated = yield* migrateNow(database, options)
  } else if (how.migrate === "auto" && found.identity.placement !== placementText(options.placement)) {
    migrated = yield* placeNow(database, options)
  }
  if (found.identity === undefined) {
    const after = yield* schema
    if (after.identity?.cluster !== options.cluster) return yield* fail("another cluster has just taken this database")
    database.servers.expectDatabase(after.identity.databaseId)
  }
  return migrated
})

const migrateNow = (database: PostgresDatabase, options: PostgresOptions): Effect.Effect<Migrated, MetadataError> => {
  const uuid = (): string => uuidFromRandom(randomBytes(16))
  return database.call({ operation: "migrate", kind: "write", timeoutMs: limits.migrationMs }, async (run, signal) => {
    const connection = await database.servers.openForMigration()
    try {
      return await migrate(run, connection, { ...options, uuid }, signal)
    } finally {
      void connection.close()
    }
  })
}

/** Tables are moved only on CockroachDB; elsewhere there is nothing to ask. */
const placeNow = Effect.fnUntraced(function* (database: PostgresDatabase, options: PostgresOptions) {
  return database.servers.facts?.dialect.name === "cockroachdb"
    ? yield* migrateNow(database, options)
    : ({ applied: [], placement: { kind: "none" } } satisfies Migrated)
})

/** Looks after the servers, and says what changed with them. */
const watch = (servers: PostgresServers): Effect.Effect<never> =>
  Effect.forever(
    Effect.gen(function* () {
      yield* Effect.sleep(limits.postgresProbeMs)
      yield* Effect.promise(() => servers.look())
      yield* Effect.forEach(servers.takeEvents(), tell, { discard: true })
    })
  )

const tell = ({ level, event, fields }: ServerEvent): Effect.Effect<void> =>
  level === "warning" ? Effect.logWarning(event, fields) : Effect.logInfo(event, fields)
