/**
 * One partition in the fold [pure]: where its records are, and its producers.
 *
 * Invariant: runs are ascending and without gaps, the high watermark never retreats. Numbers live in typed columns, some
 * 45 bytes a run, and segments are shared: a RunRef is made when someone asks for it and must not be kept for long. Columns
 * grow by chunks, so that a long partition is never copied as a whole.
 */
import { assert } from "#core/model/assert.ts"
import { type PartitionState, type RunRef, type SegmentRef, type TopicState } from "./fold.ts"
import { ProducerStates } from "./producer-states.ts"

/** What a run is when it is added. */
export interface NewRun {
  readonly segment: SegmentRef
  readonly byteOffset: number
  readonly byteLength: number
  readonly crc: number
  readonly timestampType: "create" | "append"
  readonly baseOffset: number
  readonly nextOffset: number
  readonly maxTimestampMs: number
  readonly excluded: ReadonlyArray<number>
}

const CHUNK_SHIFT = 9
/** Runs of a whole chunk; the first chunk begins small. */
const CHUNK_RUNS = 1 << CHUNK_SHIFT
const FIRST_CHUNK_RUNS = 4
const FLAG_APPEND_TIME = 1
const FLAG_EXCLUDED = 2
const NONE: ReadonlyArray<number> = Object.freeze([])

/** Columns of at most CHUNK_RUNS runs. */
class Chunk {
  readonly baseOffset: Float64Array
  readonly nextOffset: Float64Array
  readonly maxTimestampMs: Float64Array
  readonly byteOffset: Uint32Array
  readonly byteLength: Uint32Array
  readonly crc: Uint32Array
  readonly flags: Uint8Array
  readonly segments: Array<SegmentRef> = []

  constructor(runs: number) {
    const columns = new ArrayBuffer(runs * 37)
    this.baseOffset = new Float64Array(columns, 0, runs)
    this.nextOffset = new Float64Array(columns, runs * 8, runs)
    this.maxTimestampMs = new Float64Array(columns, runs * 16, runs)
    this.byteOffset = new Uint32Array(columns, runs * 24, runs)
    this.byteLength = new Uint32Array(columns, runs * 28, runs)
    this.crc = new Uint32Array(columns, runs * 32, runs)
    this.flags = new Uint8Array(columns, runs * 36, runs)
  }

  get room(): number {
    return this.flags.length
  }

  grownTo(runs: number): Chunk {
    const grown = new Chunk(runs)
    grown.baseOffset.set(this.baseOffset)
    grown.nextOffset.set(this.nextOffset)
    grown.maxTimestampMs.set(this.maxTimestampMs)
    grown.byteOffset.set(this.byteOffset)
    grown.byteLength.set(this.byteLength)
    grown.crc.set(this.crc)
    grown.flags.set(this.flags)
    for (const segment of this.segments) grown.segments.push(segment)
    return grown
  }
}

export class PartitionLog implements PartitionState {
  readonly topic: TopicState
  readonly partition: number
  readonly producers = new ProducerStates()
  readonly logStartOffset = 0
  /** The last entry that gave it records. */
  grownAtSeq = 0
  private nextOffset = 0
  private runs = 0
  private readonly chunks: Array<Chunk> = []
  /** By run index; nearly always empty. */
  private readonly excluded = new Map<number, ReadonlyArray<number>>()

  constructor(topic: TopicState, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get highWatermark(): number {
    return this.nextOffset
  }

  get runCount(): number {
    return this.runs
  }

  run(index: number): RunRef {
    assert(index >= 0 && index < this.runs, `run ${index} of ${this.runs}`)
    const chunk = this.chunks[index >>> CHUNK_SHIFT]!
    const at = index & (CHUNK_RUNS - 1)
    const flags = chunk.flags[at]!
    return {
      segment: chunk.segments[at]!,
      byteOffset: chunk.byteOffset[at]!,
      byteLength: chunk.byteLength[at]!,
      crc: chunk.crc[at]!,
      baseOffset: chunk.baseOffset[at]!,
      nextOffset: chunk.nextOffset[at]!,
      maxTimestampMs: chunk.maxTimestampMs[at]!,
      timestampType: (flags & FLAG_APPEND_TIME) === 0 ? "create" : "append",
      excluded: (flags & FLAG_EXCLUDED) === 0 ? NONE : this.excluded.get(index)!
    }
  }

  runIndexOf(offset: number): number {
    assert(offset >= this.logStartOffset && offset < this.nextOffset, `offset ${offset} of ${this.nextOffset}`)
    let low = 0
    let high = this.runs - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      const baseOffset = this.chunks[middle >>> CHUNK_SHIFT]!.baseOffset[middle & (CHUNK_RUNS - 1)]!
      if (baseOffset <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  addRun(run: NewRun): void {
    assert(run.baseOffset === this.nextOffset, "a run begins where the one before ends")
    assert(run.nextOffset > run.baseOffset, "a run has records")
    const chunk = this.chunkWithRoom()
    const at = this.runs & (CHUNK_RUNS - 1)
    chunk.segments.push(run.segment)
    chunk.byteOffset[at] = run.byteOffset
    chunk.byteLength[at] = run.byteLength
    chunk.crc[at] = run.crc
    chunk.baseOffset[at] = run.baseOffset
    chunk.nextOffset[at] = run.nextOffset
    chunk.maxTimestampMs[at] = run.maxTimestampMs
    chunk.flags[at] =
      (run.timestampType === "append" ? FLAG_APPEND_TIME : 0) | (run.excluded.length > 0 ? FLAG_EXCLUDED : 0)
    if (run.excluded.length > 0) this.excluded.set(this.runs, run.excluded)
    this.runs += 1
    this.nextOffset = run.nextOffset
  }

  private chunkWithRoom(): Chunk {
    const index = this.runs >>> CHUNK_SHIFT
    const at = this.runs & (CHUNK_RUNS - 1)
    const chunk = this.chunks[index]
    if (chunk === undefined) {
      const added = new Chunk(index === 0 ? FIRST_CHUNK_RUNS : CHUNK_RUNS)
      this.chunks.push(added)
      return added
    }
    if (at < chunk.room) return chunk
    const grown = chunk.grownTo(Math.min(chunk.room * 4, CHUNK_RUNS))
    this.chunks[index] = grown
    return grown
  }
}
