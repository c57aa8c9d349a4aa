/**
 * Get of a directory-backed bucket: open, fstat, read, close, each of which blocks. It runs on a thread of the bucket's
 * own (fs-worker.ts): a trip to libuv's threads for each took several times the processor time of the calls themselves.
 *
 * Invariant: absence is only reported of a bucket that is there (requireBucketBlocking).
 */
import { constants } from "node:fs"
import { limits } from "#core/model/limits.ts"
import type { ByteRange } from "#core/ports/object-store.ts"
import { type DirectoryBucket, requireBucketBlocking } from "./fs-bucket.ts"
import { blockingCalls } from "./fs-call.ts"
import { DirectoryFault, isAbsence } from "./fs-error.ts"
import { resolveRange } from "./object-range.ts"

const { open, fstat, read, close } = blockingCalls

export interface FileBytes {
  /** Exactly the range, in memory of its own. */
  readonly bytes: ArrayBuffer
  readonly objectBytes: number
}

/** Throws what fs-error.ts understands. */
export const getFile = (bucket: DirectoryBucket, key: string, range: ByteRange | undefined): FileBytes => {
  const descriptor = openObject(bucket, key)
  try {
    const status = fstat(descriptor)
    if (!status.isFile()) throw new DirectoryFault("NotFound", `${key} is no object`)
    const part = resolveRange(range, status.size)
    if (part === undefined) {
      throw new DirectoryFault("RangeNotSatisfiable", `the object has ${status.size} bytes`)
    }
    if (part.length > limits.objectBytesMax) {
      throw new DirectoryFault("InvalidRequest", `one get answers at most ${limits.objectBytesMax} bytes, give a range`)
    }
    return { bytes: readAll(descriptor, part), objectBytes: status.size }
  } finally {
    close(descriptor)
  }
}

/** `readOnce` is a parameter for tests of reads that bring less than they should. */
export const readAll = (
  descriptor: number,
  part: { readonly offset: number; readonly length: number },
  readOnce: ReadOnce = read
): ArrayBuffer => {
  if (part.length === 0) return new ArrayBuffer(0)
  // Not from Node's pool: the memory is handed over as a whole. Not zeroed: all of it is read over, or thrown away.
  const bytes = Buffer.allocUnsafeSlow(part.length)
  let at = 0
  while (at < part.length) {
    const bytesRead = readOnce(descriptor, bytes, at, part.length - at, part.offset + at)
    if (bytesRead === 0) {
      throw new DirectoryFault("Corrupt", `the file ended ${part.length - at} bytes before the size that it had`)
    }
    at += bytesRead
  }
  return bytes.buffer
}

export type ReadOnce = (descriptor: number, into: Uint8Array, at: number, length: number, position: number) => number

const openObject = (bucket: DirectoryBucket, key: string): number => {
  try {
    return open(`${bucket.directory}/${key}`, constants.O_RDONLY, 0)
  } catch (error) {
    if (!isAbsence(error)) throw error
    requireBucketBlocking(bucket)
    throw new DirectoryFault("NotFound", String(error))
  }
}
