/**
 * System calls of a directory-backed bucket, and the record of one call to it.
 *
 * All are asynchronous (libuv's threads): a directory that hangs must not stop the event loop. The callback functions
 * of node:fs are used rather than its promise API because file handles as numbers cost less: a put is a handful of
 * calls.
 */
import * as fs from "node:fs"
import { promisify } from "node:util"
import { type ObjectStoreError } from "#core/ports/object-store.ts"

export const open = promisify(fs.open)
export const close = promisify(fs.close)
export const fstat = promisify(fs.fstat)
export const stat = promisify(fs.stat)
export const read = promisify(fs.read)
export const writev = promisify(fs.writev)
export const fdatasync = promisify(fs.fdatasync)
export const link = promisify(fs.link)
export const unlink = promisify(fs.unlink)
export const rmdir = promisify(fs.rmdir)

/**
 * One call under way. Whoever does the work answers once, as early as the contract allows, and cleans up afterwards.
 */
export interface DirectoryCall<A> {
  /** The caller has given up or the store was closed: nothing may become visible any more. */
  readonly isAbandoned: () => boolean
  readonly succeed: (answer: A) => void
  readonly fail: (error: ObjectStoreError) => void
}

/** For cleaning up behind a call that was answered, where nobody is left to tell. */
export const ignoringErrors = async (work: Promise<unknown>): Promise<void> => {
  try {
    await work
  } catch {
    // A temporary file that stays is removed when the bucket is opened again.
  }
}
