/**
 * Put into a directory-backed bucket: write a temporary file, then link it to its final name.
 *
 * Invariant: link(2) is the put-if-absent. It makes the name appear with the whole body behind it, or fails because the
 * name is there, also between processes and machines. Nothing is visible before it, so that a crash at any point leaves
 * either nothing or the whole object, and at worst a temporary file. With fsync the body is on disk before it has its
 * name, and the name before the answer.
 *
 * Without fsync three system calls come before the answer (open, write, link), two after it (close, unlink). They block,
 * and run on a thread of the bucket's own (fs-worker.ts): a trip to libuv's threads for each took three times the
 * processor time of the calls themselves.
 */
import { constants } from "node:fs"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { makeDirectory, requireBucketBlocking, syncDirectory, temporaryPath } from "./fs-bucket.ts"
import type { DirectoryBucket } from "./fs-bucket.ts"
import { blockingCalls } from "./fs-call.ts"
import type { DirectoryCall } from "./fs-call.ts"
import { DirectoryFault, errnoOf, isAbsence } from "./fs-error.ts"

const { open, writev, fdatasync, link, fstat, stat, close, unlink } = blockingCalls

export const putFile = async (
  bucket: DirectoryBucket,
  key: string,
  chunks: ReadonlyArray<Uint8Array>,
  call: DirectoryCall<void>
): Promise<void> => {
  const file: PutFile = { temporary: temporaryPath(bucket), key, descriptor: -1, isLinkSent: false }
  try {
    await openTemporary(bucket, file)
    await writeAll(file.descriptor, chunks)
    if (bucket.fsync) fdatasync(file.descriptor)
    await linkFinal(bucket, file, call)
    if (bucket.fsync) await syncDirectories(bucket, key)
    call.succeed()
  } catch (error) {
    const cause = bucket.fsync && error instanceof NameTaken ? await syncTaken(bucket, key, error) : error
    call.fail({ key, changing: file.isLinkSent, cause })
  }
  if (file.descriptor >= 0) cleanUp(file)
}

/** The call is answered. A temporary file that stays is removed when the bucket is opened again. */
const cleanUp = (file: PutFile): void => {
  try {
    close(file.descriptor)
  } finally {
    tryUnlink(file.temporary)
  }
}

const tryUnlink = (path: string): void => {
  try {
    unlink(path)
  } catch {
    // Nobody is left to tell.
  }
}

/**
 * Writes all bytes at the descriptor's position. One call may take any part of them: the system splits long lists
 * (IOV_MAX), and file systems write partially. `writeOnce` is a parameter for tests of just that.
 */
export const writeAll = async (
  descriptor: number,
  chunks: ReadonlyArray<Uint8Array>,
  writeOnce: WriteOnce = (into, some) => ({ bytesWritten: writev(into, some) })
): Promise<void> => {
  let left = chunks.filter((chunk) => chunk.length > 0)
  let bytesLeft = bytesOf(left)
  let idleWrites = 0
  while (bytesLeft > 0) {
    const bytesWritten = await writeSome(descriptor, left, writeOnce)
    if (bytesWritten < 0 || bytesWritten > bytesLeft) {
      throw new DirectoryFault("Unavailable", `write said that it took ${bytesWritten} of ${bytesLeft} bytes`)
    }
    idleWrites = bytesWritten === 0 ? idleWrites + 1 : 0
    if (idleWrites >= limits.directoryIdleWritesMax) {
      throw new DirectoryFault("Unavailable", `${idleWrites} writes in a row took no byte`)
    }
    bytesLeft -= bytesWritten
    if (bytesLeft > 0) left = withoutFirst(left, bytesWritten)
  }
}

export type WriteOnce = (
  descriptor: number,
  chunks: ReadonlyArray<Uint8Array>
) => { readonly bytesWritten: number } | Promise<{ readonly bytesWritten: number }>

interface PutFile {
  readonly temporary: string
  readonly key: string
  /** -1 before the temporary file is open. */
  descriptor: number
  isLinkSent: boolean
}

class NameTaken extends DirectoryFault {
  constructor(path: string) {
    super("AlreadyExists", `${path} exists`)
  }
}

const openTemporary = async (bucket: DirectoryBucket, file: PutFile): Promise<void> => {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
  try {
    file.descriptor = open(file.temporary, flags, 0o644)
  } catch (error) {
    if (!isAbsence(error)) throw error
    requireBucketBlocking(bucket)
    await makeDirectory(file.temporary.slice(0, file.temporary.lastIndexOf("/")))
    file.descriptor = open(file.temporary, flags, 0o644)
  }
}

const writeSome = async (
  descriptor: number,
  chunks: ReadonlyArray<Uint8Array>,
  writeOnce: WriteOnce
): Promise<number> => {
  try {
    return (await writeOnce(descriptor, chunks)).bytesWritten
  } catch (error) {
    if (errnoOf(error) === "EAGAIN") return 0
    throw error
  }
}

const withoutFirst = (chunks: ReadonlyArray<Uint8Array>, bytes: number): Array<Uint8Array> => {
  let index = 0
  let skip = bytes
  while (skip >= chunks[index]!.length) skip -= chunks[index++]!.length
  return [chunks[index]!.subarray(skip), ...chunks.slice(index + 1)]
}

/** The directories are made when they are missed, and again where someone removes them meanwhile (deleteMany does). */
const linkFinal = async (bucket: DirectoryBucket, file: PutFile, call: DirectoryCall<void>): Promise<void> => {
  const path = `${bucket.directory}/${file.key}`
  for (let attempt = 1; ; attempt++) {
    if (call.isAbandoned()) throw new DirectoryFault("Unavailable", "given up before the object got its name")
    try {
      file.isLinkSent = true
      link(file.temporary, path)
      return
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return settleTaken(path, file)
      if (!isAbsence(error)) throw error
      // The name was not given: should the next steps fail, nothing has happened.
      file.isLinkSent = false
      requireBucketBlocking(bucket)
      if (attempt >= limits.directoryLinkAttemptsMax || errnoOf(error) === "ENOTDIR") throw error
      await makeDirectories(bucket, file.key)
    }
  }
}

/**
 * The name exists. Network file systems send a link again whose answer was lost, and then say so of our own file: it is
 * ours if it is the same file. A directory is no object, so that is no AlreadyExists: the caller may ask for its bytes.
 */
const settleTaken = (path: string, file: PutFile): void => {
  const taken = stat(path)
  const own = fstat(file.descriptor)
  if (taken.ino === own.ino && taken.dev === own.dev) return
  if (taken.isFile()) throw new NameTaken(path)
  throw new DirectoryFault("InvalidRequest", `key "${file.key}" is a directory of other keys`)
}

const makeDirectories = async (bucket: DirectoryBucket, key: string): Promise<void> => {
  for (const directory of directoriesOf(key)) {
    bucket.durableDirectories.delete(directory)
    try {
      await makeDirectory(`${bucket.directory}/${directory}`)
    } catch (error) {
      // Removed by someone else in between: the next attempt makes it again.
      if (errnoOf(error) !== "ENOENT") throw error
    }
  }
}

/** The key's own directory always, those above it once each: they hold the names of directories only. */
const syncDirectories = async (bucket: DirectoryBucket, key: string): Promise<void> => {
  const directories = directoriesOf(key)
  const { durableDirectories } = bucket
  for (let index = 0; index < directories.length; index++) {
    const directory = directories[index]!
    if (durableDirectories.has(directory)) continue
    await syncDirectory(index === 0 ? bucket.directory : `${bucket.directory}/${directories[index - 1]!}`)
    if (durableDirectories.size >= limits.directoriesRemembered) durableDirectories.clear()
    durableDirectories.add(directory)
  }
  const parent = directories[directories.length - 1]
  await syncDirectory(parent === undefined ? bucket.directory : `${bucket.directory}/${parent}`)
}

/**
 * Who hears AlreadyExists may take it for an own earlier put whose answer was lost, and rely on it. So the name, which
 * that put may not have made durable, is made so first.
 */
const syncTaken = async (bucket: DirectoryBucket, key: string, taken: NameTaken): Promise<unknown> => {
  try {
    await syncDirectories(bucket, key)
    return taken
  } catch (error) {
    return error
  }
}

/** Of `a/b/c`: `a`, `a/b`. */
const directoriesOf = (key: string): ReadonlyArray<string> => {
  const directories: Array<string> = []
  for (let at = key.indexOf("/"); at >= 0; at = key.indexOf("/", at + 1)) directories.push(key.slice(0, at))
  return directories
}
