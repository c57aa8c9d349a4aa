/**
 * Opens the topology's buckets, and lets an agent start without those that are not there.
 *
 * A region's outage takes its bucket with it, and just then agents of other regions are started again: they must come up
 * on the buckets that are left. So each bucket becomes a store at once, which answers Unavailable until it is open; the
 * opening goes on in the background. What only an operator can mend (a directory that belongs to another bucket, no
 * credentials in the environment) ends the start instead.
 *
 * A directory that does not exist is never made here. One that has vanished would come back empty, and copies in it would
 * be lost twice: once with it, and again under it when it returns.
 */
import { stat } from "node:fs/promises"
import { Deferred, Effect, type Scope } from "effect"
import * as FileStore from "#backends/object/fs.ts"
import * as InstrumentedStore from "#backends/object/instrumented.ts"
import * as MemoryStore from "#backends/object/memory.ts"
import { limits } from "#core/model/limits.ts"
import { type Bucket, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { type TopologyBucket } from "#regions/topology.ts"
import { type CommandFailed, invalid } from "./command-failed.ts"
import { threadProgram } from "./thread-program.ts"

export interface OpenedBucket {
  readonly bucket: Bucket
  readonly counters: InstrumentedStore.ObjectStoreCounters
  readonly isOpen: () => boolean
}

/** Ends when all are open, at the latest after limits.bucketOpenWaitMs. */
export const openBuckets = (
  buckets: ReadonlyArray<TopologyBucket>
): Effect.Effect<ReadonlyArray<OpenedBucket>, CommandFailed, Scope.Scope> =>
  Effect.forEach(buckets, openBucket, { concurrency: "unbounded" })

const openBucket = Effect.fnUntraced(function* (declared: TopologyBucket) {
  const { name, region, zone } = declared
  const opening: Opening = { store: undefined, why: "it is being opened" }
  const first = yield* Deferred.make<void, CommandFailed>()
  yield* Effect.forkScoped(keepOpening(declared, opening, first))
  yield* Effect.timeoutOption(Deferred.await(first), limits.bucketOpenWaitMs)
  const { store, counters } = InstrumentedStore.make(delegate(name, opening))
  return { bucket: { name, region, zone, store }, counters, isOpen: () => opening.store !== undefined }
})

interface Opening {
  store: ObjectStore | undefined
  /** Why it is not open. */
  why: string
}

/** `first` is done with the first attempt. Ends when the bucket is open. */
const keepOpening = Effect.fnUntraced(function* (
  declared: TopologyBucket,
  opening: Opening,
  first: Deferred.Deferred<void, CommandFailed>
) {
  const startedAtMs = yield* monotonicMs
  let pauseMs: number = limits.bucketReopenMs
  while (true) {
    const attempt = yield* Effect.result(openStore(declared))
    if (attempt._tag === "Success") {
      opening.store = attempt.success
      const waitedMs = (yield* monotonicMs) - startedAtMs
      if (yield* Deferred.isDone(first)) yield* Effect.logInfo("bucket opened", { bucket: declared.name, waitedMs })
      yield* Deferred.succeed(first, undefined)
      return
    }
    const { failure } = attempt
    const why = failure.cause instanceof Error ? failure.cause.message : failure.message
    if (isForOperators(failure, declared)) {
      if (yield* Deferred.fail(first, invalid(`bucket ${declared.name}: ${why}`))) return
    }
    if (opening.why !== why) {
      opening.why = why
      yield* Effect.logWarning("bucket cannot be opened; trying on", { bucket: declared.name, why })
    }
    yield* Deferred.succeed(first, undefined)
    yield* Effect.sleep(pauseMs)
    pauseMs = Math.min(pauseMs * 2, limits.bucketReopenMsMax)
  }
})

/** Nothing that happens outside mends it. What comes over a network may be better another time, bytes too. */
const isForOperators = ({ reason }: ObjectStoreError, { location }: TopologyBucket): boolean =>
  reason === "InvalidRequest" || (reason === "Corrupt" && location.kind === "file")

/** Opens it now, or says why not: with a fix, where there is one. */
export const openStore = ({
  name,
  location
}: TopologyBucket): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> => {
  switch (location.kind) {
    case "memory":
      return Effect.succeed(MemoryStore.make({ bucket: name }))
    case "file":
      return Effect.andThen(
        directoryThere(name, location.directory),
        FileStore.make({
          bucket: name,
          directory: location.directory,
          fsync: location.fsync,
          ...threadProgram("fs-worker")
        })
      )
    case "s3":
    case "s3-express":
      // SDKs are large: only who has such a bucket loads its adapter.
      return Effect.flatMap(
        Effect.promise(() => import("#backends/object/s3.ts")),
        (s3) => s3.make({ name, location })
      )
    case "gcs":
      return Effect.flatMap(
        Effect.promise(() => import("#backends/object/gcs.ts")),
        (gcs) => gcs.make({ bucket: name, location })
      )
    case "azure":
      return Effect.flatMap(
        Effect.promise(() => import("#backends/object/azure.ts")),
        (azure) => azure.make({ bucket: name, location, environment: process.env })
      )
  }
}

const directoryThere = (bucket: string, directory: string): Effect.Effect<void, ObjectStoreError> =>
  Effect.asVoid(
    Effect.tryPromise({
      try: () => stat(directory),
      catch: (cause) => {
        const missing = (cause as NodeJS.ErrnoException).code === "ENOENT"
        const error = missing ? new Error(`there is no directory ${directory}: mount or make it`) : cause
        return unavailable(bucket, "head", "", error)
      }
    })
  )

/** The store that is there now. */
const delegate = (bucket: string, opening: Opening): ObjectStore => {
  const through = <A>(
    operation: ObjectStoreError["operation"],
    key: string,
    call: (store: ObjectStore) => Effect.Effect<A, ObjectStoreError>
  ): Effect.Effect<A, ObjectStoreError> =>
    Effect.suspend(() => {
      const { store, why } = opening
      return store === undefined ? Effect.fail(unavailable(bucket, operation, key, new Error(why))) : call(store)
    })
  return {
    bucket,
    put: (key, chunks) => through("put", key, (store) => store.put(key, chunks)),
    get: (key, range) => through("get", key, (store) => store.get(key, range)),
    head: (key) => through("head", key, (store) => store.head(key)),
    list: (options) => through("list", options.prefix, (store) => store.list(options)),
    deleteMany: (keys) => through("delete", keys[0] ?? "", (store) => store.deleteMany(keys))
  }
}

const unavailable = (
  bucket: string,
  operation: ObjectStoreError["operation"],
  key: string,
  cause: unknown
): ObjectStoreError =>
  new ObjectStoreError({ reason: "Unavailable", outcome: "definite", operation, bucket, key, cause })
