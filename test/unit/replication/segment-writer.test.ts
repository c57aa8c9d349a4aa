/**
 * Goal: a segment is acknowledged if, and only if, two distinct regions really hold all of it; as fast as the second
 * fastest allows; and what goes on afterwards is bounded and accounted for.
 * Method: memory buckets behind fault plans on a clock that the test moves; the stores behind the faults are looked at.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as memory from "#backends/object/memory.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { QuorumNotReached } from "#core/ports/segment-store.ts"
import { segmentKey } from "#core/segment/segment-key.ts"
import { type WorldBucket, holds, makeAddress, makeWorld, missingBuckets, timed } from "./quorum-world.ts"

const CHUNKS = [Buffer.from("head"), Buffer.alloc(1_000, 7), Buffer.from("tail")]
const BYTES = Buffer.concat(CHUNKS)

const MODES = ["ok", "slow", "fail", "hang", "full", "lost"] as const
type Mode = (typeof MODES)[number]

interface Expected {
  readonly isStored: boolean
  /** When the copy ends, at the earliest and at the latest. */
  readonly fromMs: number
  readonly toMs: number
}

/** Puts the mode into force, and says what becomes of a copy. The buckets differ by a millisecond, so order shows. */
const setMode = ({ plan }: WorldBucket, mode: Mode, index: number): Expected => {
  const ms = 10 + index
  const retryMs = limits.putRetryDelayMs
  const put = "put" as const
  plan.add({ operation: put, fault: { kind: "delay", ms: mode === "slow" ? 1_000 + index : ms } })
  switch (mode) {
    case "ok":
      return { isStored: true, fromMs: ms, toMs: ms }
    case "slow":
      return { isStored: true, fromMs: 1_000 + index, toMs: 1_000 + index }
    case "fail":
      plan.add({
        operation: put,
        fault: { kind: "fail", when: "before", reason: "Unavailable", outcome: "definite" }
      })
      return { isStored: false, fromMs: 3 * ms + 1.5 * retryMs, toMs: 3 * ms + 4.5 * retryMs }
    case "hang":
      plan.add({ operation: put, fault: { kind: "hang", when: "before" } })
      return { isStored: false, fromMs: limits.putTimeoutMs, toMs: limits.putTimeoutMs }
    case "full":
      plan.add({ operation: put, fault: { kind: "storage-full" } })
      return { isStored: false, fromMs: ms, toMs: ms }
    case "lost":
      plan.add({ operation: put, times: 1, fault: { kind: "lose-reply" } })
      return { isStored: true, fromMs: 2 * ms + 0.5 * retryMs, toMs: 2 * ms + 1.5 * retryMs }
  }
}

/** Takes every object, and fails every put: as a directory does whose name is there but cannot be brought to disk. */
const neverSure = (bucket: string): ObjectStore => {
  const inner = memory.make({ bucket })
  const put: ObjectStore["put"] = (key, chunks) => {
    const outcome = { reason: "Unavailable", outcome: "indefinite", operation: "put" } as const
    const error = new ObjectStoreError({ ...outcome, bucket, key, cause: new Error("EIO") })
    return Effect.andThen(Effect.ignore(inner.put(key, chunks)), Effect.fail(error))
  }
  return { ...inner, put }
}

const second = (values: ReadonlyArray<number>): number => values.toSorted((left, right) => left - right)[1]!

describe("a write to three regions", () => {
  for (const first of MODES) {
    it.effect(`with the first bucket ${first} and the others in every state is judged rightly`, () =>
      Effect.gen(function* () {
        for (const mode2 of MODES) {
          for (const mode3 of MODES) {
            const modes = [first, mode2, mode3]
            const name = modes.join(" ")
            const world = yield* makeWorld()
            const expected = world.buckets.map((each, index) => setMode(each, modes[index]!, index))
            const address = yield* makeAddress
            const { exit, tookMs } = yield* timed(world.store.write(address, CHUNKS))
            const stored: Array<string> = []
            for (const each of world.buckets) {
              if (yield* holds(each, segmentKey(address), BYTES)) stored.push(each.name)
            }
            const good = expected.filter((each) => each.isStored)
            const bad = expected.filter((each) => !each.isStored)
            assert.strictEqual(Exit.isSuccess(exit), good.length >= 2, name)
            const missing = yield* missingBuckets(world, address.segmentId)
            if (Exit.isSuccess(exit)) {
              assert.isAtLeast(exit.value.ackedBuckets.length, 2, name)
              for (const acked of exit.value.ackedBuckets) assert.include(stored, acked, name)
              assert.isAtLeast(tookMs, second(good.map((each) => each.fromMs)), name)
              assert.isAtMost(tookMs, second(good.map((each) => each.toMs)), name)
              // Late copies end or are recorded: every bucket has it or is on the list, and none is on both.
              assert.deepStrictEqual([...stored, ...missing].toSorted(), ["b1", "b2", "b3"], name)
            } else {
              assert.instanceOf(Option.getOrThrow(Cause.findErrorOption(exit.cause)), QuorumNotReached)
              assert.isAtMost(tookMs, second(bad.map((each) => each.toMs)), name)
              assert.deepStrictEqual(missing, [], name)
            }
            for (const each of world.status.buckets()) assert.strictEqual(each.unfinishedPuts, 0, name)
            assert.strictEqual(world.status.counters.lateBytes, 0, name)
          }
        }
      })
    )
  }

  it.effect("releases the chunks when the last copy has ended, once, and never while one may still read them", () =>
    Effect.gen(function* () {
      for (const [third, isReleased] of [
        ["ok", true],
        ["slow", true],
        ["full", true],
        ["lost", true],
        ["hang", false]
      ] as const) {
        const world = yield* makeWorld()
        world.buckets.forEach((each, index) => setMode(each, index === 2 ? third : "ok", index))
        let releases = 0
        yield* timed(world.store.write(yield* makeAddress, CHUNKS, () => releases++))
        assert.strictEqual(releases, isReleased ? 1 : 0, third)
      }
      const world = yield* makeWorld()
      world.buckets.forEach((each, index) => setMode(each, index === 2 ? "slow" : "ok", index))
      let releases = 0
      const writing = yield* Effect.forkChild(world.store.write(yield* makeAddress, CHUNKS, () => releases++))
      yield* TestClock.adjust(20)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(writing)))
      assert.strictEqual(releases, 0, "the third copy is still being written")
      yield* TestClock.adjust(2_000)
      assert.strictEqual(releases, 1)
    })
  )

  it.effect("releases the chunks where it fails before any copy was begun", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      let releases = 0
      const released = (): void => void releases++
      const unknownSet = { ...(yield* makeAddress), bucketSet: "local" }
      yield* Effect.flip(world.store.write(unknownSet, CHUNKS, released))
      assert.strictEqual(releases, 1)
      for (const each of world.buckets.slice(1)) setMode(each, "hang", 0)
      for (let index = 0; index < limits.putsInFlightPerBucket; index++) {
        const address = yield* makeAddress
        yield* Effect.forkChild(Effect.exit(world.store.write(address, CHUNKS)), { startImmediately: true })
      }
      yield* Effect.flip(world.store.write(yield* makeAddress, CHUNKS, released))
      assert.strictEqual(releases, 2)
    })
  )

  it.effect("releases the chunks where its caller went before a suspended bucket was called in", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const [, second, third] = world.buckets
      second!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      for (let index = 0; index < 3; index++) yield* timed(world.store.write(yield* makeAddress, CHUNKS), 10)
      assert.strictEqual(world.status.buckets()[1]!.writes, "suspended")
      third!.plan.add({ operation: "put", fault: { kind: "delay", ms: 50 } })
      third!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      let releases = 0
      const address = yield* makeAddress
      const writing = yield* Effect.forkChild(
        world.store.write(address, CHUNKS, () => releases++),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(writing)
      yield* TestClock.adjust(limits.putTimeoutMs)
      assert.strictEqual(releases, 1)
      assert.strictEqual(world.status.counters.writesFailed, 1)
    })
  )

  it.effect("says of each bucket why it did not acknowledge", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      world.buckets.forEach((each, index) => setMode(each, (["ok", "full", "hang"] as const)[index]!, index))
      const address = yield* makeAddress
      const { exit, tookMs } = yield* timed(Effect.flip(world.store.write(address, CHUNKS)))
      assert.strictEqual(tookMs, limits.putTimeoutMs)
      const error = Exit.isSuccess(exit) ? exit.value : undefined
      assert.deepInclude(error, { needed: 2, acked: ["b1"] })
      assert.match(error!.failures.join("\n"), /^b2: .*StorageFull: .*\nb3: no answer in 10000 ms$/)
    })
  )

  it.effect("is not acknowledged by two buckets of one region", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({ places: [{ region: "r1" }, { region: "r1" }, { region: "r2" }] })
      world.buckets.forEach((each, index) => setMode(each, (["ok", "ok", "fail"] as const)[index]!, index))
      const { exit } = yield* timed(world.store.write(yield* makeAddress, CHUNKS))
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("counts zones where the set's failure domain is the zone", () =>
    Effect.gen(function* () {
      const places = ["az1", "az2", "az3"].map((zone) => ({ region: "r1", zone }))
      const world = yield* makeWorld({ places, set: { failureDomain: "zone" } })
      setMode(world.buckets[2]!, "hang", 2)
      const { exit } = yield* timed(world.store.write(yield* makeAddress, CHUNKS))
      assert.deepStrictEqual(Exit.isSuccess(exit) ? exit.value.ackedBuckets : [], ["b1", "b2"])
    })
  )

  it.effect("of a bucket set that nobody knows fails at once", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = { ...(yield* makeAddress), bucketSet: "local" }
      const error = yield* Effect.flip(world.store.write(address, CHUNKS))
      assert.match(error.message, /bucket set local is not in the topology/)
    })
  )
})

describe("an object that is there already", () => {
  it.effect("is no acknowledgement where this write did not put it", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* makeAddress
      // The same bytes even: a fresh id that is taken is trouble, whoever took it.
      yield* world.buckets[0]!.inner.put(segmentKey(address), CHUNKS)
      const { exit } = yield* timed(world.store.write(address, CHUNKS))
      assert.deepStrictEqual(Exit.isSuccess(exit) ? exit.value.ackedBuckets : [], ["b2", "b3"])
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
    })
  )

  it.effect("is no acknowledgement where its size differs, even after a lost reply", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* makeAddress
      yield* world.buckets[0]!.inner.put(segmentKey(address), [Buffer.from("other")])
      world.buckets[0]!.plan.add({
        operation: "put",
        times: 1,
        fault: { kind: "fail", when: "before", reason: "Unavailable", outcome: "indefinite" }
      })
      yield* timed(world.store.write(address, CHUNKS))
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
    })
  )

  it.effect("is an acknowledgement where a reply was lost, the next put finds it there, and its size is right", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* makeAddress
      world.buckets[0]!.plan.add({ operation: "put", times: 1, fault: { kind: "lose-reply" } })
      const { exit } = yield* timed(world.store.write(address, CHUNKS))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), [])
      assert.strictEqual(world.status.counters.buckets["b1"]!.putRetries, 1)
    })
  )

  it.effect("is no acknowledgement where every put failed: it can be seen, but nobody promised to keep it", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({
        storeOf: (name) => (name === "b1" ? neverSure(name) : memory.make({ bucket: name }))
      })
      const address = yield* makeAddress
      const { exit } = yield* timed(world.store.write(address, CHUNKS))
      assert.deepStrictEqual(Exit.isSuccess(exit) ? exit.value.ackedBuckets : [], ["b2", "b3"])
      assert.isTrue(yield* holds(world.buckets[0]!, segmentKey(address), BYTES))
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
    })
  )

  it.effect("is no acknowledgement while its size cannot be asked for", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const address = yield* makeAddress
      const [first] = world.buckets
      first!.plan.add({ operation: "put", times: 1, fault: { kind: "lose-reply" } })
      first!.plan.add({ operation: "head", fault: { kind: "bucket-vanished" } })
      yield* timed(world.store.write(address, CHUNKS))
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b1"])
    })
  )
})

describe("a bucket that hangs", () => {
  it.effect("costs no latency, fills its slots once, and comes back by itself", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      const hanging = world.buckets[2]!
      const remove = hanging.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      for (let index = 0; index < 100; index++) {
        const { exit, tookMs } = yield* timed(world.store.write(yield* makeAddress, CHUNKS), 10)
        assert.isTrue(Exit.isSuccess(exit))
        assert.strictEqual(tookMs, 0)
        assert.isAtMost(world.status.buckets()[2]!.unfinishedPuts, limits.putsInFlightPerBucket)
      }
      assert.strictEqual(world.status.counters.buckets["b3"]!.putSkips, 100 - limits.putsInFlightPerBucket)
      yield* TestClock.adjust(limits.putTimeoutMs)
      assert.strictEqual(world.status.buckets()[2]!.writes, "suspended")
      assert.strictEqual(world.status.counters.buckets["b3"]!.missingCopies, 100)
      remove()
      let writes = 0
      while (world.status.buckets()[2]!.writes === "suspended" && writes < 200) {
        yield* timed(world.store.write(yield* makeAddress, CHUNKS), 1_000)
        writes++
      }
      assert.strictEqual(world.status.buckets()[2]!.writes, "healthy")
      const { exit } = yield* timed(world.store.write(yield* makeAddress, CHUNKS), 10)
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(world.status.buckets()[2]!.unfinishedPuts, 0)
    })
  )

  it.effect("holds a bounded number of bytes, and what is abandoned for that is recorded", () =>
    Effect.gen(function* () {
      const megabytes = Buffer.alloc(8 * 1024 * 1024)
      const stored: ObjectStore["put"] = () => Effect.void
      const world = yield* makeWorld({
        storeOf: (bucket) => ({ bucket, put: stored }) as unknown as ObjectStore
      })
      for (const each of world.buckets.slice(1)) each.plan.add({ operation: "put", fault: { kind: "delay", ms: 20 } })
      world.buckets[2]!.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      // All at once: none is late while the others are planned, so only abandoning can keep the bound.
      const writes = yield* Effect.forEach(
        Array.from({ length: 12 }),
        () => Effect.flatMap(makeAddress, (address) => world.store.write(address, [megabytes])),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust(30)
      yield* Fiber.join(writes)
      const { counters } = world.status
      assert.isAtMost(counters.lateBytes, limits.lateCopyBytes)
      assert.strictEqual(counters.lateCopiesAbandoned, 12 - limits.lateCopyBytes / megabytes.length)
      assert.strictEqual(counters.buckets["b3"]!.missingCopies, counters.lateCopiesAbandoned)
      // From then on the bucket is left out by its bytes.
      yield* timed(
        Effect.flatMap(makeAddress, (address) => world.store.write(address, [megabytes])),
        30
      )
      assert.strictEqual(counters.buckets["b3"]!.putSkips, 1)
      yield* TestClock.adjust(limits.putStuckMs)
      assert.strictEqual(counters.lateBytes, 0)
      assert.strictEqual(counters.buckets["b3"]!.missingCopies, 13)
    })
  )

  it.effect(
    "keeps its slots also where the write fails at its deadline, until its puts end or are stuck too long",
    () =>
      Effect.gen(function* () {
        const puts = { begun: 0, interrupted: 0 }
        const hanging: ObjectStore["put"] = () =>
          Effect.callback(() => {
            puts.begun++
            return Effect.sync(() => puts.interrupted++)
          })
        const stored: ObjectStore["put"] = () => Effect.void
        const world = yield* makeWorld({
          storeOf: (bucket) => ({ bucket, put: bucket === "b1" ? stored : hanging }) as unknown as ObjectStore
        })
        const slots = 2 * limits.putsInFlightPerBucket
        const writing = yield* Effect.forEach(
          Array.from({ length: limits.putsInFlightPerBucket + 4 }),
          () => Effect.flatMap(makeAddress, (address) => Effect.flip(world.store.write(address, CHUNKS))),
          { concurrency: "unbounded" }
        ).pipe(Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust(limits.putTimeoutMs)
        const [first] = yield* Fiber.join(writing)
        assert.deepStrictEqual(first!.failures, ["b2: no answer in 10000 ms", "b3: no answer in 10000 ms"])
        assert.deepStrictEqual(puts, { begun: slots, interrupted: 0 })
        assert.strictEqual(world.status.buckets()[1]!.unfinishedPuts, limits.putsInFlightPerBucket)
        assert.strictEqual(world.status.counters.lateBytes, slots * BYTES.length)
        const { exit, tookMs } = yield* timed(world.store.write(yield* makeAddress, CHUNKS), 1)
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual(tookMs, 0, "the buckets are left out")
        assert.strictEqual(puts.begun, slots)
        yield* TestClock.adjust(limits.putStuckMs)
        assert.deepStrictEqual(puts, { begun: slots, interrupted: slots })
        assert.strictEqual(world.status.counters.lateBytes, 0)
        for (const each of world.status.buckets()) assert.strictEqual(each.unfinishedPuts, 0)
      })
  )

  it.effect("is left out by the bytes of writes that failed at their deadline, and none of their puts gives way", () =>
    Effect.gen(function* () {
      const megabytes = Buffer.alloc(8 * 1024 * 1024)
      const world = yield* makeWorld()
      for (const each of world.buckets.slice(1))
        each.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      const writes = 1 + limits.lateCopyBytes / megabytes.length
      const writing = yield* Effect.forEach(
        Array.from({ length: writes }),
        () => Effect.flatMap(makeAddress, (address) => Effect.exit(world.store.write(address, [megabytes]))),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust(limits.putTimeoutMs)
      yield* Fiber.join(writing)
      const { counters } = world.status
      assert.strictEqual(counters.lateBytes, 2 * writes * megabytes.length)
      assert.strictEqual(world.status.buckets()[1]!.unfinishedPuts, writes)
      const error = yield* Effect.flip(world.store.write(yield* makeAddress, [megabytes]))
      assert.match(error.message, /b2: left out: late copies hold \d+ bytes; b3: left out: late copies/)
      assert.strictEqual(counters.lateCopiesAbandoned, 0)
      yield* TestClock.adjust(limits.putStuckMs)
      assert.strictEqual(counters.lateBytes, 0)
    })
  )

  it.effect("together with another one is still tried: suspicion must not cost the quorum", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      for (const each of world.buckets.slice(1)) setMode(each, "full", 0)
      for (let index = 0; index < 3; index++)
        yield* timed(Effect.exit(world.store.write(yield* makeAddress, CHUNKS)), 100)
      assert.isFalse(world.status.isWritable("quorum"))
      for (const each of world.buckets) each.plan.clear()
      const { exit } = yield* timed(world.store.write(yield* makeAddress, CHUNKS), 10)
      assert.isTrue(Exit.isSuccess(exit))
      assert.isTrue(world.status.isWritable("quorum"))
    })
  )
})

describe("a write", () => {
  it.effect("whose caller is interrupted leaves its copies running", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      for (const each of world.buckets) each.plan.add({ operation: "put", fault: { kind: "delay", ms: 50 } })
      const address = yield* makeAddress
      const fiber = yield* Effect.forkChild(world.store.write(address, CHUNKS), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust(100)
      for (const each of world.buckets) assert.isTrue(yield* holds(each, segmentKey(address), BYTES))
      assert.strictEqual(world.status.buckets()[0]!.unfinishedPuts, 0)
    })
  )

  it.effect("under way or begun when the layer ends is answered", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld()
      for (const each of world.buckets) each.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      const address = yield* makeAddress
      const fiber = yield* Effect.forkChild(Effect.exit(world.store.write(address, CHUNKS)), { startImmediately: true })
      yield* world.close
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      const { exit } = yield* timed(world.store.write(yield* makeAddress, CHUNKS))
      assert.isTrue(Exit.isFailure(exit))
    })
  )

  it.effect("to a store with a defect is judged by the others", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({
        places: [{ region: "r1" }, { region: "r2" }],
        storeOf: (bucket) => ({ bucket, put: () => Effect.die("bug") }) as unknown as ObjectStore
      })
      const error = yield* Effect.flip(world.store.write(yield* makeAddress, CHUNKS))
      assert.match(error.message, /b1: .*bug/)
    })
  )
})

describe("missing copies", () => {
  it.effect("are recorded when the database is back, and nobody waits for it", () =>
    Effect.gen(function* () {
      let isAway = true
      const world = yield* makeWorld({
        metadataFaults: ({ operation }) =>
          isAway && operation === "recordMissingCopies"
            ? { kind: "fail-before", reason: "Unavailable", outcome: "definite" }
            : undefined
      })
      setMode(world.buckets[2]!, "full", 2)
      const address = yield* makeAddress
      const { exit } = yield* timed(world.store.write(address, CHUNKS), 60_000)
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), [])
      assert.strictEqual(world.status.counters.missingQueued, 1)
      isAway = false
      yield* TestClock.adjust(2 * limits.missingCopiesRetryMs)
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b3"])
      assert.strictEqual(world.status.counters.missingQueued, 0)
    })
  )

  it.effect("that do not fit into the queue are counted", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld({ metadataFaults: () => ({ kind: "hang-before" }) })
      // Never acknowledging, so that every write reports it without being tried.
      world.buckets[2]!.plan.add({ fault: { kind: "bucket-vanished" } })
      const startedAtMs = yield* Clock.currentTimeMillis
      const writes = limits.missingCopiesQueue + limits.missingCopiesPerBatch + 100
      for (let index = 0; index < writes; index++) {
        yield* world.store.write(yield* makeAddress, [Buffer.from("x")])
        if (index === 10) yield* TestClock.adjust(1_000)
      }
      const { counters } = world.status
      assert.isAtMost(counters.missingQueued, limits.missingCopiesQueue + limits.missingCopiesPerBatch)
      assert.isAbove(counters.missingDropped, 0)
      assert.isAbove(yield* Clock.currentTimeMillis, startedAtMs)
    })
  )
})
