/**
 * Goal: what a fetch reads, and what its answer keeps alive, is bounded by blocks and not only by the bytes it serves; the
 * first batch comes all the same, and what fills its blocks is served without a copy.
 * Method: partitions made by hand over the real run reader and a store that makes each block when it is read.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { ByteBudget } from "#core/agent/byte-budget.ts"
import { type PlannedFetch, planFetch, readPlan, type WantedPartition } from "#core/agent/fetch-plan.ts"
import { type AgentServices } from "#core/agent/handler.ts"
import { layer, RunReader } from "#core/agent/run-reader.ts"
import { type PartitionState, type RunRef, type SegmentRef } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { SegmentStore } from "#core/ports/segment-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { batch, offsetsOf } from "./made-segment.ts"

const MiB = 1024 * 1024
/** Every batch of this file: one record. */
const BATCH = batch(1, 8_000)
const BATCH_CRC = crc32c(BATCH)

const segmentOf = (id: number, blockBytes: ReadonlyArray<number>): SegmentRef => {
  const blockOffsets = [8]
  for (const bytes of blockBytes) blockOffsets.push(blockOffsets.at(-1)! + bytes)
  return {
    segmentId: id.toString(16).padStart(32, "0"),
    seq: 1,
    createdAtMs: 1,
    bucketSet: "quorum",
    ackedBuckets: ["b1"],
    segmentBytes: blockOffsets.at(-1)! + 8,
    blockOffsets,
    appendTimeMs: 1
  }
}

/** The run in the segment's block that begins `place` batches after the block does. */
const runOf = (segment: SegmentRef, block: number, place: number, baseOffset: number): RunRef => ({
  segment,
  byteOffset: segment.blockOffsets[block]! + place * BATCH.length,
  byteLength: BATCH.length,
  crc: BATCH_CRC,
  baseOffset,
  nextOffset: baseOffset + 1,
  maxTimestampMs: 1,
  timestampType: "create",
  excluded: []
})

const partitionOf = (runs: ReadonlyArray<RunRef>, bytesMax = MiB): WantedPartition => ({
  state: {
    partition: 0,
    logStartOffset: 0,
    highWatermark: runs.length,
    residentOffset: 0,
    runCount: runs.length,
    run: (index: number) => runs[index]!,
    runIndexOf: (offset: number) => offset
  } as unknown as PartitionState,
  offset: 0,
  bytesMax
})

/** Blocks are batches from end to end, as far as they fit. */
const store = (reads: { bytes: number }) =>
  Layer.succeed(
    SegmentStore,
    SegmentStore.of({
      write: () => Effect.die("not here"),
      read: (_, range) =>
        Effect.sync(() => {
          reads.bytes += range.length
          const block = Buffer.allocUnsafeSlow(range.length)
          for (let at = 0; at + BATCH.length <= block.length; at += BATCH.length) BATCH.copy(block, at)
          return block
        })
    })
  )

/** All runs of this file are in memory. */
const NO_PAGES = undefined as unknown as AgentServices["pages"]

const fetched = (wanted: ReadonlyArray<WantedPartition>) => {
  const reads = { bytes: 0 }
  return Effect.gen(function* () {
    const runs = yield* RunReader
    const services = { runs, fetchBudget: new ByteBudget(limits.fetchBytesInFlight) } as unknown as AgentServices
    const planned = planFetch(NO_PAGES, wanted, limits.fetchBytesMax)
    assert.isFalse(Effect.isEffect(planned), "what is in memory is chosen at once")
    const read = yield* readPlan(services, planned as PlannedFetch, () => {})
    const records = wanted.map((each) => read.answers.get(each)?.records ?? [])
    const kept = new Set(records.flat().map((chunk) => chunk.buffer))
    return {
      read,
      records,
      readBytes: reads.bytes,
      /** Memory that lives as long as the answer. */
      keptBytes: [...kept].reduce((bytes, memory) => bytes + memory.byteLength, 0),
      runs
    }
  }).pipe(Effect.provide(layer({ cacheBytes: limits.blockCacheBytes }).pipe(Layer.provide(store(reads)))))
}

describe("a consumer that lags behind in one of very many partitions", () => {
  const lagging = partitionOf(
    Array.from({ length: 128 }, (_, index) => runOf(segmentOf(index, [limits.blockBytes]), 0, 7, index))
  )

  it.effect("reads a bounded number of blocks, and its answer keeps none of them", () =>
    Effect.gen(function* () {
      const { read, records, readBytes, keptBytes } = yield* fetched([lagging])
      const blocks = limits.fetchBlockBytesMax / limits.blockBytes
      assert.strictEqual(readBytes, limits.fetchBlockBytesMax)
      assert.deepStrictEqual(
        offsetsOf(records[0]!),
        Array.from({ length: blocks }, (_, index) => index)
      )
      assert.strictEqual(read.bytes, blocks * BATCH.length)
      assert.strictEqual(keptBytes, read.bytes)
    })
  )

  it.effect("leaves what is in the same blocks to the partitions behind it", () =>
    Effect.gen(function* () {
      const shared = lagging.state.run(0).segment
      const other = partitionOf([runOf(shared, 0, 1, 0), runOf(segmentOf(999, [limits.blockBytes]), 0, 0, 1)])
      const { records, readBytes } = yield* fetched([lagging, other])
      assert.deepStrictEqual(offsetsOf(records[1]!), [0])
      assert.strictEqual(readBytes, limits.fetchBlockBytesMax)
    })
  )
})

describe("a fetch", () => {
  it.effect("gives the first batch, in however large a block", () =>
    Effect.gen(function* () {
      const large = segmentOf(1, [limits.fetchBlockBytesMax + 1, limits.blockBytes])
      const first = partitionOf([runOf(large, 0, 0, 0), runOf(large, 1, 0, 1)])
      const { records, keptBytes } = yield* fetched([partitionOf([]), first])
      assert.deepStrictEqual(offsetsOf(records[1]!), [0])
      assert.strictEqual(keptBytes, BATCH.length)
    })
  )

  it.effect("of half a block or more, all its partitions together, answers with views of the block", () =>
    Effect.gen(function* () {
      const segment = segmentOf(1, [8 * BATCH.length])
      for (const [served, isCopied] of [
        [3, true],
        [4, false],
        [8, false]
      ] as const) {
        const wanted = Array.from({ length: served }, (_, place) => partitionOf([runOf(segment, 0, place, 0)]))
        const { read, records, keptBytes, runs } = yield* fetched(wanted)
        assert.strictEqual(read.bytes, served * BATCH.length)
        assert.strictEqual(keptBytes, isCopied ? read.bytes : 8 * BATCH.length)
        const block = runs.read(wanted[0]!.state.run(0))
        assert.isTrue(Buffer.isBuffer(block))
        for (const chunks of records) {
          assert.deepStrictEqual(offsetsOf(chunks), [0])
          assert.isTrue(chunks[0]!.equals(block as Buffer), "copied or not, the bytes are the run's")
          assert.strictEqual(chunks[0]!.buffer !== (block as Buffer).buffer, isCopied)
        }
      }
    })
  )

  it.effect("copies of the blocks that are little served, and of no others", () =>
    Effect.gen(function* () {
      const segment = segmentOf(1, [BATCH.length, 100 * BATCH.length])
      const { records } = yield* fetched([partitionOf([runOf(segment, 0, 0, 0), runOf(segment, 1, 50, 1)])])
      assert.deepStrictEqual(offsetsOf(records[0]!), [0, 1])
      assert.deepStrictEqual(
        records[0]!.map((chunk) => chunk.buffer.byteLength),
        [BATCH.length, BATCH.length]
      )
    })
  )
})
