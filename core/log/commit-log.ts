/**
 * The commit log as the rest of an agent sees it: submit commands, read the fold, wait for it.
 */
import { Context, type Effect, Schema } from "effect"
import { type AnswerOf, type Command } from "./command.ts"
import { type FoldState, type Folded } from "./fold.ts"

/** The command was not settled: it may have taken effect or not (`indefinite`), or it surely did not (`definite`). */
export class CommitLogError extends Schema.TaggedError<CommitLogError>()("CommitLogError", {
  reason: Schema.Literals([
    /** The database did not answer in time or at all. */
    "Unavailable",
    /** Too many commands wait. */
    "Overloaded",
    /** The fold has stopped: an entry cannot be understood or the chain is broken. The agent must not go on. */
    "FoldStopped"
  ]),
  outcome: Schema.Literals(["definite", "indefinite"]),
  cause: Schema.Defect()
}) {
  get isRetryable(): boolean {
    return this.reason !== "FoldStopped"
  }
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `commit log: ${this.reason} (${this.outcome}): ${why}`
  }
}

export class CommitLog extends Context.Service<
  CommitLog,
  {
    /**
     * Judged and settled in the order of the calls. Ends only after the entry that holds its effects is settled and
     * folded here. A `commit-segment` whose segment id was committed already is answered with the first answer.
     */
    readonly submit: <C extends Command>(command: C) => Effect.Effect<AnswerOf<C>, CommitLogError>
    /** The live fold. Read only, synchronous; what is read is consistent until the next await. */
    readonly fold: FoldState
    /** Linearizable reads: reads the log's tail once (shared by all who wait), ends when the fold has reached it. */
    readonly barrier: Effect.Effect<void, CommitLogError>
    /** The log's time, which all agents share: milliseconds since 1970, whole. */
    readonly nowMs: () => number
    /** Calls the listener, synchronously, after each fold of an entry. Returns the function that ends it. */
    readonly onFolded: (listener: (folded: Folded) => void) => () => void
  }
>()("meridian/core/log/CommitLog") {}

export const unavailable = (outcome: "definite" | "indefinite", cause: unknown): CommitLogError =>
  new CommitLogError({ reason: "Unavailable", outcome, cause })
