/**
 * The agent's side of a bucket's put threads (fs-put-worker.ts).
 *
 * One thread per bucket, several where every put waits for the disk (fsync). They are started by the first put. A thread
 * that ends by itself takes its calls with it, of which nobody knows whether they took effect; a later put starts another,
 * after a pause. A thread that hangs keeps its calls; whoever waits for them gives up by its own deadline.
 */
import { Worker } from "node:worker_threads"
import { limits } from "#core/model/limits.ts"
import { type DirectoryBucket } from "./fs-bucket.ts"
import { type DirectoryCall } from "./fs-call.ts"
import { DirectoryFault } from "./fs-error.ts"
import { type FromPutThread, type PutRequest, type PutThreadOptions } from "./fs-put-messages.ts"
import { lendBody } from "./shared-bodies.ts"

interface PendingPut {
  readonly key: string
  readonly slot: number
  readonly call: DirectoryCall<void>
  readonly left: () => void
}

export class PutThreads {
  readonly #options: PutThreadOptions
  readonly #workerUrl: URL
  readonly #abandoned: Int32Array
  readonly #freeSlots: Array<number>
  readonly #threads: Array<PutThread> = []
  readonly #threadsMax: number
  #nextId = 0
  #startAtMs = 0

  constructor(bucket: DirectoryBucket, workerUrl: URL) {
    const { directory, fsync, owner } = bucket
    const slots = limits.directoryPutsRunning
    this.#workerUrl = workerUrl
    this.#abandoned = new Int32Array(new SharedArrayBuffer(4 * (slots + 1)))
    this.#freeSlots = Array.from({ length: slots }, (_, slot) => slot)
    this.#threadsMax = fsync ? limits.directoryPutThreadsSyncing : 1
    this.#options = {
      bucket: { bucket: bucket.bucket, directory, fsync, owner },
      abandoned: this.#abandoned.buffer as SharedArrayBuffer
    }
  }

  /** Ends when the thread is free of the call, which may be long after it was answered or given up. */
  put(key: string, chunks: ReadonlyArray<Uint8Array>, call: DirectoryCall<void>): Promise<void> {
    return new Promise((left) => {
      const slot = this.#freeSlots.pop()
      const thread = slot === undefined ? undefined : this.#leastBusy()
      if (slot === undefined || thread === undefined) {
        if (slot !== undefined) this.#freeSlots.push(slot)
        call.fail({ key, changing: false, cause: new DirectoryFault("Unavailable", "its put thread has ended") })
        return left()
      }
      Atomics.store(this.#abandoned, slot, 0)
      const id = this.#nextId++
      const body = lendBody(chunks)
      const leave = (): void => {
        this.#freeSlots.push(slot)
        body.release()
        left()
      }
      thread.put({ id, slot, key, pieces: body.pieces }, { key, slot, call, left: leave })
      return undefined
    })
  }

  /** The caller of `call` has given up: the object must not become visible any more if it has not yet. */
  giveUp(call: DirectoryCall<void>): void {
    for (const thread of this.#threads) {
      const slot = thread.slotOf(call)
      if (slot !== undefined) Atomics.store(this.#abandoned, slot, 1)
    }
  }

  /** Nothing becomes visible after it. Threads that are idle end; one that hangs ends with the process. */
  close(): void {
    Atomics.store(this.#abandoned, this.#abandoned.length - 1, 1)
    for (const thread of this.#threads) thread.end()
  }

  #leastBusy(): PutThread | undefined {
    let best: PutThread | undefined
    for (const thread of this.#threads) if (best === undefined || thread.pendingCount < best.pendingCount) best = thread
    const mayStart = this.#threads.length < this.#threadsMax && Date.now() >= this.#startAtMs
    if (best !== undefined && (best.pendingCount === 0 || !mayStart)) return best
    if (!mayStart) return undefined
    const thread = new PutThread(this.#workerUrl, this.#options, () => {
      this.#threads.splice(this.#threads.indexOf(thread), 1)
      this.#startAtMs = Date.now() + limits.directoryThreadRestartMs
    })
    this.#threads.push(thread)
    return thread
  }
}

class PutThread {
  readonly #worker: Worker
  readonly #pending = new Map<number, PendingPut>()
  #isEnding = false

  constructor(workerUrl: URL, options: PutThreadOptions, onEnd: () => void) {
    let cause: unknown = "it has ended"
    const worker = new Worker(workerUrl, {
      workerData: options,
      name: `meridian-put`,
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 }
    })
    worker.unref()
    worker.on("message", (message: FromPutThread) => this.#receive(message))
    worker.on("error", (error) => (cause = error))
    worker.once("exit", () => {
      onEnd()
      for (const { key, call, left } of this.#pending.values()) {
        call.fail({ key, changing: true, cause: new DirectoryFault("Unavailable", `its put thread: ${String(cause)}`) })
        left()
      }
      this.#pending.clear()
    })
    this.#worker = worker
  }

  get pendingCount(): number {
    return this.#pending.size
  }

  slotOf(call: DirectoryCall<void>): number | undefined {
    for (const pending of this.#pending.values()) if (pending.call === call) return pending.slot
    return undefined
  }

  put(request: PutRequest, pending: PendingPut): void {
    this.#pending.set(request.id, pending)
    this.#worker.postMessage(request)
  }

  end(): void {
    this.#isEnding = true
    if (this.#pending.size === 0) void this.#worker.terminate()
  }

  #receive(message: FromPutThread): void {
    const pending = this.#pending.get(message.id)
    if (pending === undefined) return
    if (message.kind === "done") pending.call.succeed()
    else if (message.kind === "failed") {
      const { changing, reason, message: text } = message.failure
      pending.call.fail({ key: pending.key, changing, cause: new DirectoryFault(reason, text) })
    } else {
      this.#pending.delete(message.id)
      pending.left()
      if (this.#isEnding && this.#pending.size === 0) void this.#worker.terminate()
    }
  }
}
