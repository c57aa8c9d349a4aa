/**
 * System calls of a directory-backed bucket, and the record of one call to it.
 *
 * In the agent's own thread all are asynchronous (libuv's threads): a directory that hangs must not stop the event loop.
 * The bucket's own threads block.
 */
import * as fs from "node:fs"
import { promisify } from "node:util"

export const stat = promisify(fs.stat)
export const unlink = promisify(fs.unlink)
export const rmdir = promisify(fs.rmdir)

/** What puts and gets call, on threads of the bucket's own (fs-worker.ts). */
export interface BlockingCalls {
  readonly open: (path: string, flags: number, mode: number) => number
  readonly read: (descriptor: number, into: Uint8Array, at: number, length: number, position: number) => number
  readonly writev: (descriptor: number, chunks: ReadonlyArray<Uint8Array>) => number
  readonly fdatasync: (descriptor: number) => void
  readonly link: (from: string, to: string) => void
  readonly fstat: (descriptor: number) => fs.Stats
  readonly stat: (path: string) => fs.Stats
  readonly close: (descriptor: number) => void
  readonly unlink: (path: string) => void
}

export const blockingCalls: BlockingCalls = {
  open: fs.openSync,
  read: (descriptor, into, at, length, position) => fs.readSync(descriptor, into, at, length, position),
  writev: (descriptor, chunks) => fs.writevSync(descriptor, chunks),
  fdatasync: fs.fdatasyncSync,
  link: fs.linkSync,
  fstat: (descriptor) => fs.fstatSync(descriptor),
  stat: (path) => fs.statSync(path),
  close: fs.closeSync,
  unlink: fs.unlinkSync
}

/** Why a call failed; the port's error is made of it (fs-failure.ts). */
export interface CallFailure {
  readonly key: string
  /** See fs-error.ts. */
  readonly changing: boolean
  readonly cause: unknown
}

/**
 * One call under way. Whoever does the work answers once, as early as the contract allows, and cleans up afterwards.
 */
export interface DirectoryCall<A> {
  /** The caller has given up or the store was closed: nothing may become visible any more. */
  readonly isAbandoned: () => boolean
  readonly succeed: (answer: A) => void
  readonly fail: (failure: CallFailure) => void
}

/** For cleaning up behind a call that was answered, where nobody is left to tell. */
export const ignoringErrors = async (work: Promise<unknown>): Promise<void> => {
  try {
    await work
  } catch {
    // A temporary file that stays is removed when the bucket is opened again.
  }
}
