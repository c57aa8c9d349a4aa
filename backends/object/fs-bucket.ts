/**
 * A directory as a bucket: opening it, knowing it again, its temporary files.
 *
 *   <directory>/.meridian-bucket   marker: {"format":1,"bucket":"<name>"}, made once, when the bucket is
 *   <directory>/.tmp/              bodies that are being written: <host>~<pid>~<start>~<thread>.<number>
 *   <directory>/<key>              the objects
 *
 * Invariant: a directory is a bucket if the marker says so. It is made one when it is opened and holds nothing yet;
 * never later. So a mount that vanishes leaves a directory without marker behind, and calls fail (Unavailable) instead
 * of filling the disk below it; and two buckets whose directories were swapped are noticed at start.
 *
 * Temporary files are hidden from readers. Those of processes that are gone are removed when the bucket is opened; the
 * name says whose a file is. A file of a process that may live is never touched, whatever its age below a day.
 */
import { link, mkdir, open, readFile, readdir, readlink, stat, unlink } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { threadId } from "node:worker_threads"
import { limits } from "#core/model/limits.ts"
import { blockingCalls } from "./fs-call.ts"
import { BUCKET_MARKER, TEMPORARY_DIRECTORY } from "./fs-layout.ts"
import { DirectoryFault, errnoOf, isAbsence } from "./fs-error.ts"

export interface DirectoryBucket {
  readonly bucket: string
  readonly directory: string
  readonly fsync: boolean
  /** Of this process; beginning of its temporary files' names. */
  readonly owner: string
  /** Directories whose names are known to be on disk, relative to the bucket; only with fsync. */
  readonly durableDirectories: Set<string>
  /** After it nothing becomes visible any more. */
  isClosed: boolean
}

export interface BucketOptions {
  readonly bucket: string
  readonly directory: string
  /** Whether a put is on disk, not only in the system's cache, when it ends. */
  readonly fsync: boolean
}

/** Opens the bucket, makes it where the directory is absent or empty, and removes what dead processes left. */
export const openBucket = async (options: BucketOptions): Promise<DirectoryBucket> => {
  const { directory } = options
  const owner = await ownerOfThisProcess()
  const bucket: DirectoryBucket = {
    ...options,
    owner,
    durableDirectories: new Set(),
    isClosed: false
  }
  if (!(await hasMarker(bucket))) {
    await makeBucket(bucket)
    if (!(await hasMarker(bucket))) throw new DirectoryFault("Unavailable", `${directory} lost its ${BUCKET_MARKER}`)
  }
  await makeDirectory(join(directory, TEMPORARY_DIRECTORY))
  await sweepTemporaries(bucket)
  return bucket
}

/** Throws Unavailable where the directory is not, or no longer, the bucket. */
export const requireBucket = async (bucket: DirectoryBucket): Promise<void> => {
  try {
    await stat(join(bucket.directory, BUCKET_MARKER))
  } catch (error) {
    throw bucketFault(bucket, error)
  }
}

/** The same on a thread that may block. */
export const requireBucketBlocking = (bucket: DirectoryBucket): void => {
  try {
    blockingCalls.stat(join(bucket.directory, BUCKET_MARKER))
  } catch (error) {
    throw bucketFault(bucket, error)
  }
}

const bucketFault = (bucket: DirectoryBucket, error: unknown): unknown =>
  isAbsence(error)
    ? new DirectoryFault(
        "Unavailable",
        `${bucket.directory} is not there or is no bucket (no ${BUCKET_MARKER}): is its volume mounted?`
      )
    : error

/** A path in the bucket for a new temporary file. */
export const temporaryPath = (bucket: DirectoryBucket): string =>
  `${bucket.directory}/${TEMPORARY_DIRECTORY}/${bucket.owner}~${threadId}.${nextTemporary++}`

/** Makes one directory, not its parents; it may exist. */
export const makeDirectory = async (path: string): Promise<void> => {
  try {
    await mkdir(path)
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error
  }
}

/** Makes what a directory lists durable. */
export const syncDirectory = async (path: string): Promise<void> => {
  const handle = await open(path, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Of all buckets of this thread: two of them may be the same directory. */
let nextTemporary = 0

const MARKER_FORMAT = 1
/** What a new file system may have in its root. */
const FOREIGN_NAMES: ReadonlySet<string> = new Set([TEMPORARY_DIRECTORY, "lost+found"])

const hasMarker = async (bucket: DirectoryBucket): Promise<boolean> => {
  const path = join(bucket.directory, BUCKET_MARKER)
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false
    throw error
  }
  const marker = parseMarker(text)
  if (marker === undefined) throw new DirectoryFault("Corrupt", `${path} is damaged: ${text.slice(0, 100)}`)
  if (marker.format !== MARKER_FORMAT) {
    throw new DirectoryFault(
      "InvalidRequest",
      `${path} has format ${marker.format}, this release knows ${MARKER_FORMAT}`
    )
  }
  if (marker.bucket !== bucket.bucket) {
    throw new DirectoryFault(
      "InvalidRequest",
      `${bucket.directory} is bucket "${marker.bucket}", not "${bucket.bucket}": correct its directory or its name`
    )
  }
  return true
}

const parseMarker = (text: string): { readonly format: number; readonly bucket: string } | undefined => {
  try {
    const { format, bucket } = JSON.parse(text) as { readonly format?: unknown; readonly bucket?: unknown }
    return typeof format === "number" && typeof bucket === "string" ? { format, bucket } : undefined
  } catch {
    return undefined
  }
}

/** Several processes may do this at once: the marker's link decides, and its bytes are whole when it appears. */
const makeBucket = async (bucket: DirectoryBucket): Promise<void> => {
  const { directory, fsync } = bucket
  await mkdir(directory, { recursive: true })
  const names = await readdir(directory)
  if (names.includes(BUCKET_MARKER)) return
  const foreign = names.find((name) => !FOREIGN_NAMES.has(name))
  if (foreign !== undefined) {
    throw new DirectoryFault(
      "InvalidRequest",
      `${directory} is no bucket (it has no ${BUCKET_MARKER}) and not empty ("${foreign}"): give an empty directory`
    )
  }
  await makeDirectory(join(directory, TEMPORARY_DIRECTORY))
  const temporary = temporaryPath(bucket)
  const handle = await open(temporary, "wx")
  try {
    await handle.writeFile(`${JSON.stringify({ format: MARKER_FORMAT, bucket: bucket.bucket })}\n`)
    if (fsync) await handle.sync()
    await link(temporary, join(directory, BUCKET_MARKER))
  } catch (error) {
    if (errnoOf(error) === "EPERM" || errnoOf(error) === "ENOTSUP") {
      throw new DirectoryFault(
        "AccessDenied",
        `${directory}: its file system must support hard links (${String(error)})`
      )
    }
    if (errnoOf(error) !== "EEXIST") throw error
  } finally {
    await handle.close()
    await unlinkIfThere(temporary)
  }
  if (fsync) await syncDirectory(directory)
}

const sweepTemporaries = async (bucket: DirectoryBucket): Promise<void> => {
  const temporaries = join(bucket.directory, TEMPORARY_DIRECTORY)
  const ownerIsGone = new Map<string, boolean>()
  const names = await readdir(temporaries)
  for (const name of names.slice(0, limits.temporaryFilesSwept)) {
    const owner = name.slice(0, name.lastIndexOf("~"))
    let isGone = ownerIsGone.get(owner)
    if (isGone === undefined) {
      isGone = await isOwnerGone(owner, bucket.owner)
      ownerIsGone.set(owner, isGone)
    }
    const path = join(temporaries, name)
    if (isGone || (await isAncient(path))) await unlinkIfThere(path)
  }
}

/** Certain only of processes of this host and process namespace; of others nothing is known: not gone. */
const isOwnerGone = async (owner: string, self: string): Promise<boolean> => {
  if (owner === self) return false
  const [host, pid, start] = owner.split("~")
  if (host !== self.split("~")[0] || pid === undefined || !/^\d{1,10}$/.test(pid)) return false
  const startNow = await processStart(pid)
  // A process may be hidden from /proc and live.
  return startNow === undefined || start === UNKNOWN_START ? !isAlive(Number(pid)) : startNow !== start
}

const isAncient = async (path: string): Promise<boolean> => {
  try {
    const { mtimeMs } = await stat(path)
    return Date.now() - mtimeMs > limits.temporaryFileAgeMs
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

const unlinkIfThere = async (path: string): Promise<void> => {
  try {
    await unlink(path)
  } catch (error) {
    if (!isAbsence(error)) throw error
  }
}

/**
 * host~pid~start of this process. The host carries its process namespace, since containers may share a host's name and
 * count their processes alike; the start (clock ticks since boot) tells a process from an earlier one of the same
 * number: in a container every agent is number 1.
 */
const ownerOfThisProcess = async (): Promise<string> => {
  const namespace = await readlink("/proc/self/ns/pid").catch(() => "")
  const host = `${hostname()}-${namespace}`.replaceAll(/[^A-Za-z0-9.-]/g, "").slice(0, 100)
  return `${host}~${process.pid}~${(await processStart(String(process.pid))) ?? UNKNOWN_START}`
}

const UNKNOWN_START = "0"

const processStart = async (pid: string): Promise<string | undefined> => {
  try {
    const status = await readFile(`/proc/${pid}/stat`, "latin1")
    // The second field, in parentheses, may hold anything; the 20th behind it is the start.
    return status.slice(status.lastIndexOf(")") + 2).split(" ")[19]
  } catch {
    return undefined
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errnoOf(error) === "EPERM"
  }
}
