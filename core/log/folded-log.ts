/**
 * One shard's log as an agent follows it: read from the newest checkpoint on, folded, polled; and begun where it is empty.
 *
 * It comes up before the agent is a member, so that nobody is sent to an agent that does not know the log yet. However many
 * agents start at once on an empty database, one genesis wins and the others fold it. At the end of the scope everyone who
 * waits is told. Who appends is another matter (sequenced-log.ts).
 */
import { Cause, Clock, Context, Effect, Layer, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { LastingFailure } from "#core/telemetry/lasting-failure.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { type CommitLogError, unavailable } from "./commit-log.ts"
import { encodeEntry } from "./entry.ts"
import { LogClock } from "./log-clock.ts"
import { LogTail } from "./log-tail.ts"
import { backoff } from "./store-call.ts"
import { SlotWriter } from "./slot-writer.ts"

export interface FoldedLogOptions {
  readonly shard: number
  /** Pause between polls of the log's tail while nothing comes by itself. */
  readonly pollIntervalMs?: number
}

export class FoldedLog extends Context.Service<
  FoldedLog,
  {
    /** Where the log lies. */
    readonly store: MetadataStore["Service"]
    readonly tail: LogTail
    readonly writer: SlotWriter
    readonly logClock: LogClock
  }
>()("meridian/core/log/FoldedLog") {}

export const layer = (options: FoldedLogOptions): Layer.Layer<FoldedLog, CommitLogError, MetadataStore | Entropy> =>
  Layer.effect(FoldedLog, make(options))

export const make = Effect.fnUntraced(function* (options: FoldedLogOptions) {
  const store = yield* MetadataStore
  const entropy = yield* Entropy
  const clock = yield* Clock.Clock
  const tail = new LogTail({
    store,
    clock,
    shard: options.shard,
    pollIntervalMs: options.pollIntervalMs ?? limits.logPollIntervalMs
  })
  const writer = new SlotWriter({ store, entropy, tail })
  const logClock = new LogClock({ store, clock, fold: tail.fold })
  yield* Effect.addFinalizer(() => Effect.sync(() => tail.end(closed())))
  yield* start({ tail, writer, logClock, entropy })
  yield* Effect.forkScoped(guardedLoop(tail, tail.poll))
  yield* Effect.forkScoped(guardedLoop(tail, tail.serveBarriers))
  yield* Effect.forkScoped(guardedLoop(tail, logClock.watch))
  return FoldedLog.of({ store, tail, writer, logClock })
})

/** A loop that dies would leave everyone waiting for ever: the log stops with it. */
export const guardedLoop = (tail: LogTail, loop: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.onExit(loop, (exit) =>
    Effect.sync(() => {
      if (exit._tag === "Failure" && tail.ended === undefined && !Cause.hasInterruptsOnly(exit.cause))
        tail.stop(exit.cause)
    })
  )

interface StartParts {
  readonly tail: LogTail
  readonly writer: SlotWriter
  readonly logClock: LogClock
  readonly entropy: Entropy["Service"]
}

/** Reads the time, checkpoint and log, however long it is, and begins it where it is empty. Only time without progress is bounded. */
const start = Effect.fnUntraced(function* (parts: StartParts): Effect.fn.Return<void, CommitLogError> {
  yield* restoreFirst(parts).pipe(
    Effect.timeoutOrElse({ duration: limits.logStartMs, orElse: () => Effect.fail(withoutProgress(parts.tail)) })
  )
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

const restoreFirst = Effect.fnUntraced(function* ({
  tail,
  logClock
}: StartParts): Effect.fn.Return<void, CommitLogError> {
  const failure = new LastingFailure()
  for (let attempt = 1; ; attempt += 1) {
    const restored = yield* Effect.result(Effect.andThen(logClock.look, tail.restore))
    if (tail.ended !== undefined) return yield* tail.ended
    if (Result.isSuccess(restored)) return
    yield* onStartFailure(restored.failure, attempt, failure)
  }
})

/** Ends when another page was folded (false), or nothing is left to read (true). */
const readOn = Effect.fnUntraced(function* ({
  tail,
  writer,
  entropy
}: StartParts): Effect.fn.Return<boolean, CommitLogError> {
  const { seq } = tail.fold
  const failure = new LastingFailure()
  for (let attempt = 1; ; attempt += 1) {
    const read = yield* Effect.result(tail.readOnce)
    if (tail.ended !== undefined) return yield* tail.ended
    if (tail.fold.seq > seq) return false
    if (Result.isFailure(read)) yield* onStartFailure(read.failure, attempt, failure)
    // Rows that do not follow on what is folded: a gap, which only the store can close.
    else if (read.success.rowCount > 0) yield* backoff(attempt)
    else if (seq > 0 || tail.fold.shard !== 0) return true
    else {
      const genesis = encodeEntry([{ kind: "genesis", clusterId: entropy.uuid() }])
      const { outcome } = yield* writer.append(genesis, { epoch: 0, isKept: true })
      if (outcome === "mine") return true
      if (outcome !== "lost" && outcome !== "ended") yield* onStartFailure(outcome, attempt, failure)
    }
  }
})

const onStartFailure = Effect.fnUntraced(function* (error: MetadataError, attempt: number, failure: LastingFailure) {
  if (!error.isRetryable) return yield* unavailable("definite", error)
  const forMs = failure.failed(yield* monotonicMs)
  if (forMs !== undefined) yield* Effect.logWarning("the log cannot be read yet", { forMs, error: error.message })
  return yield* backoff(attempt)
})

const closed = (): CommitLogError => unavailable("definite", new Error("the commit log is closed"))
