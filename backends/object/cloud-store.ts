/** A bucket of a cloud as the port: requests are checked, calls become effects, opening asks for one key. */
import { Effect, type Scope } from "effect"
import {
  type ByteRange,
  type ObjectBytes,
  type ObjectHead,
  type ObjectStore,
  type ObjectStoreError
} from "#core/ports/object-store.ts"
import { cloudCall } from "./cloud-call.ts"
import {
  type ObjectOperation,
  deleteFault,
  getFault,
  invalidRequest,
  keyFault,
  listFault,
  type ListRequest,
  putFault
} from "./request-check.ts"

/** Its methods are called with sound requests only. They reject with CloudFault. */
export interface CloudBucket {
  /** Name in the topology. */
  readonly bucket: string
  /** For people. */
  readonly place: string
  readonly put: (key: string, chunks: ReadonlyArray<Uint8Array>, signal: AbortSignal) => Promise<void>
  readonly get: (key: string, range: ByteRange | undefined, signal: AbortSignal) => Promise<ObjectBytes>
  readonly head: (key: string, signal: AbortSignal) => Promise<ObjectHead>
  readonly list: (request: ListRequest, signal: AbortSignal) => Promise<ReadonlyArray<ObjectHead>>
  readonly deleteMany: (keys: ReadonlyArray<string>, signal: AbortSignal) => Promise<void>
  /** Ends its connections, and the calls on them. */
  readonly close: () => void
}

/**
 * The store, once the bucket can be listed. Who waits for that may give up. What failed to open leaves nothing in the scope:
 * agents try again and again in one.
 */
export const openCloudStore = (
  open: Effect.Effect<CloudBucket>
): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> => {
  const close = (cloud: CloudBucket) => Effect.sync(() => cloud.close())
  const listed = Effect.tap(open, (cloud) =>
    storeOf(cloud)
      .list({ prefix: "", limit: 1 })
      .pipe(Effect.onError(() => close(cloud)))
  )
  return Effect.map(Effect.acquireRelease(listed, close, { interruptible: true }), storeOf)
}

const storeOf = (cloud: CloudBucket): ObjectStore => {
  const { bucket, place } = cloud
  const call = <A>(
    operation: ObjectOperation,
    key: string,
    fault: () => string | undefined,
    work: (signal: AbortSignal) => Promise<A>
  ): Effect.Effect<A, ObjectStoreError> =>
    Effect.suspend(() => {
      const malformed = fault()
      return malformed === undefined
        ? cloudCall({ operation, bucket, key, place }, work)
        : Effect.fail(invalidRequest({ operation, bucket, key, fault: malformed }))
    })
  return {
    bucket,
    put: (key, chunks) =>
      call(
        "put",
        key,
        () => putFault(key, chunks),
        (signal) => cloud.put(key, chunks, signal)
      ),
    get: (key, range) =>
      call(
        "get",
        key,
        () => getFault(key, range),
        (signal) => cloud.get(key, range, signal)
      ),
    head: (key) =>
      call(
        "head",
        key,
        () => keyFault(key),
        (signal) => cloud.head(key, signal)
      ),
    list: (request) =>
      call(
        "list",
        request.prefix,
        () => listFault(request),
        (signal) => cloud.list(request, signal)
      ),
    deleteMany: (keys) =>
      call(
        "delete",
        keys[0] ?? "",
        () => deleteFault(keys),
        (signal) => cloud.deleteMany(keys, signal)
      )
  }
}
