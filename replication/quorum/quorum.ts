/**
 * The segment store over a quorum of buckets: `SegmentStore` as the agent sees it, and `QuorumStatus` for readiness and
 * metrics. Puts writer, reader and the reporter of missing copies together; holds no rule itself.
 *
 * Everything that goes on in the background lives in the layer's scope and ends with it.
 */
import { Clock, Context, Effect, Layer, type Scope } from "effect"
import { type Settings, defaultSettings } from "#core/config/settings.ts"
import { assert } from "#core/model/assert.ts"
import { type MetadataStore } from "#core/ports/metadata-store.ts"
import { type Bucket } from "#core/ports/object-store.ts"
import { SegmentStore } from "#core/ports/segment-store.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type TopologyBucketSet } from "#regions/topology.ts"
import { type ProbeAnswer, noteProbe } from "./bucket-presence.ts"
import {
  type BucketFailure,
  type QuorumCounters,
  makeBucketSet,
  makeBucketStates,
  makeCounters
} from "./bucket-state.ts"
import * as MissingCopies from "./missing-copies.ts"
import * as SegmentReader from "./segment-reader.ts"
import * as SegmentWriter from "./segment-writer.ts"

export interface QuorumOptions {
  /** All buckets of the topology, opened. */
  readonly buckets: ReadonlyArray<Bucket>
  /** Of the topology, by name. */
  readonly bucketSets: ReadonlyMap<string, TopologyBucketSet>
  /** Where this agent is. */
  readonly region: string
  readonly zone: string
  /** Other regions by nearness, for reads; the topology's order where nothing is said. */
  readonly readPreference?: ReadonlyArray<string>
  readonly settings?: Pick<Settings, "putTimeoutMs" | "getTimeoutMs" | "readHedgeDelayMs">
}

export interface BucketStatus {
  readonly name: string
  readonly region: string
  readonly zone: string
  readonly writes: "healthy" | "suspended"
  readonly reads: "healthy" | "suspended"
  readonly unfinishedPuts: number
  readonly lateBytes: number
  /** Since when it is left out of writes; undefined where it is not. */
  readonly awaySinceMs: number | undefined
  /** The last thing that told against it, also where it is well again. */
  readonly failure: BucketFailure | undefined
  /** Copies that it missed in its last (or present) trouble. */
  readonly copiesMissed: number
}

export class QuorumStatus extends Context.Service<
  QuorumStatus,
  {
    /** Live: read it, never change it. */
    readonly counters: QuorumCounters
    readonly buckets: () => ReadonlyArray<BucketStatus>
    /** Whether healthy buckets in enough distinct failure domains are there for the set's writes. False for unknown sets. */
    readonly isWritable: (bucketSet: string) => boolean
    /** Takes in what came of a small read of the bucket, which tells also without traffic whether it is there. */
    readonly probed: (bucket: string, answer: ProbeAnswer) => void
  }
>()("meridian/replication/quorum/QuorumStatus") {}

export const layer = (options: QuorumOptions): Layer.Layer<SegmentStore | QuorumStatus, never, MetadataStore> =>
  Layer.effectContext(make(options))

export const make = Effect.fnUntraced(function* (
  options: QuorumOptions
): Effect.fn.Return<Context.Context<SegmentStore | QuorumStatus>, never, MetadataStore | Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const states = makeBucketStates(options.buckets)
  assert(states.size === options.buckets.length, "buckets have distinct names")
  const sets = new Map([...options.bucketSets].map(([name, set]) => [name, makeBucketSet(set, states)]))
  const counters = makeCounters(states)
  const missing = yield* MissingCopies.make(counters)
  const { putTimeoutMs, getTimeoutMs, readHedgeDelayMs } = options.settings ?? defaultSettings
  const writer = SegmentWriter.make({ sets, counters, missing, putTimeoutMs, scope })
  const reader = SegmentReader.make({
    states,
    sets,
    counters,
    missing,
    region: options.region,
    zone: options.zone,
    readPreference: options.readPreference ?? [...new Set(options.buckets.map((bucket) => bucket.region))],
    getTimeoutMs,
    hedgeDelayMs: readHedgeDelayMs,
    scope
  })
  const status = QuorumStatus.of({
    counters,
    buckets: () =>
      [...states.values()].map((state) => ({
        name: state.bucket.name,
        region: state.bucket.region,
        zone: state.bucket.zone,
        writes: state.putHealth.status,
        reads: state.getHealth.status,
        unfinishedPuts: state.unfinishedPuts,
        lateBytes: state.lateBytes,
        awaySinceMs: state.awaySinceMs,
        failure: state.failure,
        copiesMissed: state.copiesMissed
      })),
    isWritable: (bucketSet) => {
      const set = sets.get(bucketSet)
      if (set === undefined) return false
      const healthyMembers = set.members.filter((member) => member.state.putHealth.status === "healthy")
      return new Set(healthyMembers.map((member) => member.domain)).size >= set.writes
    },
    probed: (bucket, answer) => {
      const state = states.get(bucket)
      if (state !== undefined) noteProbe(state, answer, monotonicMsOf(clock))
    }
  })
  const store = SegmentStore.of({ write: writer.write, read: reader.read })
  return Context.make(SegmentStore, store).pipe(Context.add(QuorumStatus, status))
})
