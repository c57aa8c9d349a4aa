/**
 * Publishes what the parts of an agent count for themselves, as metrics. Callbacks read plain numbers; nothing here is on
 * the path of a record.
 */
import { Effect, type Scope } from "effect"
import { RunReader } from "#core/agent/run-reader.ts"
import { ClusterView } from "#core/ports/cluster-view.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { FoldedLog } from "#core/log/folded-log.ts"
import { SequencerView } from "#core/log/sequenced-log.ts"
import { Metrics, type Observation } from "#core/telemetry/metrics.ts"
import { type BucketCounters } from "#replication/quorum/bucket-state.ts"
import { QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "./buckets.ts"
import { type InstrumentedMetadata } from "./instrumented-metadata.ts"

export interface AgentParts {
  readonly listener: string
  readonly buckets: ReadonlyArray<OpenedBucket>
  readonly metadataCalls: InstrumentedMetadata["calls"]
  readonly notReady: () => ReadonlyArray<string>
  readonly logLinesDropped: () => number
}

const SHARD = { shard: "0" }

/** Until the scope closes. */
export const observeAgent = (
  parts: AgentParts
): Effect.Effect<
  void,
  never,
  Metrics | CommitLog | FoldedLog | SequencerView | ClusterView | QuorumStatus | RunReader | Scope.Scope
> =>
  Effect.gen(function* () {
    const { observe } = yield* Metrics
    const { fold } = yield* CommitLog
    const { logClock } = yield* FoldedLog
    const sequencer = yield* SequencerView
    const cluster = yield* ClusterView
    yield* observe("ready", () => one(parts.notReady().length === 0 ? 1 : 0))
    yield* observe("logLinesDropped", () => one(parts.logLinesDropped()))
    yield* observe("logSeq", () => ofShard(fold.seq))
    yield* observe("clockAhead", () => one(logClock.wallAheadMs() / 1_000))
    yield* observe("sequencerActing", () => ofShard(sequencer.isActing() ? 1 : 0))
    yield* observe("sequencerEpoch", () => ofShard(sequencer.epoch()))
    yield* observe("sequencerWaiting", () => ofShard(sequencer.waiting()))
    yield* observe("commandsUnsettled", () => ofShard(sequencer.unsettled()))
    yield* observe("topics", () => one(fold.topics().length))
    yield* observe("partitions", () => one(fold.topics().reduce((sum, topic) => sum + topic.partitions.length, 0)))
    yield* observe("agentsAlive", () => one(cluster.brokers(parts.listener).length))
    yield* observe("metadataCalls", () =>
      [...parts.metadataCalls].map(([key, value]) => {
        const [operation, outcome] = key.split(" ") as [string, string]
        return { value, attributes: { operation, outcome } }
      })
    )
    yield* observeStores(parts.buckets)
    yield* observeQuorum
    yield* observeReads
  })

const one = (value: number): ReadonlyArray<Observation> => [{ value }]
const ofShard = (value: number): ReadonlyArray<Observation> => [{ value, attributes: SHARD }]

/** Requests as the object stores got them, retries included. */
const observeStores = Effect.fnUntraced(function* (buckets: ReadonlyArray<OpenedBucket>) {
  const { observe } = yield* Metrics
  const operations = buckets.flatMap(({ counters: { bucket, ...byOperation } }) =>
    Object.entries(byOperation).map(([operation, counters]) => ({ attributes: { bucket, operation }, counters }))
  )
  yield* observe("bucketRequests", () =>
    operations.map(({ attributes, counters }) => ({ value: counters.requests, attributes }))
  )
  yield* observe("bucketBytes", () =>
    operations
      .filter(({ counters }) => counters.bytes > 0)
      .map(({ attributes, counters }) => ({ value: counters.bytes, attributes }))
  )
  yield* observe("bucketErrors", () =>
    operations.flatMap(({ attributes, counters }) =>
      Object.entries({ ...counters.errors, Interrupted: counters.interrupted })
        .filter(([, value]) => value > 0)
        .map(([reason, value]) => ({ value, attributes: { ...attributes, reason } }))
    )
  )
})

/** Copies and reads as the quorum judged them. */
const observeQuorum = Effect.gen(function* () {
  const { observe } = yield* Metrics
  const { counters, buckets } = yield* QuorumStatus
  const byBucket = (outcomes: Readonly<Record<string, keyof BucketCounters>>) => () =>
    Object.entries(counters.buckets).flatMap(([bucket, values]) =>
      Object.entries(outcomes).map(([outcome, field]) => ({ value: values[field], attributes: { bucket, outcome } }))
    )
  yield* observe(
    "bucketWrites",
    byBucket({ acked: "putAcks", late: "putLateAcks", failed: "putFailures", skipped: "putSkips" })
  )
  yield* observe(
    "bucketReads",
    byBucket({
      ok: "readsOk",
      not_found: "readsNotFound",
      failed: "readsFailed",
      timed_out: "readsTimedOut",
      corrupt: "readsCorrupt",
      overtaken: "readsOvertaken"
    })
  )
  yield* observe("bucketHealthy", () =>
    buckets().map(({ name, writes }) => ({ value: writes === "healthy" ? 1 : 0, attributes: { bucket: name } }))
  )
  yield* observe("missingCopies", () =>
    Object.entries(counters.buckets).map(([bucket, values]) => ({
      value: values.missingCopies,
      attributes: { bucket }
    }))
  )
  yield* observe("missingCopiesWaiting", () => one(counters.missingQueued))
  yield* observe("missingCopiesDropped", () => one(counters.missingDropped))
  yield* observe("lateCopyBytes", () => one(counters.lateBytes))
  yield* observe("remoteReads", () => one(counters.remoteReads))
  yield* observe("hedgedReads", () => one(counters.hedgedReads))
})

const observeReads = Effect.gen(function* () {
  const { observe } = yield* Metrics
  const { counters, cacheBytes } = yield* RunReader
  yield* observe("cacheHits", () => one(counters.cache.hits))
  yield* observe("cacheMisses", () => one(counters.cache.misses))
  yield* observe("cacheBytes", () => one(cacheBytes()))
  yield* observe("corruptReads", () => one(counters.runsCorrupt))
})
