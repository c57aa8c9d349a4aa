/**
 * Goal: /ready tells the truth about log, buckets and listener, within its own times. Method: the readiness of an agent
 * over a log, a quorum and buckets in the test's hand, on a test clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as InstrumentedStore from "#backends/object/instrumented.ts"
import * as MemoryStore from "#backends/object/memory.ts"
import { CommitLog, CommitLogError } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { type TopologyBucketSet } from "#regions/topology.ts"
import { type BucketStatus, QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "../../../bin/buckets.ts"
import * as Readiness from "../../../bin/readiness.ts"

const NAMES = ["b1", "b2", "b3"]
const SET: TopologyBucketSet = { name: "quorum", buckets: NAMES, writes: 2, failureDomain: "region" }

class World {
  barrier: Effect.Effect<void, CommitLogError> = Effect.void
  readonly suspended = new Set<string>()
  readonly closed = new Set<string>()
  /** Buckets that fail when they are asked. */
  readonly failing = new Set<string>()

  readonly buckets: ReadonlyArray<OpenedBucket> = NAMES.map((name) => {
    const { store, counters } = InstrumentedStore.make(MemoryStore.make({ bucket: name }))
    const list: typeof store.list = (options) => (this.failing.has(name) ? Effect.never : store.list(options))
    return {
      bucket: { name, region: name, zone: name, store: { ...store, list } },
      counters,
      isOpen: () => !this.closed.has(name)
    }
  })

  readonly context = Context.make(CommitLog, this.log()).pipe(
    Context.add(QuorumStatus, { buckets: () => this.status() } as QuorumStatus["Service"])
  )

  readonly readiness = Readiness.make({ bucketSet: SET, buckets: this.buckets }).pipe(
    Effect.tap((readiness) => Effect.sync(readiness.listening)),
    Effect.provideContext(this.context)
  )

  log(): CommitLog["Service"] {
    return { barrier: Effect.suspend(() => this.barrier) } as CommitLog["Service"]
  }

  status(): ReadonlyArray<BucketStatus> {
    return NAMES.map((name) => {
      const writes = this.suspended.has(name) ? "suspended" : "healthy"
      return { name, region: name, zone: name, writes, reads: "healthy", unfinishedPuts: 0, lateBytes: 0 }
    })
  }
}

const error = (reason: CommitLogError["reason"]) =>
  Effect.fail(new CommitLogError({ reason, outcome: "definite", cause: new Error("entry 7") }))

describe("readiness", () => {
  it.effect("a database that hangs or fails makes the agent not ready, and ready again when it answers", () =>
    Effect.gen(function* () {
      const world = new World()
      const { notReady } = yield* world.readiness
      for (const outage of [Effect.never, error("Unavailable")]) {
        yield* TestClock.adjust(limits.readinessProbeMs)
        assert.deepStrictEqual(notReady(), [])
        world.barrier = outage
        yield* TestClock.adjust(limits.readinessStaleMs + 2 * limits.readinessProbeMs)
        assert.match(notReady().join(), /^the database has not answered for \d+ s$/)
        world.barrier = Effect.void
        yield* TestClock.adjust(limits.readinessStaleMs + limits.readinessProbeMs)
      }
      assert.deepStrictEqual(notReady(), [])
    })
  )

  it.effect("a fold that stopped is told at once, other failures of the log are not taken for it", () =>
    Effect.gen(function* () {
      const world = new World()
      const { foldStopped } = yield* world.readiness
      const waiting = yield* Effect.forkChild(foldStopped)
      world.barrier = error("Unavailable")
      yield* TestClock.adjust(limits.readinessProbeMs * 3)
      assert.isUndefined(waiting.pollUnsafe())
      world.barrier = error("FoldStopped")
      yield* TestClock.adjust(limits.readinessProbeMs * 2)
      assert.include(yield* Fiber.join(waiting), "entry 7")
    })
  )

  it.effect("one bucket of three may be suspended or not open, two may not; they are named", () =>
    Effect.gen(function* () {
      const world = new World()
      for (const name of NAMES) world.failing.add(name)
      const { notReady } = yield* world.readiness
      world.suspended.add("b1")
      assert.deepStrictEqual(notReady(), [])
      world.closed.add("b3")
      assert.deepStrictEqual(notReady(), ["buckets in 1 of 2 needed regions work: b1, b3 out of order"])
      world.suspended.clear()
      assert.deepStrictEqual(notReady(), [])
    })
  )

  it.effect("suspended buckets that answer again make the agent ready without waiting for a write", () =>
    Effect.gen(function* () {
      const world = new World()
      world.suspended.add("b1").add("b2")
      world.failing.add("b1").add("b2")
      const { notReady } = yield* world.readiness
      yield* TestClock.adjust(limits.getTimeoutMs + limits.readinessProbeMs)
      assert.lengthOf(notReady(), 1)
      world.failing.clear()
      yield* TestClock.adjust(limits.getTimeoutMs + 2 * limits.readinessProbeMs)
      assert.deepStrictEqual(notReady(), [])
    })
  )

  it.effect("before the listener is open it says so", () =>
    Effect.gen(function* () {
      const world = new World()
      const { notReady, listening } = yield* Readiness.make({ bucketSet: SET, buckets: world.buckets }).pipe(
        Effect.provideContext(world.context)
      )
      assert.deepStrictEqual(notReady(), ["the Kafka listener is not open yet"])
      listening()
      assert.deepStrictEqual(notReady(), [])
    })
  )
})
