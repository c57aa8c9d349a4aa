/**
 * What the agent's thread and a bucket's threads tell each other. Plain data; bodies of puts are shared memory, bytes of
 * gets change hands. Both sides send lists: waking the other one costs more than a whole read of a cached file.
 */
import type { ByteRange, ObjectStoreReason } from "#core/ports/object-store.ts"
import type { DirectoryBucket } from "./fs-bucket.ts"

/** `workerData`. */
export interface ThreadOptions {
  readonly bucket: Pick<DirectoryBucket, "bucket" | "directory" | "fsync" | "owner">
  /** One number per call slot: 1 where the caller has given up. The last slot: the store was closed. */
  readonly abandoned: SharedArrayBuffer
}

export interface PutRequest {
  readonly kind: "put"
  readonly id: number
  /** In `abandoned`. */
  readonly slot: number
  readonly key: string
  /** Shared memory; the agent keeps it as it is until the thread has left the call. */
  readonly pieces: ReadonlyArray<Uint8Array>
}

export interface GetRequest {
  readonly kind: "get"
  readonly id: number
  readonly slot: number
  readonly key: string
  readonly range: ByteRange | undefined
}

export type ToThread = ReadonlyArray<PutRequest | GetRequest>

/** Each call is answered once (put, got or failed); `left` follows, when the thread is free of it. */
export type ThreadAnswer =
  | { readonly kind: "put"; readonly id: number }
  | { readonly kind: "got"; readonly id: number; readonly bytes: ArrayBuffer; readonly objectBytes: number }
  | {
      readonly kind: "failed"
      readonly id: number
      readonly changing: boolean
      readonly reason: ObjectStoreReason
      readonly message: string
    }
  | { readonly kind: "left"; readonly id: number }

export type FromThread = ReadonlyArray<ThreadAnswer>
