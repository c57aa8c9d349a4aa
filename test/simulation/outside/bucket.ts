/**
 * A simulated bucket: one truth (backends/object/memory.ts), and for each process a way to it that takes its time and fails.
 *
 * A put reads its chunks only when the upload is complete: who changes them too early spoils the object. What was sent goes on
 * whatever becomes of the caller; an interrupted put is done with the bytes of that moment, or not at all. Reads may come
 * back damaged; the truth never is.
 */
import { Effect, Exit } from "effect"
import { make as makeMemoryStore } from "#backends/object/memory.ts"
import { type ObjectBytes, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { type Place, type Process } from "../engine/process.ts"
import { type Prng, streamOf } from "../engine/prng.ts"
import { type World } from "../engine/world.ts"
import { type Links } from "../network/links.ts"
import { RandomFaults } from "./random-faults.ts"

export type BucketFault =
  /** Nothing was done, and the caller knows. */
  | "refused"
  /** 5xx: nothing was done, or all was, and the answer says neither. */
  | "failed-before"
  | "failed-after"
  | "hang-before"
  | "hang-after"
  /** Ten to a hundred times as slow. */
  | "slow"
  /** Bytes of an answer are wrong, or missing at its end. */
  | "corrupt"
  | "truncated"
  | "full"

export const BUCKET_FAULTS: ReadonlyArray<BucketFault> = [
  "refused",
  "failed-before",
  "failed-after",
  "hang-before",
  "hang-after",
  "slow",
  "corrupt",
  "truncated",
  "full"
]

type Operation = ObjectStoreError["operation"]

/** Of a small object, in the store itself. */
const PUT_MS_MIN = 8
const PUT_MS_MAX = 60
const GET_MS_MIN = 4
const GET_MS_MAX = 30
const BYTES_PER_MS = 50_000

/** Sees what takes effect, at the moment when it does. */
export interface BucketWatcher {
  readonly put: (bucket: string, key: string, body: Buffer, outcome: "stored" | "existed") => void
}

interface Call<A> {
  readonly process: Process
  readonly operation: Operation
  readonly key: string
  readonly execute: () => Exit.Exit<A, ObjectStoreError>
  readonly end: (outcome: Exit.Exit<A, ObjectStoreError>) => void
  readonly bytes: number
}

export class SimBucket implements Place {
  readonly name: string
  readonly region: string
  readonly faults = new RandomFaults<BucketFault>()
  readonly truth: ObjectStore
  watcher: BucketWatcher = { put: () => {} }
  readonly #world: World
  readonly #links: Links
  readonly #random: Prng
  /** Outages that last, the latest decides. */
  #outages: ReadonlyArray<{ readonly manner: "refuse" | "hang" }> = []

  constructor(world: World, links: Links, region: string) {
    this.#world = world
    this.#links = links
    this.name = `bucket@${region}`
    this.region = region
    this.#random = streamOf(world.seed, this.name)
    this.truth = makeMemoryStore({ bucket: region })
  }

  /** Until the answer is called. */
  away(manner: "refuse" | "hang"): () => void {
    const outage = { manner }
    this.#outages = [...this.#outages, outage]
    return () => {
      this.#outages = this.#outages.filter((other) => other !== outage)
    }
  }

  get #away(): "refuse" | "hang" | undefined {
    return this.#outages.at(-1)?.manner
  }

  healAll(): void {
    this.faults.clear()
    this.#outages = []
  }

  /** The whole object as it is stored, at once; undefined where there is none. */
  stored(key: string): Buffer | undefined {
    const exit = Effect.runSyncExit(this.truth.get(key))
    return Exit.isSuccess(exit) ? exit.value.bytes : undefined
  }

  /** The store as the process has it. */
  storeOf(process: Process): ObjectStore {
    const { truth } = this
    const run = Effect.runSyncExit
    return {
      bucket: truth.bucket,
      put: (key, chunks) => this.#put(process, key, chunks),
      get: (key, range) => this.#call({ process, operation: "get", key, execute: () => run(truth.get(key, range)) }),
      head: (key) => this.#call({ process, operation: "head", key, execute: () => run(truth.head(key)) }),
      list: (options) =>
        this.#call({ process, operation: "list", key: options.prefix, execute: () => run(truth.list(options)) }),
      deleteMany: (keys) =>
        this.#call({ process, operation: "delete", key: keys[0] ?? "", execute: () => run(truth.deleteMany(keys)) })
    }
  }

  #put(process: Process, key: string, chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, ObjectStoreError> {
    const upload: { body: Buffer | undefined; isLost: boolean } = { body: undefined, isLost: false }
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const execute = (): Exit.Exit<void, ObjectStoreError> => {
      if (upload.isLost) return Exit.void
      const body = upload.body ?? Buffer.concat(chunks, bytes)
      const exit = Effect.runSyncExit(this.truth.put(key, [body]))
      const outcome = Exit.isSuccess(exit) ? "stored" : "existed"
      this.#world.trace.add(process.name, () => `PUT ${key.slice(-12)} to ${this.name}: ${outcome}`)
      this.watcher.put(this.name, key, body, outcome)
      return exit
    }
    return Effect.onInterrupt(this.#call({ process, operation: "put", key, execute, bytes }), () =>
      Effect.sync(() => {
        if (this.#random.chance(0.5)) upload.isLost = true
        else upload.body = Buffer.concat(chunks, bytes)
      })
    )
  }

  #call<A>(request: {
    readonly process: Process
    readonly operation: Operation
    readonly key: string
    readonly execute: () => Exit.Exit<A, ObjectStoreError>
    readonly bytes?: number
  }): Effect.Effect<A, ObjectStoreError> {
    return Effect.callback<A, ObjectStoreError>((resume) => {
      let isOver = false
      const end = (outcome: Exit.Exit<A, ObjectStoreError>): void => {
        if (isOver) return
        isOver = true
        resume(outcome)
      }
      this.#send({ ...request, bytes: request.bytes ?? 0, end })
      return Effect.sync(() => {
        isOver = true
      })
    })
  }

  #send<A>(call: Call<A>): void {
    const { process, operation } = call
    const fault = this.faults.draw(this.#random, { caller: process.name, operation })
    if (fault !== undefined) this.#world.trace.add(this.name, () => `${operation} of ${process.name}: ${fault}`)
    const uploadMs = call.bytes / BYTES_PER_MS
    this.#world.after(uploadMs, undefined, () =>
      this.#links.send(process, this, () => this.#arrive(call, this.#away === undefined ? fault : AWAY[this.#away]))
    )
  }

  #arrive<A>(call: Call<A>, fault: BucketFault | undefined): void {
    const isWrite = call.operation === "put" || call.operation === "delete"
    switch (fault) {
      case "refused":
        return this.#answer(call, this.#failure(call, "Unavailable", "definite"))
      case "full":
        if (call.operation !== "put") return this.#execute(call, fault)
        return this.#answer(call, this.#failure(call, "StorageFull", "definite"))
      case "failed-before":
        return this.#answer(call, this.#failure(call, "Unavailable", isWrite ? "indefinite" : "definite"))
      case "hang-before":
        return
      default:
        return this.#execute(call, fault)
    }
  }

  #execute<A>(call: Call<A>, fault: BucketFault | undefined): void {
    const isPut = call.operation === "put"
    const baseMs = isPut
      ? this.#random.magnitude(PUT_MS_MIN, PUT_MS_MAX)
      : this.#random.magnitude(GET_MS_MIN, GET_MS_MAX)
    const factor = fault === "slow" ? this.#random.magnitude(10, 100) : 1
    this.#world.after(baseMs * factor, undefined, () => {
      const outcome = call.execute()
      if (fault === "hang-after") return
      if (fault === "failed-after") {
        const isWrite = isPut || call.operation === "delete"
        this.#answer(call, this.#failure(call, "Unavailable", isWrite ? "indefinite" : "definite"))
      } else this.#answer(call, damaged(outcome, fault, this.#random))
    })
  }

  #answer<A>(call: Call<A>, outcome: Exit.Exit<A, ObjectStoreError>): void {
    const { process } = call
    this.#links.send(this, process, () => this.#world.after(0, process, () => call.end(outcome)))
  }

  #failure(
    { operation, key }: { readonly operation: Operation; readonly key: string },
    reason: ObjectStoreError["reason"],
    outcome: ObjectStoreError["outcome"]
  ): Exit.Exit<never, ObjectStoreError> {
    const { bucket } = this.truth
    return Exit.fail(new ObjectStoreError({ reason, outcome, operation, bucket, key, cause: "simulated" }))
  }
}

const AWAY = { refuse: "refused", hang: "hang-before" } as const

/** A get's bytes belong to its caller, so they can be damaged here. */
const damaged = <A>(
  outcome: Exit.Exit<A, ObjectStoreError>,
  fault: BucketFault | undefined,
  random: Prng
): Exit.Exit<A, ObjectStoreError> => {
  if ((fault !== "corrupt" && fault !== "truncated") || !Exit.isSuccess(outcome)) return outcome
  const answer = outcome.value as Partial<ObjectBytes> | undefined
  if (answer?.bytes === undefined || answer.bytes.length === 0) return outcome
  const { bytes } = answer
  if (fault === "truncated")
    return Exit.succeed({ ...answer, bytes: bytes.subarray(0, random.below(bytes.length)) } as A)
  bytes[random.below(bytes.length)]! ^= 1 << random.below(8)
  return outcome
}
