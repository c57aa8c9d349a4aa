/**
 * A fold as it would be after some more effects, without changing it [pure].
 *
 * The judge decides several commands of one entry on a draft, so that they see each other; the fold checks an entry on one
 * before it applies it. Only what an entry touches is in the draft, everything else is looked up in the fold below, which
 * must stay the same while the draft is in use.
 */
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type CommittedRun, type LogEffect, type SegmentCommitted } from "./effect.ts"
import { collisionKey } from "#core/model/topic-name.ts"
import { type Fold, type TopicLog } from "./fold.ts"
import { type PartitionLog } from "./partition-log.ts"
import { copyOfProducerState, newProducerState, type ProducerState } from "./producer-states.ts"

export class PartitionDraft {
  /** Offset of the next accepted record. */
  nextOffset: number
  private readonly committed: PartitionLog | undefined
  private producers: Map<number, ProducerState> | undefined = undefined

  constructor(committed: PartitionLog | undefined) {
    this.committed = committed
    this.nextOffset = committed?.highWatermark ?? 0
  }

  /** To read. */
  producer(producerId: number): ProducerState | undefined {
    return this.producers?.get(producerId) ?? this.committed?.producers?.get(producerId)
  }

  /** To change: the draft's own copy, begun with the epoch where the producer is not known. */
  producerToChange(producerId: number, epoch: number): ProducerState {
    this.producers ??= new Map()
    const drafted = this.producers.get(producerId)
    if (drafted !== undefined) return drafted
    const committed = this.committed?.producers?.get(producerId)
    const copy = committed === undefined ? newProducerState(epoch) : copyOfProducerState(committed)
    this.producers.set(producerId, copy)
    return copy
  }
}

export class TopicDraft {
  readonly topicId: Uuid
  readonly name: string
  partitionCount: number
  private readonly committed: TopicLog | undefined
  private readonly partitions = new Map<number, PartitionDraft>()

  constructor(
    topic: { readonly topicId: Uuid; readonly name: string },
    committed: TopicLog | undefined,
    count: number
  ) {
    this.topicId = topic.topicId
    this.name = topic.name
    this.committed = committed
    this.partitionCount = count
  }

  partition(index: number): PartitionDraft | undefined {
    if (index >= this.partitionCount) return undefined
    const drafted = this.partitions.get(index)
    if (drafted !== undefined) return drafted
    const draft = new PartitionDraft(this.committed?.partitions[index])
    this.partitions.set(index, draft)
    return draft
  }
}

export class LogDraft {
  nextProducerId: number
  clusterId: Uuid | undefined
  /** Runs of entries up to here are in index pages. */
  materializedSeq: number
  /** Of the fold below: the entry that is drafted has a later one. */
  readonly foldedSeq: number
  private readonly fold: Fold
  /** By id; `undefined` as a value: deleted in this draft. */
  private readonly touched = new Map<Uuid, TopicDraft | undefined>()
  private readonly createdByName = new Map<string, TopicDraft>()
  private readonly createdByCollisionKey = new Map<string, TopicDraft>()
  private readonly committed = new Map<Uuid, SegmentCommitted>()

  constructor(fold: Fold) {
    this.fold = fold
    this.nextProducerId = fold.nextProducerId
    this.clusterId = fold.clusterId
    this.materializedSeq = fold.materializedSeq
    this.foldedSeq = fold.seq
  }

  topic(topicId: Uuid): TopicDraft | undefined {
    const drafted = this.touched.get(topicId)
    if (drafted !== undefined || this.touched.has(topicId)) return drafted
    const topic = this.fold.topicById(topicId)
    if (topic === undefined) return undefined
    const draft = new TopicDraft(topic, topic, topic.partitions.length)
    this.touched.set(topicId, draft)
    return draft
  }

  topicNamed(name: string): TopicDraft | undefined {
    const topic = this.fold.topicByName(name)
    return this.createdByName.get(name) ?? (topic === undefined ? undefined : this.topic(topic.topicId))
  }

  /** A live topic whose name equals this one but for `.` and `_`. */
  topicColliding(name: string): TopicDraft | undefined {
    const key = collisionKey(name)
    const topic = this.fold.topicByCollisionKey(key)
    return this.createdByCollisionKey.get(key) ?? (topic === undefined ? undefined : this.topic(topic.topicId))
  }

  /** Whether there is a topic of this id, or was one that is not forgotten (see Fold.deletedTopicIds). */
  isTopicIdUsed(topicId: Uuid): boolean {
    return (
      this.touched.has(topicId) || this.fold.topicById(topicId) !== undefined || this.fold.deletedTopicIds.has(topicId)
    )
  }

  /** Whether there was a topic of this id, which is not forgotten, and is none any more. */
  isTopicDeleted(topicId: Uuid): boolean {
    return this.topic(topicId) === undefined && this.isTopicIdUsed(topicId)
  }

  createTopic(topic: { readonly topicId: Uuid; readonly name: string; readonly partitions: number }): void {
    const draft = new TopicDraft(topic, undefined, topic.partitions)
    this.touched.set(topic.topicId, draft)
    this.createdByName.set(topic.name, draft)
    this.createdByCollisionKey.set(collisionKey(topic.name), draft)
  }

  deleteTopic(topic: TopicDraft): void {
    this.touched.set(topic.topicId, undefined)
    if (this.createdByName.get(topic.name) !== topic) return
    this.createdByName.delete(topic.name)
    this.createdByCollisionKey.delete(collisionKey(topic.name))
  }

  /** What was committed under the segment's id, in this draft or before. */
  segment(segmentId: Uuid, entries: ReadonlyMap<number, Uint8Array>): SegmentCommitted | undefined {
    return this.committed.get(segmentId) ?? this.fold.segments.get(segmentId, entries)
  }

  /** Whether a segment that is not remembered was surely never committed and may be now. */
  isCommittable(createdAtMs: number): boolean {
    return createdAtMs > this.fold.segments.forgottenMs
  }

  hasSegment(segmentId: Uuid): boolean {
    return this.committed.has(segmentId) || this.fold.segments.has(segmentId)
  }

  addSegment(effect: SegmentCommitted): void {
    this.committed.set(effect.segmentId, effect)
  }
}

/** Throws where the effects cannot follow on the fold. They are not judged again: only what must hold is checked. */
export const checkEffects = (fold: Fold, seq: number, effects: ReadonlyArray<LogEffect>): void => {
  const draft = new LogDraft(fold)
  for (const effect of effects) checkEffect(draft, seq, effect)
}

function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

const checkEffect = (draft: LogDraft, seq: number, effect: LogEffect): void => {
  switch (effect.kind) {
    case "genesis":
      check(seq === 1 && draft.clusterId === undefined, "a second genesis")
      draft.clusterId = effect.clusterId
      return
    case "topic-created":
      check(!draft.isTopicIdUsed(effect.topicId), `topic id ${effect.topicId} is used again`)
      check(draft.topicColliding(effect.name) === undefined, `topic name ${effect.name} is taken`)
      check(isPartitionCount(effect.partitions), `${effect.partitions} partitions`)
      return draft.createTopic(effect)
    case "topic-deleted": {
      const topic = draft.topic(effect.topicId)
      check(topic !== undefined, `deleted topic ${effect.topicId} is not there`)
      return draft.deleteTopic(topic)
    }
    case "partitions-created": {
      const topic = draft.topic(effect.topicId)
      check(topic !== undefined, `grown topic ${effect.topicId} is not there`)
      check(isPartitionCount(effect.partitions) && effect.partitions > topic.partitionCount, "partitions become fewer")
      topic.partitionCount = effect.partitions
      return
    }
    case "producer-ids-allocated":
      check(effect.first === draft.nextProducerId && effect.count > 0, "producer ids overlap or leave a gap")
      draft.nextProducerId = effect.first + effect.count
      return
    case "segment-committed":
      check(!draft.hasSegment(effect.segmentId), `segment ${effect.segmentId} is committed again`)
      check(isTime(effect.createdAtMs) && isTime(effect.appendTimeMs), "a segment's times are out of range")
      check(effect.appendTimeMs >= 0, "a segment appended before 1970")
      check(effect.blockOffsets.length <= limits.segmentBlocksMax, `${effect.blockOffsets.length} blocks`)
      draft.addSegment(effect)
      for (const run of effect.runs) {
        check(run.baseOffset < 0 || draft.isCommittable(effect.createdAtMs), "a segment that may have been forgotten")
        checkRun(draft, run)
      }
      return
    case "epoch-begun":
      return check(effect.holder.name.length > 0, "an epoch without a holder")
    case "materialized":
      check(
        effect.throughSeq > draft.materializedSeq && effect.throughSeq < seq,
        `index pages through seq ${effect.throughSeq}, after ${draft.materializedSeq}`
      )
      draft.materializedSeq = effect.throughSeq
      return
  }
}

const isPartitionCount = (count: number): boolean => count >= 1 && count <= limits.partitionsPerTopicMax

/** What can be told exactly, also as a distance from another. */
const isTime = (timeMs: number): boolean => Math.abs(timeMs) <= limits.timestampMsMax

const checkRun = (draft: LogDraft, run: CommittedRun): void => {
  if (run.baseOffset < 0) return check(run.excluded.length === run.batches.length, "accepted batches without offsets")
  const partition = draft.topic(run.topicId)?.partition(run.partition)
  check(partition !== undefined, `records for partition ${run.partition} of topic ${run.topicId}, which is not there`)
  check(
    run.baseOffset === partition.nextOffset,
    `offset ${run.baseOffset} for partition ${run.partition} of topic ${run.topicId}, expected ${partition.nextOffset}`
  )
  let excludedAt = 0
  for (let index = 0; index < run.batches.length; index += 1) {
    const { offsetCount, maxTimestampMs } = run.batches[index]!
    check(isTime(maxTimestampMs), "a batch's largest timestamp is out of range")
    if (run.excluded[excludedAt]?.index === index) excludedAt += 1
    else partition.nextOffset += offsetCount
  }
  check(partition.nextOffset > run.baseOffset, "a run with offsets but without records")
}
