/**
 * The agent's side of a bucket's threads (fs-worker.ts); one set for puts and one for gets, so that neither waits for the
 * other.
 *
 * A set is started by its first call, and grows while its threads do not keep up. A thread that ends by itself takes its
 * calls with it: nobody knows whether its puts took effect, its gets simply failed. A later call starts another, after a
 * pause. A thread that hangs keeps its calls; whoever waits for them gives up by its own deadline.
 */
import { Worker } from "node:worker_threads"
import { limits } from "#core/model/limits.ts"
import type { ByteRange, ObjectBytes } from "#core/ports/object-store.ts"
import { watchThread } from "../running-threads.ts"
import { type DirectoryBucket } from "./fs-bucket.ts"
import { type DirectoryCall } from "./fs-call.ts"
import { DirectoryFault } from "./fs-error.ts"
import {
  type FromThread,
  type GetRequest,
  type PutRequest,
  type ThreadAnswer,
  type ThreadOptions
} from "./fs-messages.ts"
import { lendBody } from "./shared-bodies.ts"

export interface BucketThreadsOptions {
  readonly bucket: DirectoryBucket
  readonly workerUrl: URL
  readonly work: "put" | "get"
  /** Calls given to threads and not left by them. */
  readonly callsMax: number
  readonly threadsMax: number
  /** A thread is behind when its oldest call is so old; another is started when all are. */
  readonly behindMs: number
}

/** A call that a thread has. */
interface PendingCall {
  readonly key: string
  readonly askedAtMs: number
  readonly call: DirectoryCall<void> | DirectoryCall<ObjectBytes>
  readonly left: () => void
}

export class BucketThreads {
  readonly #options: BucketThreadsOptions
  readonly #threadOptions: ThreadOptions
  readonly #abandoned: Int32Array
  readonly #freeSlots: Array<number>
  readonly #slots = new Map<PendingCall["call"], number>()
  readonly #threads: Array<BucketThread> = []
  #nextId = 0
  #startAtMs = 0

  constructor(options: BucketThreadsOptions) {
    const { bucket, directory, fsync, owner } = options.bucket
    this.#options = options
    this.#abandoned = new Int32Array(new SharedArrayBuffer(4 * (options.callsMax + 1)))
    this.#freeSlots = Array.from({ length: options.callsMax }, (_, slot) => slot)
    this.#threadOptions = {
      bucket: { bucket, directory, fsync, owner },
      abandoned: this.#abandoned.buffer as SharedArrayBuffer
    }
  }

  /** Ends when the thread is free of the call, which may be long after it was answered or given up. */
  put(key: string, chunks: ReadonlyArray<Uint8Array>, call: DirectoryCall<void>): Promise<void> {
    return this.#run(key, call, (id, slot) => {
      const body = lendBody(chunks)
      return { request: { kind: "put", id, slot, key, pieces: body.pieces }, release: body.release }
    })
  }

  /** As `put`. */
  get(key: string, range: ByteRange | undefined, call: DirectoryCall<ObjectBytes>): Promise<void> {
    return this.#run(key, call, (id, slot) => ({ request: { kind: "get", id, slot, key, range }, release: nothing }))
  }

  /** The caller has given up: a put must not become visible any more if it has not yet, a get need not begin. */
  giveUp(call: PendingCall["call"]): void {
    const slot = this.#slots.get(call)
    if (slot !== undefined) Atomics.store(this.#abandoned, slot, 1)
  }

  /** Nothing becomes visible after it. Threads that are idle end; one that hangs may outlive it (running-threads.ts). */
  close(): void {
    Atomics.store(this.#abandoned, this.#abandoned.length - 1, 1)
    for (const thread of this.#threads) thread.end()
  }

  #run(
    key: string,
    call: PendingCall["call"],
    prepare: (id: number, slot: number) => { readonly request: PutRequest | GetRequest; readonly release: () => void }
  ): Promise<void> {
    return new Promise((left) => {
      const thread = this.#freeSlots.length === 0 ? undefined : this.#pickThread()
      if (thread === undefined) {
        call.fail({ key, changing: false, cause: unavailable(`its ${this.#options.work} thread has ended`) })
        return left()
      }
      const slot = this.#freeSlots.pop()!
      Atomics.store(this.#abandoned, slot, 0)
      this.#slots.set(call, slot)
      const { request, release } = prepare(this.#nextId++, slot)
      const leave = (): void => {
        this.#slots.delete(call)
        this.#freeSlots.push(slot)
        release()
        left()
      }
      return thread.run(request, { key, askedAtMs: performance.now(), call, left: leave })
    })
  }

  /** The least busy one of those that keep up. */
  #pickThread(): BucketThread | undefined {
    const { behindMs, threadsMax } = this.#options
    const nowMs = performance.now()
    let best: BucketThread | undefined
    let isBestBehind = true
    for (const thread of this.#threads) {
      const isBehind = thread.isBehind(nowMs - behindMs)
      const isBetter = isBehind === isBestBehind ? thread.pendingCount < (best?.pendingCount ?? Infinity) : isBestBehind
      if (!isBetter) continue
      best = thread
      isBestBehind = isBehind
    }
    const mayStart = this.#threads.length < threadsMax && nowMs >= this.#startAtMs
    return isBestBehind && mayStart ? (this.#start() ?? best) : best
  }

  #start(): BucketThread | undefined {
    const { work, workerUrl } = this.#options
    try {
      const thread = new BucketThread({ work, workerUrl, options: this.#threadOptions }, () => {
        this.#threads.splice(this.#threads.indexOf(thread), 1)
        this.#startAtMs = performance.now() + limits.directoryThreadRestartMs
      })
      this.#threads.push(thread)
      return thread
    } catch {
      // The system gives no further thread or memory: those that are there go on.
      this.#startAtMs = performance.now() + limits.directoryThreadRestartMs
      return undefined
    }
  }
}

class BucketThread {
  readonly #worker: Worker
  readonly #work: "put" | "get"
  readonly #pending = new Map<number, PendingCall>()
  /** Asked in this turn of the event loop; sent together at its end. */
  #unsent: Array<PutRequest | GetRequest> = []
  #onlineAtMs = Infinity
  #isEnding = false

  constructor(
    {
      work,
      workerUrl,
      options
    }: {
      readonly work: "put" | "get"
      readonly workerUrl: URL
      readonly options: ThreadOptions
    },
    onEnd: () => void
  ) {
    this.#work = work
    let cause: unknown = "it has ended"
    const name = `meridian-${work}`
    const worker = new Worker(workerUrl, { workerData: options, name, resourceLimits: HEAP_LIMITS })
    watchThread(worker, `${work} thread of bucket ${options.bucket.bucket} (${options.bucket.directory})`)
    worker.unref()
    worker.once("online", () => (this.#onlineAtMs = performance.now()))
    worker.on("message", (answers: FromThread) => this.#receive(answers))
    worker.on("error", (error) => (cause = error))
    worker.once("exit", () => {
      onEnd()
      this.#failAll(cause)
    })
    this.#worker = worker
  }

  get pendingCount(): number {
    return this.#pending.size
  }

  /** Whether a call that it could have begun by then is still pending. Starting is not being behind. */
  isBehind(sinceMs: number): boolean {
    if (this.#onlineAtMs > sinceMs) return false
    for (const { askedAtMs } of this.#pending.values()) return askedAtMs <= sinceMs
    return false
  }

  run(request: PutRequest | GetRequest, pending: PendingCall): void {
    this.#pending.set(request.id, pending)
    this.#unsent.push(request)
    if (this.#unsent.length === 1) queueMicrotask(() => this.#send())
  }

  end(): void {
    this.#isEnding = true
    this.#endIfIdle()
  }

  #send(): void {
    const requests = this.#unsent
    this.#unsent = []
    this.#worker.postMessage(requests)
  }

  /** Calls leave before their answers are heard: who hears one may ask the next at once, of a thread that is free. */
  #receive(answers: FromThread): void {
    const calls = answers.map(({ id }) => this.#pending.get(id))
    for (const { kind, id } of answers) {
      if (kind !== "left") continue
      const call = this.#pending.get(id)
      this.#pending.delete(id)
      call?.left()
    }
    for (let index = 0; index < answers.length; index++) {
      const answer = answers[index]!
      const call = calls[index]
      if (answer.kind !== "left" && call !== undefined) answerCall(call, answer)
    }
    this.#endIfIdle()
  }

  #endIfIdle(): void {
    if (this.#isEnding && this.#pending.size === 0) void this.#worker.terminate()
  }

  #failAll(cause: unknown): void {
    const changing = this.#work === "put"
    for (const { key, call, left } of this.#pending.values()) {
      call.fail({ key, changing, cause: unavailable(`its ${this.#work} thread: ${String(cause)}`) })
      left()
    }
    this.#pending.clear()
  }
}

/**
 * A bound, not a size: a thread needs some 5 MiB. Bytes that are read lie outside of it, but how many of them the collector
 * bears before it runs follows it: with 16 MiB it ran for every other read of 4 MiB.
 */
const HEAP_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 }

const answerCall = ({ key, call }: PendingCall, answer: Exclude<ThreadAnswer, { readonly kind: "left" }>): void => {
  if (answer.kind === "failed") {
    const { changing, reason, message } = answer
    call.fail({ key, changing, cause: new DirectoryFault(reason, message) })
  } else if (answer.kind === "put") (call as DirectoryCall<void>).succeed()
  else {
    const { bytes, objectBytes } = answer
    ;(call as DirectoryCall<ObjectBytes>).succeed({ bytes: Buffer.from(bytes), objectBytes })
  }
}

const unavailable = (why: string): DirectoryFault => new DirectoryFault("Unavailable", why)

const nothing = (): void => {}
