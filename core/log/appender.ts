/**
 * Appends commands to one shard's log by compare-and-set: judge, encode, insert, fold, answer.
 *
 * Invariants: one append is under way at a time. Nothing is answered before the row that holds it is folded here. A row
 * whose insert may or may not have taken effect is settled before anything else is appended: the same row is issued again
 * until its slot is taken, by it or by another, however long that takes; commands whose time is over are told meanwhile
 * that their outcome is not known. A row that lost its slot to another appender had no effect: its commands are judged
 * again on the new fold.
 *
 * Who may append is not decided here. The leased sequencer will run this same loop for all agents of a shard, with its own
 * epoch, and the other agents will send their commands to it.
 */
import { type Clock, Effect, Latch, Random, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Entropy } from "#core/ports/entropy.ts"
import { type LogRow, type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { type Command } from "./command.ts"
import { type CommandQueue, type Outcome, Submission } from "./command-queue.ts"
import { CommitLogError } from "./commit-log.ts"
import { encodeEntry } from "./entry.ts"
import { type Answer, judge } from "./judge.ts"
import { backoff, guarded, type LogTail, unavailable, type WatchedSlot } from "./log-tail.ts"

/** `lost`: another row has the slot, this one had no effect. */
type AppendOutcome = "mine" | "lost" | "ended" | MetadataError

export class Appender {
  private readonly store: MetadataStore["Service"]
  private readonly entropy: Entropy["Service"]
  private readonly clock: Clock.Clock
  private readonly tail: LogTail
  private readonly queue: CommandQueue
  private readonly work = Latch.makeUnsafe()
  private readonly watching = Latch.makeUnsafe()
  /** Commands that were taken and are not answered. */
  private current: ReadonlyArray<Submission> = []
  /** Whether the row of `current` may be in the log. */
  private isInDoubt = false
  private foreignRowsSeen = 0
  private foreignSeenMs = Number.NEGATIVE_INFINITY
  private appendMs = 1

  constructor(parts: {
    readonly store: MetadataStore["Service"]
    readonly entropy: Entropy["Service"]
    readonly clock: Clock.Clock
    readonly tail: LogTail
    readonly queue: CommandQueue
  }) {
    this.store = parts.store
    this.entropy = parts.entropy
    this.clock = parts.clock
    this.tail = parts.tail
    this.queue = parts.queue
    this.tail.onEnded((error) => this.endAll(error))
  }

  /** False where there is no room: the submission will not be answered. */
  offer(command: Command, resume: (outcome: Outcome) => void): Submission | undefined {
    const submission = new Submission(command, this.nowMs(), resume)
    if (!this.queue.offer(submission)) return undefined
    this.work.openUnsafe()
    this.watching.openUnsafe()
    return submission
  }

  /** Never ends by itself, unless the log ends. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.runUntilEnded())

  /** Tells those whose time is over, also while an append hangs. Never ends by itself, unless the log ends. */
  readonly watchDeadlines: Effect.Effect<void> = Effect.suspend(() => this.watchUntilEnded())

  /** Appends one entry; ends when it is known whether it was appended. */
  readonly append = Effect.fnUntraced(function* (this: Appender, entry: Uint8Array) {
    const row = this.nextRow(entry)
    const slot: WatchedSlot = { seq: row.seq, nonce: row.nonce, outcome: "unknown" }
    this.tail.watch(slot)
    this.isInDoubt = true
    const startedMs = this.nowMs()
    const outcome = yield* this.insert(row, slot)
    this.isInDoubt = false
    this.appendMs = this.appendMs * 0.9 + Math.min(this.nowMs() - startedMs, limits.logYieldMaxMs) * 0.1
    return outcome
  })

  private readonly runUntilEnded = Effect.fnUntraced(function* (this: Appender) {
    while (this.tail.ended === undefined) {
      this.work.closeUnsafe()
      this.current = this.queue.take()
      if (this.current.length === 0) {
        yield* this.work.await
        continue
      }
      yield* this.settleCurrent()
      yield* this.yieldToOthers()
    }
  })

  /** Until every one of the current commands is answered, and what was issued for them is settled. */
  private readonly settleCurrent = Effect.fnUntraced(function* (this: Appender) {
    let failures = 0
    for (let attempt = 1; this.dropOver() > 0 && this.tail.ended === undefined; attempt += 1) {
      const judged = this.judgeCurrent()
      if (judged === undefined) return
      const judgedFor = this.current
      const outcome = yield* this.append(judged.entry)
      if (outcome === "mine") {
        judgedFor.forEach((submission, index) => submission.end({ answer: judged.answers[index]! }))
        return
      }
      if (outcome === "ended") return
      if (outcome === "lost") failures = 0
      else failures += 1
      const cause = outcome === "lost" ? new Error("other appenders took every slot") : outcome
      if (attempt >= limits.appendAttemptsMax || !(outcome === "lost" || outcome.isRetryable)) {
        this.endCurrent(unavailable("definite", cause))
      }
      if (failures > 0) yield* backoff(failures)
      else yield* this.pauseAfterLoss(attempt)
    }
  })

  /** Issues the row until it is settled. Only a first, definite failure ends it as not appended. */
  private readonly insert = Effect.fnUntraced(function* (this: Appender, row: LogRow, slot: WatchedSlot) {
    for (let attempt = 1; ; attempt += 1) {
      const inserted = yield* Effect.result(guarded("append", this.store.append(row)))
      if (Result.isSuccess(inserted) && inserted.success === "appended") this.tail.foldRows([row])
      else if (Result.isFailure(inserted)) {
        if (attempt === 1 && inserted.failure.outcome === "definite") return inserted.failure
        if (attempt >= limits.appendAttemptsMax) this.endCurrent(unavailable("indefinite", inserted.failure))
      }
      // Also after "taken": it may have been an earlier delivery of this very row that took the slot.
      if (slot.outcome === "unknown") yield* Effect.ignore(this.tail.readOnce)
      else if (slot.outcome === "lost" && Result.isSuccess(inserted) && inserted.success === "appended") {
        this.tail.stop(new Error(`the database acknowledged row ${row.seq}, which another row's nonce has`))
      }
      if (this.tail.ended !== undefined) return "ended" satisfies AppendOutcome
      if (slot.outcome !== "unknown") return slot.outcome satisfies AppendOutcome
      yield* Effect.logWarning("an append is not settled yet").pipe(
        Effect.annotateLogs({
          shard: row.shard,
          seq: row.seq,
          attempt,
          error: Result.isFailure(inserted) ? inserted.failure.message : "the slot is taken, but its row is not read"
        })
      )
      yield* backoff(attempt)
    }
  })

  private nextRow(entry: Uint8Array): LogRow {
    const { fold } = this.tail
    return {
      shard: fold.shard,
      seq: fold.seq + 1,
      epoch: fold.epoch,
      nonce: this.entropy.uuid(),
      prevNonce: fold.nonce,
      isKept: false,
      entry
    }
  }

  /** Undefined where judging threw: a defect, of which everyone concerned is told. */
  private judgeCurrent(): { readonly answers: ReadonlyArray<Answer>; readonly entry: Uint8Array } | undefined {
    const commands = this.current.map((submission) => submission.command)
    try {
      const { answers, effects } = judge(this.tail.fold, commands, { nowMs: this.nowMs() })
      return { answers, entry: encodeEntry(effects) }
    } catch (defect) {
      for (const submission of this.current) submission.end({ defect })
      return undefined
    }
  }

  /** Forgets those that are answered; how many are left. */
  private dropOver(): number {
    this.current = this.current.filter((submission) => !submission.isOver)
    return this.current.length
  }

  private endCurrent(error: CommitLogError): void {
    for (const submission of this.current) submission.end({ error })
  }

  private endAll(error: CommitLogError): void {
    this.endCurrent(this.isInDoubt ? withOutcome(error, "indefinite") : error)
    this.queue.endAll(error)
    this.work.openUnsafe()
    this.watching.openUnsafe()
  }

  private readonly watchUntilEnded = Effect.fnUntraced(function* (this: Appender) {
    while (this.tail.ended === undefined) {
      this.watching.closeUnsafe()
      if (this.queue.size === 0 && this.current.every((submission) => submission.isOver)) {
        yield* this.watching.await
        continue
      }
      yield* Effect.sleep(DEADLINE_CHECK_MS)
      const nowMs = this.nowMs()
      this.queue.expire(nowMs)
      const outcome = this.isInDoubt ? "indefinite" : "definite"
      for (const submission of this.current) {
        if (submission.settleDeadlineMs > nowMs || submission.isOver) continue
        const cause = new Error(`the command was not settled within ${limits.commandSettleMs} ms`)
        submission.end({ error: unavailable(outcome, cause) })
      }
    }
  })

  /**
   * Whoever appended last knows the tail at once, the others must read it first: without a pause the same appender would
   * take slot after slot. So it lets the others go first, where there are any.
   */
  private readonly yieldToOthers = Effect.fnUntraced(function* (this: Appender) {
    const nowMs = this.nowMs()
    if (this.tail.foreignRows > this.foreignRowsSeen) this.foreignSeenMs = nowMs
    this.foreignRowsSeen = this.tail.foreignRows
    // Whoever wins often sees few rows of others: a single look would tell it that it is alone.
    if (nowMs - this.foreignSeenMs > CONTENDED_MS) return
    const pauseMs = Math.min(limits.logYieldMaxMs, this.appendMs * YIELD_APPENDS)
    yield* pauseUpTo(pauseMs)
  })

  /** Those who lost together must not meet again at once; who lost often pauses less than who just won. */
  private readonly pauseAfterLoss = Effect.fnUntraced(function* (this: Appender, losses: number) {
    const pauseMs = Math.min(limits.logYieldMaxMs, this.appendMs / losses)
    yield* pauseUpTo(pauseMs)
  })

  /** Whole: it goes into entries. A clock that is not the system's may say fractions. */
  private nowMs(): number {
    return Math.floor(this.clock.currentTimeMillisUnsafe())
  }
}

const DEADLINE_CHECK_MS = 100
/** For so long after another's row this appender is not alone. */
const CONTENDED_MS = 250
/** Appends of others that one lets pass, at most. */
const YIELD_APPENDS = 4

/** Whole milliseconds: a timer has no others. */
const pauseUpTo = (longestMs: number): Effect.Effect<void> =>
  Effect.flatMap(Random.nextBetween(0, longestMs), (pauseMs) => Effect.sleep(Math.round(pauseMs)))

const withOutcome = (error: CommitLogError, outcome: "definite" | "indefinite"): CommitLogError =>
  new CommitLogError({ reason: error.reason, outcome, cause: error.cause })
