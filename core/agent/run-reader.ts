/**
 * Reads committed runs for fetches and offset look-ups, through the cache of blocks.
 *
 * Invariants:
 * - What `read` answers is the committed run (run-bytes.ts checks it when it is first used), stamped exactly once.
 * - A block is read from the buckets once however many readers wait for it, and at most limits.blockReadsInFlight blocks
 *   and half the cache's bytes are being read at a time. Who waits for their turn is bounded by the requests in flight.
 * - A bad run makes the store try another bucket; a bad copy of a run that nobody asked for harms nobody.
 *
 * `read` is synchronous where the run is cached: fetch handlers call it per partition, and only misses cost an Effect.
 * Interrupting a reader leaves the read going on for the others and for the cache.
 */
import { Context, Deferred, Effect, type Exit, Layer, type Scope } from "effect"
import { type RunRef } from "#core/log/fold.ts"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { SegmentStore, type SegmentUnreadable } from "#core/ports/segment-store.ts"
import { BlockCache, type BlockCacheCounters } from "./block-cache.ts"
import { isRunSound, stampRun } from "./run-bytes.ts"

export interface RunReaderOptions {
  /** Setting `cache.bytes`. */
  readonly cacheBytes: number
}

export interface RunReaderCounters {
  readonly cache: BlockCacheCounters
  /** Reads of blocks from the segment store. */
  blockReads: number
  blockReadBytes: number
  /** Readers that joined a read under way. */
  blockReadsShared: number
  blockReadsFailed: number
  /** Runs of a cached block that turned out bad when they were first used. */
  runsCorrupt: number
}

export class RunReader extends Context.Service<
  RunReader,
  {
    /**
     * The run's bytes, checked and stamped; a view of a cached block (its lifetime: block-cache.ts), not to be changed.
     * A Buffer at once where it is cached, else an Effect (tell them apart with Buffer.isBuffer).
     */
    readonly read: (run: RunRef) => Buffer | Effect.Effect<Buffer, SegmentUnreadable>
    readonly counters: RunReaderCounters
    /** Bytes held and being read. */
    readonly cacheBytes: () => number
  }
>()("meridian/core/agent/RunReader") {}

export const layer = (options: RunReaderOptions): Layer.Layer<RunReader, never, SegmentStore> =>
  Layer.effect(RunReader, make(options))

export const make = Effect.fnUntraced(function* (
  options: RunReaderOptions
): Effect.fn.Return<RunReader["Service"], never, SegmentStore | Scope.Scope> {
  const cache = new BlockCache<Block>(options.cacheBytes)
  const reader: Reader = {
    store: yield* SegmentStore,
    scope: yield* Effect.scope,
    cache,
    loads: new Map(),
    turns: { running: 0, runningBytes: 0, waiting: [] },
    counters: {
      cache: cache.counters,
      blockReads: 0,
      blockReadBytes: 0,
      blockReadsShared: 0,
      blockReadsFailed: 0,
      runsCorrupt: 0
    }
  }
  return RunReader.of({
    read: (run) => read(reader, run),
    counters: reader.counters,
    cacheBytes: () => cache.heldBytes + cache.reservedBytes
  })
})

interface Block {
  readonly byteLength: number
  readonly bytes: Buffer
  /** Its first byte's offset in the segment. */
  readonly byteOffset: number
  /** Offsets in the segment of runs that were checked and not yet stamped. */
  readonly checked: Set<number>
  /** Of runs that were checked and stamped. */
  readonly ready: Set<number>
}

interface Load {
  readonly key: string
  readonly byteOffset: number
  readonly byteLength: number
  /** Runs that readers wait for, by their offset in the segment. More may join until the read ends. */
  readonly needed: Map<number, RunRef>
  readonly done: Deferred.Deferred<Block, SegmentUnreadable>
}

interface Reader {
  readonly store: SegmentStore["Service"]
  readonly scope: Scope.Scope
  readonly cache: BlockCache<Block>
  /** Reads under way that others may join, by block. */
  readonly loads: Map<string, Load>
  readonly turns: Turns
  readonly counters: RunReaderCounters
}

const read = (reader: Reader, run: RunRef): Buffer | Effect.Effect<Buffer, SegmentUnreadable> => {
  const key = blockKey(run)
  const block = reader.cache.get(key)
  if (block === undefined) return readShared(reader, run, key)
  const bytes = useRun(block, run)
  if (bytes !== undefined) return bytes
  reader.counters.runsCorrupt++
  reader.cache.delete(key)
  return readShared(reader, run, key)
}

/**
 * Joins the read of the block that is under way, or begins one: registered and started in one step that no interruption
 * cuts in two, or those who join a read that was never started would wait for ever.
 */
const readShared = (reader: Reader, run: RunRef, key: string): Effect.Effect<Buffer, SegmentUnreadable> =>
  Effect.uninterruptibleMask((restore) => {
    let load = reader.loads.get(key)
    if (load === undefined) {
      // Another reader's load may have ended since this one looked.
      if (reader.cache.has(key)) return restore(asEffect(read(reader, run)))
      load = makeLoad(run, key)
      reader.loads.set(key, load)
      return Effect.andThen(startLoad(reader, load, run), restore(awaitShared(reader, load, run)))
    }
    reader.counters.blockReadsShared++
    load.needed.set(run.byteOffset, run)
    return restore(awaitShared(reader, load, run))
  })

const asEffect = (bytes: Buffer | Effect.Effect<Buffer, SegmentUnreadable>): Effect.Effect<Buffer, SegmentUnreadable> =>
  Buffer.isBuffer(bytes) ? Effect.succeed(bytes) : bytes

const awaitShared = (reader: Reader, load: Load, run: RunRef): Effect.Effect<Buffer, SegmentUnreadable> =>
  Deferred.await(load.done).pipe(
    Effect.catch((error) =>
      // Perhaps no copy is sound in all the runs that were asked for together, but one is in this run.
      load.needed.size > 1 ? readAlone(reader, run, load.key) : Effect.fail(error)
    ),
    Effect.flatMap((block) => {
      if (Buffer.isBuffer(block)) return Effect.succeed(block)
      const bytes = useRun(block, run)
      if (bytes !== undefined) return Effect.succeed(bytes)
      // It joined after the bytes had been checked, and this copy is bad in this run.
      reader.counters.runsCorrupt++
      return readAlone(reader, run, load.key)
    })
  )

/** A read that nobody joins, of a copy that is sound in this run. Its block replaces the cached one. */
const readAlone = (reader: Reader, run: RunRef, key: string): Effect.Effect<Buffer, SegmentUnreadable> =>
  Effect.suspend(() => {
    const load = makeLoad(run, key)
    return startLoad(reader, load, run).pipe(
      Effect.andThen(Deferred.await(load.done)),
      Effect.map((block) => {
        const bytes = useRun(block, run)
        assert(bytes !== undefined, "a block that was read for one run is sound in it")
        return bytes
      })
    )
  })

/** The run's view, after checking and stamping it at its first use; undefined where it is bad. */
const useRun = (block: Block, run: RunRef): Buffer | undefined => {
  const start = run.byteOffset - block.byteOffset
  const bytes = block.bytes.subarray(start, start + run.byteLength)
  if (block.ready.has(run.byteOffset)) return bytes
  if (!block.checked.delete(run.byteOffset) && !isRunSound(bytes, run)) return undefined
  stampRun(bytes, run)
  block.ready.add(run.byteOffset)
  return bytes
}

const makeLoad = (run: RunRef, key: string): Load => {
  const index = blockIndexOf(run)
  const byteOffset = run.segment.blockOffsets[index]!
  return {
    key,
    byteOffset,
    byteLength: run.segment.blockOffsets[index + 1]! - byteOffset,
    needed: new Map([[run.byteOffset, run]]),
    done: Deferred.makeUnsafe()
  }
}

const startLoad = Effect.fnUntraced(function* (reader: Reader, load: Load, run: RunRef) {
  const fiber = yield* Effect.forkIn(runLoad(reader, load, run), reader.scope, { startImmediately: true })
  // An observer, not a finalizer of the effect: it is also called where a closed scope never lets the effect begin.
  fiber.addObserver((exit) => endLoad(reader, load, exit))
}, Effect.uninterruptible)

const runLoad = Effect.fnUntraced(function* (
  reader: Reader,
  load: Load,
  run: RunRef
): Effect.fn.Return<Block, SegmentUnreadable> {
  const { byteLength, byteOffset } = load
  yield* takeTurn(reader, byteLength)
  reader.counters.blockReads++
  let checked = new Set<number>()
  const isSound = (bytes: Buffer): boolean => {
    checked = new Set()
    for (const needed of load.needed.values()) {
      const start = needed.byteOffset - byteOffset
      if (!isRunSound(bytes.subarray(start, start + needed.byteLength), needed)) return false
      checked.add(needed.byteOffset)
    }
    return true
  }
  const bytes = yield* reader.store
    .read(run.segment, { offset: byteOffset, length: byteLength }, isSound)
    .pipe(Effect.ensuring(Effect.sync(() => giveTurnBack(reader, byteLength))))
  assert(bytes.length === byteLength, "the segment store answers with the bytes that were asked for")
  reader.counters.blockReadBytes += byteLength
  return { bytes, byteLength, byteOffset, checked, ready: new Set() }
})

const endLoad = (reader: Reader, load: Load, exit: Exit.Exit<Block, SegmentUnreadable>): void => {
  if (reader.loads.get(load.key) === load) reader.loads.delete(load.key)
  if (exit._tag === "Success") reader.cache.put(load.key, exit.value)
  else reader.counters.blockReadsFailed++
  Deferred.doneUnsafe(load.done, exit)
}

/** Reads take turns in the order they came, so that a large block is not starved by small ones. */
interface Turns {
  running: number
  runningBytes: number
  readonly waiting: Array<{ readonly byteLength: number; readonly go: Deferred.Deferred<void> }>
}

const takeTurn = (reader: Reader, byteLength: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const turn = { byteLength, go: Deferred.makeUnsafe<void>() }
    reader.turns.waiting.push(turn)
    letGo(reader)
    // Only the end of the scope interrupts a load; then nobody waits for turns any more.
    return Deferred.await(turn.go)
  })

const giveTurnBack = (reader: Reader, byteLength: number): void => {
  reader.turns.running--
  reader.turns.runningBytes -= byteLength
  reader.cache.release(byteLength)
  letGo(reader)
}

const letGo = (reader: Reader): void => {
  const { turns, cache } = reader
  while (turns.waiting.length > 0 && turns.running < limits.blockReadsInFlight) {
    const next = turns.waiting[0]!
    const fits = turns.runningBytes + next.byteLength <= cache.capacityBytes / 2
    // One block may be larger than that; it is read alone.
    if (!fits && turns.running > 0) return
    turns.waiting.shift()
    turns.running++
    turns.runningBytes += next.byteLength
    cache.reserve(next.byteLength)
    Deferred.doneUnsafe(next.go, Effect.void)
  }
}

const blockKey = (run: RunRef): string => `${run.segment.segmentId}/${blockIndexOf(run)}`

/** Of the block that holds the run: the last one that begins at or before it. */
export const blockIndexOf = (run: RunRef): number => {
  const { blockOffsets } = run.segment
  let low = 0
  let high = blockOffsets.length - 2
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (blockOffsets[middle]! <= run.byteOffset) low = middle
    else high = middle - 1
  }
  const isInside = blockOffsets[low]! <= run.byteOffset && run.byteOffset + run.byteLength <= blockOffsets[low + 1]!
  assert(isInside, `segment ${run.segment.segmentId}: the run at ${run.byteOffset} lies in no block`)
  return low
}
