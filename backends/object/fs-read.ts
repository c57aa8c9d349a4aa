/**
 * Head and list of a directory-backed bucket (fs-get.ts has the gets).
 *
 * Invariant: absence is only reported of a bucket that is there. "No such file" from a directory whose volume has
 * vanished would be taken for a lost object; so each absence is followed by a look at the bucket's marker.
 */
import { readdir } from "node:fs/promises"
import { type ObjectHead } from "#core/ports/object-store.ts"
import { BUCKET_MARKER, TEMPORARY_DIRECTORY } from "./fs-layout.ts"
import { keyFault } from "./request-check.ts"
import { type DirectoryBucket, requireBucket } from "./fs-bucket.ts"
import { type DirectoryCall, stat } from "./fs-call.ts"
import { DirectoryFault, isAbsence } from "./fs-error.ts"

export const headFile = async (
  bucket: DirectoryBucket,
  key: string,
  call: DirectoryCall<ObjectHead>
): Promise<void> => {
  try {
    const status = await stat(`${bucket.directory}/${key}`)
    if (!status.isFile()) throw new DirectoryFault("NotFound", `${key} is no object`)
    call.succeed({ key, objectBytes: status.size })
  } catch (error) {
    const cause = await settleAbsence(bucket, error)
    call.fail({ key, changing: false, cause })
  }
}

export interface ListRequest {
  readonly prefix: string
  readonly after?: string
  readonly limit: number
}

export const listFiles = async (
  bucket: DirectoryBucket,
  request: ListRequest,
  call: DirectoryCall<ReadonlyArray<ObjectHead>>
): Promise<void> => {
  try {
    const answer = await walk(bucket, request, call)
    // A vanished volume lists as empty.
    await requireBucket(bucket)
    call.succeed(answer)
  } catch (cause) {
    call.fail({ key: request.prefix, changing: false, cause })
  }
}

const settleAbsence = async (bucket: DirectoryBucket, error: unknown): Promise<unknown> => {
  if (!isAbsence(error)) return error
  try {
    await requireBucket(bucket)
    return new DirectoryFault("NotFound", String(error))
  } catch (bucketError) {
    return bucketError
  }
}

/**
 * Depth first in order of the keys: in each directory the names of directories are ordered as if they ended in "/",
 * which is what follows them in keys. Directories that cannot hold a wanted key are not read.
 */
const walk = async (
  bucket: DirectoryBucket,
  request: ListRequest,
  call: DirectoryCall<ReadonlyArray<ObjectHead>>
): Promise<ReadonlyArray<ObjectHead>> => {
  const found: Array<ObjectHead> = []
  /** Keys still to look at, the next one last; those that end in "/" are directories. */
  const left: Array<string> = [request.prefix.slice(0, request.prefix.lastIndexOf("/") + 1)]
  while (left.length > 0 && found.length < request.limit) {
    if (call.isAbandoned()) throw new DirectoryFault("Unavailable", "given up before the list was complete")
    const next = left.pop()!
    if (next === "" || next.endsWith("/")) {
      const names = await namesIn(bucket, next, request)
      for (let index = names.length - 1; index >= 0; index--) left.push(next + names[index]!)
      continue
    }
    const objectBytes = await sizeOf(`${bucket.directory}/${next}`)
    if (objectBytes !== undefined) found.push({ key: next, objectBytes })
  }
  return found
}

/** Names in a directory that may lead to wanted keys, ascending; directories with "/" at the end. */
const namesIn = async (
  bucket: DirectoryBucket,
  directory: string,
  request: ListRequest
): Promise<ReadonlyArray<string>> => {
  if (directory !== "" && keyFault(directory.slice(0, -1)) !== undefined) return []
  const names: Array<string> = []
  for (const entry of await entriesOf(`${bucket.directory}/${directory}`)) {
    const { name } = entry
    if (directory === "" && (name === BUCKET_MARKER || name === TEMPORARY_DIRECTORY)) continue
    if (keyFault(directory + name) !== undefined) continue
    if (entry.isDirectory()) {
      if (mayHold(`${directory}${name}/`, request)) names.push(`${name}/`)
    } else if (entry.isFile() && isWanted(directory + name, request)) names.push(name)
  }
  return names.sort()
}

const entriesOf = async (path: string) => {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}

const isWanted = (key: string, { prefix, after }: ListRequest): boolean =>
  key.startsWith(prefix) && (after === undefined || key > after)

/** `directory` ends in "/". */
const mayHold = (directory: string, { prefix, after }: ListRequest): boolean => {
  if (!directory.startsWith(prefix) && !prefix.startsWith(directory)) return false
  return after === undefined || directory > after || after.startsWith(directory)
}

/** undefined where it was deleted meanwhile. */
const sizeOf = async (path: string): Promise<number | undefined> => {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}
