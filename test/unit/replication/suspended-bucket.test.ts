/**
 * Goal: a bucket that is left alone is called in where a write cannot succeed without it, within the bounds of any bucket.
 * Method: memory buckets behind fault plans on a clock that the test moves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { limits } from "#core/model/limits.ts"
import { makeAddress, makeWorld, missingBuckets, timed } from "./quorum-world.ts"

const CHUNKS = [Buffer.from("head"), Buffer.alloc(1_000, 7), Buffer.from("tail")]

/** The second bucket was full for some writes: it takes puts again, and is left out. */
const secondSuspended = Effect.gen(function* () {
  const world = yield* makeWorld()
  const remove = world.buckets[1]!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
  for (let index = 0; index < 3; index++) yield* timed(world.store.write(yield* makeAddress, CHUNKS), 10)
  assert.strictEqual(world.status.buckets()[1]!.writes, "suspended")
  remove()
  return world
})

describe("a bucket that is suspended", () => {
  it.effect("is called in when another one fails meanwhile, before the write is given up", () =>
    Effect.gen(function* () {
      const world = yield* secondSuspended
      const [, , third] = world.buckets
      third!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      const address = yield* makeAddress
      const { putSkips } = world.status.counters.buckets["b2"]!
      const { exit } = yield* timed(world.store.write(address, CHUNKS), 10)
      assert.deepStrictEqual(Exit.isSuccess(exit) ? exit.value.ackedBuckets : [], ["b1", "b2"])
      assert.deepStrictEqual(yield* missingBuckets(world, address.segmentId), ["b3"])
      assert.strictEqual(world.status.counters.buckets["b2"]!.putSkips, putSkips)
      assert.strictEqual(world.status.buckets()[1]!.writes, "healthy")
    })
  )

  it.effect("has as many slots as any when many writes call it in at once", () =>
    Effect.gen(function* () {
      const world = yield* secondSuspended
      const [, second, third] = world.buckets
      second!.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      third!.plan.add({ operation: "put", fault: { kind: "delay", ms: 5 } })
      third!.plan.add({ operation: "put", fault: { kind: "storage-full" } })
      const addresses = yield* Effect.all(Array.from({ length: limits.putsInFlightPerBucket + 4 }, () => makeAddress))
      const writes = yield* Effect.forEach(addresses, (address) =>
        Effect.forkChild(Effect.exit(world.store.write(address, CHUNKS)), { startImmediately: true })
      )
      yield* TestClock.adjust(100)
      assert.isAtMost(world.status.buckets()[1]!.unfinishedPuts, limits.putsInFlightPerBucket)
      const ended = writes.flatMap((fiber) => fiber.pollUnsafe() ?? [])
      assert.isAtLeast(ended.length, 4, "those for which there is no slot are told at once")
      yield* TestClock.adjust(limits.putTimeoutMs)
      for (const fiber of writes) assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
    })
  )

  it.effect("is not called in once the deadline has passed", () =>
    Effect.gen(function* () {
      const world = yield* secondSuspended
      const [first, , third] = world.buckets
      for (const each of [first!, third!]) each.plan.add({ operation: "put", fault: { kind: "hang", when: "before" } })
      const { exit, tookMs } = yield* timed(world.store.write(yield* makeAddress, CHUNKS))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(tookMs, limits.putTimeoutMs)
      for (const each of world.status.buckets()) assert.strictEqual(each.unfinishedPuts, 0)
    })
  )
})
