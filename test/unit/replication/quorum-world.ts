/**
 * A quorum over memory buckets with a fault plan each, for the tests of this folder: nothing here asserts anything.
 */
import { Clock, Context, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as faultyMetadata from "#backends/metadata/faulty.ts"
import * as memoryMetadata from "#backends/metadata/memory.ts"
import * as faulty from "#backends/object/faulty.ts"
import * as memory from "#backends/object/memory.ts"
import { MetadataStore } from "#core/ports/metadata-store.ts"
import { type Bucket, type ObjectStore } from "#core/ports/object-store.ts"
import { type SegmentAddress, SegmentStore } from "#core/ports/segment-store.ts"
import { QUORUM_SET, type TopologyBucketSet } from "#regions/topology.ts"
import * as Quorum from "#replication/quorum/quorum.ts"

export interface WorldBucket {
  readonly name: string
  readonly region: string
  readonly plan: faulty.FaultPlan
  /** The store behind the faults. */
  readonly inner: ObjectStore
  readonly bucket: Bucket
}

export interface World {
  readonly buckets: ReadonlyArray<WorldBucket>
  readonly store: SegmentStore["Service"]
  readonly status: Quorum.QuorumStatus["Service"]
  readonly metadata: MetadataStore["Service"]
  /** Ends the layer. */
  readonly close: Effect.Effect<void>
}

export interface WorldOptions {
  /** Region and zone of each bucket; three regions where nothing is said. */
  readonly places?: ReadonlyArray<{ readonly region: string; readonly zone?: string }>
  readonly set?: Partial<TopologyBucketSet>
  readonly region?: string
  readonly zone?: string
  readonly metadataFaults?: faultyMetadata.FaultPlan
  readonly storeOf?: (name: string) => ObjectStore
}

export const makeWorld = Effect.fnUntraced(function* (options: WorldOptions = {}) {
  const places = options.places ?? [{ region: "r1" }, { region: "r2" }, { region: "r3" }]
  const buckets = places.map(({ region, zone }, index): WorldBucket => {
    const name = `b${index + 1}`
    const plan = new faulty.FaultPlan()
    const inner = options.storeOf?.(name) ?? memory.make({ bucket: name })
    const bucket = { name, region, zone: zone ?? region, store: faulty.make(inner, plan) }
    return { name, region, plan, inner, bucket }
  })
  const metadata = yield* memoryMetadata.make
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
  const set: TopologyBucketSet = {
    name: QUORUM_SET,
    buckets: buckets.map((each) => each.name),
    writes: 2,
    failureDomain: "region",
    ...options.set
  }
  const context = yield* Quorum.make({
    buckets: buckets.map((each) => each.bucket),
    bucketSets: new Map([[QUORUM_SET, set]]),
    region: options.region ?? "r1",
    zone: options.zone ?? "r1"
  }).pipe(
    Effect.provideService(MetadataStore, faultyMetadata.make(metadata, options.metadataFaults ?? (() => undefined))),
    Scope.provide(scope)
  )
  const world: World = {
    buckets,
    store: Context.get(context, SegmentStore),
    status: Context.get(context, Quorum.QuorumStatus),
    metadata,
    close: Scope.close(scope, Exit.void)
  }
  return world
})

let lastSegment = 0

/** A fresh address, created now. */
export const makeAddress = Effect.map(Clock.currentTimeMillis, (createdAtMs): SegmentAddress => {
  lastSegment++
  return { segmentId: lastSegment.toString(16).padStart(32, "0"), createdAtMs, bucketSet: QUORUM_SET }
})

/** Runs the effect while the clock goes on; its exit and how long it took. */
export const timed = <A, E>(effect: Effect.Effect<A, E>, withinMs = 200_000) =>
  Effect.gen(function* () {
    const startedAtMs = yield* Clock.currentTimeMillis
    const fiber = yield* effect.pipe(
      Effect.exit,
      Effect.zip(Clock.currentTimeMillis),
      Effect.map(([exit, endedAtMs]) => ({ exit, tookMs: endedAtMs - startedAtMs })),
      Effect.forkChild({ startImmediately: true })
    )
    yield* TestClock.adjust(withinMs)
    return yield* Fiber.join(fiber)
  })

/** Whether the bucket's store really holds these bytes. */
export const holds = (each: WorldBucket, key: string, bytes: Buffer): Effect.Effect<boolean> =>
  each.inner.get(key).pipe(
    Effect.map((answer) => answer.bytes.equals(bytes)),
    Effect.orElseSucceed(() => false)
  )

export const missingBuckets = (world: World, segmentId: string) =>
  world.metadata.missingCopies({ limit: 1_000 }).pipe(
    Effect.orDie,
    Effect.map((copies) => copies.filter((copy) => copy.segmentId === segmentId).map((copy) => copy.bucket))
  )
