/**
 * Checkpoints [pure]: a whole fold as bytes, so that an agent starts without the log's past, and the log can be trimmed.
 *
 * Invariants: a checkpoint is a function of the log and its seq: equal folds give equal bytes. A fold is restored whole or
 * not at all: everything is decoded and checked, in itself and against the fold, before the first change. A fold that is
 * behind is restored in place: topics and partitions that live on stay the same objects, since readers hold them; a high
 * watermark never retreats. What is not sound is refused with a CheckpointError that names shard and seq.
 */
import { CheckpointError, cutChunks, joinChunks } from "./checkpoint-chunks.ts"
import { atOnce, decodeSlices, encodeBody, type FoldImage, imageOfFold, type TopicImage } from "./checkpoint-body.ts"
import { limits } from "#core/model/limits.ts"
import { type LogEffect } from "./effect.ts"
import { type Fold, type Folded, TopicLog } from "./fold.ts"
import { type PartitionLog } from "./partition-log.ts"

export { CheckpointError } from "./checkpoint-chunks.ts"

/**
 * The fold as it is when this is called, as a checkpoint that is made in slices of some milliseconds: whoever draws them may
 * let others have their turn in between, the fold may go on. The last answer is the checkpoint.
 */
export const checkpointSlices = (fold: Fold): Generator<void, FoldCheckpoint> => slicesOf(fold, imageOfFold(fold))

export interface FoldCheckpoint {
  readonly seq: number
  readonly chunks: ReadonlyArray<Uint8Array>
}

const slicesOf = function* ({ shard }: Fold, image: FoldImage): Generator<void, FoldCheckpoint> {
  const { seq } = image.scalars
  const body = yield* encodeBody(image)
  yield
  return { seq, chunks: cutChunks({ shard, seq, body }) }
}

/** All slices at once. */
export const encodeCheckpoint = (fold: Fold): ReadonlyArray<Uint8Array> => atOnce(checkpointSlices(fold)).chunks

/** Throws CheckpointError unless `restoreFold` into a new fold would take them. In slices, as it was made. */
export const checkSlices = function* (
  chunks: ReadonlyArray<Uint8Array>,
  expected: { readonly shard: number; readonly seq: number }
): Generator<void, void> {
  yield* imageSlices(chunks, expected)
}

/**
 * Makes the fold what it is at the checkpoint's later seq; throws CheckpointError and changes nothing where it cannot.
 * Answers with what that changed for those who wait, as if one entry had done it all: partitions that got records, and
 * topics that are gone.
 */
export const restoreFold = (fold: Fold, chunks: ReadonlyArray<Uint8Array>): Folded => {
  if (fold.stopped !== undefined) throw fold.stopped
  const image = atOnce(imageSlices(chunks, { shard: fold.shard }))
  const problem = whyNotAfter(fold, image)
  if (problem !== undefined) throw new CheckpointError({ shard: fold.shard, seq: image.scalars.seq }, problem)
  const live = liveIn(image)
  const gone = fold.topics().filter(({ topicId }) => !live.has(topicId))
  const grown: Array<PartitionLog> = []
  const topics = image.topics.map((topicImage) => becomeTopic(fold, topicImage, grown))
  fold.become(image.scalars, topics)
  fold.deletedTopicIds.clear()
  for (const [topicId, seq] of image.deletedTopicIds) fold.deletedTopicIds.set(topicId, seq)
  fold.segments.become(image.remembered, image.forgottenMs)
  const effects = gone.map(({ topicId }): LogEffect => ({ kind: "topic-deleted", topicId }))
  return { seq: fold.seq, standing: "valid", effects, grown }
}

const imageSlices = function* (
  chunks: ReadonlyArray<Uint8Array>,
  expected: { readonly shard: number; readonly seq?: number }
): Generator<void, FoldImage> {
  const { shard, seq, body, version } = joinChunks(chunks, expected)
  try {
    return yield* decodeSlices(body, seq, version)
  } catch (cause) {
    throw new CheckpointError({ shard, seq }, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/**
 * Why the fold cannot come to be what the checkpoint says: one of both is not of this log. The epoch may be lower: then the
 * fold ends with a row that took over from far behind, in a slot that was free because its row had been trimmed. Nobody acted
 * on it (sequencer.ts), and what others have settled since is what holds.
 */
const whyNotAfter = (fold: Fold, image: FoldImage): string | undefined => {
  const { scalars, topics, forgottenMs } = image
  if (scalars.seq <= fold.seq) return `the fold is at seq ${fold.seq} already`
  if (fold.clusterId !== undefined && scalars.clusterId !== fold.clusterId) return "it is of another cluster"
  const isBehind =
    scalars.timeMs < fold.timeMs ||
    scalars.nextProducerId < fold.nextProducerId ||
    scalars.materializedSeq < fold.materializedSeq ||
    forgottenMs < fold.segments.forgottenMs
  if (isBehind) return `something of it is behind the fold at seq ${fold.seq}`
  const problem = whyNotDeleted(fold, image)
  if (problem !== undefined) return problem
  for (const topic of topics) {
    const ofTopic = whyNotTopic(fold, topic)
    if (ofTopic !== undefined) return ofTopic
  }
  return undefined
}

const liveIn = ({ topics }: FoldImage): ReadonlySet<string> => new Set(topics.map(({ created }) => created.topicId))

/** What the fold knows, live or deleted, is in it as well, unless it was forgotten by then. */
const whyNotDeleted = (fold: Fold, image: FoldImage): string | undefined => {
  const { deletedTopicIds } = image
  const live = liveIn(image)
  const forgottenSeq = deletionsForgottenThrough(image)
  for (const [topicId, seq] of fold.deletedTopicIds) {
    if (live.has(topicId)) return `topic ${topicId} was deleted, and lives in it`
    if (seq > forgottenSeq && !deletedTopicIds.has(topicId)) return `topic ${topicId} was deleted, and never was in it`
  }
  for (const { topicId } of fold.topics()) {
    const mayBeForgotten = forgottenSeq > fold.seq
    if (!mayBeForgotten && !live.has(topicId) && !deletedTopicIds.has(topicId))
      return `topic ${topicId} is missing in it`
  }
  return undefined
}

/** Up to this seq deletions may have been forgotten, the oldest first; 0 where none was. See Fold.deletedTopicIds. */
const deletionsForgottenThrough = ({ deletedTopicIds, scalars }: FoldImage): number => {
  const seqs = [...deletedTopicIds.values()]
  const forgettable = seqs.filter((seq) => seq <= scalars.materializedSeq).length
  if (forgettable < limits.deletedTopicIdsKept) return 0
  return Math.min(seqs[0] ?? scalars.materializedSeq, scalars.materializedSeq)
}

const whyNotTopic = (fold: Fold, { created, partitions }: TopicImage): string | undefined => {
  const { topicId } = created
  const topic = fold.topicById(topicId)
  if (topic === undefined) return undefined
  if (topic.name !== created.name) return `topic ${topicId} is ${topic.name}, and ${created.name} in it`
  if (topic.partitions.length > partitions.length) return `topic ${topicId} has fewer partitions in it`
  for (const { partition, highWatermark } of topic.partitions) {
    const later = partitions[partition]!.highWatermark
    if (later < highWatermark) return `partition ${partition} of topic ${topicId} retreats to ${later} in it`
  }
  return undefined
}

const becomeTopic = (fold: Fold, { created, partitions }: TopicImage, grown: Array<PartitionLog>): TopicLog => {
  const topic = fold.topicById(created.topicId) ?? new TopicLog(created)
  topic.growTo(partitions.length)
  for (const partition of topic.partitions) {
    const image = partitions[partition.partition]!
    if (image.highWatermark > partition.highWatermark) grown.push(partition)
    partition.become(image)
  }
  return topic
}
