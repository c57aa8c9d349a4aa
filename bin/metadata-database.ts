/**
 * The topology's metadata database, opened.
 *
 * A file is there or is made at once; what is wrong with it ends the start. A server may be away, or refuse us until an operator
 * has mended something: then the agent stays, goes on trying, and says why it is not ready. Each new reason is logged once.
 */
import { Effect, Schedule, type Scope } from "effect"
import * as MemoryMetadata from "#backends/metadata/memory.ts"
import { type Postgres } from "#backends/metadata/postgres.ts"
import * as SqliteMetadata from "#backends/metadata/sqlite.ts"
import { limits } from "#core/model/limits.ts"
import { type Bucket } from "#core/ports/object-store.ts"
import { MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { APPLICATION_NAME } from "#regions/postgres-url.ts"
import { endpointsFor, type MetadataLocation } from "#regions/topology-metadata.ts"
import { type Topology } from "#regions/topology.ts"
import { causeText, type CommandFailed, failed, invalid } from "./command-failed.ts"
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

/**
 * What an agent starts on its database. A server may be lost between its opening and the start's end: then that is tried again, with
 * the reason told as in `openMetadata`, instead of ending the process. A start that fails for anything else fails.
 */
export const whileServerIsLost =
  ({ topology, onWaiting }: Pick<OpenOptions, "topology" | "onWaiting">) =>
  <A, E extends { readonly _tag: string }, R>(start: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const isLost = (error: E): boolean =>
      error._tag === "MetadataError" ||
      (error._tag === "CommitLogError" && (error as { isRetryable?: boolean }).isRetryable === true)
    const tell = (error: E): Effect.Effect<void> =>
      isLost(error)
        ? Effect.andThen(
            Effect.sync(() => onWaiting(`the metadata database cannot be used: ${rootText(error)}`)),
            Effect.logWarning("the metadata database was lost while the agent started", { why: rootText(error) })
          )
        : Effect.void
    if (topology.metadata.kind !== "postgres") return start
    return Effect.tapError(start, tell).pipe(
      Effect.retry({ while: isLost, schedule: Schedule.spaced(limits.metadataOpenMaxMs) })
    )
  }

/** The innermost cause knows best. */
const rootText = (error: unknown): string => {
  let told = error
  while (told instanceof Error && told.cause instanceof Error) told = told.cause
  return causeText(told)
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
