/**
 * A put thread of a directory-backed bucket: puts one file after the other, with system calls that block.
 *
 * A directory that hangs stops its own thread and nothing else. The thread holds no state but the bucket's place; whenever
 * it dies, another takes over. It must not load Effect: hence `import type`.
 */
import { parentPort, workerData } from "node:worker_threads"
import { assert } from "#core/model/assert.ts"
import type { DirectoryBucket } from "./fs-bucket.ts"
import { reasonOf } from "./fs-error.ts"
import type { FromPutThread, PutRequest, PutThreadOptions } from "./fs-put-messages.ts"
import { putFile } from "./fs-put.ts"

assert(parentPort !== null, "this program is a thread's")
const port = parentPort
const options = workerData as PutThreadOptions
const abandoned = new Int32Array(options.abandoned)
const bucket: DirectoryBucket = { ...options.bucket, durableDirectories: new Set(), isClosed: false }

const tell = (message: FromPutThread): void => port.postMessage(message)
const isAbandoned = (slot: number): boolean =>
  Atomics.load(abandoned, slot) !== 0 || Atomics.load(abandoned, abandoned.length - 1) !== 0

const run = async ({ id, slot, key, pieces }: PutRequest): Promise<void> => {
  await putFile(bucket, key, pieces, {
    isAbandoned: () => isAbandoned(slot),
    succeed: () => tell({ id, kind: "done" }),
    fail: ({ changing, cause }) =>
      tell({ id, kind: "failed", failure: { changing, reason: reasonOf(cause), message: String(cause) } })
  })
  tell({ id, kind: "left" })
}

let last: Promise<void> = Promise.resolve()
port.on("message", (request: PutRequest) => {
  last = last.then(() => run(request))
})
