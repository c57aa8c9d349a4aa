/**
 * The fold: state' = fold(state, entry) [pure]. The in-memory state that every agent builds, the same on all of them.
 *
 * Invariant: the state is a function of the rows alone, whoever reads them and in whatever portions. A row is applied
 * whole or not at all: everything is decoded and checked (log-draft.ts) before the first change. What cannot be understood,
 * or breaks the chain of nonces and offsets, stops the fold for ever, loudly: an agent that went on would tell its
 * clients another history than the others. The state is changed in place: rows come many times a second and the state is
 * large. Nothing here judges, reads a clock, or draws a random number.
 *
 * A row whose epoch is below the highest seen is void: a sequencer that was deposed wrote it, and no one acts on it, its
 * author included. Only a row that begins the next epoch may raise the epoch.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO, type Uuid } from "#core/model/uuid.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { type CommittedRun, type Holder, type LogEffect, type SegmentCommitted, type TopicCreated } from "./effect.ts"
import { collisionKey } from "#core/model/topic-name.ts"
import { decodeEntry } from "./entry.ts"
import { checkEffects } from "./log-draft.ts"
import { PartitionLog } from "./partition-log.ts"
import { RememberedSegments } from "./remembered-segments.ts"

/** A committed segment, shared by all its runs. */
export interface SegmentRef {
  readonly segmentId: Uuid
  /** Of the entry that committed it. */
  readonly seq: number
  readonly createdAtMs: number
  readonly bucketSet: string
  readonly ackedBuckets: ReadonlyArray<string>
  readonly segmentBytes: number
  /** See CommitSegment.blockOffsets. */
  readonly blockOffsets: ReadonlyArray<number>
  readonly appendTimeMs: number
}

/** Where the records of one partition from `baseOffset` to `nextOffset` (half-open) are. */
export interface RunRef {
  readonly segment: SegmentRef
  readonly byteOffset: number
  readonly byteLength: number
  readonly crc: number
  readonly baseOffset: number
  readonly nextOffset: number
  /** Largest of its accepted batches (the append time for `append`). */
  readonly maxTimestampMs: number
  readonly timestampType: "create" | "append"
  /** Indexes of batches in the run that were not accepted: not served, no offsets. Nearly always empty. */
  readonly excluded: ReadonlyArray<number>
}

export interface PartitionState {
  readonly topic: TopicState
  readonly partition: number
  readonly logStartOffset: number
  /** Offset after the last committed record; equals the log end offset. Never retreats. */
  readonly highWatermark: number
  /**
   * Runs in memory begin here; the high watermark where there are none. What is before lies in index pages. It moves on
   * with the log, the same on every agent: what is to be read is asked for anew after every await.
   */
  readonly residentOffset: number
  /** Of the runs in memory. */
  readonly runCount: number
  /** 0 <= index < runCount, ascending by offset. */
  readonly run: (index: number) => RunRef
  /** Index of the run that holds the offset (residentOffset <= offset < highWatermark). */
  readonly runIndexOf: (offset: number) => number
  /** Of the idempotent producer's next batch; undefined where nothing was accepted of it in this epoch. */
  readonly expectedSequence: (producerId: number, producerEpoch: number) => number | undefined
}

export interface TopicState {
  readonly topicId: Uuid
  readonly name: string
  readonly createdAtMs: number
  readonly configs: ReadonlyMap<string, string>
  readonly partitions: ReadonlyArray<PartitionState>
}

export interface FoldState {
  /** The last folded seq of the shard; 0 before the first. */
  readonly seq: number
  /** The highest seen. */
  readonly epoch: number
  /** Who sequences in this epoch; undefined before the first epoch began. */
  readonly holder: Holder | undefined
  /** Of the genesis entry; undefined before it is folded. */
  readonly clusterId: Uuid | undefined
  readonly topicByName: (name: string) => TopicState | undefined
  readonly topicById: (topicId: Uuid) => TopicState | undefined
  /** Live topics in order of their names. */
  readonly topics: () => ReadonlyArray<TopicState>
}

/** What one entry changed, for those who wait. */
export interface Folded {
  readonly seq: number
  /** `void`: a row of an epoch that was over. It has its slot, and no effect. */
  readonly standing: "valid" | "void"
  readonly effects: ReadonlyArray<LogEffect>
  /** Partitions that got records. */
  readonly grown: ReadonlyArray<PartitionState>
}

/** A row that this fold cannot follow. The agent must not go on. */
export class FoldStopped extends Error {
  override readonly name = "FoldStopped"
  readonly shard: number
  readonly seq: number

  constructor(at: { readonly shard: number; readonly seq: number }, why: string, cause?: unknown) {
    super(`the fold of shard ${at.shard} stopped at seq ${at.seq}: ${why}`, { cause })
    this.shard = at.shard
    this.seq = at.seq
  }
}

export const createFold = (shard: number): Fold => new Fold(shard)

/**
 * Changes the fold to what it is after the row, which must be its next. Throws FoldStopped, and changes nothing, where the
 * row does not fit; from then on the fold refuses every row. The row's entry is kept: it must not change.
 */
export const applyRow = (fold: Fold, row: LogRow): Folded => {
  if (fold.stopped !== undefined) throw fold.stopped
  let effects: ReadonlyArray<LogEffect>
  try {
    checkChain(fold, row)
    if (row.epoch < fold.epoch) return fold.passOver(row)
    effects = decodeEntry(row.entry)
    checkEpoch(fold, row, effects)
    checkEffects(fold, row.seq, effects)
  } catch (cause) {
    fold.stopped = new FoldStopped(row, cause instanceof Error ? cause.message : String(cause), cause)
    throw fold.stopped
  }
  return fold.advance(row, effects)
}

/** Entries between two looks for producers that were silent too long in partitions that get no records. */
const PRODUCER_SWEEP_ENTRIES = 1_024

const checkChain = (fold: Fold, row: LogRow): void => {
  if (row.shard !== fold.shard) throw new Error(`a row of shard ${row.shard}`)
  if (row.seq !== fold.seq + 1) throw new Error(`expected seq ${fold.seq + 1}`)
  if (row.prevNonce !== fold.nonce) throw new Error(`its predecessor is ${row.prevNonce}, expected ${fold.nonce}`)
}

const checkEpoch = (fold: Fold, row: LogRow, effects: ReadonlyArray<LogEffect>): void => {
  const begins = effects[0]?.kind === "epoch-begun"
  if (effects.some((effect, index) => index > 0 && effect.kind === "epoch-begun")) {
    throw new Error("an epoch begins in the middle of an entry")
  }
  const expected = begins ? fold.epoch + 1 : fold.epoch
  if (row.epoch !== expected) throw new Error(`epoch ${row.epoch}, expected ${expected}`)
}

/** Shared by all topics that have none. */
const NO_CONFIGS: ReadonlyMap<string, string> = new Map()

export class TopicLog implements TopicState {
  readonly topicId: Uuid
  readonly name: string
  readonly createdAtMs: number
  readonly configs: ReadonlyMap<string, string>
  private logs: ReadonlyArray<PartitionLog> = []

  constructor(created: Omit<TopicCreated, "kind">) {
    this.topicId = created.topicId
    this.name = created.name
    this.createdAtMs = created.createdAtMs
    this.configs = created.configs.length === 0 ? NO_CONFIGS : new Map(created.configs)
    this.growTo(created.partitions)
  }

  get partitions(): ReadonlyArray<PartitionLog> {
    return this.logs
  }

  /** Of just so much room: an array that grows by itself reserves more than a partition is. */
  growTo(count: number): void {
    this.logs = Array.from({ length: count }, (_, index) => this.logs[index] ?? new PartitionLog(this, index))
  }
}

/** What a fold is beyond its topics and remembered segments: for restoring a checkpoint. */
export interface FoldScalars {
  readonly seq: number
  readonly nonce: Uuid
  readonly epoch: number
  readonly timeMs: number
  readonly holder: Holder | undefined
  readonly materializedSeq: number
  readonly materializedAtSeq: number
  readonly residentRuns: number
  readonly clusterId: Uuid | undefined
  readonly nextProducerId: number
}

/** The state. Readers see it as FoldState; what is more is for the judge, the appender and the digest. */
export class Fold implements FoldState {
  readonly shard: number
  seq = 0
  /** Of the last folded row. */
  nonce: Uuid = UUID_ZERO
  /** The highest seen. */
  epoch = 0
  /** The largest append time seen: what forgetting goes by. Never retreats. */
  timeMs = 0
  holder: Holder | undefined = undefined
  /** Runs of entries up to here are in index pages, and not in memory. */
  materializedSeq = 0
  /** The entry that said so; 0 before the first. Up to here the next index pages will go (materializer.ts). */
  materializedAtSeq = 0
  /** Runs in memory, all partitions together. */
  residentRuns = 0
  clusterId: Uuid | undefined = undefined
  nextProducerId = 0
  readonly segments = new RememberedSegments()
  /**
   * Ids of topics that are gone, never used again, and the entries that deleted them, oldest first. All after
   * `materializedSeq`: their pages are still to be deleted; of the others the newest limits.deletedTopicIdsKept.
   *
   * To forget is safe: they are there for commands that come again, which is a matter of seconds, while a forgotten one is
   * behind thousands of later deletions and out of the materializer's window. Nobody else asks for such an id: agents
   * draw them at random, 122 bits, and never twice.
   */
  readonly deletedTopicIds = new Map<Uuid, number>()
  stopped: FoldStopped | undefined = undefined
  private readonly byId = new Map<Uuid, TopicLog>()
  private readonly byName = new Map<string, TopicLog>()
  private readonly byCollisionKey = new Map<string, TopicLog>()
  private inOrder: ReadonlyArray<TopicLog> | undefined = undefined

  constructor(shard: number) {
    this.shard = shard
  }

  topicByName(name: string): TopicLog | undefined {
    return this.byName.get(name)
  }

  topicById(topicId: Uuid): TopicLog | undefined {
    return this.byId.get(topicId)
  }

  topicByCollisionKey(key: string): TopicLog | undefined {
    return this.byCollisionKey.get(key)
  }

  topics(): ReadonlyArray<TopicLog> {
    this.inOrder ??= [...this.byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return this.inOrder
  }

  /** For applyRow alone: the row has its slot and no effect. */
  passOver(row: LogRow): Folded {
    this.seq = row.seq
    this.nonce = row.nonce
    return { seq: row.seq, standing: "void", effects: [], grown: [] }
  }

  /** For applyRow alone: the row and its effects were checked. */
  advance(row: LogRow, effects: ReadonlyArray<LogEffect>): Folded {
    this.seq = row.seq
    this.nonce = row.nonce
    this.epoch = row.epoch
    const grown: Array<PartitionLog> = []
    for (let index = 0; index < effects.length; index += 1) this.apply(effects[index]!, { row, index, grown })
    if (row.seq % PRODUCER_SWEEP_ENTRIES === 0) this.sweepProducers()
    return { seq: row.seq, standing: "valid", effects, grown }
  }

  private apply(effect: LogEffect, at: { row: LogRow; index: number; grown: Array<PartitionLog> }): void {
    switch (effect.kind) {
      case "genesis":
        this.clusterId = effect.clusterId
        return
      case "topic-created":
        return this.createTopic(effect)
      case "topic-deleted":
        return this.deleteTopic(effect.topicId)
      case "partitions-created":
        return this.byId.get(effect.topicId)!.growTo(effect.partitions)
      case "producer-ids-allocated":
        this.nextProducerId = effect.first + effect.count
        return
      case "segment-committed":
        this.commitSegment(effect, at.grown)
        return this.segments.add(effect, { seq: at.row.seq, effectIndex: at.index, entry: at.row.entry })
      case "epoch-begun":
        this.holder = effect.holder
        return
      case "materialized":
        this.materializedSeq = effect.throughSeq
        this.materializedAtSeq = this.seq
        this.forgetDeleted()
        return this.dropThrough(effect.throughSeq)
    }
  }

  /** For restoring a checkpoint alone, which was checked whole: nothing here may fail. */
  become(scalars: FoldScalars, topics: ReadonlyArray<TopicLog>): void {
    assert(scalars.seq > this.seq, "a fold is restored to a later seq")
    Object.assign(this, scalars)
    this.byId.clear()
    this.byName.clear()
    this.byCollisionKey.clear()
    this.inOrder = undefined
    for (const topic of topics) this.addTopic(topic)
  }

  private createTopic(effect: TopicCreated): void {
    this.addTopic(new TopicLog(effect))
  }

  private addTopic(topic: TopicLog): void {
    this.byId.set(topic.topicId, topic)
    this.byName.set(topic.name, topic)
    this.byCollisionKey.set(collisionKey(topic.name), topic)
    this.inOrder = undefined
  }

  private deleteTopic(topicId: Uuid): void {
    const topic = this.byId.get(topicId)!
    this.byId.delete(topicId)
    this.byName.delete(topic.name)
    this.byCollisionKey.delete(collisionKey(topic.name))
    this.deletedTopicIds.set(topicId, this.seq)
    this.inOrder = undefined
    for (const partition of topic.partitions) this.residentRuns -= partition.runCount
  }

  private forgetDeleted(): void {
    let tooMany = -limits.deletedTopicIdsKept
    for (const seq of this.deletedTopicIds.values()) if (seq <= this.materializedSeq) tooMany += 1
    for (const topicId of this.deletedTopicIds.keys()) {
      if (tooMany <= 0) return
      this.deletedTopicIds.delete(topicId)
      tooMany -= 1
    }
  }

  private dropThrough(seq: number): void {
    for (const topic of this.byId.values()) {
      for (const partition of topic.partitions) {
        const runs = partition.countThrough(seq)
        partition.dropFirst(runs)
        this.residentRuns -= runs
      }
    }
  }

  private commitSegment(effect: SegmentCommitted, grown: Array<PartitionLog>): void {
    this.timeMs = Math.max(this.timeMs, effect.appendTimeMs)
    this.segments.advance(this.timeMs)
    const segment: SegmentRef = {
      segmentId: effect.segmentId,
      seq: this.seq,
      createdAtMs: effect.createdAtMs,
      bucketSet: effect.bucketSet,
      ackedBuckets: effect.ackedBuckets,
      segmentBytes: effect.segmentBytes,
      blockOffsets: effect.blockOffsets,
      appendTimeMs: effect.appendTimeMs
    }
    for (const run of effect.runs) {
      if (run.baseOffset < 0) continue
      const partition = this.byId.get(run.topicId)!.partitions[run.partition]!
      if (partition.lastSeq !== this.seq) grown.push(partition)
      commitRun(partition, run, { segment, foldTimeMs: this.timeMs })
      this.residentRuns += 1
    }
  }

  private sweepProducers(): void {
    for (const topic of this.byId.values()) {
      for (const partition of topic.partitions) partition.expireProducers(this.timeMs)
    }
  }
}

/** Adds the run's accepted batches: the run itself, and what its producers did. */
const commitRun = (
  partition: PartitionLog,
  run: CommittedRun,
  at: { readonly segment: SegmentRef; readonly foldTimeMs: number }
): void => {
  const { appendTimeMs } = at.segment
  const isAppendTime = run.timestampType === "append"
  let nextOffset = run.baseOffset
  let maxTimestampMs = isAppendTime ? appendTimeMs : Number.NEGATIVE_INFINITY
  let excludedAt = 0
  for (let index = 0; index < run.batches.length; index += 1) {
    if (run.excluded[excludedAt]?.index === index) {
      excludedAt += 1
      continue
    }
    const batch = run.batches[index]!
    if (!isAppendTime && batch.maxTimestampMs > maxTimestampMs) maxTimestampMs = batch.maxTimestampMs
    if (batch.producerId >= 0) {
      const accepted = {
        producerEpoch: batch.producerEpoch,
        baseSequence: batch.baseSequence,
        offsetCount: batch.offsetCount,
        baseOffset: nextOffset,
        appendTimeMs: isAppendTime ? appendTimeMs : -1
      }
      partition.acceptBatch(batch.producerId, accepted, at.foldTimeMs)
    }
    nextOffset += batch.offsetCount
  }
  assert(excludedAt === run.excluded.length, "excluded batches are ascending")
  partition.expireProducers(at.foldTimeMs)
  partition.addRun({
    segment: at.segment,
    byteOffset: run.byteOffset,
    byteLength: run.byteLength,
    crc: run.crc,
    timestampType: run.timestampType,
    baseOffset: run.baseOffset,
    nextOffset,
    maxTimestampMs,
    excluded: run.excluded.map((batch) => batch.index)
  })
}
