/**
 * Follows one shard's log: folds what is read, wakes who waits for it, and answers linearizable reads.
 *
 * Invariants: rows are folded once, in order, without gaps, whoever read them (the poll, the appender, the start). A
 * barrier is answered with a tail that was read after it was asked for. A fold that stopped stays stopped: everyone who
 * waits and everyone who comes is told.
 */
import { type Clock, Deferred, Effect, Exit, Latch, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type LogRow, MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { LastingFailure } from "#core/telemetry/lasting-failure.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { CommitLogError, unavailable } from "./commit-log.ts"
import { restoreFold } from "./checkpoint.ts"
import { applyRow, createFold, type Fold, type Folded, FoldStopped } from "./fold.ts"
import { loadNewestCheckpoint } from "./load-checkpoint.ts"
import { backoff, guarded } from "./store-call.ts"

/** A slot that someone tries to take: decided when its row is folded. */
export interface WatchedSlot {
  readonly seq: number
  readonly nonce: Uuid
  /** `void`: the row has the slot, but its epoch was over. */
  outcome: "unknown" | "mine" | "lost" | "void"
  /** Opens when it is decided. */
  readonly decided: Latch.Latch
}

interface BarrierWait {
  readonly done: Deferred.Deferred<void, CommitLogError>
  /** Of the tail; undefined until it was read. */
  seq: number | undefined
}

/** What a read of the log brought. */
export interface LogRead {
  readonly rowCount: number
  /** What is missing between the fold and these rows; undefined where the fold has them. */
  readonly missing: string | undefined
}

export class LogTail {
  readonly fold: Fold
  /** Why nothing goes on: the fold stopped, or the log was closed. */
  ended: CommitLogError | undefined = undefined
  private readonly store: MetadataStore["Service"]
  private readonly pollIntervalMs: number
  private readonly clock: Clock.Clock
  /** The highest seq that anyone spoke of: rows up to it are in the log. */
  private heardSeq = 0
  /** When rows, or word that there are none, last came without being asked for. */
  private toldAtMs = Number.NEGATIVE_INFINITY
  private slot: WatchedSlot | undefined = undefined
  private readonly listeners = new Set<(folded: Folded) => void>()
  private readonly barriers = new Set<BarrierWait>()
  private readonly pollSoon = Latch.makeUnsafe()
  private readonly barrierAsked = Latch.makeUnsafe()
  private epoch = 0
  private readonly epochListeners: Array<() => void> = []
  private readonly endListeners: Array<(error: CommitLogError) => void> = []
  /** Errors of listeners and the fold that were not logged yet; the poll logs them. */
  private readonly unreported: Array<unknown> = []

  constructor(options: {
    readonly store: MetadataStore["Service"]
    readonly shard: number
    readonly pollIntervalMs: number
    readonly clock: Clock.Clock
  }) {
    this.store = options.store
    this.clock = options.clock
    this.fold = createFold(options.shard)
    this.pollIntervalMs = options.pollIntervalMs
  }

  onFolded(listener: (folded: Folded) => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** Called when another epoch has begun, before those who listen for folds. */
  onEpoch(listener: () => void): void {
    this.epochListeners.push(listener)
  }

  /** Called once, when `ended` is set. */
  onEnded(listener: (error: CommitLogError) => void): void {
    this.endListeners.push(listener)
  }

  /** From now on the row folded at the slot's seq decides its outcome. */
  watch(slot: WatchedSlot): void {
    this.slot = slot
  }

  /** Folds what of the rows is new; stops before a gap. Synchronous. */
  foldRows(rows: ReadonlyArray<LogRow>): void {
    for (const row of rows) {
      if (this.ended !== undefined || row.seq > this.fold.seq + 1) return
      if (row.seq <= this.fold.seq) continue
      this.foldRow({ ...row, entry: ownBytes(row.entry) })
    }
  }

  /**
   * Someone who knows tells rows that are settled (or none), and that the log reaches to `tailSeq`: while this goes on the
   * poll is needed only for what goes missing. Synchronous.
   */
  told(rows: ReadonlyArray<LogRow>, tailSeq: number): void {
    this.toldAtMs = monotonicMsOf(this.clock)
    this.foldRows(rows)
    this.heardOf(tailSeq)
  }

  /** The log reaches to this seq, as someone says who knows. What does not come by itself is read soon. */
  heardOf(seq: number): void {
    if (seq <= this.heardSeq) return
    this.heardSeq = seq
    if (seq > this.fold.seq) this.pollSoon.openUnsafe()
  }

  /**
   * Reads once after the fold, and folds. Where the log was trimmed under a fold that is far behind, the fold goes on from a
   * checkpoint.
   */
  readonly readOnce: Effect.Effect<LogRead, MetadataError> = Effect.suspend(() => this.readAfterFold())

  /** Goes on from the newest checkpoint, if there is one after the fold. Ends with whether it did. */
  readonly restore: Effect.Effect<boolean, MetadataError> = Effect.suspend(() => this.restoreNewest())

  /** The bytes of one entry that is in the log, as was folded before. */
  readonly entryAt = Effect.fnUntraced(function* (this: LogTail, seq: number) {
    const { shard } = this.fold
    const [row] = yield* guarded("read", this.store.read({ shard, after: seq - 1, limit: 1 }))
    if (row?.seq === seq) return row.entry
    const cause = new Error(`row ${seq} of shard ${shard} is not there`)
    return yield* new MetadataError({ reason: "Corrupt", outcome: "definite", operation: "read", cause })
  })

  /** Never ends by itself, unless the fold stops. */
  readonly poll: Effect.Effect<void> = Effect.suspend(() => this.pollUntilEnded())

  /** Never ends by itself, unless the fold stops. */
  readonly serveBarriers: Effect.Effect<void> = Effect.suspend(() => this.serveBarriersUntilEnded())

  /** See CommitLog.barrier. */
  readonly barrier: Effect.Effect<void, CommitLogError> = Effect.suspend(() => {
    if (this.ended !== undefined) return Effect.fail(this.ended)
    if (this.barriers.size >= limits.barriersWaiting) return Effect.fail(tooManyBarriers())
    const wait: BarrierWait = { done: Deferred.makeUnsafe(), seq: undefined }
    this.barriers.add(wait)
    this.barrierAsked.openUnsafe()
    return Deferred.await(wait.done).pipe(
      Effect.timeoutOrElse({ duration: limits.barrierWaitMs, orElse: () => Effect.fail(barrierTimedOut()) }),
      Effect.ensuring(Effect.sync(() => this.barriers.delete(wait)))
    )
  })

  /** Nothing is folded or answered any more. */
  end(error: CommitLogError): void {
    if (this.ended !== undefined) return
    this.ended = error
    for (const wait of this.barriers) Deferred.doneUnsafe(wait.done, Exit.fail(error))
    for (const listener of this.endListeners) listener(error)
    this.pollSoon.openUnsafe()
    this.barrierAsked.openUnsafe()
  }

  /** As `end`, for what must never happen: the agent must not go on. */
  stop(cause: unknown): void {
    this.end(new CommitLogError({ reason: "FoldStopped", outcome: "definite", cause }))
    this.unreported.push(cause)
  }

  private readonly readAfterFold = Effect.fnUntraced(function* (this: LogTail) {
    const { shard, seq } = this.fold
    const rows = yield* guarded("read", this.store.read({ shard, after: seq, limit: limits.logRowsPerRead }))
    const isGap = rows.length > 0 && rows[0]!.seq > this.fold.seq + 1
    if (isGap && this.ended === undefined) yield* this.restore
    this.foldRows(rows)
    return { rowCount: rows.length, missing: this.missingBefore(rows[0]) }
  })

  private missingBefore(row: LogRow | undefined): string | undefined {
    const { seq } = this.fold
    if (this.ended !== undefined || row === undefined || row.seq <= seq + 1) return undefined
    return `rows ${seq + 1} to ${row.seq - 1} are missing, and there is no sound checkpoint after ${seq}`
  }

  private readonly restoreNewest = Effect.fnUntraced(function* (this: LogTail) {
    const { store, fold } = this
    const checkpoint = yield* loadNewestCheckpoint({ store, shard: fold.shard, after: fold.seq })
    if (checkpoint === undefined || this.ended !== undefined || checkpoint.seq <= fold.seq) return false
    let folded: Folded
    try {
      folded = restoreFold(fold, checkpoint.chunks)
    } catch (cause) {
      this.stop(cause)
      return false
    }
    // Whose that slot was cannot be told any more: what is sent again is recognised.
    if (this.slot !== undefined && this.slot.seq <= fold.seq) decide(this.slot, "lost")
    this.announce(folded)
    yield* Effect.logInfo("the fold goes on from a checkpoint", { shard: fold.shard, seq: fold.seq })
    return true
  })

  private foldRow(row: LogRow): void {
    let folded: Folded
    try {
      folded = applyRow(this.fold, row)
    } catch (cause) {
      return this.stop(cause instanceof FoldStopped ? cause : new FoldStopped(row, "its effects broke the fold", cause))
    }
    const { slot } = this
    if (slot?.seq === row.seq) {
      decide(slot, slot.nonce !== row.nonce ? "lost" : folded.standing === "void" ? "void" : "mine")
    }
    if (folded.standing === "void") this.unreported.push(new VoidRow(row))
    this.announce(folded)
  }

  private announce(folded: Folded): void {
    if (this.fold.epoch !== this.epoch) {
      this.epoch = this.fold.epoch
      for (const listener of this.epochListeners) listener()
    }
    for (const listener of this.listeners) this.tell(listener, folded)
    for (const wait of this.barriers) {
      if (wait.seq !== undefined && wait.seq <= folded.seq) Deferred.doneUnsafe(wait.done, Exit.void)
    }
  }

  /** A listener's error is its own: the others, and the log, go on. */
  private tell(listener: (folded: Folded) => void, folded: Folded): void {
    try {
      listener(folded)
    } catch (cause) {
      if (this.unreported.length < UNREPORTED_MAX) this.unreported.push(cause)
    }
  }

  private readonly pollUntilEnded = Effect.fnUntraced(function* (this: LogTail) {
    const failure = new LastingFailure()
    let failures = 0
    while (this.ended === undefined) {
      yield* this.report
      this.pollSoon.closeUnsafe()
      const read = yield* Effect.result(this.readOnce)
      const error = Result.isFailure(read) ? read.failure.message : read.success.missing
      if (error !== undefined) {
        failures += 1
        const forMs = failure.failed(monotonicMsOf(this.clock))
        if (forMs !== undefined) {
          yield* Effect.logWarning("the log's tail cannot be read", { shard: this.fold.shard, forMs, error })
        }
        yield* backoff(failures)
        continue
      }
      failures = 0
      const afterMs = failure.ended(monotonicMsOf(this.clock))
      if (afterMs !== undefined)
        yield* Effect.logInfo("the log's tail is read again", { shard: this.fold.shard, afterMs })
      if (Result.isSuccess(read) && read.success.rowCount >= limits.logRowsPerRead) continue
      yield* Effect.raceFirst(Effect.sleep(this.pauseMs()), this.pollSoon.await)
      // Rows that were heard of are most likely under way: a moment's patience saves the read.
      if (this.heardSeq > this.fold.seq) yield* Effect.sleep(limits.logTellPatienceMs)
    }
    yield* this.report
  })

  private pauseMs(): number {
    const silentMs = monotonicMsOf(this.clock) - this.toldAtMs
    return silentMs < limits.logToldStaleMs ? Math.max(this.pollIntervalMs, limits.logPollToldMs) : this.pollIntervalMs
  }

  private readonly serveBarriersUntilEnded = Effect.fnUntraced(function* (this: LogTail) {
    while (this.ended === undefined) {
      yield* this.barrierAsked.await
      this.barrierAsked.closeUnsafe()
      // Those who ask from here on get the next read: this one may have begun before what they must see.
      const asked = [...this.barriers].filter((wait) => wait.seq === undefined)
      if (asked.length === 0) continue
      const foldedSeq = this.fold.seq
      const read = yield* Effect.result(guarded("tail", this.store.tail(this.fold.shard)))
      if (Result.isFailure(read)) {
        const exit = Exit.fail(unavailable("definite", read.failure))
        for (const wait of asked) Deferred.doneUnsafe(wait.done, exit)
        continue
      }
      const { seq } = read.success
      if (seq < foldedSeq) {
        this.stop(
          new FoldStopped({ shard: this.fold.shard, seq: foldedSeq }, `the database has lost rows: it ends at ${seq}`)
        )
        return
      }
      for (const wait of asked) {
        wait.seq = seq
        if (seq <= this.fold.seq) Deferred.doneUnsafe(wait.done, Exit.void)
      }
      if (seq > this.fold.seq) this.pollSoon.openUnsafe()
    }
  })

  private readonly report: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      this.unreported.splice(0),
      (cause) =>
        Effect.logError(eventOf(cause)).pipe(
          Effect.annotateLogs({ shard: this.fold.shard, seq: this.fold.seq, error: String(cause) })
        ),
      { discard: true }
    )
  )
}

/** Loud, but no end: a sequencer that was deposed has appended, and nobody acts on it. */
class VoidRow extends Error {
  override readonly name = "VoidRow"
  constructor(row: LogRow) {
    super(`row ${row.seq} of shard ${row.shard} is of epoch ${row.epoch}, which was over: it has no effect`)
  }
}

const eventOf = (cause: unknown): string =>
  cause instanceof FoldStopped
    ? "the fold stopped"
    : cause instanceof VoidRow
      ? "a row of a deposed sequencer was passed over"
      : "a listener of the log failed"

const decide = (slot: WatchedSlot, outcome: Exclude<WatchedSlot["outcome"], "unknown">): void => {
  if (slot.outcome !== "unknown") return
  slot.outcome = outcome
  slot.decided.openUnsafe()
}

const UNREPORTED_MAX = 16
const tooManyBarriers = (): CommitLogError => {
  const cause = new Error(`${limits.barriersWaiting} callers wait for the log's tail`)
  return new CommitLogError({ reason: "Overloaded", outcome: "definite", cause })
}

const barrierTimedOut = (): CommitLogError =>
  unavailable("definite", new Error(`the log's tail was not reached within ${limits.barrierWaitMs} ms`))

/** The fold keeps entries: one that is a small part of a large buffer is copied, or it would keep all of it alive. */
const ownBytes = (entry: Uint8Array): Uint8Array =>
  entry.buffer.byteLength > entry.byteLength * 2 ? Uint8Array.prototype.slice.call(entry) : entry
