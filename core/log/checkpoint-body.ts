/**
 * The body of a checkpoint [pure]: a whole fold as bytes, and what the bytes say before anyone becomes it.
 *
 * Invariant: equal folds have equal bytes, whoever wrote them, so the order of everything is fixed: topics by name, all
 * else as the fold holds it. Reading gives all of the state, checked in itself, or an EntryError. What an agent only holds
 * to be fast (entries' bytes) is not here.
 *
 *   body       nonce (16 bytes), epoch, time ms, holder u8 (0: none, 1: then name, session (16 bytes), region), cluster id
 *              u8 (0: none, 1: then 16 bytes), next producer id, materialized seq, seq of the entry that said so,
 *              deleted topics: count, then id (16 bytes) and seq of the entry each, by seq, topics: count, then each,
 *              remembered
 *   topic      id (16 bytes), name, created at ms, configs: count, then key and value each, partitions: count, then each
 *   partition  high watermark, flags u8 (1: has runs, 2: has producers); with flag 1 the runs in memory: distance of the
 *              first one's base offset to the high watermark, count, then each (run-codec.ts);
 *              with flag 2 the producers: count, then each
 *   producer   id, epoch, time ms less seen ms, batches: count, then each: base sequence, last sequence, high watermark less
 *              base offset, time ms less append time ms + 1 (0: none); accepted count (not in version 1: the sequences of the
 *              batches)
 *   remembered forgotten ms + 1, segments: count, then each: id (16 bytes), seq less that of the one before (signed), effect
 *              index, created at ms less that of the one before (signed)
 *
 * Numbers without a size are varints (entry-bytes.ts). A partition that nothing happens in takes 2 to 9 bytes.
 */
import { limits } from "#core/model/limits.ts"
import { collisionKey } from "#core/model/topic-name.ts"
import { UUID_ZERO, type Uuid } from "#core/model/uuid.ts"
import { readConfigs, writeConfigs } from "./batch-bytes.ts"
import { CHECKPOINT_VERSION, type CheckpointVersion } from "./checkpoint-chunks.ts"
import { type TopicCreated } from "./effect.ts"
import { EntryReader, EntryWriter } from "./entry-bytes.ts"
import { type Fold, type FoldScalars } from "./fold.ts"
import {
  ACCEPTED_COUNT_MAX,
  countAccepted,
  newProducerState,
  nextSequenceOf,
  NUMBERS_PER_BATCH,
  type ProducerState,
  ProducerStates,
  SEQUENCE_MAX,
  sequenceCountOf
} from "./producer-states.ts"
import { type RememberedSegment } from "./remembered-segments.ts"
import { RUN_BYTES_MIN, RunReader, RunWriter } from "./run-codec.ts"
import { RunTable } from "./run-table.ts"

const FLAG_RUNS = 1
const FLAG_PRODUCERS = 2
const FLAGS_KNOWN = FLAG_RUNS | FLAG_PRODUCERS

export interface PartitionImage {
  readonly highWatermark: number
  readonly runs: RunTable | undefined
  readonly producers: ProducerStates | undefined
}

export interface TopicImage {
  readonly created: Omit<TopicCreated, "kind">
  readonly partitions: ReadonlyArray<PartitionImage>
}

/** What a fold is at one seq, apart from any fold. */
export interface FoldImage {
  readonly scalars: FoldScalars
  readonly deletedTopicIds: ReadonlyMap<Uuid, number>
  readonly topics: ReadonlyArray<TopicImage>
  readonly forgottenMs: number
  readonly remembered: ReadonlyArray<RememberedSegment>
}

/** The fold as it is now, while it goes on: its large parts are shared and stay as they are. Synchronous, some 1 us a partition. */
export const imageOfFold = (fold: Fold): FoldImage => {
  const { seq, nonce, epoch, timeMs, holder, materializedSeq, materializedAtSeq, residentRuns } = fold
  const { clusterId, nextProducerId } = fold
  const marks = { seq, nonce, epoch, timeMs, holder, materializedSeq, materializedAtSeq, residentRuns }
  return {
    scalars: { ...marks, clusterId, nextProducerId },
    deletedTopicIds: new Map(fold.deletedTopicIds),
    topics: fold.topics().map((topic) => ({
      created: {
        topicId: topic.topicId,
        name: topic.name,
        partitions: topic.partitions.length,
        configs: [...topic.configs],
        createdAtMs: topic.createdAtMs
      },
      partitions: topic.partitions.map((partition) => ({
        highWatermark: partition.highWatermark,
        runs: partition.runSnapshot(),
        producers: partition.producers?.snapshot()
      }))
    })),
    forgottenMs: fold.segments.forgottenMs,
    remembered: [...fold.segments.inOrder()]
  }
}

/** Runs, partitions and remembered segments that are written or read between two stops: some milliseconds. */
const SLICE_ITEMS = 4_096

/** Stops now and then, so that others have their turn: the image stays as it is. Answers with the bytes. */
export const encodeBody = function* (image: FoldImage): Generator<void, Buffer> {
  const writer = new EntryWriter()
  writeScalars(writer, image)
  const runWriter = new RunWriter(writer)
  const { timeMs } = image.scalars
  let items = 0
  writer.varint(image.topics.length)
  for (const { created, partitions } of image.topics) {
    writeTopic(writer, created)
    for (const partition of partitions) {
      writePartitionHead(writer, partition)
      const runCount = partition.runs?.runCount ?? 0
      for (let index = 0; index < runCount; index += 1) {
        runWriter.run(partition.runs!.run(index))
        if (++items % SLICE_ITEMS === 0) yield
      }
      if (partition.producers !== undefined) writeProducers(writer, partition, timeMs)
      items += partition.producers?.size ?? 0
      if (++items % SLICE_ITEMS === 0) yield
    }
  }
  writer.varint(image.forgottenMs + 1)
  writer.varint(image.remembered.length)
  let before = { seq: 0, createdAtMs: 0 }
  for (const segment of image.remembered) {
    writer.uuid(segment.segmentId)
    writer.signed(segment.seq - before.seq)
    writer.varint(segment.effectIndex)
    writer.signed(segment.createdAtMs - before.createdAtMs)
    before = segment
    if (++items % SLICE_ITEMS === 0) yield
  }
  return writer.written()
}

const writeScalars = (writer: EntryWriter, { scalars, deletedTopicIds }: FoldImage): void => {
  const { holder, clusterId } = scalars
  writer.uuid(scalars.nonce)
  writer.varint(scalars.epoch)
  writer.varint(scalars.timeMs)
  writer.u8(holder === undefined ? 0 : 1)
  if (holder !== undefined) {
    writer.string(holder.name)
    writer.uuid(holder.session)
    writer.string(holder.region)
  }
  writer.u8(clusterId === undefined ? 0 : 1)
  if (clusterId !== undefined) writer.uuid(clusterId)
  writer.varint(scalars.nextProducerId)
  writer.varint(scalars.materializedSeq)
  writer.varint(scalars.materializedAtSeq)
  writer.varint(deletedTopicIds.size)
  for (const [topicId, seq] of deletedTopicIds) {
    writer.uuid(topicId)
    writer.varint(seq)
  }
}

const writeTopic = (writer: EntryWriter, created: TopicImage["created"]): void => {
  writer.uuid(created.topicId)
  writer.string(created.name)
  writer.varint(created.createdAtMs)
  writeConfigs(writer, created.configs)
  writer.varint(created.partitions)
}

/** All before the runs themselves. */
const writePartitionHead = (writer: EntryWriter, { highWatermark, runs, producers }: PartitionImage): void => {
  writer.varint(highWatermark)
  writer.u8((runs === undefined ? 0 : FLAG_RUNS) | (producers === undefined ? 0 : FLAG_PRODUCERS))
  if (runs === undefined) return
  writer.varint(highWatermark - runs.baseOffset)
  writer.varint(runs.runCount)
}

const writeProducers = (
  writer: EntryWriter,
  { highWatermark, producers }: PartitionImage,
  foldTimeMs: number
): void => {
  writer.varint(producers!.size)
  for (const [producerId, { epoch, seenMs, batches, acceptedCount }] of producers!.entries()) {
    writer.varint(producerId)
    writer.varint(epoch)
    writer.varint(foldTimeMs - seenMs)
    writer.varint(batches.length / NUMBERS_PER_BATCH)
    for (let at = 0; at < batches.length; at += NUMBERS_PER_BATCH) {
      writer.varint(batches[at]!)
      writer.varint(batches[at + 1]!)
      writer.varint(highWatermark - batches[at + 2]!)
      const appendTimeMs = batches[at + 3]!
      writer.varint(appendTimeMs < 0 ? 0 : foldTimeMs - appendTimeMs + 1)
    }
    writer.varint(acceptedCount)
  }
}

/** What work in slices comes to, without its stops. */
export const atOnce = <A>(slices: Generator<void, A>): A => {
  for (;;) {
    const slice = slices.next()
    if (slice.done === true) return slice.value
  }
}

export const decodeBody = (body: Uint8Array, seq: number, version?: CheckpointVersion): FoldImage =>
  atOnce(decodeSlices(body, seq, version))

/** Throws EntryError unless the bytes are exactly one sound body. Stops now and then, so that others have their turn. */
export const decodeSlices = function* (
  body: Uint8Array,
  seq: number,
  version: CheckpointVersion = CHECKPOINT_VERSION
): Generator<void, FoldImage> {
  const reader = new EntryReader(body, body.length, "checkpoint")
  const nonce = reader.uuid("nonce")
  const epoch = reader.varint("epoch")
  const timeMs = reader.varint("fold's time")
  const holder = readHolder(reader)
  const clusterId = isThere(reader, "cluster id") ? reader.uuid("cluster id") : undefined
  const nextProducerId = reader.varint("next producer id")
  const materializedSeq = reader.varint("materialized seq")
  const materializedAtSeq = reader.varint("seq of the materialization")
  const isOrdered = materializedSeq === 0 ? materializedAtSeq === 0 : materializedSeq < materializedAtSeq
  if (!isOrdered || materializedAtSeq > seq) reader.fail(`materialized through ${materializedSeq}`)
  const deletedTopicIds = readDeleted(reader, { seq, materializedSeq })
  const topics = yield* readTopics(reader, { version, seq, materializedSeq, timeMs, deletedTopicIds })
  const { forgottenMs, remembered } = readRemembered(reader, seq)
  if (reader.byteOffset !== body.length) reader.fail("bytes are left over after the state")
  if (seq > 0 && nonce === UUID_ZERO) reader.fail("a fold of entries has the last one's nonce")
  const residentRuns = topics.reduce((sum, topic) => sum + runsOf(topic), 0)
  const marks = { seq, nonce, epoch, timeMs, holder, materializedSeq, materializedAtSeq, residentRuns }
  return {
    scalars: { ...marks, clusterId, nextProducerId },
    deletedTopicIds,
    topics,
    forgottenMs,
    remembered
  }
}

const runsOf = (topic: TopicImage): number =>
  topic.partitions.reduce((sum, partition) => sum + (partition.runs?.runCount ?? 0), 0)

const isThere = (reader: EntryReader, field: string): boolean => {
  const flag = reader.u8(field)
  return flag <= 1 ? flag === 1 : reader.fail(`${field} is there or not, got ${flag}`)
}

const readHolder = (reader: EntryReader): FoldScalars["holder"] => {
  if (!isThere(reader, "holder")) return undefined
  const name = reader.string("holder's name")
  const session = reader.uuid("holder's session")
  return { name, session, region: reader.string("holder's region") }
}

/** In the order of their deletions; bounded as in the fold, apart from those whose pages are still to be deleted. */
const readDeleted = (
  reader: EntryReader,
  bounds: { readonly seq: number; readonly materializedSeq: number }
): ReadonlyMap<Uuid, number> => {
  const deleted = new Map<Uuid, number>()
  let seqBefore = 1
  let forgettable = 0
  for (let left = reader.count("deleted topics", 17); left > 0; left -= 1) {
    const topicId = reader.uuid("deleted topic")
    const seq = reader.varint("seq of the deletion")
    const isInOrder = seq >= seqBefore && seq <= bounds.seq
    if (deleted.has(topicId) || !isInOrder) reader.fail(`topic ${topicId} deleted at seq ${seq}, after ${seqBefore}`)
    if (seq <= bounds.materializedSeq) forgettable += 1
    if (forgettable > limits.deletedTopicIdsKept) reader.fail(`more than ${limits.deletedTopicIdsKept} deleted topics`)
    seqBefore = seq
    deleted.set(topicId, seq)
  }
  return deleted
}

interface TopicBounds {
  readonly version: CheckpointVersion
  readonly seq: number
  readonly materializedSeq: number
  readonly timeMs: number
  readonly deletedTopicIds: ReadonlyMap<Uuid, number>
}

const readTopics = function* (reader: EntryReader, bounds: TopicBounds): Generator<void, ReadonlyArray<TopicImage>> {
  const runReader = new RunReader(reader)
  const topics: Array<TopicImage> = []
  const topicIds = new Set<Uuid>()
  const collisionKeys = new Set<string>()
  let nameBefore = ""
  let items = 0
  for (let left = reader.count("topics", 21); left > 0; left -= 1) {
    const topicId = reader.uuid("topic id")
    const name = reader.string("topic name")
    if (topicIds.has(topicId) || bounds.deletedTopicIds.has(topicId)) reader.fail(`topic id ${topicId} occurs twice`)
    if (name <= nameBefore) reader.fail(`topic ${name} comes after ${nameBefore}`)
    if (collisionKeys.has(collisionKey(name))) reader.fail(`topic ${name} collides with another`)
    topicIds.add(topicId)
    collisionKeys.add(collisionKey(name))
    nameBefore = name
    const createdAtMs = reader.varint("topic's creation time")
    const configs = readConfigs(reader)
    const count = reader.count("partitions", 2)
    if (count < 1 || count > limits.partitionsPerTopicMax) reader.fail(`${count} partitions`)
    const partitions: Array<PartitionImage> = []
    while (partitions.length < count) {
      const partition = yield* readPartition(reader, runReader, bounds)
      partitions.push(partition)
      items += 1 + (partition.producers?.size ?? 0)
      if (items < SLICE_ITEMS) continue
      items = 0
      yield
    }
    topics.push({ created: { topicId, name, partitions: count, configs, createdAtMs }, partitions })
  }
  return topics
}

const readPartition = function* (
  reader: EntryReader,
  runReader: RunReader,
  bounds: TopicBounds
): Generator<void, PartitionImage> {
  const highWatermark = reader.varint("high watermark")
  const flags = reader.u8("partition's flags")
  if ((flags & ~FLAGS_KNOWN) !== 0) reader.fail(`partition's flags ${flags} are unknown to this program`)
  const runs = (flags & FLAG_RUNS) === 0 ? undefined : yield* readRuns(reader, runReader, { highWatermark, ...bounds })
  const producers = (flags & FLAG_PRODUCERS) === 0 ? undefined : readProducers(reader, { highWatermark, ...bounds })
  return { highWatermark, runs, producers }
}

const readRuns = function* (
  reader: EntryReader,
  runReader: RunReader,
  bounds: TopicBounds & { readonly highWatermark: number }
): Generator<void, RunTable> {
  const distance = reader.varint("distance of the first run")
  if (distance > bounds.highWatermark) reader.fail("runs begin below offset 0")
  let nextOffset = bounds.highWatermark - distance
  let seqBefore = bounds.materializedSeq + 1
  const runs = new RunTable()
  for (let left = reader.count("runs", RUN_BYTES_MIN); left > 0; left -= 1) {
    const run = runReader.run(nextOffset)
    const { seq } = run.segment
    if (seq < seqBefore || seq > bounds.seq) reader.fail(`a run of seq ${seq} after ${seqBefore}`)
    seqBefore = seq
    runs.add(run)
    nextOffset = run.nextOffset
    if (left % SLICE_ITEMS === 0) yield
  }
  if (runs.runCount === 0 || nextOffset !== bounds.highWatermark) {
    reader.fail(`runs end at offset ${nextOffset} of ${bounds.highWatermark}`)
  }
  return runs
}

type ProducerBounds = Pick<TopicBounds, "version" | "timeMs"> & { readonly highWatermark: number }

const readProducers = (reader: EntryReader, bounds: ProducerBounds): ProducerStates => {
  const producers = new ProducerStates()
  const count = reader.count("producers", bounds.version === 1 ? 4 : 5)
  if (count < 1 || count > limits.producersPerPartition) reader.fail(`${count} producers of one partition`)
  for (let left = count; left > 0; left -= 1) {
    const producerId = reader.varint("producer id")
    if (producers.get(producerId) !== undefined) reader.fail(`producer ${producerId} occurs twice`)
    producers.restore(producerId, readProducer(reader, bounds))
  }
  return producers
}

const readProducer = (reader: EntryReader, { version, highWatermark, timeMs }: ProducerBounds): ProducerState => {
  const state = newProducerState(reader.varint("producer's epoch"))
  state.seenMs = timeMs - reader.varint("producer's silence")
  const count = reader.count("producer's batches", NUMBERS_PER_BATCH)
  if (count > limits.producerBatchesRemembered) reader.fail(`${count} batches of one producer`)
  let remembered = 0
  let next = -1
  for (let left = count; left > 0; left -= 1) {
    const baseSequence = reader.varint("base sequence")
    const lastSequence = reader.varint("last sequence")
    if (Math.max(baseSequence, lastSequence) > SEQUENCE_MAX) reader.fail("a sequence is above 2^31 - 1")
    if (next >= 0 && baseSequence !== next) reader.fail(`sequence ${baseSequence} where ${next} follows`)
    next = nextSequenceOf(lastSequence)
    remembered = countAccepted(remembered, sequenceCountOf(baseSequence, lastSequence))
    const baseOffset = highWatermark - reader.varint("batch's distance")
    if (baseOffset < 0) reader.fail("a batch lies below offset 0")
    const age = reader.varint("batch's age")
    state.batches.push(baseSequence, lastSequence, baseOffset, age === 0 ? -1 : timeMs - age + 1)
  }
  state.acceptedCount = version === 1 ? remembered : readAcceptedCount(reader, { count, remembered })
  return state
}

/** More than the remembered batches have only where there are so many of them that older ones may be forgotten. */
const readAcceptedCount = (
  reader: EntryReader,
  batches: { readonly count: number; readonly remembered: number }
): number => {
  const acceptedCount = reader.varint("producer's accepted count")
  const isNoneForgotten = batches.count < limits.producerBatchesRemembered
  const max = isNoneForgotten ? batches.remembered : ACCEPTED_COUNT_MAX
  if (acceptedCount >= batches.remembered && acceptedCount <= max) return acceptedCount
  return reader.fail(`${acceptedCount} sequences accepted, ${batches.remembered} of them in ${batches.count} batches`)
}

const readRemembered = (
  reader: EntryReader,
  seqMax: number
): { readonly forgottenMs: number; readonly remembered: ReadonlyArray<RememberedSegment> } => {
  const forgottenMs = reader.varint("forgotten time") - 1
  const count = reader.count("remembered segments", 19)
  if (count > limits.segmentsRemembered) reader.fail(`${count} remembered segments`)
  const ids = new Set<Uuid>()
  const remembered: Array<RememberedSegment> = []
  let seq = 0
  let createdAtMs = 0
  for (let left = count; left > 0; left -= 1) {
    const segmentId = reader.uuid("remembered segment")
    seq += reader.signed("remembered segment's seq")
    const effectIndex = reader.varint("effect's index")
    createdAtMs += reader.signed("remembered segment's creation time")
    if (seq < 1 || seq > seqMax || createdAtMs < 0) reader.fail(`a segment of seq ${seq}, created at ${createdAtMs}`)
    if (ids.has(segmentId)) reader.fail(`segment ${segmentId} occurs twice`)
    ids.add(segmentId)
    remembered.push({ segmentId, seq, effectIndex, createdAtMs })
  }
  return { forgottenMs, remembered }
}
