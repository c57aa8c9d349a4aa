/**
 * `meridian metadata migrate | status | check | sql`: what an operator wants of the metadata database.
 *
 * Results go to standard output. Whatever an operator can mend (address, password, rights, missing tables) is one line and
 * exit code 2. Only `migrate` changes anything.
 */
import { existsSync } from "node:fs"
import { Effect, Logger, type Scope } from "effect"
import * as SqliteMetadata from "#backends/metadata/sqlite.ts"
import { type DialectName } from "#backends/metadata/postgres-dialect.ts"
import { type Inspection } from "#backends/metadata/postgres-inspection.ts"
import { type Placement } from "#backends/metadata/postgres-placement.ts"
import { type MetadataStore } from "#core/ports/metadata-store.ts"
import { type MetadataLocation, type PostgresEndpoint } from "#regions/topology-metadata.ts"
import { type Topology } from "#regions/topology.ts"
import { causeText, type CommandFailed, failed, invalid } from "./command-failed.ts"
import { explainMetadata, openPostgres } from "./metadata-database.ts"
import { statusText } from "./metadata-status.ts"
import { PLAYGROUND_REGIONS } from "./playground-plan.ts"
import { threadProgram } from "./thread-program.ts"
import { readTopology } from "./topology-file.ts"

/** Log events of a command belong to nobody: what matters is in its result. */
const quietly = <A>(command: Effect.Effect<A, CommandFailed, Scope.Scope>): Effect.Effect<A, CommandFailed> =>
  command.pipe(Effect.scoped, Effect.provide(Logger.layer([])))

const print = (text: string): Effect.Effect<void> =>
  Effect.promise(() => new Promise<void>((resolve) => process.stdout.write(text, () => resolve())))

export const migrate = (config: string): Effect.Effect<void, CommandFailed> =>
  quietly(
    Effect.gen(function* () {
      const topology = yield* readTopology(config)
      const { metadata } = topology
      if (metadata.kind === "memory") return yield* invalid("metadata.url is memory: there is nothing to migrate")
      if (metadata.kind === "sqlite") {
        yield* openFile(metadata)
        return yield* print(`the tables of ${metadata.file} are up to date\n`)
      }
      const postgres = yield* openPostgres(topology, topology.home)
      const { applied, placement } = yield* Effect.mapError(postgres.prepare({ migrate: "auto" }), explainServer)
      const lines = applied.map((name) => `applied migration ${name}`)
      if (placement.kind === "applied") lines.push(`placed the tables: ${placement.text}`)
      const { version } = yield* Effect.mapError(postgres.schema, explainServer)
      lines.push(lines.length === 0 ? `nothing to do: schema version ${version}` : `schema version ${version}`)
      yield* print(`${lines.join("\n")}\n`)
      if (placement.kind === "left") return yield* failed(`the tables were not placed in regions: ${placement.why}`)
    })
  )

export const status = (config: string): Effect.Effect<void, CommandFailed> =>
  quietly(
    Effect.gen(function* () {
      const topology = yield* readTopology(config)
      const store = yield* openToRead(topology)
      yield* print(yield* Effect.mapError(statusText(store, topology), explainMetadata))
    })
  )

export const check = (config: string): Effect.Effect<void, CommandFailed> =>
  quietly(
    Effect.gen(function* () {
      const topology = yield* readTopology(config)
      const { metadata } = topology
      if (metadata.kind !== "postgres") {
        yield* openToRead(topology)
        return yield* print(`${metadata.kind === "sqlite" ? metadata.file : "memory"} can be used\n`)
      }
      const reasons: Array<string> = []
      for (const endpoint of metadata.endpoints) {
        const looked = yield* lookAt(endpoint, topology.cluster)
        if (looked.problem !== undefined) reasons.push(looked.problem)
        yield* print(looked.text)
      }
      // A standby among several servers is as it should be; without any server that can be used nothing goes.
      if (reasons.length === metadata.endpoints.length) return yield* invalid(reasons.join("; "))
    })
  )

/** Every statement that the product can send, each ended by `;` at a line's end. */
export const sql = (dialect: DialectName, topologyFile: string | undefined): Effect.Effect<void, CommandFailed> =>
  quietly(
    Effect.gen(function* () {
      const { everyStatement } = yield* Effect.promise(() => import("#backends/metadata/postgres-catalog.ts"))
      const { database, placement } = topologyFile === undefined ? EXAMPLE : placeOf(yield* readTopology(topologyFile))
      const statements = everyStatement({ dialect, database, placement })
      const different = [...new Set(statements.map((statement) => statement.sql))]
      yield* print(different.map((text) => `${text};\n`).join(""))
    })
  )

const EXAMPLE: { readonly database: string; readonly placement: Placement } = {
  database: "meridian",
  placement: { regions: PLAYGROUND_REGIONS, home: PLAYGROUND_REGIONS[0] }
}

const placeOf = ({ metadata, regions, home }: Topology): typeof EXAMPLE => ({
  database: (metadata.kind === "postgres" ? metadata.endpoints[0]?.database : undefined) ?? EXAMPLE.database,
  placement: { regions: regions.map(({ name }) => name), home }
})

/** A server that is away is for these commands what an operator has to look at. */
const explainServer = ({ cause }: { readonly cause: unknown }): CommandFailed =>
  invalid(`the metadata database: ${causeText(cause)}`)

const openFile = (
  metadata: Extract<MetadataLocation, { readonly kind: "sqlite" }>
): Effect.Effect<MetadataStore["Service"], CommandFailed, Scope.Scope> =>
  Effect.mapError(
    SqliteMetadata.make({ file: metadata.file, fsync: metadata.fsync, ...threadProgram("sqlite-worker") }),
    explainMetadata
  )

/** Makes nothing: neither file nor table. An SQLite file of an older version is brought up to date, as whenever one is opened. */
const openToRead = Effect.fnUntraced(function* (
  topology: Topology
): Effect.fn.Return<MetadataStore["Service"], CommandFailed, Scope.Scope> {
  const { metadata } = topology
  switch (metadata.kind) {
    case "memory":
      return yield* invalid("metadata.url is memory: it is nowhere but in its agent")
    case "sqlite":
      if (!existsSync(metadata.file)) return yield* invalid(`the metadata database ${metadata.file} does not exist`)
      return yield* openFile(metadata)
    case "postgres": {
      const postgres = yield* openPostgres(topology, topology.home)
      const { version, versionKnown, identity } = yield* Effect.mapError(postgres.schema, explainServer)
      if (version < versionKnown) {
        return yield* invalid(
          `the metadata database has schema version ${version} of ${versionKnown}: run \`meridian metadata migrate\``
        )
      }
      if (identity !== undefined && identity.cluster !== topology.cluster) {
        return yield* invalid(`the metadata database: ${ofOtherCluster(identity.cluster, topology.cluster)}`)
      }
      return postgres.store
    }
  }
})

interface Looked {
  readonly text: string
  /** Why this endpoint cannot be used. */
  readonly problem: string | undefined
}

const lookAt = Effect.fnUntraced(function* (endpoint: PostgresEndpoint, cluster: string): Effect.fn.Return<Looked> {
  const { inspect } = yield* Effect.promise(() => import("#backends/metadata/postgres-inspection.ts"))
  const outcome = yield* Effect.result(inspect(endpoint))
  const title = `${endpoint.field}: ${endpoint.user}@${endpoint.host}:${endpoint.port}/${endpoint.database}\n`
  if (outcome._tag === "Failure") {
    const problem = causeText(outcome.failure.cause)
    return { text: `${title}  cannot be used: ${problem}\n`, problem: `the metadata database: ${problem}` }
  }
  const found = outcome.success
  const problem = problemOf(found, endpoint, cluster)
  const rows: ReadonlyArray<readonly [name: string, value: string]> = [
    ["server", `${found.version.split(" ").slice(0, 2).join(" ")}, ${found.isEncrypted ? "TLS" : "not encrypted"}`],
    ["schema", `version ${found.schema.version} of ${found.schema.versionKnown}`],
    ["cluster", found.schema.identity?.cluster ?? "none yet"],
    ["clock", `${found.clockDifferenceMs >= 0 ? "+" : ""}${found.clockDifferenceMs} ms from this machine's`],
    ["tail read", found.tailMs === undefined ? "not tried" : `${found.tailMs.toFixed(1)} ms`],
    ["result", problem === undefined ? "can be used" : `cannot be used: ${problem}`]
  ]
  const text = rows.map(([name, value]) => `  ${name.padEnd(10)}${value}\n`).join("")
  return { text: title + text, problem: problem === undefined ? undefined : `the metadata database: ${problem}` }
})

const ofOtherCluster = (theirs: string, ours: string): string =>
  `it belongs to the cluster "${theirs}", and the topology is of "${ours}"`

const problemOf = (found: Inspection, endpoint: PostgresEndpoint, cluster: string): string | undefined => {
  const { schema, rightsMissing } = found
  if (schema.version < schema.versionKnown) {
    return `schema version ${schema.version} of ${schema.versionKnown}: run \`meridian metadata migrate\``
  }
  if (schema.identity !== undefined && schema.identity.cluster !== cluster) {
    return ofOtherCluster(schema.identity.cluster, cluster)
  }
  return rightsMissing.length === 0
    ? undefined
    : `user "${endpoint.user}" lacks rights on ${rightsMissing.join(", ")}: ` +
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ${rightsMissing.join(", ")} TO "${endpoint.user}"`
}
