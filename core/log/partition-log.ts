/**
 * One partition in the fold [pure]: where its newest records are, and its producers.
 *
 * Invariant: runs end at the high watermark, which never retreats. Runs in memory begin at `residentOffset`: what was
 * before lies in index pages, and is in no fold. A partition that nothing happens in must cost little (there may be very
 * many): its runs and producers are objects only while there are some.
 */
import { assert } from "#core/model/assert.ts"
import { type PartitionState, type RunRef, type TopicState } from "./fold.ts"
import { expectedSequence, type AcceptedBatch, ProducerStates } from "./producer-states.ts"
import { RunTable } from "./run-table.ts"

export class PartitionLog implements PartitionState {
  readonly topic: TopicState
  readonly partition: number
  private nextOffset = 0
  private runs: RunTable | undefined = undefined
  private known: ProducerStates | undefined = undefined

  constructor(topic: TopicState, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get logStartOffset(): number {
    return 0
  }

  get highWatermark(): number {
    return this.nextOffset
  }

  get residentOffset(): number {
    return this.runs === undefined ? this.nextOffset : this.runs.baseOffset
  }

  get runCount(): number {
    return this.runs === undefined ? 0 : this.runs.runCount
  }

  expectedSequence(producerId: number, producerEpoch: number): number | undefined {
    const state = this.producers?.get(producerId)
    return state === undefined ? undefined : expectedSequence(state, producerEpoch)
  }

  get producers(): ProducerStates | undefined {
    return this.known
  }

  /** Of the entry that gave it its last run in memory; 0 where there is none. */
  get lastSeq(): number {
    return this.runs === undefined ? 0 : this.runs.lastSegment.seq
  }

  run(index: number): RunRef {
    assert(this.runs !== undefined, `run ${index} of none`)
    return this.runs.run(index)
  }

  runIndexOf(offset: number): number {
    assert(this.runs !== undefined, `offset ${offset} is in no run`)
    return this.runs.runIndexOf(offset)
  }

  addRun(run: RunRef): void {
    assert(run.baseOffset === this.nextOffset, "a run begins where the one before ends")
    this.runs ??= new RunTable()
    this.runs.add(run)
    this.nextOffset = run.nextOffset
  }

  /** The runs in memory as they are now; undefined where there are none. */
  runSnapshot(): RunTable | undefined {
    return this.runs?.snapshot()
  }

  /** Runs of entries up to this seq. */
  countThrough(seq: number): number {
    return this.runs === undefined ? 0 : this.runs.countThrough(seq)
  }

  /** The first runs are in index pages from now on. */
  dropFirst(runs: number): void {
    if (runs === 0) return
    assert(this.runs !== undefined, "runs that leave were there")
    this.runs.dropFirst(runs)
    if (this.runs.runCount === 0) this.runs = undefined
  }

  acceptBatch(producerId: number, batch: AcceptedBatch, seenMs: number): void {
    this.known ??= new ProducerStates()
    this.known.accept(producerId, batch, seenMs)
  }

  expireProducers(foldTimeMs: number): void {
    if (this.known === undefined) return
    this.known.expire(foldTimeMs)
    if (this.known.size === 0) this.known = undefined
  }

  /** For restoring a checkpoint alone: the state that other agents have at a later seq. */
  become(state: {
    readonly highWatermark: number
    readonly runs: RunTable | undefined
    readonly producers: ProducerStates | undefined
  }): void {
    assert(state.highWatermark >= this.nextOffset, "a high watermark never retreats")
    assert(state.runs === undefined || state.runs.runCount > 0, "a table in memory has runs")
    assert(state.runs === undefined || state.runs.nextOffset === state.highWatermark, "runs end at the high watermark")
    this.nextOffset = state.highWatermark
    this.runs = state.runs
    this.known = state.producers
  }
}
