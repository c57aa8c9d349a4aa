/**
 * Whether an agent can serve clients: what /ready answers, kept in memory.
 *
 * A loop asks the log for its newest entry, as a question for the latest offset would, and looks into buckets that writes
 * leave out; /ready itself never waits. Those buckets must be asked here: an agent that is not ready gets no writes, and
 * without writes it would never notice that its buckets are back.
 *
 * A fold that has stopped is not a matter of readiness but the agent's end: `foldStopped` says so.
 */
import { Clock, Deferred, Effect, type Scope } from "effect"
import { CommitLog } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { type TopologyBucketSet, failureDomainOf } from "#regions/topology.ts"
import { QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "./buckets.ts"

export interface Readiness {
  /** Empty: ready. */
  readonly notReady: () => ReadonlyArray<string>
  /** To be called when the listener is open. */
  readonly listening: () => void
  /** Ends with the reason when the fold has stopped; never otherwise. */
  readonly foldStopped: Effect.Effect<string>
}

interface State {
  isListening: boolean
  /** When the log last answered. */
  answeredAtMs: number
  /** Suspended buckets that answered when they were last asked. */
  readonly answering: Set<string>
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
    const state: State = { isListening: false, answeredAtMs: clock.currentTimeMillisUnsafe(), answering: new Set() }
    yield* Effect.forkScoped(repeated(probeLog(state, stopped)))
    yield* Effect.forEach(options.buckets, (bucket) => Effect.forkScoped(repeated(probeBucket(state, quorum, bucket))))
    return {
      notReady: () => {
        const reasons: Array<string> = []
        if (!state.isListening) reasons.push("the Kafka listener is not open yet")
        const silentMs = clock.currentTimeMillisUnsafe() - state.answeredAtMs
        if (silentMs > limits.readinessStaleMs) {
          reasons.push(`the database has not answered for ${Math.round(silentMs / 1000)} s`)
        }
        return [...reasons, ...quorumProblem(options, quorum, state)]
      },
      listening: () => {
        state.isListening = true
      },
      foldStopped: Deferred.await(stopped)
    }
  })

const repeated = (probe: Effect.Effect<void, never, CommitLog>): Effect.Effect<never, never, CommitLog> =>
  Effect.forever(Effect.andThen(probe, Effect.sleep(limits.readinessProbeMs)))

const probeLog = Effect.fnUntraced(function* (state: State, stopped: Deferred.Deferred<string>) {
  const log = yield* CommitLog
  const answer = yield* Effect.result(Effect.timeoutOption(log.barrier, limits.readinessStaleMs))
  if (answer._tag === "Failure") {
    const { reason, cause } = answer.failure
    if (reason === "FoldStopped") yield* Deferred.succeed(stopped, String(cause))
  } else if (answer.success._tag === "Some") state.answeredAtMs = yield* Clock.currentTimeMillis
})

const probeBucket = Effect.fnUntraced(function* (
  state: State,
  quorum: QuorumStatus["Service"],
  { bucket: { name, store } }: OpenedBucket
) {
  const isSuspended = quorum.buckets().some((status) => status.name === name && status.writes === "suspended")
  if (!isSuspended) return void state.answering.delete(name)
  const answer = yield* Effect.result(Effect.timeout(store.list({ prefix: "", limit: 1 }), limits.getTimeoutMs))
  if (answer._tag === "Success") state.answering.add(name)
  else state.answering.delete(name)
})

/** Empty where buckets in enough failure domains would take a write. */
const quorumProblem = (
  { bucketSet, buckets }: Options,
  quorum: QuorumStatus["Service"],
  state: State
): ReadonlyArray<string> => {
  const status = new Map(quorum.buckets().map((bucket) => [bucket.name, bucket.writes]))
  const isUsable = ({ bucket: { name }, isOpen }: OpenedBucket): boolean =>
    isOpen() && (status.get(name) === "healthy" || state.answering.has(name))
  const members = buckets.filter(({ bucket }) => bucketSet.buckets.includes(bucket.name))
  const usable = members.filter(isUsable)
  const domains = new Set(usable.map(({ bucket }) => failureDomainOf(bucket, bucketSet.failureDomain)))
  if (domains.size >= bucketSet.writes) return []
  const broken = members.filter((member) => !usable.includes(member)).map(({ bucket }) => bucket.name)
  return [
    `buckets in ${domains.size} of ${bucketSet.writes} needed ${bucketSet.failureDomain}s work: ${broken.join(", ")} out of order`
  ]
}
