/**
 * Commands that wait to be judged, in the order in which they were submitted.
 *
 * Invariant: every submission is answered once: by the appender, by its deadline, or at the end. At most
 * limits.commandsQueued are queued; behind them limits.submitsWaiting wait for room, for limits.submitWaitMs; more are
 * refused at once. It reads no clock: time is given by the caller.
 */
import { limits } from "#core/model/limits.ts"
import { type Command } from "./command.ts"
import { commandBytesMax, entryBytesMaxOf } from "./command-check.ts"
import { CommitLogError } from "./commit-log.ts"
import { type Answer } from "./judge.ts"

export type Outcome = { readonly answer: Answer } | { readonly error: CommitLogError } | { readonly defect: unknown }

export class Submission {
  readonly command: Command
  /** What its effects take in an entry, at most. */
  readonly bytesMax: number
  /** When it gives up waiting for room, and when it gives up being settled. */
  readonly roomDeadlineMs: number
  readonly settleDeadlineMs: number
  private readonly resume: (outcome: Outcome) => void
  private isDone = false

  constructor(command: Command, nowMs: number, resume: (outcome: Outcome) => void) {
    this.command = command
    this.bytesMax = commandBytesMax(command)
    this.roomDeadlineMs = nowMs + limits.submitWaitMs
    this.settleDeadlineMs = nowMs + limits.commandSettleMs
    this.resume = resume
  }

  /** Answered, or nobody waits any more. */
  get isOver(): boolean {
    return this.isDone
  }

  /** Does nothing the second time. */
  end(outcome: Outcome): void {
    if (this.isDone) return
    this.isDone = true
    this.resume(outcome)
  }

  /** Nobody waits any more: it is not judged if it was not yet. */
  withdraw(): void {
    this.isDone = true
  }
}

export class CommandQueue {
  private queued: Array<Submission> = []
  private waiting: Array<Submission> = []

  get size(): number {
    return this.queued.length + this.waiting.length
  }

  /** False where there is no room at all: the submission is not taken. */
  offer(submission: Submission): boolean {
    if (this.queued.length < limits.commandsQueued && this.waiting.length === 0) this.queued.push(submission)
    else if (this.waiting.length < limits.submitsWaiting) this.waiting.push(submission)
    else return false
    return true
  }

  /** The next for one entry, at least one unless nobody waits; they leave the queue. */
  take(): ReadonlyArray<Submission> {
    // All that were queued may have run out of time, and only those that wait for room be left.
    this.refill()
    const taken: Array<Submission> = []
    let bytes = 0
    let count = 0
    for (const submission of this.queued) {
      if (!submission.isOver) {
        const isFull = taken.length >= limits.commandsPerEntry
        if (isFull || entryBytesMaxOf(bytes + submission.bytesMax) > limits.entryBytesMax) break
        bytes += submission.bytesMax
        taken.push(submission)
      }
      count += 1
    }
    this.queued.splice(0, count)
    this.refill()
    return taken
  }

  private refill(): void {
    const room = limits.commandsQueued - this.queued.length
    if (this.waiting.length > 0 && room > 0) this.queued.push(...this.waiting.splice(0, room))
  }

  /** Answers those whose time is over: they were surely not judged. */
  expire(nowMs: number): void {
    this.waiting = this.waiting.filter((submission) => {
      if (submission.roomDeadlineMs > nowMs) return !submission.isOver
      submission.end({ error: overloaded(`no room among ${limits.commandsQueued} for ${limits.submitWaitMs} ms`) })
      return false
    })
    // All have the same time to wait, so the oldest go first.
    let count = 0
    while (count < this.queued.length && this.queued[count]!.settleDeadlineMs <= nowMs) {
      this.queued[count]!.end({ error: notAppended() })
      count += 1
    }
    if (count > 0) this.queued.splice(0, count)
  }

  endAll(error: CommitLogError): void {
    for (const submission of this.queued.concat(this.waiting)) submission.end({ error })
    this.queued = []
    this.waiting = []
  }
}

export const overloaded = (why: string): CommitLogError =>
  new CommitLogError({ reason: "Overloaded", outcome: "definite", cause: new Error(`too many commands wait: ${why}`) })

const notAppended = (): CommitLogError =>
  new CommitLogError({
    reason: "Unavailable",
    outcome: "definite",
    cause: new Error(`the commands before it were not settled within ${limits.commandSettleMs} ms`)
  })
