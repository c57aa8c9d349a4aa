/**
 * The commit log of one shard over the metadata store: this agent appends for itself, by compare-and-set.
 *
 * It puts the parts together: the tail (log-tail.ts) folds what anyone appended, the appender (appender.ts) settles what is
 * submitted here. The start reads the whole log and, for shard 0, begins the cluster if nobody did; however many agents
 * start at once, one genesis wins and the others fold it. At the end of the scope everyone who waits is told.
 *
 * The seam for the leased sequencer is `submit`: an agent that does not hold the shard will send its commands to the one
 * that does, and only that one runs the appender. Fold, barrier and listeners stay as they are.
 */
import { Cause, Clock, Effect, Layer, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { Appender } from "./appender.ts"
import { type AnswerOf, type Command } from "./command.ts"
import { assertCommand } from "./command-check.ts"
import { CommandQueue, overloaded } from "./command-queue.ts"
import { CommitLog, type CommitLogError } from "./commit-log.ts"
import { encodeEntry } from "./entry.ts"
import { backoff, LogTail, unavailable } from "./log-tail.ts"

export interface AppendLogOptions {
  readonly shard: number
  /** Pause between polls of the log's tail; what one appends oneself is folded at once. */
  readonly pollIntervalMs?: number
}

export const layer = (options: AppendLogOptions): Layer.Layer<CommitLog, CommitLogError, MetadataStore | Entropy> =>
  Layer.effect(CommitLog, make(options))

export const make = Effect.fnUntraced(function* (options: AppendLogOptions) {
  const store = yield* MetadataStore
  const entropy = yield* Entropy
  const clock = yield* Clock.Clock
  const tail = new LogTail({
    store,
    shard: options.shard,
    pollIntervalMs: options.pollIntervalMs ?? limits.logPollIntervalMs
  })
  const appender = new Appender({ store, entropy, clock, tail, queue: new CommandQueue() })
  yield* Effect.addFinalizer(() => Effect.sync(() => tail.end(closed())))
  yield* start({ tail, appender, entropy })
  yield* Effect.forkScoped(guardedLoop(tail, tail.poll))
  yield* Effect.forkScoped(guardedLoop(tail, tail.serveBarriers))
  yield* Effect.forkScoped(guardedLoop(tail, appender.run))
  yield* Effect.forkScoped(guardedLoop(tail, appender.watchDeadlines))
  return CommitLog.of({
    submit: (command) => submit(tail, appender, command),
    fold: tail.fold,
    barrier: tail.barrier,
    onFolded: (listener) => tail.onFolded(listener)
  })
})

const submit = <C extends Command>(
  tail: LogTail,
  appender: Appender,
  command: C
): Effect.Effect<AnswerOf<C>, CommitLogError> =>
  Effect.callback((resume) => {
    if (tail.ended !== undefined) return resume(Effect.fail(tail.ended))
    const unsound = defectOf(command)
    if (unsound !== undefined) return resume(Effect.die(unsound))
    const submission = appender.offer(command, (outcome) => {
      if ("answer" in outcome) resume(Effect.succeed(outcome.answer as AnswerOf<C>))
      else resume("error" in outcome ? Effect.fail(outcome.error) : Effect.die(outcome.defect))
    })
    if (submission !== undefined) return Effect.sync(() => submission.withdraw())
    return resume(Effect.fail(overloaded(`${limits.submitsWaiting} wait for room`)))
  })

/** What is wrong with the command itself, before anyone else's commands are judged with it. */
const defectOf = (command: Command): unknown => {
  try {
    return assertCommand(command)
  } catch (defect) {
    return defect
  }
}

interface StartParts {
  readonly tail: LogTail
  readonly appender: Appender
  readonly entropy: Entropy["Service"]
}

/** Reads the log, however long it is, and begins it where it is empty. Only time without progress is bounded. */
const start = Effect.fnUntraced(function* (parts: StartParts): Effect.fn.Return<void, CommitLogError> {
  let isDone = false
  while (!isDone) {
    isDone = yield* readOn(parts).pipe(
      Effect.timeoutOrElse({ duration: limits.logStartMs, orElse: () => Effect.fail(withoutProgress(parts.tail)) })
    )
  }
})

const withoutProgress = (tail: LogTail): CommitLogError =>
  unavailable(
    "indefinite",
    new Error(`the log was read up to seq ${tail.fold.seq} and no further in ${limits.logStartMs} ms`)
  )

/** Ends when another page was folded (false), or nothing is left to read (true). */
const readOn = Effect.fnUntraced(function* ({
  tail,
  appender,
  entropy
}: StartParts): Effect.fn.Return<boolean, CommitLogError> {
  const { seq } = tail.fold
  for (let attempt = 1; ; attempt += 1) {
    const read = yield* Effect.result(tail.readOnce)
    if (tail.ended !== undefined) return yield* tail.ended
    if (tail.fold.seq > seq) return false
    if (Result.isFailure(read)) yield* onStartFailure(read.failure, attempt)
    // Rows that do not follow on what is folded: a gap, which only the store can close.
    else if (read.success > 0) yield* backoff(attempt)
    else if (seq > 0 || tail.fold.shard !== 0) return true
    else {
      const outcome = yield* appender.append(encodeEntry([{ kind: "genesis", clusterId: entropy.uuid() }]))
      if (outcome === "mine") return true
      if (outcome !== "lost" && outcome !== "ended") yield* onStartFailure(outcome, attempt)
    }
  }
})

const onStartFailure = Effect.fnUntraced(function* (failure: MetadataError, attempt: number) {
  if (!failure.isRetryable) return yield* unavailable("definite", failure)
  yield* Effect.logWarning("the log cannot be read yet").pipe(Effect.annotateLogs({ attempt, error: failure.message }))
  return yield* backoff(attempt)
})

/** A loop that dies would leave everyone waiting for ever: the log stops with it. */
const guardedLoop = (tail: LogTail, loop: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.onExit(loop, (exit) =>
    Effect.sync(() => {
      if (exit._tag === "Failure" && tail.ended === undefined && !Cause.hasInterruptsOnly(exit.cause))
        tail.stop(exit.cause)
    })
  )

const closed = (): CommitLogError => unavailable("definite", new Error("the commit log is closed"))
