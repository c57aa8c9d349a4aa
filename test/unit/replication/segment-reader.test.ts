/**
 * Goal: a read gives the nearest bucket's bytes when they are sound, another's when they are not, and never bad ones; what
 * was bad is reported; slow buckets cost a hedge, and after a few times not even that.
 * Method: memory buckets behind fault plans on a clock that the test moves. This agent is in region r1, so b1 is local.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type Fault } from "#backends/object/faulty.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore } from "#core/ports/object-store.ts"
import { type SegmentUnreadable } from "#core/ports/segment-store.ts"
import { segmentKey } from "#core/segment/segment-key.ts"
import { type World, makeAddress, makeWorld, missingBuckets, timed } from "./quorum-world.ts"

const BYTES = Buffer.from(Array.from({ length: 1_000 }, (_, index) => (index * 7) % 256))
const RANGE = { offset: 100, length: 300 }
const WANTED = BYTES.subarray(100, 400)
const isSound = (bytes: Buffer): boolean => bytes.equals(WANTED)

/** A segment that all buckets of the list hold and acknowledged. */
const stored = Effect.fnUntraced(function* (world: World, names: ReadonlyArray<string> = ["b1", "b2", "b3"]) {
  const address = yield* makeAddress
  for (const each of world.buckets) {
    if (names.includes(each.name)) yield* each.inner.put(segmentKey(address), [BYTES])
  }
  return { ...address, ackedBuckets: names }
})

const readsOf = (world: World, name: string) => {
  const { readsOk, readsNotFound, readsFailed, readsTimedOut, readsCorrupt, readsOvertaken } =
    world.status.counters.buckets[name]!
  return { readsOk, readsNotFound, readsFailed, readsTimedOut, readsCorrupt, readsOvertaken }
}
const NO_READS = { readsOk: 0, readsNotFound: 0, readsFailed: 0, readsTimedOut: 0, readsCorrupt: 0, readsOvertaken: 0 }

const unreadable = (exit: Exit.Exit<Buffer, SegmentUnreadable>): string =>
  Exit.match(exit, { onSuccess: () => "readable", onFailure: (cause) => String(cause) })

describe("a read that no bucket can answer", () => {
  it.effect("fails with a line for each bucket", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world, ["b2", "b3"])
      const [b1, b2, b3] = world.buckets
      b1!.plan.add({ fault: { kind: "bucket-vanished" } })
      b2!.plan.add({ operation: "get", fault: { kind: "corrupt", byteIndex: 5 } })
      b3!.plan.add({ operation: "get", fault: { kind: "hang", when: "before" } })
      const { exit, tookMs } = yield* timed(Effect.flip(world.store.read(address, RANGE, isSound)))
      const failures = Exit.isSuccess(exit) ? exit.value.failures.join("\n") : ""
      assert.match(failures, /b1: .*Unavailable/)
      assert.match(failures, /b2: the bytes fail their check/)
      assert.match(failures, /b3: no answer in 5000 ms/)
      assert.strictEqual(tookMs, limits.getTimeoutMs)
      assert.strictEqual(world.status.counters.readsFailed, 1)
    })
  )

  it.effect("fails in bounded time where all hang", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      for (const each of world.buckets) each.plan.add({ fault: { kind: "hang", when: "before" } })
      const { exit, tookMs } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.match(unreadable(exit), /b1: no answer.*b2: no answer.*b3: no answer/s)
      assert.strictEqual(tookMs, limits.getTimeoutMs + 2 * limits.readHedgeDelayMs)
    })
  )

  it.effect("fails where the topology has none of the segment's buckets", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = { ...(yield* stored(world, [])), bucketSet: "gone", ackedBuckets: ["gone"] }
      const { exit } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.match(unreadable(exit), /no bucket of the topology should have it/)
    })
  )

  it.effect("is answered when the layer ended before", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      yield* world.close
      const { exit } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})

describe("a bad local copy", () => {
  const faults: ReadonlyArray<readonly [what: string, fault: Fault, counted: Partial<typeof NO_READS>]> = [
    ["short", { kind: "truncate", bytes: 299 }, { readsCorrupt: 1 }],
    ["empty", { kind: "truncate", bytes: 0 }, { readsCorrupt: 1 }],
    ["cut", { kind: "fail", when: "before", reason: "RangeNotSatisfiable", outcome: "definite" }, { readsCorrupt: 1 }],
    [
      "damaged in transit",
      { kind: "fail", when: "before", reason: "Corrupt", outcome: "definite" },
      { readsCorrupt: 1 }
    ],
    ["lost", { kind: "fail", when: "before", reason: "NotFound", outcome: "definite" }, { readsNotFound: 1 }]
  ]
  for (const [what, fault, counted] of faults) {
    it.effect(`that is ${what} is read elsewhere, counted and reported for repair`, () =>
      Effect.gen(function* () {
        const world = yield* makeWorld()
        const address = yield* stored(world)
        world.buckets[0]!.plan.add({ operation: "get", fault })
        const { exit } = yield* timed(world.store.read(address, RANGE, isSound))
        assert.isTrue(Exit.isSuccess(exit) && exit.value.equals(WANTED))
        assert.deepStrictEqual(readsOf(world, "b1"), { ...NO_READS, ...counted })
        assert.deepStrictEqual(readsOf(world, "b2"), { ...NO_READS, readsOk: 1 })
        assert.strictEqual(world.status.counters.remoteReads, 1)
        assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
      })
    )
  }

  it.effect("never gives a wrong byte, whichever it is and in however many buckets", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      for (let byteIndex = 0; byteIndex < RANGE.length; byteIndex += 7) {
        for (const each of world.buckets) each.plan.clear()
        const bad = byteIndex % 3
        for (const each of world.buckets.slice(0, bad + 1)) {
          each.plan.add({ operation: "get", fault: { kind: "corrupt", byteIndex } })
        }
        const { exit } = yield* timed(world.store.read(address, RANGE, isSound))
        assert.strictEqual(Exit.isSuccess(exit), bad < 2)
        if (Exit.isSuccess(exit)) assert.isTrue(exit.value.equals(WANTED))
      }
    })
  )

  it.effect("that fails without saying anything of the object is not reported for repair", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      world.buckets[0]!.plan.add({ fault: { kind: "bucket-vanished" } })
      const { exit, tookMs } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(tookMs, 0)
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), [])
    })
  )

  it.effect("makes a check that throws the caller's defect", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      const broken = () => {
        throw new Error("broken check")
      }
      const { exit } = yield* timed(world.store.read(address, RANGE, broken))
      assert.match(unreadable(exit), /broken check/)
    })
  )
})

describe("a local bucket that had not acknowledged", () => {
  it.effect("is asked first all the same while it is well, for the late copy nearly always arrives", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = { ...(yield* stored(world)), ackedBuckets: ["b2", "b3"] }
      yield* timed(world.store.read(address, RANGE, isSound))
      assert.strictEqual(readsOf(world, "b1").readsOk, 1)
      assert.strictEqual(world.status.counters.remoteReads, 0)
    })
  )

  it.effect("is not asked again for a while after it said that nothing is there", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world, ["b2", "b3"])
      for (let index = 0; index < 5; index++) yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.strictEqual(readsOf(world, "b1").readsNotFound, 1)
      assert.strictEqual(readsOf(world, "b2").readsOk, 5)
      yield* TestClock.adjust(limits.copiesAbsentMs)
      yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.strictEqual(readsOf(world, "b1").readsNotFound, 2)
    })
  )

  it.effect("is reported missing only once its late copy cannot be under way any more", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world, ["b2", "b3"])
      yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), [])
      yield* TestClock.adjust(limits.putStuckMs)
      yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
    })
  )

  it.effect("is asked last while its writes fail", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      world.buckets[0]!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      for (let index = 0; index < 3; index++) yield* timed(world.store.write(yield* makeAddress, [BYTES]), 10)
      const address = yield* stored(world, ["b2", "b3"])
      yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.deepStrictEqual(readsOf(world, "b1"), NO_READS)
    })
  )
})

describe("nearness", () => {
  const places = [{ region: "r2" }, { region: "r1", zone: "az2" }, { region: "r1", zone: "az1" }, { region: "r3" }]
  it.effect("is own zone, own region, then the others in order", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({ places, zone: "az1" })
      const address = yield* stored(world, ["b1", "b2", "b3", "b4"])
      const order: Array<string> = []
      for (const name of ["b3", "b2", "b1", "b4"]) {
        yield* timed(world.store.read(address, RANGE, isSound), 10)
        order.push(
          ...["b1", "b2", "b3", "b4"].filter((each) => readsOf(world, each).readsOk > 0 && !order.includes(each))
        )
        assert.strictEqual(order.at(-1), name)
        world.buckets.find((each) => each.name === name)!.plan.add({ fault: { kind: "bucket-vanished" } })
      }
    })
  )
})

describe("a slow bucket", () => {
  it.effect("is overtaken by the next one after the hedge's delay", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      world.buckets[0]!.plan.add({ operation: "get", fault: { kind: "delay", ms: 1_000 } })
      world.buckets[1]!.plan.add({ operation: "get", fault: { kind: "delay", ms: 20 } })
      const { exit, tookMs } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(tookMs, limits.readHedgeDelayMs + 20)
      assert.strictEqual(world.status.counters.hedgedReads, 1)
      assert.strictEqual(readsOf(world, "b1").readsOvertaken, 1)
    })
  )

  it.effect("still answers first where it is only a little slow", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      world.buckets[0]!.plan.add({ operation: "get", fault: { kind: "delay", ms: 310 } })
      world.buckets[1]!.plan.add({ operation: "get", fault: { kind: "delay", ms: 20 } })
      const { tookMs } = yield* timed(world.store.read(address, RANGE, isSound))
      assert.strictEqual(tookMs, 310)
      assert.strictEqual(readsOf(world, "b1").readsOk, 1)
    })
  )

  it.effect("that hangs costs nothing any more after a few reads, and comes back by itself", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* stored(world)
      const remove = world.buckets[0]!.plan.add({ operation: "get", fault: { kind: "hang", when: "before" } })
      for (let index = 0; index < limits.bucketStrikesMax; index++) {
        const { tookMs } = yield* timed(world.store.read(address, RANGE, isSound), 300)
        assert.strictEqual(tookMs, limits.readHedgeDelayMs)
      }
      const { tookMs } = yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.strictEqual(tookMs, 0)
      assert.strictEqual(world.status.buckets()[0]!.reads, "suspended")
      remove()
      yield* TestClock.adjust(limits.bucketProbeDelayMs)
      yield* timed(world.store.read(address, RANGE, isSound), 10)
      assert.strictEqual(readsOf(world, "b1").readsOk, 1)
      assert.strictEqual(world.status.buckets()[0]!.reads, "healthy")
    })
  )
})

describe("a read whose caller is interrupted", () => {
  it.effect("gives up its requests", () =>
    Effect.gen(function* () {
      let running = 0
      const get: ObjectStore["get"] = () =>
        Effect.callback(() => {
          running++
          return Effect.sync(() => void running--)
        })
      const world = yield* makeWorld({ storeOf: (bucket) => ({ bucket, get }) as unknown as ObjectStore })
      const address = { ...(yield* makeAddress), ackedBuckets: ["b1", "b2"] }
      const fiber = yield* Effect.forkChild(world.store.read(address, RANGE, isSound), { startImmediately: true })
      yield* TestClock.adjust(limits.readHedgeDelayMs)
      assert.strictEqual(running, 2)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(running, 0)
    })
  )
})
