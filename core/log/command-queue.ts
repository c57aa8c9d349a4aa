/**
 * Commands that wait at the sequencer to be judged, in the order in which they came.
 *
 * Invariant: every submission is answered once, by the sequencer or at the end, unless whoever asked has gone
 * (`withdraw`). At most limits.commandsQueued wait; more are refused. Segments wait apart from the others, as many again, while
 * the gate is closed (segment-gate.ts).
 */
import { limits } from "#core/model/limits.ts"
import { type Command } from "./command.ts"
import { commandBytesMax, entryBytesMaxOf } from "./command-check.ts"
import { type CommitLogError } from "./commit-log.ts"
import { type Answer } from "./judge.ts"
import { type SegmentGate } from "./segment-gate.ts"

export type Outcome =
  /** Settled, by the entry of this seq. */
  | { readonly kind: "answer"; readonly answer: Answer; readonly seq: number }
  /** Not judged here, or judged in vain: send it (again) to whoever sequences. It may have taken effect all the same. */
  | { readonly kind: "refused"; readonly why: "not-sequencer" | "overloaded" }
  | { readonly kind: "failed"; readonly error: CommitLogError }
  | { readonly kind: "defect"; readonly defect: unknown }

export class Submission {
  readonly command: Command
  /** What its effects take in an entry, at most. */
  readonly bytesMax: number
  private readonly resume: (outcome: Outcome) => void
  private isDone = false

  constructor(command: Command, resume: (outcome: Outcome) => void) {
    this.command = command
    this.bytesMax = commandBytesMax(command)
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
  private readonly gate: Pick<SegmentGate, "isClosed" | "admits">
  private queued: Array<Submission> = []
  /** Segments that the gate keeps back: they came before those that are queued. */
  private held: Array<Submission> = []

  constructor(gate: Pick<SegmentGate, "isClosed" | "admits">) {
    this.gate = gate
  }

  get size(): number {
    return this.queued.length + this.held.length
  }

  /** False where there is no room: the submission is not taken. */
  offer(submission: Submission): boolean {
    if (this.gate.isClosed) this.keepBack()
    const line = this.gate.admits(submission.command) ? this.queued : this.held
    if (line.length >= limits.commandsQueued) return false
    line.push(submission)
    return true
  }

  /** The next for one entry, at least one unless nobody waits; they leave the queue. */
  take(): ReadonlyArray<Submission> {
    this.passGate()
    const taken: Array<Submission> = []
    let bytes = 0
    let count = 0
    for (const submission of this.queued) {
      if (!submission.isOver) {
        const isFull = taken.length >= limits.commandsPerEntry
        const isTooLong = entryBytesMaxOf(bytes + submission.bytesMax) > limits.entryBytesMax
        if (taken.length > 0 && (isFull || isTooLong)) break
        taken.push(submission)
        bytes += submission.bytesMax
      }
      count += 1
    }
    this.queued.splice(0, count)
    return taken
  }

  /** What came later never passes what came before, but for what is no segment. */
  private passGate(): void {
    if (this.gate.isClosed) {
      this.keepBack()
      // Whoever gave up has withdrawn it.
      this.held = this.held.filter(({ isOver }) => !isOver)
    } else if (this.held.length > 0) {
      this.queued = [...this.held, ...this.queued]
      this.held = []
    }
  }

  /** Segments that were queued before the gate closed. */
  private keepBack(): void {
    const kept = this.queued.filter(({ command }) => !this.gate.admits(command))
    if (kept.length === 0) return
    this.queued = this.queued.filter(({ command }) => this.gate.admits(command))
    for (const submission of kept) this.held.push(submission)
  }

  endAll(outcome: Outcome): void {
    const ended = [...this.held, ...this.queued]
    this.held = []
    this.queued = []
    for (const submission of ended) submission.end(outcome)
  }
}
