/**
 * The simulated SQL database: one truth (backends/metadata/memory.ts), and for each process a way to it that takes its time,
 * fails and lies low as a real one does, within what the port allows.
 *
 * A call travels to the region of the leaseholder, waits for the quorum where it writes, takes effect there, at one moment,
 * and its answer travels back. A call of the port that is several statements in SQL is that here: each fares by itself. What
 * has left the caller goes on whatever becomes of the caller: it may take effect after a timeout, after the caller's death, or
 * twice. An error is `definite` only where the statement surely has no effect.
 *
 * The leaseholder needs a majority of the regions. Where it is cut off from the others, it does nothing, and after a while
 * another region has the lease; the same where its region is dark.
 */
import { Clock, Context, Effect, Exit } from "effect"
import { make as makeMemoryStore } from "#backends/metadata/memory.ts"
import { limits } from "#core/model/limits.ts"
import { type IndexPage, type LogRow, MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { type Place, Process, type ProcessClock } from "../engine/process.ts"
import { type Prng, streamOf } from "../engine/prng.ts"
import { type World } from "../engine/world.ts"
import { type Links, roundTripMs } from "../network/links.ts"
import { RandomFaults } from "./random-faults.ts"

export type Store = MetadataStore["Service"]

export type DatabaseFault =
  /** The statement does not reach the database, and the caller knows (refused, 40001): definite. */
  | "refused"
  /** The connection breaks before, or after the statement took effect; 40003 says neither. */
  | "reset-before"
  | "reset-after"
  /** Nothing comes back, before or after. */
  | "hang-before"
  | "hang-after"
  /** The statement waits somewhere, and takes effect later: perhaps long after its caller gave up. */
  | "late"
  /** The statement is delivered again later; the caller has the first answer. */
  | "twice"
  /** The same, and the caller has the second answer. */
  | "resent"

export const DATABASE_FAULTS: ReadonlyArray<DatabaseFault> = [
  "refused",
  "reset-before",
  "reset-after",
  "hang-before",
  "hang-after",
  "late",
  "twice",
  "resent"
]

/** Statements that only read: their errors are definite. */
const READS: ReadonlySet<string> = new Set([
  "read",
  "tail",
  "trimmable",
  "now",
  "checkpoints",
  "readCheckpointChunk",
  "findIndexPage",
  "shardNotes",
  "agents",
  "missingCopies"
])

const SERVICE_MS_MAX = 2
const LATE_MS_MIN = 50
const LATE_MS_MAX = 30_000
/** A statement without quorum looks again so often. */
const QUORUM_POLL_MS = 100
/** A lease moves to another region after so long without a majority. */
const LEASE_MS_MIN = 3_000
const LEASE_MS_MAX = 12_000

/** Sees what takes effect, at the moment when it does. */
export interface DatabaseWatcher {
  readonly appended: (row: LogRow, caller: Process) => void
}

interface Call {
  readonly process: Process
  readonly operation: string
  readonly isRead: boolean
  readonly execute: () => Exit.Exit<unknown, MetadataError>
  readonly end: (outcome: Exit.Exit<unknown, MetadataError>) => void
}

export class SimDatabase {
  readonly #world: World
  readonly #links: Links
  readonly #random: Prng
  readonly #replicas: ReadonlyArray<Place>
  readonly #darkRegions = new Set<string>()
  #home: Place
  #isLeaseMoving = false
  /** Outages that last, the latest decides. */
  #outages: ReadonlyArray<{ readonly manner: "refuse" | "hang" }> = []
  readonly faults = new RandomFaults<DatabaseFault>()
  readonly truth: Store
  readonly clock: ProcessClock
  #latestMs = 0
  watcher: DatabaseWatcher = { appended: () => {} }

  constructor(world: World, links: Links, regions: ReadonlyArray<string>) {
    this.#world = world
    this.#links = links
    this.#random = streamOf(world.seed, "database")
    this.#replicas = regions.map((region) => ({ name: `database@${region}`, region }))
    this.#home = this.#replicas[0]!
    this.clock = new Process(world, { name: "database", region: regions[0]!, generation: 0 }).clock
    const context = Context.make(Clock.Clock, this.clock)
    this.truth = Effect.runSync(makeMemoryStore)
    const runTruth = Effect.runSyncExitWith(context)
    this.#runTruth = (effect) => {
      const exit = runTruth(effect)
      if (Exit.hasDies(exit))
        world.fail("contract", "the database was asked for what its port does not allow", { why: String(exit) })
      return exit
    }
    links.onChange(() => this.#watchLease())
  }

  readonly #runTruth: <A>(effect: Effect.Effect<A, MetadataError>) => Exit.Exit<A, MetadataError>

  get homeRegion(): string {
    return this.#home.region
  }

  setClock(byMs: number): void {
    this.#latestMs = this.latestMs
    this.clock.jump(byMs)
  }

  /** The latest time that its clock has ever shown. */
  get latestMs(): number {
    return Math.max(this.#latestMs, this.clock.currentTimeMillisUnsafe())
  }

  /** Away altogether, until the answer is called. */
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

  /** Loses the region's replica, until the answer is called. */
  darken(region: string): () => void {
    this.#darkRegions.add(region)
    this.#watchLease()
    return () => {
      this.#darkRegions.delete(region)
      this.#watchLease()
    }
  }

  healAll(): void {
    this.faults.clear()
    this.#darkRegions.clear()
    this.#outages = []
  }

  /** Reads the truth itself, at once. */
  readTruth<A>(effect: Effect.Effect<A, MetadataError>): A {
    const exit = this.#runTruth(effect)
    if (Exit.isSuccess(exit)) return exit.value
    throw new Error(`the truth cannot be read: ${String(exit.cause)}`)
  }

  /** The store as the process has it. */
  storeOf(process: Process): Store {
    const { truth } = this
    const through = <A>(operation: string, effect: Effect.Effect<A, MetadataError>): Effect.Effect<A, MetadataError> =>
      this.#call(process, operation, () => this.#runTruth(effect))
    return {
      append: (row) => this.#call(process, "append", () => this.#append(process, row)),
      read: (options) => through("read", truth.read(options)),
      now: through("now", truth.now),
      tail: (shard) => through("tail", truth.tail(shard)),
      trim: (options) => this.#trimInParts(process, options),
      writeCheckpointChunk: (chunk) => through("writeCheckpointChunk", truth.writeCheckpointChunk(chunk)),
      checkpoints: (shard) => through("checkpoints", truth.checkpoints(shard)),
      readCheckpointChunk: (options) => through("readCheckpointChunk", truth.readCheckpointChunk(options)),
      deleteCheckpoints: (options) => through("deleteCheckpoints", truth.deleteCheckpoints(options)),
      writeIndexPages: (pages) => this.#writePagesInParts(process, pages),
      findIndexPage: (options) => through("findIndexPage", truth.findIndexPage(options)),
      deleteIndexPages: (topicId) => through("deleteIndexPages", truth.deleteIndexPages(topicId)),
      noteShard: (note) => through("noteShard", truth.noteShard(note)),
      shardNotes: through("shardNotes", truth.shardNotes),
      register: (agent, ttlMs) => through("register", truth.register(agent, ttlMs)),
      renew: (agent, ttlMs) => through("renew", truth.renew(agent, ttlMs)),
      deregister: (agent) => through("deregister", truth.deregister(agent)),
      agents: through("agents", truth.agents),
      recordMissingCopies: (copies) => through("recordMissingCopies", truth.recordMissingCopies(copies)),
      missingCopies: (options) => through("missingCopies", truth.missingCopies(options)),
      forgetMissingCopies: (copies) => through("forgetMissingCopies", truth.forgetMissingCopies(copies))
    }
  }

  #append(process: Process, row: LogRow): Exit.Exit<"appended" | "taken", MetadataError> {
    const exit = this.#runTruth(this.truth.append(row))
    this.#world.trace.add(process.name, () => {
      const outcome = Exit.isSuccess(exit) ? exit.value : "failed"
      return `INSERT seq ${row.seq} epoch ${row.epoch} nonce ${row.nonce.slice(0, 8)}: ${outcome}`
    })
    if (Exit.isSuccess(exit) && exit.value === "appended") this.watcher.appended(row, process)
    return exit
  }

  /** What may go is looked up, then deleted in two portions: anything may happen between, also to whoever asked for it. */
  #trimInParts(
    process: Process,
    { shard, through }: { readonly shard: number; readonly through: number }
  ): Effect.Effect<number, MetadataError> {
    const { truth } = this
    const trim = (last: number) =>
      this.#call(process, "trim", () => this.#runTruth(truth.trim({ shard, through: last })))
    const looked = this.#call(process, "trimmable", () => Exit.succeed(this.#trimmable(shard, through)))
    const parts = Effect.flatMap(looked, (seqs) => {
      const last = seqs.at(-1)
      if (last === undefined) return Effect.succeed(0)
      return Effect.flatMap(trim(this.#random.pick(seqs)), (some) =>
        Effect.map(Effect.mapError(trim(last), afterOthers), (rest) => some + rest)
      )
    })
    return inTime("trim", parts)
  }

  /** Of the oldest rows that one call may delete. */
  #trimmable(shard: number, through: number): ReadonlyArray<number> {
    const { seq: newest } = this.readTruth(this.truth.tail(shard))
    const seqs: Array<number> = []
    for (let after = 0; ;) {
      const rows = this.readTruth(this.truth.read({ shard, after, limit: limits.logRowsPerRead }))
      for (const { seq, isKept } of rows) {
        after = seq
        if (seq > through || seq >= newest || seqs.length === limits.logRowsPerTrim) return seqs
        if (!isKept) seqs.push(seq)
      }
      if (rows.length === 0) return seqs
    }
  }

  /** As many statements as their bytes need: here two. */
  #writePagesInParts(process: Process, pages: ReadonlyArray<IndexPage>): Effect.Effect<void, MetadataError> {
    const write = (some: ReadonlyArray<IndexPage>) =>
      this.#call(process, "writeIndexPages", () => this.#runTruth(this.truth.writeIndexPages(some)))
    return Effect.suspend(() => {
      const cut = Math.floor(this.#random.next() * pages.length)
      if (cut === 0) return write(pages)
      const rest = Effect.mapError(write(pages.slice(cut)), afterOthers)
      return inTime("writeIndexPages", Effect.andThen(write(pages.slice(0, cut)), rest))
    })
  }

  /** One statement of the process, with its adapter's own deadline. */
  #call<A>(
    process: Process,
    operation: string,
    execute: () => Exit.Exit<A, MetadataError>
  ): Effect.Effect<A, MetadataError> {
    return Effect.callback<A, MetadataError>((resume) => {
      const world = this.#world
      let isOver = false
      const end = (outcome: Exit.Exit<unknown, MetadataError>): void => {
        if (isOver) return
        isOver = true
        timer.run = undefined
        resume(outcome as Exit.Exit<A, MetadataError>)
      }
      const isRead = READS.has(operation)
      const call: Call = { process, operation, isRead, execute, end }
      const timer = world.after(limits.metadataTimeoutMs, process, () => end(failure(call, "TimedOut", "indefinite")))
      this.#send(call)
      return Effect.sync(() => {
        isOver = true
        timer.run = undefined
      })
    })
  }

  #send(call: Call): void {
    const { process, operation } = call
    const fault = this.faults.draw(this.#random, { caller: process.name, operation })
    if (fault !== undefined) this.#world.trace.add("database", () => `${operation} of ${process.name}: ${fault}`)
    const home = this.#home
    if (this.#away === "refuse" || fault === "refused") {
      this.#links.send(process, home, () => this.#answer(call, home, failure(call, "Unavailable", "definite")))
      return
    }
    if (fault === "hang-before" || this.#away === "hang") {
      // Nobody knows whether it is lost for good: with luck it takes effect much later.
      if (this.#random.chance(0.5)) return
      this.#world.after(this.#random.magnitude(LATE_MS_MIN, LATE_MS_MAX), undefined, () =>
        this.#execute(call, "silent")
      )
      return
    }
    const delayMs = fault === "late" ? this.#random.magnitude(LATE_MS_MIN, LATE_MS_MAX) : 0
    this.#world.after(delayMs, undefined, () => this.#links.send(process, home, () => this.#arrive(call, fault)))
  }

  #arrive(call: Call, fault: DatabaseFault | undefined): void {
    const home = this.#home
    if (this.#away !== undefined) {
      if (this.#away === "refuse") this.#answer(call, home, failure(call, "Unavailable", "indefinite"))
      return
    }
    switch (fault) {
      case "reset-before":
        return this.#answer(call, home, failure(call, "Unavailable", "indefinite"))
      case "reset-after":
        return this.#execute(call, "broken")
      case "hang-after":
        return this.#execute(call, "silent")
      case "twice":
        this.#execute(call, "answer")
        return this.#again(call, "silent")
      case "resent":
        this.#execute(call, "silent")
        return this.#again(call, "answer")
      default:
        return this.#execute(call, "answer")
    }
  }

  #again(call: Call, reply: Reply): void {
    const delayMs = this.#random.magnitude(LATE_MS_MIN, LATE_MS_MAX)
    this.#world.after(delayMs, undefined, () => this.#execute(call, reply))
  }

  /** Takes effect at the leaseholder, after the quorum's delay where it writes. */
  #execute(call: Call, reply: Reply): void {
    const serviceMs = this.#random.next() * SERVICE_MS_MAX
    const quorumMs = call.isRead ? 0 : this.#quorumMs() * (1 + 0.1 * this.#random.next())
    this.#world.after(serviceMs + quorumMs, undefined, () => this.#takeEffect(call, reply))
  }

  #takeEffect(call: Call, reply: Reply): void {
    if (this.#isLeaseMoving || this.#away !== undefined || !this.#hasMajority(this.#home)) {
      this.#world.after(QUORUM_POLL_MS, undefined, () => this.#takeEffect(call, reply))
      return
    }
    const outcome = call.execute()
    if (reply === "silent") return
    this.#answer(call, this.#home, reply === "answer" ? outcome : failure(call, "Unavailable", "indefinite"))
  }

  #answer(call: Call, from: Place, outcome: Exit.Exit<unknown, MetadataError>): void {
    const { process } = call
    this.#links.send(from, process, () => this.#world.after(0, process, () => call.end(outcome)))
  }

  // --- the leaseholder -------------------------------------------------------------------------------------------

  /** To the nearest other replica and back. */
  #quorumMs(): number {
    const others = this.#replicas.filter((replica) => replica !== this.#home)
    return Math.min(...others.map((replica) => roundTripMs(this.#home.region, replica.region)))
  }

  #hasMajority(leaseholder: Place): boolean {
    if (this.#darkRegions.has(leaseholder.region)) return false
    const reached = this.#replicas.filter(
      (replica) =>
        !this.#darkRegions.has(replica.region) &&
        (replica === leaseholder ||
          (!this.#links.isCut(replica, leaseholder) && !this.#links.isCut(leaseholder, replica)))
    )
    return reached.length * 2 > this.#replicas.length
  }

  /** Called on every change of the network: a leaseholder without a majority loses its lease some time later. */
  #watchLease(): void {
    if (this.#isLeaseMoving || this.#hasMajority(this.#home)) return
    this.#isLeaseMoving = true
    this.#world.after(this.#random.between(LEASE_MS_MIN, LEASE_MS_MAX), undefined, () => {
      this.#isLeaseMoving = false
      const able = this.#replicas.filter((replica) => this.#hasMajority(replica))
      if (able.length === 0) {
        this.#world.after(QUORUM_POLL_MS, undefined, () => this.#watchLease())
        return
      }
      if (!able.includes(this.#home)) this.#home = this.#random.pick(able)
      this.#world.trace.add("database", () => `the lease is in ${this.#home.region}`)
    })
  }
}

/** A statement that did nothing fails a call whose earlier ones were through. */
const afterOthers = ({ reason, operation, cause }: MetadataError): MetadataError =>
  new MetadataError({ reason, outcome: "indefinite", operation, cause })

/** A call of several statements has no more time than one of one. */
const inTime = <A>(operation: string, parts: Effect.Effect<A, MetadataError>): Effect.Effect<A, MetadataError> =>
  Effect.timeoutOrElse(parts, {
    duration: limits.metadataTimeoutMs,
    orElse: () =>
      Effect.fail(new MetadataError({ reason: "TimedOut", outcome: "indefinite", operation, cause: "simulated" }))
  })

type Reply = "answer" | "broken" | "silent"

const failure = (
  { operation, isRead }: Call,
  reason: MetadataError["reason"],
  outcome: MetadataError["outcome"]
): Exit.Exit<never, MetadataError> =>
  Exit.fail(
    new MetadataError({
      reason,
      outcome: isRead ? "definite" : outcome,
      operation,
      cause: "simulated"
    })
  )
