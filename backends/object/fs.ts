/**
 * An object store in a directory: one bucket per directory, one file per object.
 *
 * For development, tests, and servers with local disks or network mounts as failure domains. The parts: fs-bucket.ts
 * (the directory as a bucket), fs-put.ts (put-if-absent by link), fs-get.ts, fs-read.ts, and fs-turns.ts (one hung
 * directory must not take all of libuv's threads); puts and gets run on threads of the bucket's own (fs-threads.ts). Here
 * they become the port.
 *
 * Each call is interruptible at once: its system call under way goes on, the steps behind it are left out (an
 * interrupted put may still have happened if its link was under way).
 */
import { type Scope, Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectBytes, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { type DirectoryBucket, type BucketOptions, openBucket, requireBucket } from "./fs-bucket.ts"
import { type DirectoryCall, ignoringErrors, rmdir, unlink } from "./fs-call.ts"
import { DirectoryFault, errnoOf, isAbsence, reasonOf } from "./fs-error.ts"
import { toObjectStoreError } from "./fs-failure.ts"
import { BUCKET_MARKER } from "./fs-layout.ts"
import { headFile, listFiles } from "./fs-read.ts"
import { BucketThreads } from "./fs-threads.ts"
import { CallTurns, directoryCallsRunning } from "./fs-turns.ts"
import {
  type ObjectOperation,
  deleteFault,
  getFault,
  invalidRequest,
  keyFault,
  listFault,
  putFault
} from "./request-check.ts"

/**
 * Opens the bucket in the directory and makes it where that is absent or empty (fs-bucket.ts says when that is
 * refused).
 */
export const make = (options: DirectoryStoreOptions): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      open(options),
      ({ bucket, putThreads, getThreads }) =>
        Effect.sync(() => {
          bucket.isClosed = true
          putThreads.close()
          getThreads.close()
        }),
      // A directory may hang while it is opened. Nothing is held before it is open: threads start with the first call.
      { interruptible: true }
    ),
    storeOf
  )

export interface DirectoryStoreOptions extends BucketOptions {
  /** Where the program of the bucket's threads is; a bundle gives its own. */
  readonly workerUrl?: URL
}

interface OpenStore {
  readonly bucket: DirectoryBucket
  readonly putThreads: BucketThreads
  readonly getThreads: BucketThreads
}

const open = ({ workerUrl, ...options }: DirectoryStoreOptions): Effect.Effect<OpenStore, ObjectStoreError> =>
  Effect.tryPromise({
    try: async () => {
      const bucket = await openBucket(options)
      const place = { bucket, workerUrl: workerUrl ?? new URL("./fs-worker.ts", import.meta.url) }
      return {
        bucket,
        putThreads: new BucketThreads({
          ...place,
          work: "put",
          callsMax: limits.directoryPutsRunning,
          threadsMax: bucket.fsync ? limits.directoryPutThreadsSyncing : 1,
          behindMs: 0
        }),
        getThreads: new BucketThreads({
          ...place,
          work: "get",
          callsMax: limits.directoryGetsRunning,
          threadsMax: limits.directoryGetThreads,
          behindMs: limits.directoryGetsBehindMs
        })
      }
    },
    catch: (cause) =>
      toObjectStoreError({ operation: "head", bucket: options.bucket, key: BUCKET_MARKER, changing: false, cause })
  })

const storeOf = ({ bucket, putThreads, getThreads }: OpenStore): ObjectStore => {
  const turns = new CallTurns(directoryCallsRunning(process.env["UV_THREADPOOL_SIZE"]))
  const putTurns = new CallTurns(limits.directoryPutsRunning)
  const getTurns = new CallTurns(limits.directoryGetsRunning)
  const begin = <A>(
    place: Pick<CallPlace<A>, "operation" | "key"> & Partial<CallPlace<A>>,
    fault: string | undefined,
    work: (call: DirectoryCall<A>) => Promise<void>
  ): Effect.Effect<A, ObjectStoreError> =>
    fault === undefined
      ? inTurn({ bucket, turns, ...place }, work)
      : Effect.fail(invalidRequest({ operation: place.operation, bucket: bucket.bucket, key: place.key, fault }))
  return {
    bucket: bucket.bucket,
    put: (key, chunks) =>
      Effect.suspend(() =>
        begin<void>(
          { operation: "put", key, turns: putTurns, onGiveUp: (call) => putThreads.giveUp(call) },
          putFault(key, chunks),
          (call) => putThreads.put(key, chunks, call)
        )
      ),
    get: (key, range) =>
      Effect.suspend(() =>
        begin<ObjectBytes>(
          { operation: "get", key, turns: getTurns, onGiveUp: (call) => getThreads.giveUp(call) },
          getFault(key, range),
          (call) => getThreads.get(key, range, call)
        )
      ),
    head: (key) =>
      Effect.suspend(() => begin({ operation: "head", key }, keyFault(key), (call) => headFile(bucket, key, call))),
    list: (request) =>
      Effect.suspend(() =>
        begin({ operation: "list", key: request.prefix }, listFault(request), (call) =>
          listFiles(bucket, request, call)
        )
      ),
    deleteMany: (keys) =>
      Effect.suspend(() =>
        begin<void>({ operation: "delete", key: keys[0] ?? "" }, deleteFault(keys), (call) =>
          deleteFiles(bucket, keys, call)
        )
      )
  }
}

interface CallPlace<A> {
  readonly bucket: DirectoryBucket
  readonly turns: CallTurns
  readonly operation: ObjectOperation
  readonly key: string
  /** For work on another thread. */
  readonly onGiveUp?: (call: DirectoryCall<A>) => void
}

/**
 * Runs the work when the call's turn comes. The turn ends with the work, which may be long after the caller gave up.
 */
const inTurn = <A>(
  place: CallPlace<A>,
  work: (call: DirectoryCall<A>) => Promise<void>
): Effect.Effect<A, ObjectStoreError> =>
  Effect.callback<A, ObjectStoreError>((resume) => {
    const { bucket, turns } = place
    let isGivenUp = false
    const call: DirectoryCall<A> = {
      isAbandoned: () => isGivenUp || bucket.isClosed,
      succeed: (answer) => resume(Effect.succeed(answer)),
      fail: (failure) =>
        resume(Effect.fail(toObjectStoreError({ operation: place.operation, bucket: bucket.bucket, ...failure })))
    }
    const begin = () => {
      if (bucket.isClosed) {
        resume(Effect.fail(unavailable(place, "the store was closed")))
        turns.leave()
        return
      }
      void work(call)
        .catch((defect: unknown) => resume(Effect.die(defect)))
        .finally(() => turns.leave())
    }
    if (turns.enter(begin) === "refused") resume(Effect.fail(unavailable(place, "too many calls wait for it")))
    return Effect.sync(() => {
      isGivenUp = true
      turns.giveUp(begin)
      place.onGiveUp?.(call)
    })
  })

const unavailable = ({ bucket, operation, key }: Omit<CallPlace<never>, "onGiveUp">, why: string): ObjectStoreError =>
  new ObjectStoreError({
    reason: "Unavailable",
    outcome: "definite",
    operation,
    bucket: bucket.bucket,
    key,
    cause: new Error(`${bucket.directory}: ${why}`)
  })

/**
 * One after the other; the first error ends it. Not synced: a file that comes back after a crash of the machine is an
 * orphan as before and deleted again.
 */
const deleteFiles = async (
  bucket: DirectoryBucket,
  keys: ReadonlyArray<string>,
  call: DirectoryCall<void>
): Promise<void> => {
  let changing = false
  const directories = new Set<string>()
  for (const key of keys) {
    try {
      if (call.isAbandoned()) throw new DirectoryFault("Unavailable", "given up before all keys were deleted")
      await deleteFile(bucket, key, () => (changing = true))
      directories.add(key.slice(0, Math.max(0, key.lastIndexOf("/"))))
    } catch (cause) {
      call.fail({ key, changing, cause })
      return
    }
  }
  for (const directory of directories) await ignoringErrors(removeEmpty(bucket, directory))
  call.succeed()
}

const deleteFile = async (bucket: DirectoryBucket, key: string, onChanging: () => void): Promise<void> => {
  try {
    await unlink(`${bucket.directory}/${key}`)
    onChanging()
  } catch (error) {
    if (isAbsence(error)) return await requireBucket(bucket)
    // A directory is no object, so nothing of that key is there.
    if (errnoOf(error) === "EISDIR") return
    if (reasonOf(error) === "Unavailable") onChanging()
    throw error
  }
}

/**
 * Removes directories that hold nothing any more, upwards; rmdir itself refuses others. A put that needs one makes it.
 */
const removeEmpty = async (bucket: DirectoryBucket, directory: string): Promise<void> => {
  for (let path = directory; path !== ""; path = path.slice(0, Math.max(0, path.lastIndexOf("/")))) {
    bucket.durableDirectories.delete(path)
    await rmdir(`${bucket.directory}/${path}`)
  }
}
