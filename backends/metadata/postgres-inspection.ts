/** Looks at one database server for people: who it is, what it holds, what this user may do there, and how far away it is. */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { type PostgresServer } from "./postgres-connection.ts"
import { PostgresDatabase, rowsOf, type Run } from "./postgres-database.ts"
import { refusal } from "./postgres-failure.ts"
import { SCHEMA_VERSION, TABLES } from "./postgres-migrations.ts"
import { type SchemaState, schemaState } from "./postgres-migrator.ts"
import { PostgresServers } from "./postgres-servers.ts"
import { logStatements, sessionStatements } from "./postgres-statements.ts"

export interface Inspection {
  /** As the server calls itself. */
  readonly version: string
  readonly isEncrypted: boolean
  readonly schema: SchemaState
  /** Tables on which this user lacks a right; empty where there are no tables. */
  readonly rightsMissing: ReadonlyArray<string>
  /** The server's clock less ours, as exactly as the way there allows. */
  readonly clockDifferenceMs: number
  /** Median time of a read of the log's newest entry; undefined where there are no tables. */
  readonly tailMs: number | undefined
}

const TAIL_READS = 5

/** Changes nothing. */
export const inspect = (server: PostgresServer): Effect.Effect<Inspection, MetadataError> =>
  Effect.acquireUseRelease(
    Effect.sync(() => new PostgresServers([server])),
    (servers) =>
      new PostgresDatabase(servers).call({ operation: "inspect", kind: "read" }, async (run) => {
        const schema = await schemaState(run)
        const facts = servers.facts
        if (facts === undefined) throw refusal("Unavailable", "the server was lost while it was looked at")
        const isUsable = schema.version === SCHEMA_VERSION
        return {
          version: facts.version,
          isEncrypted: facts.isEncrypted,
          schema,
          rightsMissing: isUsable ? await rightsMissing(run) : [],
          clockDifferenceMs: await clockDifferenceMs(run),
          tailMs: isUsable ? await medianTailMs(run) : undefined
        }
      }),
    (servers) => Effect.promise(() => servers.close())
  )

const rightsMissing = async (run: Run): Promise<ReadonlyArray<string>> => {
  const rows = rowsOf<{ readonly table: string; readonly mayRead: boolean; readonly mayWrite: boolean }>(
    await run(sessionStatements.privileges, TABLES)
  )
  return rows.filter(({ mayRead, mayWrite }) => !mayRead || !mayWrite).map(({ table }) => table)
}

const clockDifferenceMs = async (run: Run): Promise<number> => {
  const beforeMs = Date.now()
  const nowMs = Number((await run(logStatements.now)).rows[0]?.["nowMs"])
  return Math.round(nowMs - (beforeMs + Date.now()) / 2)
}

const medianTailMs = async (run: Run): Promise<number> => {
  const timesMs: Array<number> = []
  // The first prepares the statement.
  await run(logStatements.tail, 0)
  for (let index = 0; index < TAIL_READS; index += 1) {
    const startedAtMs = performance.now()
    await run(logStatements.tail, 0)
    timesMs.push(performance.now() - startedAtMs)
  }
  return timesMs.toSorted((left, right) => left - right)[Math.floor(TAIL_READS / 2)] ?? limits.metadataTimeoutMs
}
