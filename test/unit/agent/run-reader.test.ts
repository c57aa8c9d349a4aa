/**
 * Goal: what a reader gets is exactly the committed run, stamped once, however its bytes arrived; blocks are read once for
 * all who wait; memory stays within its bounds.
 * Method: segments made by hand over a stub segment store that records its reads and can serve bad copies in turn.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, References } from "effect"
import { TestClock } from "effect/testing"
import { type RunReader as Service, RunReader, layer } from "#core/agent/run-reader.ts"
import { type RunRef } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { SegmentStore, SegmentUnreadable } from "#core/ports/segment-store.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { APPEND_TIME_MS, type MadeSegment, type RunPlan, makeSegment, offsetsOf } from "./made-segment.ts"

/** Gives the copies in order, the first that passes the check; counts reads; waits at the gate if there is one. */
class StubStore {
  reads = 0
  running = 0
  runningMax = 0
  runningBytesMax = 0
  gate: Deferred.Deferred<void> | undefined
  #runningBytes = 0
  readonly #copies = new Map<string, ReadonlyArray<Buffer>>()

  hold(segment: MadeSegment, ...copies: ReadonlyArray<Buffer>): void {
    this.#copies.set(segment.runs[0]!.segment.segmentId, copies.length === 0 ? [segment.bytes] : copies)
  }

  readonly layer = Layer.succeed(
    SegmentStore,
    SegmentStore.of({
      write: () => Effect.die("not here"),
      read: (address, range, isSound) =>
        Effect.gen({ self: this }, function* () {
          this.reads++
          this.running++
          this.#runningBytes += range.length
          this.runningMax = Math.max(this.runningMax, this.running)
          this.runningBytesMax = Math.max(this.runningBytesMax, this.#runningBytes)
          if (this.gate !== undefined) yield* Deferred.await(this.gate)
          this.running--
          this.#runningBytes -= range.length
          for (const copy of this.#copies.get(address.segmentId) ?? []) {
            const bytes = Buffer.from(copy.subarray(range.offset, range.offset + range.length))
            if (isSound(bytes)) return bytes
          }
          return yield* new SegmentUnreadable({ segmentId: address.segmentId, failures: ["no sound copy"] })
        })
    })
  )
}

type Reader = Service["Service"]

const withReader = <A, E>(
  store: StubStore,
  use: (reader: Reader) => Effect.Effect<A, E>,
  cacheBytes: number = limits.blockCacheBytes
) => Effect.flatMap(RunReader, use).pipe(Effect.provide(layer({ cacheBytes }).pipe(Layer.provide(store.layer))))

const readRun = (reader: Reader, run: RunRef): Effect.Effect<Buffer, SegmentUnreadable> =>
  Effect.suspend(() => {
    const read = reader.read(run)
    return Buffer.isBuffer(read) ? Effect.succeed(read) : read
  })

const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 0xff
  return copy
}

describe("a bad copy", () => {
  it.effect("is never served, whichever byte of the run is wrong", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1, 2], baseOffset: 5 }])
    const [run] = segment.runs
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        for (let at = run!.byteOffset; at < run!.byteOffset + run!.byteLength; at++) {
          store.hold(segment, flipped(segment.bytes, at))
          const error = yield* Effect.flip(readRun(reader, run!))
          assert.instanceOf(error, SegmentUnreadable)
        }
        assert.strictEqual(reader.counters.blockReadsFailed, run!.byteLength)
        assert.strictEqual(reader.cacheBytes(), 0)
      })
    )
  })

  it.effect("in the run that is wanted makes another copy be read", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    store.hold(segment, flipped(segment.bytes, segment.runs[0]!.byteOffset + 70), segment.bytes)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        assert.deepStrictEqual(offsetsOf([yield* readRun(reader, segment.runs[0]!)]), [0])
      })
    )
  })

  it.effect("in another run of the block is found when that run is read, and costs one more read", () => {
    const store = new StubStore()
    const segment = makeSegment([
      { batches: [1], baseOffset: 0 },
      { batches: [1], baseOffset: 9 }
    ])
    const [first, second] = segment.runs
    store.hold(segment, flipped(segment.bytes, second!.byteOffset + 70), segment.bytes)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        yield* readRun(reader, first!)
        assert.strictEqual(reader.counters.runsCorrupt, 0)
        assert.deepStrictEqual(offsetsOf([yield* readRun(reader, second!)]), [9])
        assert.strictEqual(reader.counters.runsCorrupt, 1)
        assert.strictEqual(store.reads, 2)
        assert.isTrue(Buffer.isBuffer(reader.read(first!)))
        assert.isTrue(Buffer.isBuffer(reader.read(second!)))
      })
    )
  })

  it.effect("each in another run still serves all readers that wait together", () => {
    const store = new StubStore()
    const segment = makeSegment([
      { batches: [1], baseOffset: 0 },
      { batches: [1], baseOffset: 9 }
    ])
    const [first, second] = segment.runs
    store.hold(segment, flipped(segment.bytes, first!.byteOffset + 70), flipped(segment.bytes, second!.byteOffset + 70))
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        store.gate = yield* Deferred.make<void>()
        const both = yield* Effect.forkChild(
          Effect.all([readRun(reader, first!), readRun(reader, second!)], { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        yield* Deferred.succeed(store.gate, undefined)
        assert.deepStrictEqual(offsetsOf(yield* Fiber.join(both)), [0, 9])
      })
    )
  })

  it.effect("that contradicts the entry's offsets is bad, though its CRC is right", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [2, 3], baseOffset: 100 }])
    store.hold(segment)
    const run = segment.runs[0]!
    const wrong: ReadonlyArray<RunRef> = [
      { ...run, nextOffset: 104 },
      { ...run, nextOffset: 106 },
      { ...run, excluded: [0] },
      { ...run, excluded: [2], nextOffset: 105 },
      { ...run, baseOffset: 99 }
    ]
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        for (const each of wrong) assert.instanceOf(yield* Effect.flip(readRun(reader, each)), SegmentUnreadable)
        assert.deepStrictEqual(offsetsOf([yield* readRun(reader, run)]), [100, 102])
      })
    )
  })

  it.effect("of garbage with a right CRC is bad, not a defect", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    const garbage = Buffer.alloc(segment.bytes.length, 0xee)
    store.hold(segment, garbage)
    const run = segment.runs[0]!
    const crc = crc32c(garbage.subarray(run.byteOffset, run.byteOffset + run.byteLength))
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        assert.instanceOf(yield* Effect.flip(readRun(reader, { ...run, crc })), SegmentUnreadable)
      })
    )
  })
})

describe("a run", () => {
  it.effect("is stamped with its offsets and epoch once, and served from memory afterwards", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [3, 1, 2], baseOffset: 2 ** 33 }])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        const bytes = yield* readRun(reader, segment.runs[0]!)
        assert.deepStrictEqual(offsetsOf([bytes]), [2 ** 33, 2 ** 33 + 3, 2 ** 33 + 4])
        batchHeader.walkBatches(bytes, (at) => {
          assert.strictEqual(batchHeader.leaderEpoch(bytes, at), 0)
          assert.strictEqual(batchHeader.computeCrc(bytes, at), batchHeader.crc(bytes, at))
          assert.strictEqual(batchHeader.timestampType(bytes, at), "create")
        })
        const again = reader.read(segment.runs[0]!)
        assert.isTrue(Buffer.isBuffer(again) && again.equals(bytes))
        assert.strictEqual(store.reads, 1)
      })
    )
  })

  it.effect("of a LogAppendTime topic carries the commit's time, with a right CRC", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [2, 1], baseOffset: 0, timestampType: "append" }])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        const bytes = yield* readRun(reader, segment.runs[0]!)
        let batches = 0
        batchHeader.walkBatches(bytes, (at) => {
          batches++
          assert.strictEqual(batchHeader.maxTimestamp(bytes, at), APPEND_TIME_MS)
          assert.strictEqual(batchHeader.timestampType(bytes, at), "append")
          assert.strictEqual(batchHeader.computeCrc(bytes, at), batchHeader.crc(bytes, at))
        })
        assert.strictEqual(batches, 2)
      })
    )
  })

  it.effect("is found in its block, whichever it is", () => {
    const store = new StubStore()
    const plans = Array.from({ length: 9 }, (_, index): RunPlan => ({ batches: [1], baseOffset: index * 10 }))
    const segment = makeSegment(plans.slice(0, 2), plans.slice(2, 3), plans.slice(3, 7), plans.slice(7))
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        for (const [index, run] of segment.runs.entries()) {
          assert.deepStrictEqual(offsetsOf([yield* readRun(reader, run)]), [index * 10])
        }
        assert.strictEqual(store.reads, 4)
      })
    )
  })

  it.effect("outside every block is a defect", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        const exit = yield* Effect.exit(
          readRun(reader, { ...segment.runs[0]!, byteLength: segment.runs[0]!.byteLength + 1 })
        )
        assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", /lies in no block/)
      })
    )
  })
})

describe("readers that wait for one block", () => {
  it.effect("share one read, also of different runs", () => {
    const store = new StubStore()
    const segment = makeSegment([
      { batches: [1], baseOffset: 0 },
      { batches: [1], baseOffset: 9 }
    ])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        store.gate = yield* Deferred.make<void>()
        const wanted = Array.from({ length: 50 }, (_, index) => readRun(reader, segment.runs[index % 2]!))
        const all = yield* Effect.forkChild(Effect.all(wanted, { concurrency: "unbounded" }), {
          startImmediately: true
        })
        yield* Deferred.succeed(store.gate, undefined)
        assert.strictEqual(new Set(offsetsOf(yield* Fiber.join(all))).size, 2)
        assert.strictEqual(store.reads, 1)
        assert.strictEqual(reader.counters.blockReadsShared, 49)
      })
    )
  })

  it.effect("find it in the cache where it came between their look and their wait", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 3 }])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        const run = segment.runs[0]!
        const [first, second] = [reader.read(run), reader.read(run)]
        assert.isFalse(Buffer.isBuffer(first) || Buffer.isBuffer(second))
        yield* first as Effect.Effect<Buffer, SegmentUnreadable>
        assert.deepStrictEqual(offsetsOf([yield* second as Effect.Effect<Buffer, SegmentUnreadable>]), [3])
        assert.strictEqual(store.reads, 1)
      })
    )
  })

  it.effect("do not lose it when one of them is interrupted", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        store.gate = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(readRun(reader, segment.runs[0]!), { startImmediately: true })
        const second = yield* Effect.forkChild(readRun(reader, segment.runs[0]!), { startImmediately: true })
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(store.gate, undefined)
        assert.deepStrictEqual(offsetsOf([yield* Fiber.join(second)]), [0])
        assert.strictEqual(store.reads, 1)
      })
    )
  })

  it.effect("get it, wherever the one that began the read yielded and was interrupted", () => {
    const store = new StubStore()
    const segments = Array.from({ length: 60 }, () => makeSegment([{ batches: [1], baseOffset: 7 }]))
    for (const segment of segments) store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        let yielded = 0
        for (const [index, segment] of segments.entries()) {
          const run = segment.runs[0]!
          const first = Effect.runFork(
            Effect.provideService(readRun(reader, run), References.MaxOpsBeforeYield, index + 2)
          )
          if (first.pollUnsafe() === undefined) yielded++
          first.interruptUnsafe()
          const second = yield* Effect.forkChild(readRun(reader, run), { startImmediately: true })
          yield* Fiber.await(first)
          // The read goes on by the first reader's scheduler, which needs turns of the event loop.
          for (let turn = 0; turn < 1_000 && second.pollUnsafe() === undefined; turn++) {
            yield* Effect.promise(() => new Promise((resolve) => void setImmediate(resolve)))
          }
          const exit = second.pollUnsafe()
          assert.isTrue(exit !== undefined && Exit.isSuccess(exit), `after ${index + 2} operations`)
        }
        assert.isAbove(yielded, 5)
      })
    )
  })

  it.effect("all learn that it failed, and the next reader tries again", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    store.hold(segment, flipped(segment.bytes, 20))
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        const exits = yield* Effect.all(
          [Effect.exit(readRun(reader, segment.runs[0]!)), Effect.exit(readRun(reader, segment.runs[0]!))],
          { concurrency: "unbounded" }
        )
        for (const exit of exits) {
          const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
          assert.instanceOf(error, SegmentUnreadable)
        }
        store.hold(segment)
        assert.deepStrictEqual(offsetsOf([yield* readRun(reader, segment.runs[0]!)]), [0])
      })
    )
  })
})

describe("memory", () => {
  const KiB = 1024

  it.effect("stays within the cache's size; the least recently used block is read again", () => {
    const store = new StubStore()
    const segments = Array.from({ length: 4 }, () =>
      makeSegment([{ batches: [1], baseOffset: 0, valueBytes: 300 * KiB }])
    )
    for (const segment of segments) store.hold(segment)
    const cacheBytes = 1024 * KiB
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        for (const segment of segments) {
          yield* readRun(reader, segment.runs[0]!)
          assert.isAtMost(reader.cacheBytes(), cacheBytes)
        }
        assert.strictEqual(reader.counters.cache.evictions, 1)
        assert.isFalse(Buffer.isBuffer(reader.read(segments[0]!.runs[0]!)))
        assert.isTrue(Buffer.isBuffer(reader.read(segments[3]!.runs[0]!)))
      }),
      cacheBytes
    )
  })

  it.effect("of reads under way is bounded in number and bytes, and every reader gets its turn", () => {
    const store = new StubStore()
    const segments = Array.from({ length: 60 }, (_, index) =>
      makeSegment([{ batches: [1], baseOffset: index, valueBytes: index % 10 === 0 ? 400 * KiB : 10 * KiB }])
    )
    for (const segment of segments) store.hold(segment)
    const cacheBytes = 1024 * KiB
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        store.gate = yield* Deferred.make<void>()
        const all = yield* Effect.forkChild(
          Effect.all(
            segments.map((segment) => readRun(reader, segment.runs[0]!)),
            { concurrency: "unbounded" }
          ),
          { startImmediately: true }
        )
        yield* TestClock.adjust(1)
        assert.isAtMost(reader.cacheBytes(), cacheBytes)
        yield* Deferred.succeed(store.gate, undefined)
        const chunks = yield* Fiber.join(all)
        assert.deepStrictEqual(
          offsetsOf(chunks),
          segments.map((_, index) => index)
        )
        assert.isAtMost(store.runningMax, limits.blockReadsInFlight)
        assert.isAtMost(store.runningBytesMax, cacheBytes / 2)
        assert.isAtMost(reader.cacheBytes(), cacheBytes)
      }),
      cacheBytes
    )
  })

  it.effect("serves a block that is larger than the cache, without keeping it", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 3, valueBytes: 3 * KiB }])
    store.hold(segment)
    return withReader(
      store,
      Effect.fnUntraced(function* (reader) {
        assert.deepStrictEqual(offsetsOf([yield* readRun(reader, segment.runs[0]!)]), [3])
        assert.strictEqual(reader.cacheBytes(), 0)
      }),
      2 * KiB
    )
  })

  it.effect("is given back, and waiters are answered, when the reader's scope ends", () => {
    const store = new StubStore()
    const segment = makeSegment([{ batches: [1], baseOffset: 0 }])
    return Effect.gen(function* () {
      store.gate = yield* Deferred.make<void>()
      const waiting = yield* withReader(store, (reader) =>
        Effect.map(Effect.forkDetach(readRun(reader, segment.runs[0]!), { startImmediately: true }), (fiber) => ({
          fiber,
          reader
        }))
      )
      assert.isTrue(Exit.isFailure(yield* Fiber.await(waiting.fiber)))
      assert.strictEqual(waiting.reader.cacheBytes(), 0)
      const late = yield* Effect.forkChild(readRun(waiting.reader, segment.runs[0]!), { startImmediately: true })
      assert.isTrue(Exit.isFailure(yield* Fiber.await(late)))
    })
  })
})
