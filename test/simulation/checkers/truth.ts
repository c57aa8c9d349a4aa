/**
 * What the log says, by a second opinion: plain arrays, filled from the rows at the moment when they appear in the database,
 * with Kafka's rules written down once more and the records read from the buckets themselves.
 *
 * Every other checker compares with it. It shares with the product the codecs of entries and batches, and nothing else: it
 * knows neither fold nor judge.
 */
import { type BatchSummary } from "#core/log/command.ts"
import { type CommittedRun, type LogEffect, type SegmentCommitted, type TopicCreated } from "#core/log/effect.ts"
import { decodeEntry } from "#core/log/entry.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO, type Uuid } from "#core/model/uuid.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { segmentKey } from "#core/segment/segment-key.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { decodePayload, nameText, type RecordName } from "../workload/payload.ts"

interface AcceptedBatch {
  readonly epoch: number
  readonly baseSequence: number
  readonly offsetCount: number
  readonly baseOffset: number
}

type Facts = Readonly<Record<string, unknown>>

export class PartitionTruth {
  readonly topic: TopicTruth
  readonly partition: number
  /** By offset. */
  readonly records: Array<RecordName> = []
  /** Of LogAppendTime batches, by their first offset. */
  readonly appendTimes = new Map<number, number>()
  /** By producer id. */
  readonly producers = new Map<number, Array<AcceptedBatch>>()

  constructor(topic: TopicTruth, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get name(): string {
    return `${this.topic.name}/${this.partition}`
  }
}

export class TopicTruth {
  readonly topicId: Uuid
  readonly name: string
  isDeleted = false
  readonly partitions: Array<PartitionTruth> = []

  constructor({ topicId, name, partitions }: TopicCreated) {
    this.topicId = topicId
    this.name = name
    this.growTo(partitions)
  }

  growTo(count: number): void {
    while (this.partitions.length < count) this.partitions.push(new PartitionTruth(this, this.partitions.length))
  }
}

/** Clocks of agents drift between two looks at the database's; their own wall clocks may be hours wrong. */
const AHEAD_MS_MAX = 30_000

export interface TruthOptions {
  /** The object's bytes, as one of the buckets has them. */
  readonly readObject: (bucket: string, key: string) => Buffer | undefined
  /** Buckets in distinct regions that must have a segment before the log refers to it. */
  readonly writes: number
  readonly regionOf: (bucket: string) => string
  /** The latest time of the database's clock. */
  readonly latestMs: () => number
  /** Told of each record that has got its offset. */
  readonly accepted: (record: RecordName, partition: PartitionTruth, offset: number) => void
}

export class Truth {
  readonly rows: Array<LogRow> = []
  /** The highest that an entry began, and who began it. */
  epoch = 0
  holder: string | undefined = undefined
  readonly topics = new Map<Uuid, TopicTruth>()
  readonly #byName = new Map<string, TopicTruth>()
  readonly #segments = new Set<Uuid>()
  readonly #options: TruthOptions
  readonly #cursor = new RecordCursor()
  #nextProducerId = 0
  /** The largest append time. */
  #timeMs = 0
  voidRows = 0

  constructor(options: TruthOptions) {
    this.#options = options
  }

  topicNamed(name: string): TopicTruth | undefined {
    return this.#byName.get(name)
  }

  partition(topic: string, partition: number): PartitionTruth | undefined {
    return this.#byName.get(topic)?.partitions[partition]
  }

  /** A row has just appeared. Throws CheckFailed where it must not be as it is. */
  append(row: LogRow): void {
    const last = this.rows.at(-1)
    const facts = { seq: row.seq, epoch: row.epoch, highestEpoch: this.epoch }
    if (row.seq <= (last?.seq ?? 0)) return this.#appendAgain(row)
    if (row.seq !== (last?.seq ?? 0) + 1) throw new CheckFailed("chain", "a row does not follow on the last one", facts)
    if (row.prevNonce !== (last?.nonce ?? UUID_ZERO))
      throw new CheckFailed("chain", "a row names another predecessor", facts)
    this.rows.push(row)
    const effects = decodeEntry(row.entry)
    const begins = effects[0]?.kind === "epoch-begun"
    if (row.isKept !== (begins || effects[0]?.kind === "genesis")) {
      throw new CheckFailed("chain", "of a row that begins something it is not said that it is kept", facts)
    }
    if (row.epoch < this.epoch || (begins && row.epoch === this.epoch)) {
      this.voidRows++
      return
    }
    if (row.epoch > this.epoch && !begins) throw new CheckFailed("chain", "an epoch was not begun", facts)
    this.epoch = row.epoch
    for (const effect of effects) this.#apply(row, effect)
  }

  /** A slot whose row was trimmed is free for the very row that had it, delivered once more: nobody sees it. */
  #appendAgain(row: LogRow): void {
    const first = this.rows[row.seq - 1]!
    const facts = { seq: row.seq, nonce: row.nonce, first: first.nonce, firstIsKept: first.isKept }
    if (row.nonce === first.nonce && !first.isKept) return
    throw new CheckFailed("chain", "a slot that was taken before is taken by another row", facts)
  }

  #apply(row: LogRow, effect: LogEffect): void {
    switch (effect.kind) {
      case "genesis":
      case "materialized":
        return
      case "epoch-begun":
        this.holder = effect.holder.name
        return
      case "topic-created": {
        const facts = { seq: row.seq, topic: effect.name, topicId: effect.topicId }
        if (this.topics.has(effect.topicId)) throw new CheckFailed("verdicts", "a topic id is used again", facts)
        if (this.#byName.has(effect.name)) throw new CheckFailed("verdicts", "a topic is created that exists", facts)
        const topic = new TopicTruth(effect)
        this.topics.set(effect.topicId, topic)
        this.#byName.set(effect.name, topic)
        return
      }
      case "topic-deleted": {
        const topic = this.#liveTopic(row, effect.topicId)
        topic.isDeleted = true
        this.#byName.delete(topic.name)
        return
      }
      case "partitions-created": {
        const topic = this.#liveTopic(row, effect.topicId)
        if (effect.partitions <= topic.partitions.length) {
          throw new CheckFailed("verdicts", "partitions become fewer", { seq: row.seq, topic: topic.name })
        }
        topic.growTo(effect.partitions)
        return
      }
      case "producer-ids-allocated":
        if (effect.first < this.#nextProducerId) {
          throw new CheckFailed("producer-ids", "producer ids are given again", { seq: row.seq, first: effect.first })
        }
        this.#nextProducerId = effect.first + effect.count
        return
      case "segment-committed":
        return this.#commit(row, effect)
    }
  }

  #liveTopic(row: LogRow, topicId: Uuid): TopicTruth {
    const topic = this.topics.get(topicId)
    if (topic === undefined || topic.isDeleted) {
      throw new CheckFailed("verdicts", "a change of a topic that is not there", { seq: row.seq, topicId })
    }
    return topic
  }

  #commit(row: LogRow, effect: SegmentCommitted): void {
    const { segmentId } = effect
    if (this.#segments.has(segmentId)) {
      throw new CheckFailed("doubled", "a segment is committed a second time", { seq: row.seq, segmentId })
    }
    this.#segments.add(segmentId)
    const body = this.#durableBody(row, effect)
    for (const run of effect.runs)
      this.#commitRun(row, effect, run, body.subarray(run.byteOffset, run.byteOffset + run.byteLength))
  }

  /** Invariant 2, at the moment when the entry appears. */
  #durableBody(row: LogRow, effect: SegmentCommitted): Buffer {
    const key = segmentKey(effect)
    const regions = new Set<string>()
    let body: Buffer | undefined
    for (const bucket of effect.ackedBuckets) {
      const found = this.#options.readObject(bucket, key)
      if (found?.length !== effect.segmentBytes) continue
      regions.add(this.#options.regionOf(bucket))
      body ??= found
    }
    if (body === undefined || regions.size < this.#options.writes) {
      throw new CheckFailed("durable-before-log", "an entry refers to a segment that too few buckets hold", {
        seq: row.seq,
        key,
        acked: effect.ackedBuckets,
        holding: [...regions]
      })
    }
    return body
  }

  #commitRun(row: LogRow, effect: SegmentCommitted, run: CommittedRun, bytes: Buffer): void {
    const topic = this.topics.get(run.topicId)
    const partition = topic?.isDeleted === false ? topic.partitions[run.partition] : undefined
    const where = {
      seq: row.seq,
      segmentId: effect.segmentId,
      partition: partition?.name ?? `${run.topicId}/${run.partition}`
    }
    // Where the database's clock was set back, the log's time goes on from where it was, at most at its own pace.
    const reachedMs = Math.max(this.#options.latestMs(), this.#timeMs)
    this.#timeMs = Math.max(this.#timeMs, effect.appendTimeMs)
    if (effect.appendTimeMs > reachedMs + AHEAD_MS_MAX) {
      throw new CheckFailed("verdicts", "an entry is of a time that the database's clock has not reached", where)
    }
    const isTooLate = effect.createdAtMs + limits.orphanHorizonMs < effect.appendTimeMs
    let at = 0
    let expected = -1
    for (let index = 0; index < run.batches.length; index++) {
      const batch = run.batches[index]!
      const length = batchHeader.checkedBatchBytes(bytes, at)
      checkSummary(bytes, at, batch, where)
      const found = run.excluded.find((each) => each.index === index)?.verdict ?? "accepted"
      const verdict = isTooLate ? "tooLate" : verdictOf(topic, partition, batch)
      if (found !== verdict) {
        throw new CheckFailed("verdicts", `a batch is ${found} that should be ${verdict}`, {
          ...where,
          index,
          ...batch
        })
      }
      if (found === "accepted" && partition !== undefined) {
        if (expected < 0) expected = partition.records.length
        if (run.timestampType === "append") partition.appendTimes.set(partition.records.length, effect.appendTimeMs)
        this.#accept(partition, bytes, at, batch, where)
      }
      at += length
    }
    if (at !== bytes.length) throw new CheckFailed("content", "a run has bytes that belong to no batch", where)
    if (run.baseOffset !== expected) {
      throw new CheckFailed("offsets", `a run begins at offset ${run.baseOffset}, expected ${expected}`, where)
    }
  }

  #accept(partition: PartitionTruth, bytes: Buffer, at: number, batch: BatchSummary, where: Facts): void {
    const baseOffset = partition.records.length
    if (batch.producerId >= 0) {
      const known = partition.producers.get(batch.producerId) ?? []
      partition.producers.set(batch.producerId, known)
      const { producerEpoch: epoch, baseSequence, offsetCount } = batch
      known.push({ epoch, baseSequence, offsetCount, baseOffset })
    }
    const cursor = this.#cursor
    cursor.open(bytes, at)
    while (cursor.next()) {
      const record = cursor.valueStart < 0 ? undefined : decodePayload(cursor.bytes, cursor.valueStart, cursor.valueEnd)
      if (record === undefined) throw new CheckFailed("content", "a record in the log is not what was sent", where)
      partition.records.push(record)
      this.#options.accepted(record, partition, partition.records.length - 1)
    }
    if (partition.records.length !== baseOffset + batch.offsetCount) {
      throw new CheckFailed("offsets", "a batch has more or fewer records than offsets", where)
    }
  }

  /** The record that an offset holds, for messages. */
  textAt(partition: PartitionTruth, offset: number): string {
    const record = partition.records[offset]
    return record === undefined ? "nothing" : nameText(record)
  }
}

const checkSummary = (bytes: Buffer, at: number, batch: BatchSummary, where: Facts): void => {
  const isRight =
    batchHeader.lastOffsetDelta(bytes, at) + 1 === batch.offsetCount &&
    batchHeader.producerId(bytes, at) === batch.producerId &&
    batchHeader.producerEpoch(bytes, at) === batch.producerEpoch &&
    batchHeader.baseSequence(bytes, at) === batch.baseSequence &&
    batchHeader.computeCrc(bytes, at) === batchHeader.crc(bytes, at)
  if (!isRight)
    throw new CheckFailed("content", "an entry says other things of a batch than its header", { ...where, ...batch })
}

const SEQUENCES = 2 ** 31

/** Whether each of its sequences is one of an accepted batch, whichever. */
const isAllAccepted = (accepted: ReadonlyArray<AcceptedBatch>, batch: BatchSummary): boolean => {
  for (let n = 0; n < batch.offsetCount; n++) {
    const sequence = (batch.baseSequence + n) % SEQUENCES
    const isOf = ({ baseSequence, offsetCount }: AcceptedBatch): boolean =>
      (sequence - baseSequence + SEQUENCES) % SEQUENCES < offsetCount
    if (!accepted.some(isOf)) return false
  }
  return true
}

/** Kafka's rules, once more, and the one that goes beyond them: what was accepted long ago is known by its sequences. */
const verdictOf = (
  topic: TopicTruth | undefined,
  partition: PartitionTruth | undefined,
  batch: BatchSummary
): string => {
  if (topic === undefined || topic.isDeleted) return "unknownTopic"
  if (partition === undefined) return "unknownPartition"
  const known = partition.producers.get(batch.producerId)
  const last = known?.at(-1)
  if (batch.producerId < 0 || known === undefined || last === undefined) return "accepted"
  const ofEpoch = known.filter(({ epoch }) => epoch === last.epoch)
  const isRepeated = ofEpoch
    .slice(-limits.producerBatchesRemembered)
    .some(
      ({ epoch, baseSequence, offsetCount }) =>
        epoch === batch.producerEpoch && baseSequence === batch.baseSequence && offsetCount === batch.offsetCount
    )
  if (isRepeated) return "duplicate"
  if (batch.producerEpoch < last.epoch) return "invalidProducerEpoch"
  if (batch.producerEpoch > last.epoch) return batch.baseSequence === 0 ? "accepted" : "outOfOrderSequence"
  const next = (last.baseSequence + last.offsetCount) % SEQUENCES
  if (batch.baseSequence === next) return "accepted"
  return isAllAccepted(ofEpoch, batch) ? "duplicateWithoutOffset" : "outOfOrderSequence"
}
