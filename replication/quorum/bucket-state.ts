/**
 * What the quorum knows of its buckets while it runs: health, unfinished work, counters.
 *
 * Plain mutable structs, changed only by segment-writer.ts, segment-reader.ts and bucket-presence.ts between awaits. The counters are plain
 * numbers because they change per object; whoever publishes metrics reads them when asked.
 */
import { type Bucket } from "#core/ports/object-store.ts"
import { type Health, healthy } from "#regions/health.ts"
import { failureDomainOf } from "#regions/topology.ts"
import { type TopologyBucketSet } from "#regions/topology.ts"

export interface BucketCounters {
  /** Copies acknowledged, in time for the quorum or later. */
  putAcks: number
  /** Copies that failed, hung past their deadline or were abandoned. */
  putFailures: number
  /** Copies not even tried: the bucket was suspended or had too much unfinished. */
  putSkips: number
  /** Attempts after the first one of a copy. */
  putRetries: number
  /** Copies acknowledged after their segment's quorum was reached (part of putAcks). */
  putLateAcks: number
  /** Missing copies handed over to be recorded. */
  missingCopies: number
  /** Reads that gave sound bytes. */
  readsOk: number
  readsNotFound: number
  readsFailed: number
  readsTimedOut: number
  readsCorrupt: number
  /** Reads given up because another bucket answered first. */
  readsOvertaken: number
}

export interface QuorumCounters {
  writesStarted: number
  writesAcknowledged: number
  writesFailed: number
  reads: number
  readsFailed: number
  /** Reads answered by another region's bucket. */
  remoteReads: number
  /** Second and further buckets asked because the first was slow. */
  hedgedReads: number
  /** Now held by copies that go on after their quorum. */
  lateBytes: number
  /** Late copies interrupted because limits.lateCopyBytes was reached. */
  lateCopiesAbandoned: number
  /** Missing copies that wait to be recorded. */
  missingQueued: number
  missingRecorded: number
  /** Missing copies dropped because too many waited; the log entries still tell of them. */
  missingDropped: number
  readonly buckets: Readonly<Record<string, BucketCounters>>
}

export interface BucketFailure {
  readonly why: string
  /** There was no room left. */
  readonly isFull: boolean
  readonly atMs: number
}

export interface BucketState {
  readonly bucket: Bucket
  readonly counters: BucketCounters
  /** Changed by bucket-presence.ts only, as all that follows down to `probeFailedAtMs`. */
  putHealth: Health
  /** The last put or probe that told against the bucket. */
  failure: BucketFailure | undefined
  /** Since when `putHealth` is suspended. */
  awaySinceMs: number | undefined
  putAckedAtMs: number
  /** Probes that failed in a row, counted up to limits.bucketProbeFailuresMax, and when the last one did. */
  probeFailures: number
  probeFailedAtMs: number
  /** Copies of acknowledged segments that it lacks, since the first strike of its last trouble. */
  copiesMissed: number
  getHealth: Health
  /** Copies whose put has not ended, those given up included. */
  unfinishedPuts: number
  /** Bytes held by this bucket's late copies. */
  lateBytes: number
}

/** A bucket set of the topology with its buckets' states. */
export interface BucketSet {
  readonly name: string
  readonly writes: number
  readonly members: ReadonlyArray<{ readonly state: BucketState; readonly domain: string }>
}

export const makeBucketStates = (buckets: ReadonlyArray<Bucket>): ReadonlyMap<string, BucketState> =>
  new Map(
    buckets.map((bucket) => [
      bucket.name,
      {
        bucket,
        counters: makeBucketCounters(),
        putHealth: healthy,
        failure: undefined,
        awaySinceMs: undefined,
        putAckedAtMs: -1,
        probeFailures: 0,
        probeFailedAtMs: 0,
        copiesMissed: 0,
        getHealth: healthy,
        unfinishedPuts: 0,
        lateBytes: 0
      }
    ])
  )

export const makeCounters = (states: ReadonlyMap<string, BucketState>): QuorumCounters => ({
  writesStarted: 0,
  writesAcknowledged: 0,
  writesFailed: 0,
  reads: 0,
  readsFailed: 0,
  remoteReads: 0,
  hedgedReads: 0,
  lateBytes: 0,
  lateCopiesAbandoned: 0,
  missingQueued: 0,
  missingRecorded: 0,
  missingDropped: 0,
  buckets: Object.fromEntries([...states].map(([name, state]) => [name, state.counters]))
})

/** Buckets that the set names and nobody opened are left out: a quorum counts only what answers. */
export const makeBucketSet = (set: TopologyBucketSet, states: ReadonlyMap<string, BucketState>): BucketSet => ({
  name: set.name,
  writes: set.writes,
  members: set.buckets.flatMap((name) => {
    const state = states.get(name)
    return state === undefined ? [] : [{ state, domain: failureDomainOf(state.bucket, set.failureDomain) }]
  })
})

const makeBucketCounters = (): BucketCounters => ({
  putAcks: 0,
  putFailures: 0,
  putSkips: 0,
  putRetries: 0,
  putLateAcks: 0,
  missingCopies: 0,
  readsOk: 0,
  readsNotFound: 0,
  readsFailed: 0,
  readsTimedOut: 0,
  readsCorrupt: 0,
  readsOvertaken: 0
})
