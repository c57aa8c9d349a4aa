/**
 * The sequencer of one shard's log: judges what waits, appends it as one entry, answers; and the beginning of epochs.
 *
 * Every agent has one; only the epoch's holder acts. While one entry is being inserted the next gathers (group commit), so
 * the latency of a commit does not depend on how many agents there are.
 *
 * Invariants: nothing is answered before the row that holds it is folded here as a valid one. A row that lost its slot had
 * no effect: its commands are judged again, or given back to whoever asked, where another epoch has begun. Whoever takes
 * over acts only after the database has said once more where the log ends: a candidate that slept since it looked could
 * else have found a slot free that was taken, settled and trimmed away meanwhile. From then on each of its slots follows on
 * one of its own rows, and the slot after its last is taken, for ever, by the row that begins the next epoch (such rows are
 * never trimmed). So however long it sleeps, compare-and-set alone stops it; no clock is asked.
 */
import { type Clock, Deferred, Effect, Latch, Result } from "effect"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type Command } from "./command.ts"
import { type CommandQueue, type Outcome, Submission } from "./command-queue.ts"
import { CommitLogError, unavailable } from "./commit-log.ts"
import { type Holder } from "./effect.ts"
import { encodeEntry } from "./entry.ts"
import { type Answer, entriesNeeded, judge } from "./judge.ts"
import { type LogTail } from "./log-tail.ts"
import { type LogClock } from "./log-clock.ts"
import { backoff } from "./store-call.ts"
import { type SlotOutcome, type SlotWriter } from "./slot-writer.ts"

interface EpochAsked {
  readonly holder: Holder
  readonly done: Deferred.Deferred<"begun" | "not-begun">
}

const NOT_SEQUENCER: Outcome = { kind: "refused", why: "not-sequencer" }

export class Sequencer {
  readonly self: Holder
  private readonly clock: Clock.Clock
  private readonly logClock: LogClock
  private readonly tail: LogTail
  private readonly writer: SlotWriter
  private readonly queue: CommandQueue
  private readonly work = Latch.makeUnsafe()
  /** Commands that were taken and are not answered. */
  private current: ReadonlyArray<Submission> = []
  private epochAsked: EpochAsked | undefined
  /** An epoch that was begun here, while it is not known that its row is the newest; and that row, of which nobody was told. */
  private unverifiedEpoch: number | undefined
  private unverifiedRow: LogRow | undefined
  /** Since when the present entry is being settled. */
  private settlingSinceMs: number | undefined
  private readonly appendedListeners: Array<(rows: ReadonlyArray<LogRow>) => void> = []
  private readonly actingListeners: Array<() => void> = []

  constructor(parts: {
    readonly self: Holder
    readonly clock: Clock.Clock
    readonly logClock: LogClock
    readonly tail: LogTail
    readonly writer: SlotWriter
    readonly queue: CommandQueue
  }) {
    this.self = parts.self
    this.clock = parts.clock
    this.logClock = parts.logClock
    this.tail = parts.tail
    this.writer = parts.writer
    this.queue = parts.queue
    this.tail.onEnded((error) => this.endAll(error))
    this.tail.onEpoch(() => this.work.openUnsafe())
  }

  /** Whether the epoch is this agent's. */
  get isHolder(): boolean {
    const { holder } = this.tail.fold
    return holder !== undefined && holder.session === this.self.session && holder.name === this.self.name
  }

  /** Whether it appends: it may hold the epoch and not be sure of it yet. */
  get isActing(): boolean {
    return this.isHolder && this.unverifiedEpoch !== this.tail.fold.epoch
  }

  /** How long the present entry has not been settled: where that is long, another agent may do better. */
  get settlingMs(): number {
    return this.settlingSinceMs === undefined ? 0 : monotonicMsOf(this.clock) - this.settlingSinceMs
  }

  get waiting(): number {
    return this.queue.size + this.current.length
  }

  /** Called with each row that was appended here, after it was folded. */
  onAppended(listener: (rows: ReadonlyArray<LogRow>) => void): void {
    this.appendedListeners.push(listener)
  }

  /** Called when this agent has taken over and begins to act. */
  onActing(listener: () => void): void {
    this.actingListeners.push(listener)
  }

  /**
   * Takes a command in, to be judged after those before it. A refusal comes at once, before this returns: whoever sends
   * several in an order must then send none behind it.
   */
  offer(command: Command, resume: (outcome: Outcome) => void): Submission {
    const submission = new Submission(command, resume)
    if (this.tail.ended !== undefined) submission.end({ kind: "failed", error: this.tail.ended })
    else if (!this.isActing) submission.end(NOT_SEQUENCER)
    else if (!this.queue.offer(submission)) submission.end({ kind: "refused", why: "overloaded" })
    else this.work.openUnsafe()
    return submission
  }

  /**
   * Begins the next epoch with the holder: oneself, to take over; another, to hand over. `not-begun`: someone else began
   * one, or the database does not answer; look again.
   */
  readonly beginEpoch = Effect.fnUntraced(function* (this: Sequencer, holder: Holder) {
    if (this.epochAsked !== undefined || this.tail.ended !== undefined) return "not-begun"
    const done = Deferred.makeUnsafe<"begun" | "not-begun">()
    this.epochAsked = { holder, done }
    this.work.openUnsafe()
    return yield* Deferred.await(done)
  })

  /** Never ends by itself, unless the log ends. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.runUntilEnded())

  private readonly runUntilEnded = Effect.fnUntraced(function* (this: Sequencer) {
    while (this.tail.ended === undefined) {
      this.work.closeUnsafe()
      if (this.epochAsked !== undefined) {
        this.settlingSinceMs = monotonicMsOf(this.clock)
        yield* this.answerEpochAsked(this.epochAsked)
        this.settlingSinceMs = undefined
        continue
      }
      // Also where the epoch came from another's hand while this agent tried to take it.
      if (this.isHolder && !this.isActing) {
        yield* this.verify()
        continue
      }
      if (!this.isActing) {
        this.queue.endAll(NOT_SEQUENCER)
        yield* this.work.await
        continue
      }
      this.current = this.queue.take()
      if (this.current.length === 0) {
        yield* this.work.await
        continue
      }
      this.settlingSinceMs = monotonicMsOf(this.clock)
      yield* this.settleCurrent()
      this.settlingSinceMs = undefined
    }
  })

  /** Until every one of the current commands is answered or given back, and what was issued for them is settled. */
  private readonly settleCurrent = Effect.fnUntraced(function* (this: Sequencer) {
    let failures = 0
    const entries = new Map<number, Uint8Array>()
    while (this.dropOver() > 0 && this.tail.ended === undefined) {
      if (!this.isActing) return this.endCurrent(NOT_SEQUENCER)
      const read = yield* Effect.result(this.readEntriesNeeded(entries))
      if (Result.isFailure(read)) {
        failures += 1
        yield* backoff(failures)
        continue
      }
      if (!this.isActing) continue
      const judged = this.judgeCurrent(entries)
      if (judged === undefined) return
      const judgedFor = this.current
      const outcome = yield* this.append(judged.entry, { epoch: this.tail.fold.epoch, isKept: false })
      if (outcome === "mine") {
        const { seq } = this.tail.fold
        judgedFor.forEach((submission, index) =>
          submission.end({ kind: "answer", answer: judged.answers[index]!, seq })
        )
        return
      }
      if (outcome === "ended") return
      if (outcome === "lost") continue
      failures += 1
      if (!outcome.isRetryable) {
        this.endCurrent({ kind: "failed", error: unavailable("definite", outcome) })
        // Those behind come again, or not at all: none of them is judged without those before it.
        return this.queue.endAll({ kind: "refused", why: "overloaded" })
      }
      yield* backoff(failures)
    }
  })

  private readonly append = Effect.fnUntraced(function* (
    this: Sequencer,
    entry: Uint8Array,
    row: { readonly epoch: number; readonly isKept: boolean }
  ) {
    const onDoubt = (cause: unknown) => {
      this.endCurrent({ kind: "failed", error: unavailable("indefinite", cause) })
      this.queue.endAll({ kind: "refused", why: "overloaded" })
    }
    const appended = yield* this.writer.append(entry, { ...row, onDoubt })
    const { outcome } = appended
    if (outcome === "mine") {
      if (row.epoch === this.unverifiedEpoch) this.unverifiedRow = appended.row
      else this.tell(appended.row)
    }
    return outcome
  })

  private readonly answerEpochAsked = Effect.fnUntraced(function* (this: Sequencer, asked: EpochAsked) {
    const isTakeover = asked.holder.session === this.self.session
    // Only who holds an epoch hands it on, and nobody takes over from oneself.
    const outcome: SlotOutcome =
      isTakeover === this.isHolder ? "lost" : yield* this.appendEpoch(asked.holder, isTakeover)
    if (typeof outcome === "object") {
      yield* Effect.logWarning("an epoch could not be begun", { shard: this.tail.fold.shard, error: outcome.message })
    }
    this.epochAsked = undefined
    Deferred.doneUnsafe(asked.done, Effect.succeed(outcome === "mine" ? "begun" : "not-begun"))
  })

  private readonly appendEpoch = Effect.fnUntraced(function* (this: Sequencer, holder: Holder, isTakeover: boolean) {
    const epoch = this.tail.fold.epoch + 1
    if (isTakeover) this.unverifiedEpoch = epoch
    return yield* this.append(encodeEntry([{ kind: "epoch-begun", holder }]), { epoch, isKept: true })
  })

  /** Until the database has said that the log ends here, and what time it is; or another epoch has begun. */
  private readonly verify = Effect.fnUntraced(function* (this: Sequencer) {
    for (let attempt = 1; this.isHolder && this.tail.ended === undefined; attempt += 1) {
      const asked = Effect.all([this.tail.barrier, this.logClock.look], { concurrency: "unbounded", discard: true })
      const read = yield* Effect.result(asked)
      if (Result.isFailure(read)) yield* backoff(attempt)
      else {
        this.unverifiedEpoch = undefined
        const row = this.unverifiedRow
        this.unverifiedRow = undefined
        if (row !== undefined && this.isHolder) this.tell(row)
        for (const listener of this.actingListeners) listener()
        return
      }
    }
  })

  private tell(row: LogRow): void {
    for (const listener of this.appendedListeners) listener([row])
  }

  /** First answers of commands that come again long after. */
  private readonly readEntriesNeeded = Effect.fnUntraced(function* (this: Sequencer, entries: Map<number, Uint8Array>) {
    const commands = this.current.map(({ command }) => command)
    for (const seq of entriesNeeded(this.tail.fold, commands)) {
      if (!entries.has(seq)) entries.set(seq, yield* this.tail.entryAt(seq))
    }
  })

  /** Undefined where judging threw: a defect, of which everyone concerned is told. */
  private judgeCurrent(
    entries: ReadonlyMap<number, Uint8Array>
  ): { readonly answers: ReadonlyArray<Answer>; readonly entry: Uint8Array } | undefined {
    const commands = this.current.map((submission) => submission.command)
    try {
      const { answers, effects } = judge(this.tail.fold, commands, { nowMs: this.logClock.nowMs(), entries })
      return { answers, entry: encodeEntry(effects) }
    } catch (defect) {
      this.endCurrent({ kind: "defect", defect })
      // None of those behind is judged without these.
      this.queue.endAll({ kind: "refused", why: "overloaded" })
      return undefined
    }
  }

  /** Forgets those that are answered; how many are left. */
  private dropOver(): number {
    this.current = this.current.filter((submission) => !submission.isOver)
    return this.current.length
  }

  private endCurrent(outcome: Outcome): void {
    for (const submission of this.current) submission.end(outcome)
  }

  private endAll(error: CommitLogError): void {
    this.endCurrent({ kind: "failed", error: this.writer.isInDoubt ? withOutcome(error, "indefinite") : error })
    this.queue.endAll({ kind: "failed", error })
    if (this.epochAsked !== undefined) Deferred.doneUnsafe(this.epochAsked.done, Effect.succeed("not-begun"))
    this.work.openUnsafe()
  }
}

const withOutcome = (error: CommitLogError, outcome: "definite" | "indefinite"): CommitLogError =>
  new CommitLogError({ reason: error.reason, outcome, cause: error.cause })
