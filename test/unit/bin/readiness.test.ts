/**
 * Goal: /ready tells the truth about log, buckets and listener, within its own times. Method: the readiness of an agent
 * over a log, a quorum and buckets in the test's hand, on a test clock; where it matters what the quorum makes of the
 * buckets' answers, over a real quorum.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as InstrumentedStore from "#backends/object/instrumented.ts"
import * as MemoryStore from "#backends/object/memory.ts"
import { CommitLog, CommitLogError } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { type TopologyBucketSet } from "#regions/topology.ts"
import { type BucketStatus, QuorumStatus } from "#replication/quorum/quorum.ts"
import { type OpenedBucket } from "../../../bin/buckets.ts"
import * as Readiness from "../../../bin/readiness.ts"
import { makeAddress, makeWorld, timed } from "../replication/quorum-world.ts"

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
    const head: typeof store.head = (key) => (this.failing.has(name) ? Effect.never : store.head(key))
    return {
      bucket: { name, region: name, zone: name, store: { ...store, head } },
      counters,
      isOpen: () => !this.closed.has(name)
    }
  })

  readonly context = Context.make(CommitLog, this.log()).pipe(
    Context.add(QuorumStatus, { buckets: () => this.status(), probed: () => {} } as unknown as QuorumStatus["Service"])
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
      const place = { name, region: name, zone: name, reads: "healthy", unfinishedPuts: 0, lateBytes: 0 } as const
      return { ...place, writes, awaySinceMs: undefined, failure: undefined, copiesMissed: 0 }
    })
  }
}

const CHUNKS = [Buffer.from("segment")]

/** Readiness over a real quorum, with its log events. */
const makeReal = Effect.gen(function* () {
  const quorum = yield* makeWorld()
  const events: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message, logLevel }) => {
    const [event, fields] = message as [string, object]
    events.push(`${logLevel} ${event} ${JSON.stringify(fields)}`)
  })
  const buckets = quorum.buckets.map(({ bucket }) => {
    const { store, counters } = InstrumentedStore.make(bucket.store)
    return { bucket: { ...bucket, store }, counters, isOpen: () => true }
  })
  const readiness = yield* Readiness.make({ bucketSet: SET, buckets }).pipe(
    Effect.provideService(CommitLog, { barrier: Effect.void } as unknown as CommitLog["Service"]),
    Effect.provideService(QuorumStatus, quorum.status),
    Effect.provide(Logger.layer([logger]))
  )
  readiness.listening()
  const write = Effect.flatMap(makeAddress, (address) => timed(Effect.exit(quorum.store.write(address, CHUNKS)), 10))
  const isHealthy = () => quorum.status.buckets().map(({ writes }) => writes === "healthy")
  return { ...quorum, ...readiness, events, write, isHealthy }
})

const error = (reason: CommitLogError["reason"]) =>
  Effect.fail(new CommitLogError({ reason, outcome: "definite", cause: new Error("entry 7") }))

describe("readiness", () => {
  it.effect("a database that hangs or fails makes the agent not ready, and ready again when it answers", () =>
    Effect.gen(function* () {
      const world = new World()
      const { notReady } = yield* world.readiness
      const silent = /^the database has not answered for \d+ s$/
      const refusing = /^the database has not answered for \d+ s: entry 7$/
      for (const [outage, told] of [[Effect.never, silent] as const, [error("Unavailable"), refusing] as const]) {
        yield* TestClock.adjust(limits.readinessProbeMs)
        assert.deepStrictEqual(notReady(), [])
        world.barrier = outage
        yield* TestClock.adjust(limits.readinessStaleMs + 2 * limits.readinessProbeMs)
        assert.match(notReady().join(), told)
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

  it.effect(
    "an agent without traffic is not ready within 10 s of losing two buckets, nor longer after their return",
    () =>
      Effect.gen(function* () {
        for (const fault of [{ kind: "bucket-vanished" }, { kind: "hang", when: "before" }] as const) {
          const { buckets, notReady, degraded, isHealthy, events } = yield* makeReal
          yield* TestClock.adjust(60_000)
          assert.deepStrictEqual([notReady(), degraded(), events], [[], [], []])
          for (const { plan } of buckets.slice(1)) plan.add({ fault })
          yield* TestClock.adjust(10_000)
          assert.deepStrictEqual(notReady(), ["buckets in 1 of 2 needed regions work: b2, b3 out of order"])
          assert.deepStrictEqual(isHealthy(), [true, false, false])
          yield* TestClock.adjust(600_000)
          assert.lengthOf(events, 2, "changes only")
          for (const { plan } of buckets) plan.clear()
          yield* TestClock.adjust(10_000)
          assert.deepStrictEqual([notReady(), degraded()], [[], []])
          assert.lengthOf(events, 4)
        }
      })
  )

  it.effect("one full bucket: left at the first failure with its reason, told once, back with what it missed", () =>
    Effect.gen(function* () {
      const { buckets, notReady, degraded, isHealthy, write, events } = yield* makeReal
      const remove = buckets[1]!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      yield* write
      assert.deepStrictEqual(isHealthy(), [true, false, true])
      assert.deepStrictEqual(notReady(), [])
      assert.deepStrictEqual(degraded(), ["bucket b2 does not take writes"])
      for (let index = 0; index < 9; index++) {
        yield* TestClock.adjust(10_000)
        yield* write
      }
      assert.lengthOf(events, 1)
      assert.match(events[0]!, /^Warn bucket left the ack path {"bucket":"b2","why":".*StorageFull/)
      // It answers questions, which must not bring it back.
      yield* TestClock.adjust(10 * limits.bucketForgivenMs)
      assert.deepStrictEqual(isHealthy(), [true, false, true])
      remove()
      yield* write
      yield* TestClock.adjust(limits.readinessProbeMs)
      assert.deepStrictEqual(degraded(), [])
      assert.lengthOf(events, 2)
      assert.match(
        events[1]!,
        /^Info bucket is back in the ack path {"bucket":"b2","awayMs":69\d{4},"copiesMissed":10}$/
      )
    })
  )

  it.effect("two full buckets make the agent not ready though they answer, for a while; the third is not blamed", () =>
    Effect.gen(function* () {
      const { buckets, notReady, isHealthy, write } = yield* makeReal
      buckets[0]!.plan.add({ operation: "put", fault: { kind: "delay", ms: 5 } })
      for (const { plan } of buckets.slice(1)) plan.add({ operation: "put", fault: { kind: "storage-full" } })
      for (let index = 0; index < 5; index++) yield* write
      assert.deepStrictEqual(isHealthy(), [true, false, false])
      assert.lengthOf(notReady(), 1)
      yield* TestClock.adjust(limits.bucketFailureBelievedMs)
      assert.deepStrictEqual(notReady(), [], "only a write can tell that there is room again")
    })
  )

  it.effect(
    "a suspicion that no write confirms is forgiven; questions that fail do not outweigh puts that succeed",
    () =>
      Effect.gen(function* () {
        const { buckets, isHealthy, write, events } = yield* makeReal
        const [, second] = buckets
        const remove = second!.plan.add({ operation: "put", fault: { kind: "bucket-vanished" } })
        for (let index = 0; index < limits.bucketStrikesMax; index++) {
          yield* write
          yield* TestClock.adjust(1_000)
        }
        assert.deepStrictEqual(isHealthy(), [true, false, true])
        remove()
        yield* TestClock.adjust(limits.bucketForgivenMs + limits.bucketProbeMs)
        assert.deepStrictEqual(isHealthy(), [true, true, true])
        assert.lengthOf(events, 2)
        second!.plan.add({ operation: "head", fault: { kind: "bucket-vanished" } })
        for (let index = 0; index < 30; index++) {
          yield* TestClock.adjust(1_000)
          yield* write
        }
        assert.lengthOf(events, 2)
      })
  )

  it.effect("what is degraded names buckets that are suspended or not open", () =>
    Effect.gen(function* () {
      const world = new World()
      const { degraded } = yield* world.readiness
      assert.deepStrictEqual(degraded(), [])
      world.suspended.add("b1")
      world.closed.add("b3")
      assert.deepStrictEqual(degraded(), ["bucket b1 does not take writes", "bucket b3 does not take writes"])
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
