/**
 * The topology's metadata database, opened.
 *
 * A file is there or is made at once; what is wrong with it ends the start. A server may be away, or refuse us until an operator
 * has mended something: then the agent stays, goes on trying, and says why it is not ready. Each new reason is logged once.
 */
import { Effect, type Scope } from "effect"
import * as MemoryMetadata from "#backends/metadata/memory.ts"
import { type Postgres } from "#backends/metadata/postgres.ts"
import * as SqliteMetadata from "#backends/metadata/sqlite.ts"
import { limits } from "#core/model/limits.ts"
import { type Bucket } from "#core/ports/object-store.ts"
import { MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { APPLICATION_NAME } from "#regions/postgres-url.ts"
import { endpointsFor, type MetadataLocation } from "#regions/topology-metadata.ts"
import { type Topology } from "#regions/topology.ts"
import { type CommandFailed, failed, invalid } from "./command-failed.ts"
import { bucketsWithSegments, refuseMissingDatabase } from "./database-missing.ts"
import { threadProgram } from "./thread-program.ts"

export interface OpenedMetadata {
  readonly store: MetadataStore["Service"]
  /** Servers that are not used, and why; from memory. */
  readonly outOfUse: () => ReadonlyArray<string>
}

export interface OpenOptions {
  readonly topology: Topology
  /** Of the agent: its own region's servers come first. */
  readonly region: string
  /** Of the agent: what the server's lists of connections show. */
  readonly name: string
  readonly buckets: ReadonlyArray<{ readonly bucket: Bucket }>
  /** Called while the database cannot be used, with the reason. */
  readonly onWaiting: (reason: string) => void
}

/** Ends when the database can be used. */
export const openMetadata = (options: OpenOptions): Effect.Effect<OpenedMetadata, CommandFailed, Scope.Scope> => {
  const { metadata } = options.topology
  switch (metadata.kind) {
    case "memory":
      return Effect.map(MemoryMetadata.make, fromMemory)
    case "sqlite":
      return openFile(metadata, options.buckets)
    case "postgres":
      return openServer(options, metadata.migrate)
  }
}

/** Connects to nothing yet. Loaded when needed: a start without a server should not wait for the driver. */
export const openPostgres = Effect.fnUntraced(function* (
  topology: Topology,
  region: string,
  agent?: string
): Effect.fn.Return<Postgres, never, Scope.Scope> {
  const { metadata, cluster, regions, home } = topology
  const servers = metadata.kind === "postgres" ? endpointsFor(metadata.endpoints, region) : []
  const own = agent === undefined ? APPLICATION_NAME : `${APPLICATION_NAME} ${agent}`
  const named = servers.map((server) =>
    server.applicationName === APPLICATION_NAME ? { ...server, applicationName: own } : server
  )
  const { open } = yield* Effect.promise(() => import("#backends/metadata/postgres.ts"))
  return yield* open({ servers: named, cluster, placement: { regions: regions.map(({ name }) => name), home } })
})

/** What went wrong, for people: the cause knows field and fix. */
export const explainMetadata = (error: MetadataError): CommandFailed =>
  error.reason === "Misconfigured" ? invalid(`the metadata database: ${causeText(error.cause)}`) : failed(error.message)

export const causeText = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const fromMemory = (store: MetadataStore["Service"]): OpenedMetadata => ({ store, outOfUse: () => [] })

const openFile = Effect.fnUntraced(function* (
  { file, fsync }: Extract<MetadataLocation, { readonly kind: "sqlite" }>,
  buckets: OpenOptions["buckets"]
): Effect.fn.Return<OpenedMetadata, CommandFailed, Scope.Scope> {
  yield* refuseMissingDatabase(file, buckets)
  const opened = SqliteMetadata.make({ file, fsync, ...threadProgram("sqlite-worker") })
  return fromMemory(yield* Effect.mapError(opened, explainMetadata))
})

const openServer = Effect.fnUntraced(function* (
  { topology, region, name, buckets, onWaiting }: OpenOptions,
  migrate: "auto" | "manual"
): Effect.fn.Return<OpenedMetadata, never, Scope.Scope> {
  const postgres = yield* openPostgres(topology, region, name)
  const onNew = (isStillNew: Effect.Effect<boolean, MetadataError>): Effect.Effect<void, MetadataError> =>
    refuseNewDatabase(buckets, isStillNew)
  let told: string | undefined
  for (let pauseMs: number = limits.metadataOpenMs; ; pauseMs = Math.min(limits.metadataOpenMaxMs, pauseMs * 2)) {
    const outcome = yield* Effect.result(postgres.prepare({ migrate, onNew }))
    if (outcome._tag === "Success") {
      const { applied, placement } = outcome.success
      if (applied.length > 0) yield* Effect.logInfo("the metadata database has its tables", { migrations: applied })
      if (placement.kind === "left") yield* Effect.logWarning("the database is not placed in regions", placement)
      if (told !== undefined) yield* Effect.logInfo("the metadata database can be used")
      return { store: postgres.store, outOfUse: postgres.outOfUse }
    }
    const { reason, cause } = outcome.failure
    const why = causeText(cause)
    onWaiting(`the metadata database cannot be used: ${why}`)
    if (why !== told) {
      const log = reason === "Misconfigured" || reason === "Corrupt" ? Effect.logError : Effect.logWarning
      yield* log("the metadata database cannot be used yet", { why })
    }
    told = why
    yield* Effect.sleep(pauseMs)
  }
})

const refuseNewDatabase = Effect.fnUntraced(function* (
  buckets: OpenOptions["buckets"],
  isStillNew: Effect.Effect<boolean, MetadataError>
) {
  const isThere = Effect.map(isStillNew, (isNew) => !isNew)
  const withSegments = yield* bucketsWithSegments({ database: "metadata.url", buckets, isThere })
  if (withSegments === "") return
  return yield* new MetadataError({
    reason: "Misconfigured",
    outcome: "definite",
    operation: "prepare",
    cause: new Error(
      `the database has no tables of Meridian, but these buckets hold segments of an existing cluster: ${withSegments}; ` +
        "correct metadata.url, restore the database, or give empty buckets to begin a new cluster"
    )
  })
})
