/**
 * Whether an agent can serve clients: what /ready answers, kept in memory.
 *
 * Loops ask the log for its newest entry, as a question for the latest offset would, and each bucket for one key; /ready
 * itself never waits. All buckets must be asked here, traffic or not: an agent without writes would neither notice that
 * its buckets are gone, nor that they are back. What they answer goes to the quorum, which judges it.
 *
 * A bucket that leaves the ack path, or is back, is told in one log event: changes only, never a failed call.
 *
 * A fold that has stopped is not a matter of readiness but the agent's end: `foldStopped` says so.
 */
import { Clock, Deferred, Effect, type Scope } from "effect"
import { PROBE_KEY } from "#backends/object/request-check.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { MetadataError } from "#core/ports/metadata-store.ts"
import { monotonicMs, monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type TopologyBucketSet, failureDomainOf } from "#regions/topology.ts"
import { type BucketStatus, QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "./buckets.ts"
import { causeText } from "./command-failed.ts"

export interface Readiness {
  /** Empty: ready. */
  readonly notReady: () => ReadonlyArray<string>
  /** What is not well, whether the agent is ready or not. */
  readonly degraded: () => ReadonlyArray<string>
  /** To be called when the listener is open. */
  readonly listening: () => void
  /** Ends with the reason when the fold has stopped; never otherwise. */
  readonly foldStopped: Effect.Effect<string>
}

interface State {
  isListening: boolean
  /** When the log last answered, and why it has not since. */
  answeredAtMs: number
  unansweredWhy: string | undefined
  /** Buckets that answered when they were last asked. */
  readonly answering: Set<string>
  /** Buckets whose absence was told, and since when they are away. */
  readonly awaySinceMs: Map<string, number>
}

interface Options {
  readonly bucketSet: TopologyBucketSet
  readonly buckets: ReadonlyArray<OpenedBucket>
}

export const make = (options: Options): Effect.Effect<Readiness, never, CommitLog | QuorumStatus | Scope.Scope> =>
  Effect.gen(function* () {
    const quorum = yield* QuorumStatus
    const clock = yield* Clock.Clock
    const stopped = yield* Deferred.make<string>()
    // The log was read when it was opened, so it has just answered.
    const state: State = {
      isListening: false,
      answeredAtMs: monotonicMsOf(clock),
      unansweredWhy: undefined,
      answering: new Set(),
      awaySinceMs: new Map()
    }
    yield* Effect.forkScoped(repeated(probeLog(state, stopped), limits.readinessProbeMs))
    yield* Effect.forkScoped(repeated(tellChanges(state, quorum), limits.readinessProbeMs))
    yield* Effect.forEach(options.buckets, (bucket) =>
      Effect.forkScoped(repeated(probeBucket(state, quorum, bucket), limits.bucketProbeMs))
    )
    return {
      notReady: () => {
        const reasons: Array<string> = []
        if (!state.isListening) reasons.push("the Kafka listener is not open yet")
        const silentMs = monotonicMsOf(clock) - state.answeredAtMs
        if (silentMs > limits.readinessStaleMs) {
          const why = state.unansweredWhy === undefined ? "" : `: ${state.unansweredWhy}`
          reasons.push(`the database has not answered for ${Math.round(silentMs / 1000)} s${why}`)
        }
        return [...reasons, ...quorumProblem(options, quorum, state, monotonicMsOf(clock))]
      },
      degraded: () => {
        const away = new Set(quorum.buckets().flatMap(({ name, writes }) => (writes === "healthy" ? [] : [name])))
        return membersOf(options)
          .filter(({ bucket: { name }, isOpen }) => !isOpen() || away.has(name))
          .map(({ bucket: { name } }) => `bucket ${name} does not take writes`)
      },
      listening: () => {
        state.isListening = true
      },
      foldStopped: Deferred.await(stopped)
    }
  })

const repeated = <R>(probe: Effect.Effect<void, never, R>, pauseMs: number): Effect.Effect<never, never, R> =>
  Effect.forever(Effect.andThen(probe, Effect.sleep(pauseMs)))

const probeLog = Effect.fnUntraced(function* (state: State, stopped: Deferred.Deferred<string>) {
  const log = yield* CommitLog
  const answer = yield* Effect.result(Effect.timeoutOption(log.barrier, limits.readinessStaleMs))
  if (answer._tag === "Failure") {
    const { reason, cause } = answer.failure
    if (reason === "FoldStopped") yield* Deferred.succeed(stopped, String(cause))
    state.unansweredWhy = causeText(cause instanceof MetadataError ? cause.cause : cause)
  } else if (answer.success._tag === "Some") {
    state.answeredAtMs = yield* monotonicMs
    state.unansweredWhy = undefined
  }
})

const probeBucket = Effect.fnUntraced(function* (
  state: State,
  quorum: QuorumStatus["Service"],
  { bucket: { name, store } }: OpenedBucket
) {
  // Not a list: stores charge ten times as much for one, and a directory bucket of S3 has to read all keys for it.
  const answer = yield* store.head(PROBE_KEY).pipe(
    Effect.catch((error) => (error.reason === "NotFound" ? Effect.void : Effect.fail(error.message))),
    Effect.timeoutOrElse({
      duration: limits.bucketProbeTimeoutMs,
      orElse: () => Effect.fail(`no answer in ${limits.bucketProbeTimeoutMs} ms to a question for one key`)
    }),
    Effect.result
  )
  if (answer._tag === "Success") state.answering.add(name)
  else state.answering.delete(name)
  quorum.probed(name, answer._tag === "Success" ? { kind: "answered" } : { kind: "failed", why: answer.failure })
})

const tellChanges = Effect.fnUntraced(function* (state: State, quorum: QuorumStatus["Service"]) {
  const nowMs = yield* monotonicMs
  for (const { name, awaySinceMs, failure, copiesMissed } of quorum.buckets()) {
    const toldSinceMs = state.awaySinceMs.get(name)
    if (awaySinceMs !== undefined && toldSinceMs === undefined) {
      state.awaySinceMs.set(name, awaySinceMs)
      yield* Effect.logWarning("bucket left the ack path", { bucket: name, why: failure?.why ?? "unknown" })
    } else if (awaySinceMs === undefined && toldSinceMs !== undefined) {
      state.awaySinceMs.delete(name)
      yield* Effect.logInfo("bucket is back in the ack path", {
        bucket: name,
        awayMs: nowMs - toldSinceMs,
        copiesMissed
      })
    }
  }
})

const membersOf = ({ bucketSet, buckets }: Options): ReadonlyArray<OpenedBucket> =>
  buckets.filter(({ bucket }) => bucketSet.buckets.includes(bucket.name))

/** Empty where buckets in enough failure domains would take a write. */
const quorumProblem = (
  options: Options,
  quorum: QuorumStatus["Service"],
  state: State,
  nowMs: number
): ReadonlyArray<string> => {
  const { bucketSet } = options
  const status = new Map(quorum.buckets().map((bucket) => [bucket.name, bucket]))
  // An answer is not enough right after a put has failed: full and read-only buckets answer too.
  const mayWork = ({ name, writes, failure }: BucketStatus): boolean =>
    writes === "healthy" ||
    (state.answering.has(name) && nowMs - (failure?.atMs ?? -Infinity) >= limits.bucketFailureBelievedMs)
  const isUsable = ({ bucket: { name }, isOpen }: OpenedBucket): boolean => {
    const known = status.get(name)
    return isOpen() && known !== undefined && mayWork(known)
  }
  const members = membersOf(options)
  const usable = members.filter(isUsable)
  const domains = new Set(usable.map(({ bucket }) => failureDomainOf(bucket, bucketSet.failureDomain)))
  if (domains.size >= bucketSet.writes) return []
  const broken = members.filter((member) => !usable.includes(member)).map(({ bucket }) => bucket.name)
  return [
    `buckets in ${domains.size} of ${bucketSet.writes} needed ${bucketSet.failureDomain}s work: ${broken.join(", ")} out of order`
  ]
}
