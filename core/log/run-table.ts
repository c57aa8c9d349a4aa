/**
 * Runs of one partition, in order of their offsets [pure]: those that a fold holds in memory, and those of an index page.
 *
 * Invariant: runs are ascending, without gaps, and were committed in this order. Numbers live in typed arrays, some 50 bytes
 * a run of a full chunk, and segments are shared: a RunRef is made when someone asks for it and must not be kept for long.
 * They grow by chunks, so that many runs are never copied as a whole; runs leave from the front. A table of a few runs takes
 * some 1.4 KiB all the same (test/bench/fold.bench.ts): who has none should have no table.
 */
import { assert } from "#core/model/assert.ts"
import { type RunRef, type SegmentRef } from "./fold.ts"

const CHUNK_SHIFT = 9
/** Runs of a whole chunk; the only chunk may be smaller. */
const CHUNK_RUNS = 1 << CHUNK_SHIFT
const CHUNK_MASK = CHUNK_RUNS - 1
const FIRST_CHUNK_RUNS = 4
const FLAG_APPEND_TIME = 1
const FLAG_EXCLUDED = 2
const NONE: ReadonlyArray<number> = Object.freeze([])

/** Of a run in `wide`: offsets and its largest timestamp. */
const WIDE = 3
const NEXT_OFFSET = 1
const MAX_TIMESTAMP = 2
/** Of a run in `narrow`: its place in the segment, checksum and flags. */
const NARROW = 4
const BYTE_LENGTH = 1
const CRC = 2
const FLAGS = 3
const RUN_BYTES = WIDE * 8 + NARROW * 4

/** Numbers of at most CHUNK_RUNS runs, in two views only: for a few runs the views take more than the numbers. */
class Chunk {
  readonly wide: Float64Array
  readonly narrow: Uint32Array
  readonly segments: Array<SegmentRef | undefined> = []

  constructor(runs: number) {
    const numbers = new ArrayBuffer(runs * RUN_BYTES)
    this.wide = new Float64Array(numbers, 0, runs * WIDE)
    this.narrow = new Uint32Array(numbers, runs * WIDE * 8, runs * NARROW)
  }

  get room(): number {
    return this.narrow.length / NARROW
  }

  baseOffset(at: number): number {
    return this.wide[at * WIDE]!
  }

  nextOffset(at: number): number {
    return this.wide[at * WIDE + NEXT_OFFSET]!
  }

  read(at: number, excluded: Map<number, ReadonlyArray<number>> | undefined): RunRef {
    const { wide, narrow } = this
    const flags = narrow[at * NARROW + FLAGS]!
    const baseOffset = wide[at * WIDE]!
    return {
      segment: this.segments[at]!,
      byteOffset: narrow[at * NARROW]!,
      byteLength: narrow[at * NARROW + BYTE_LENGTH]!,
      crc: narrow[at * NARROW + CRC]!,
      baseOffset,
      nextOffset: wide[at * WIDE + NEXT_OFFSET]!,
      maxTimestampMs: wide[at * WIDE + MAX_TIMESTAMP]!,
      timestampType: (flags & FLAG_APPEND_TIME) === 0 ? "create" : "append",
      excluded: (flags & FLAG_EXCLUDED) === 0 ? NONE : excluded!.get(baseOffset)!
    }
  }

  write(at: number, run: RunRef): void {
    const { wide, narrow } = this
    this.segments.push(run.segment)
    wide[at * WIDE] = run.baseOffset
    wide[at * WIDE + NEXT_OFFSET] = run.nextOffset
    wide[at * WIDE + MAX_TIMESTAMP] = run.maxTimestampMs
    narrow[at * NARROW] = run.byteOffset
    narrow[at * NARROW + BYTE_LENGTH] = run.byteLength
    narrow[at * NARROW + CRC] = run.crc
    narrow[at * NARROW + FLAGS] =
      (run.timestampType === "append" ? FLAG_APPEND_TIME : 0) | (run.excluded.length > 0 ? FLAG_EXCLUDED : 0)
  }

  /** Another chunk whose first places are empty: the runs there have left, and let go of their segments. */
  without(left: number): Chunk {
    const copy = this.copy(this.room, 0, this.segments.length)
    copy.segments.fill(undefined, 0, left)
    return copy
  }

  /** Another chunk of so much room with the runs from `first` to `end`. */
  copy(runs: number, first: number, end: number): Chunk {
    const copy = new Chunk(runs)
    copy.wide.set(this.wide.subarray(first * WIDE, end * WIDE))
    copy.narrow.set(this.narrow.subarray(first * NARROW, end * NARROW))
    for (let at = first; at < end; at += 1) copy.segments.push(this.segments[at])
    return copy
  }
}

export class RunTable {
  private readonly chunks: Array<Chunk> = []
  /** Places at the front of the first chunk whose runs have left. */
  private left = 0
  private count = 0
  /** By the run's base offset; nearly always none. */
  private excluded: Map<number, ReadonlyArray<number>> | undefined = undefined

  get runCount(): number {
    return this.count
  }

  /** Of the first run. */
  get baseOffset(): number {
    assert(this.count > 0, "an empty table begins nowhere")
    return this.chunks[0]!.baseOffset(this.left)
  }

  /** Offset after the last run. */
  get nextOffset(): number {
    const place = this.placeOf(this.count - 1)
    return this.chunks[place >>> CHUNK_SHIFT]!.nextOffset(place & CHUNK_MASK)
  }

  /** Of the last run. */
  get lastSegment(): SegmentRef {
    return this.segmentOf(this.count - 1)
  }

  /** 0 <= index < runCount. */
  run(index: number): RunRef {
    const place = this.placeOf(index)
    return this.chunks[place >>> CHUNK_SHIFT]!.read(place & CHUNK_MASK, this.excluded)
  }

  /** Of the run that holds the offset. */
  runIndexOf(offset: number): number {
    assert(offset >= this.baseOffset && offset < this.nextOffset, `offset ${offset} is in no run`)
    return this.lastIndexWhere((chunk, at) => chunk.baseOffset(at) <= offset)
  }

  /** Runs that entries up to this seq committed: they are the first ones. */
  countThrough(seq: number): number {
    if (this.count === 0) return 0
    return this.lastIndexWhere((chunk, at) => chunk.segments[at]!.seq <= seq) + 1
  }

  add(run: RunRef): void {
    assert(run.nextOffset > run.baseOffset, "a run has records")
    if (this.count > 0) {
      assert(run.baseOffset === this.nextOffset, "a run begins where the one before ends")
      assert(run.segment.seq >= this.lastSegment.seq, "runs come in the order of their entries")
    }
    const place = this.left + this.count
    this.chunkWithRoom(place).write(place & CHUNK_MASK, run)
    if (run.excluded.length > 0) (this.excluded ??= new Map()).set(run.baseOffset, run.excluded)
    this.count += 1
  }

  /** The first runs leave, and what they held of memory with them. */
  dropFirst(runs: number): void {
    assert(runs >= 0 && runs <= this.count, `${runs} of ${this.count} runs`)
    if (runs === 0) return
    if (this.excluded !== undefined) this.forgetExcluded(runs)
    this.left += runs
    this.count -= runs
    if (this.count === 0) {
      this.chunks.length = 0
      this.left = 0
      return
    }
    this.chunks.splice(0, this.left >>> CHUNK_SHIFT)
    this.left &= CHUNK_MASK
    if (this.left === 0) return
    const first = this.chunks[0]!
    if (this.chunks.length === 1) {
      this.chunks[0] = first.copy(roomFor(this.count), this.left, this.left + this.count)
      this.left = 0
    } else this.chunks[0] = first.without(this.left)
  }

  /**
   * The table as it is now, which stays so while this one goes on: chunks are shared, and where runs leave or room grows
   * they are replaced, never changed.
   */
  snapshot(): RunTable {
    const snapshot = new RunTable()
    snapshot.chunks.push(...this.chunks)
    snapshot.left = this.left
    snapshot.count = this.count
    snapshot.excluded = this.excluded === undefined ? undefined : new Map(this.excluded)
    return snapshot
  }

  private placeOf(index: number): number {
    assert(index >= 0 && index < this.count, `run ${index} of ${this.count}`)
    return this.left + index
  }

  private segmentOf(index: number): SegmentRef {
    const place = this.placeOf(index)
    return this.chunks[place >>> CHUNK_SHIFT]!.segments[place & CHUNK_MASK]!
  }

  /** The last index for which it holds, of which it holds for all before; -1 where it holds for none. */
  private lastIndexWhere(holds: (chunk: Chunk, at: number) => boolean): number {
    let low = -1
    let high = this.count - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      const place = this.left + middle
      if (holds(this.chunks[place >>> CHUNK_SHIFT]!, place & CHUNK_MASK)) low = middle
      else high = middle - 1
    }
    return low
  }

  private forgetExcluded(runs: number): void {
    for (let index = 0; index < runs; index += 1) {
      const place = this.left + index
      this.excluded!.delete(this.chunks[place >>> CHUNK_SHIFT]!.baseOffset(place & CHUNK_MASK))
    }
    if (this.excluded!.size === 0) this.excluded = undefined
  }

  private chunkWithRoom(place: number): Chunk {
    const index = place >>> CHUNK_SHIFT
    const chunk = this.chunks[index]
    if (chunk === undefined) {
      const added = new Chunk(index === 0 ? FIRST_CHUNK_RUNS : CHUNK_RUNS)
      this.chunks.push(added)
      return added
    }
    if ((place & CHUNK_MASK) < chunk.room) return chunk
    const grown = chunk.copy(roomFor(chunk.room + 1), 0, chunk.room)
    this.chunks[index] = grown
    return grown
  }
}

const roomFor = (runs: number): number => {
  let room = FIRST_CHUNK_RUNS
  while (room < runs) room *= 4
  return Math.min(room, CHUNK_RUNS)
}
