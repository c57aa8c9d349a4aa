/**
 * Whether an agent can serve clients: what /ready answers, kept in memory.
 *
 * A loop asks the log for its newest entry, as a fetch of the latest offset would; /ready itself never waits. The fold
 * that has stopped is not a matter of readiness but the agent's end: it must not go on, and says so here.
 */
import { Clock, Deferred, Effect, type Scope } from "effect"
import { CommitLog } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "./buckets.ts"

export interface Readiness {
  /** Empty: ready. */
  readonly notReady: () => ReadonlyArray<string>
  /** From the moment on at which the listener is open. */
  readonly listening: () => void
  /** Ends with the reason when the fold has stopped. */
  readonly foldStopped: Effect.Effect<string>
}

export const make = (options: {
  readonly bucketSet: string
  readonly buckets: ReadonlyArray<OpenedBucket>
}): Effect.Effect<Readiness, never, CommitLog | QuorumStatus | Scope.Scope> =>
  Effect.gen(function* () {
    const log = yield* CommitLog
    const quorum = yield* QuorumStatus
    const clock = yield* Clock.Clock
    const stopped = yield* Deferred.make<string>()
    let isListening = false
    // The log was read when it was opened.
    let answeredAtMs = clock.currentTimeMillisUnsafe()
    const probe = Effect.gen(function* () {
      const answer = yield* Effect.result(Effect.timeoutOption(log.barrier, limits.readinessStaleMs))
      if (answer._tag === "Failure") {
        const { reason, cause } = answer.failure
        if (reason === "FoldStopped") yield* Deferred.succeed(stopped, String(cause))
      } else if (answer.success._tag === "Some") answeredAtMs = yield* Clock.currentTimeMillis
      yield* Effect.sleep(limits.readinessProbeMs)
    })
    yield* Effect.forkScoped(Effect.forever(probe))
    const notReady = (): ReadonlyArray<string> => {
      const reasons: Array<string> = []
      if (!isListening) reasons.push("the Kafka listener is not open yet")
      const silentMs = clock.currentTimeMillisUnsafe() - answeredAtMs
      if (silentMs > limits.readinessStaleMs) reasons.push(`the database has not answered for ${Math.round(silentMs / 1000)} s`)
      const broken = brokenBuckets(options.buckets, quorum)
      if (!quorum.isWritable(options.bucketSet) || tooFewOpen(options.buckets, quorum, options.bucketSet)) {
        reasons.push(`too few buckets for a quorum; out of order: ${broken.join(", ") || "none"}`)
      }
      return reasons
    }
    return {
      notReady,
      listening: () => {
        isListening = true
      },
      foldStopped: Deferred.await(stopped)
    }
  })
