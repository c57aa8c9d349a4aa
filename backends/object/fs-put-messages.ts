/** What the agent's thread and a bucket's put thread tell each other. Plain data; bodies are shared memory. */
import type { ObjectStoreReason } from "#core/ports/object-store.ts"
import type { DirectoryBucket } from "./fs-bucket.ts"

/** `workerData`. */
export interface PutThreadOptions {
  readonly bucket: Pick<DirectoryBucket, "bucket" | "directory" | "fsync" | "owner">
  /** One number per call slot: 1 where the caller has given up. The last slot: the store was closed. */
  readonly abandoned: SharedArrayBuffer
}

export interface PutRequest {
  readonly id: number
  /** In `abandoned`. */
  readonly slot: number
  readonly key: string
  /** Shared memory; the agent keeps it as it is until the thread has left the call. */
  readonly pieces: ReadonlyArray<Uint8Array>
}

export interface PutFailure {
  readonly changing: boolean
  readonly reason: ObjectStoreReason
  readonly message: string
}

/** First the answer, then that the thread is free of the call. */
export type FromPutThread =
  | { readonly id: number; readonly kind: "done" }
  | { readonly id: number; readonly kind: "failed"; readonly failure: PutFailure }
  | { readonly id: number; readonly kind: "left" }
