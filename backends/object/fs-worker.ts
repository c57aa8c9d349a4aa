/**
 * The program of a directory-backed bucket's threads: puts and gets, one after the other, with system calls that block.
 *
 * A directory that hangs stops its own thread and nothing else. A thread holds no state but the bucket's place; whenever
 * it dies, another takes over. It must not load Effect: hence `import type`.
 */
import { parentPort, workerData } from "node:worker_threads"
import { assert } from "#core/model/assert.ts"
import { HeldAnswers } from "./fs-answers.ts"
import type { DirectoryBucket } from "./fs-bucket.ts"
import { DirectoryFault, reasonOf } from "./fs-error.ts"
import { getFile } from "./fs-get.ts"
import type { GetRequest, PutRequest, ThreadOptions, ToThread } from "./fs-messages.ts"
import { putFile } from "./fs-put.ts"

assert(parentPort !== null, "this program is a thread's")
const port = parentPort
const options = workerData as ThreadOptions
const abandoned = new Int32Array(options.abandoned)
const bucket: DirectoryBucket = { ...options.bucket, durableDirectories: new Set(), isClosed: false }
const answers = new HeldAnswers((held, transferred) => port.postMessage(held, transferred))
/** Bounded by the slots of calls, of which the agent gives each one once. */
const requests: Array<PutRequest | GetRequest> = []
let isRunning = false

const isAbandoned = (slot: number): boolean =>
  Atomics.load(abandoned, slot) !== 0 || Atomics.load(abandoned, abandoned.length - 1) !== 0

const addFailure = (id: number, changing: boolean, cause: unknown): void =>
  answers.add({ kind: "failed", id, changing, reason: reasonOf(cause), message: String(cause) }, performance.now())

const get = ({ id, slot, key, range }: GetRequest): void => {
  try {
    if (isAbandoned(slot)) throw new DirectoryFault("Unavailable", "given up before the object was opened")
    const { bytes, objectBytes } = getFile(bucket, key, range)
    answers.add({ kind: "got", id, bytes, objectBytes }, performance.now())
  } catch (error) {
    addFailure(id, false, error)
  }
}

/** Answered at once, before the file is cleaned up behind: a quorum waits for it. */
const put = ({ id, slot, key, pieces }: PutRequest): Promise<void> =>
  putFile(bucket, key, pieces, {
    isAbandoned: () => isAbandoned(slot),
    succeed: () => {
      answers.add({ kind: "put", id }, performance.now())
      answers.send()
    },
    fail: ({ changing, cause }) => {
      addFailure(id, changing, cause)
      answers.send()
    }
  })

const run = async (): Promise<void> => {
  for (let request = requests.shift(); request !== undefined; request = requests.shift()) {
    answers.sendIfDue(performance.now())
    if (request.kind === "get") get(request)
    else await put(request)
    answers.add({ kind: "left", id: request.id }, performance.now())
  }
  answers.send()
  isRunning = false
}

port.on("message", (more: ToThread) => {
  requests.push(...more)
  if (isRunning) return
  isRunning = true
  void run()
})
