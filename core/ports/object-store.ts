/**
 * Port: one bucket of an object store.
 *
 * Low and dumb on purpose: no retries, no caching, no knowledge of segments. Decorators and callers add those.
 *
 * Contract (test/contract/object-store checks it on every adapter):
 * - `put` is put-if-absent, also between processes: of any number of racing puts of one key exactly one succeeds, and a
 *   reader sees either nothing or the winner's whole body. There is no overwrite. Who loses a race is told AlreadyExists,
 *   or Unavailable (definite) by stores that refuse requests which race.
 * - `put` and `deleteMany` say in `outcome` whether a failed call may have taken effect. A read is always definite.
 * - Keys are relative, `/`-separated, at most `limits.objectKeyBytesMax` bytes; segments match [A-Za-z0-9._=-]{1,255},
 *   none is `.` or `..`, the first is neither `.tmp` nor `.meridian-bucket` (which file-backed stores keep).
 *   No key is also a "directory" of another: file-backed stores refuse that, so all adapters may.
 * - `list` answers in ascending order of the keys' bytes.
 * - Interrupting a call gives up waiting; the store may still do it (so an interrupted `put` is indefinite).
 */
import { type Effect, Schema } from "effect"

export const ObjectStoreReason = Schema.Literals([
  /** put: the key is taken. Definite: nothing changed. After an indefinite put it may be one's own earlier attempt. */
  "AlreadyExists",
  /** get, head: no such key. */
  "NotFound",
  /** get: the range begins at or after the object's end. */
  "RangeNotSatisfiable",
  /** The key or the request is malformed. Definite. */
  "InvalidRequest",
  /** Credentials or permissions (EACCES, 403). */
  "AccessDenied",
  /** No room left (ENOSPC, EDQUOT). */
  "StorageFull",
  /** The store or its bucket is not there or does not answer properly (ENOENT of the bucket, EIO, 5xx, reset). */
  "Unavailable",
  /** The caller's deadline passed. */
  "TimedOut",
  /**
   * The store answered with other bytes than there should be, or with a checksum that does not match. A connection that
   * breaks within an answer says nothing of the store: that is Unavailable.
   */
  "Corrupt"
])
export type ObjectStoreReason = typeof ObjectStoreReason.Type

export class ObjectStoreError extends Schema.TaggedError<ObjectStoreError>()("ObjectStoreError", {
  reason: ObjectStoreReason,
  /** `definite`: the call changed nothing. `indefinite`: it may have. */
  outcome: Schema.Literals(["definite", "indefinite"]),
  operation: Schema.Literals(["put", "get", "head", "list", "delete"]),
  /** Name of the bucket as the topology has it. */
  bucket: Schema.String,
  key: Schema.String,
  cause: Schema.Defect()
}) {
  /** Whether the same call may succeed later. */
  get isRetryable(): boolean {
    return this.reason === "Unavailable" || this.reason === "TimedOut" || this.reason === "StorageFull"
  }
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `${this.operation} ${this.key} in bucket ${this.bucket}: ${this.reason}: ${why}`
  }
}

/** `last` asks for the object's final bytes (an HTTP suffix range); fewer come back where the object is shorter. */
export type ByteRange = { readonly offset: number; readonly length: number } | { readonly last: number }

export interface ObjectBytes {
  /** Owned by the caller: no one else sees or changes it. Shorter than asked only where the object ends. */
  readonly bytes: Buffer
  /** Size of the whole object. */
  readonly objectBytes: number
}

export interface ObjectHead {
  readonly key: string
  readonly objectBytes: number
}

export interface ObjectStore {
  /** The bucket's name, for errors and metrics. */
  readonly bucket: string
  /** Writes the chunks, in order, as one object. They must not change until the effect ends or is interrupted and ended. */
  readonly put: (key: string, chunks: ReadonlyArray<Uint8Array>) => Effect.Effect<void, ObjectStoreError>
  /** The whole object, or a range of it in one request. */
  readonly get: (key: string, range?: ByteRange) => Effect.Effect<ObjectBytes, ObjectStoreError>
  readonly head: (key: string) => Effect.Effect<ObjectHead, ObjectStoreError>
  /** Keys that begin with `prefix` and come after `after`, at most `limit` (<= limits.listKeysMax). */
  readonly list: (options: {
    readonly prefix: string
    readonly after?: string
    readonly limit: number
  }) => Effect.Effect<ReadonlyArray<ObjectHead>, ObjectStoreError>
  /** At most limits.deleteKeysMax keys. Keys that are not there are no error. */
  readonly deleteMany: (keys: ReadonlyArray<string>) => Effect.Effect<void, ObjectStoreError>
}

/** A bucket of the topology with its store. */
export interface Bucket {
  readonly name: string
  readonly region: string
  /** Failure domain within the region; for a regional bucket the region's own name. */
  readonly zone: string
  readonly store: ObjectStore
}
