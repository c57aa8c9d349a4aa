/**
 * What producers were told, against what the log says: at the moment of each answer, and at each append after that.
 *
 * An acknowledged record is at its offset (before the answer, not some time later), one that was surely refused is in the log
 * neither before nor after. What was answered by nothing or by "maybe" may be there or not, but once only.
 */
import { CheckFailed } from "../engine/check-failed.ts"
import { nameText, type RecordName } from "../workload/payload.ts"
import { type Reads } from "./reads.ts"
import { type PartitionTruth, type Truth } from "./truth.ts"

export interface ProducerKind {
  readonly index: number
  readonly isIdempotent: boolean
}

/** Where an acknowledged record is. */
export interface Acknowledged {
  readonly record: RecordName
  readonly topicId: string
  readonly partition: number
  readonly offset: number
}

export class Acknowledgements {
  readonly acknowledged: Array<Acknowledged> = []
  /** Of them, those that were acknowledged as old duplicates. */
  withoutOffset = 0
  readonly #truth: () => Truth
  readonly #reads: Reads
  readonly #producers = new Map<number, ProducerKind>()
  readonly #producerIds = new Map<number, string>()
  /** Attempts that were surely refused. */
  readonly #refused = new Set<string>()
  /** Where each attempt is in the log, and each record of an idempotent producer, at whatever attempt. */
  readonly #attempts = new Map<string, string>()
  readonly #numbers = new Map<string, string>()
  /** The last number of each idempotent producer in each partition. */
  readonly #lastNumber = new Map<string, number>()

  constructor(truth: () => Truth, reads: Reads) {
    this.#truth = truth
    this.#reads = reads
  }

  /** To be called before its first record is sent. */
  register(producer: ProducerKind): void {
    this.#producers.set(producer.index, producer)
  }

  /** A record has got its offset. */
  accepted(record: RecordName, partition: PartitionTruth, offset: number): void {
    const facts = { record: nameText(record), partition: partition.name, offset }
    const producer = this.#producers.get(record.producer)
    if (producer === undefined) throw new CheckFailed("content", "a record of nobody is in the log", facts)
    if (this.#refused.has(nameText(record))) {
      throw new CheckFailed(
        "definite-failure",
        "a record is in the log whose producer was told that it surely is not",
        facts
      )
    }
    const place = `${partition.name}@${offset}`
    const number = `${record.producer}:${record.number}`
    const first =
      this.#attempts.get(nameText(record)) ?? (producer.isIdempotent ? this.#numbers.get(number) : undefined)
    if (first !== undefined)
      throw new CheckFailed("doubled", "a record is in the log a second time", { ...facts, first })
    this.#attempts.set(nameText(record), place)
    if (!producer.isIdempotent) return
    this.#numbers.set(number, place)
    const order = `${record.producer}/${partition.topic.topicId}/${partition.partition}`
    const before = this.#lastNumber.get(order) ?? -1
    if (record.number <= before)
      throw new CheckFailed("order", "a producer's records have changed their order", { ...facts, before })
    this.#lastNumber.set(order, record.number)
  }

  producerId(producerId: number, producer: string): void {
    const other = this.#producerIds.get(producerId)
    if (other !== undefined) {
      throw new CheckFailed("producer-ids", "a producer id is given a second time", { producerId, producer, other })
    }
    this.#producerIds.set(producerId, producer)
  }

  /** A producer was told that its records are at these offsets. */
  acknowledge(
    at: { readonly topic: string; readonly partition: number; readonly baseOffset: number },
    records: ReadonlyArray<RecordName>
  ): void {
    const partition = this.#truth().partition(at.topic, at.partition)
    for (const [index, record] of records.entries()) {
      const offset = at.baseOffset + index
      const found = partition?.records[offset]
      // An idempotent batch may have been appended by an earlier attempt.
      const isThere =
        found !== undefined &&
        found.producer === record.producer &&
        found.number === record.number &&
        (found.attempt === record.attempt || this.#producers.get(record.producer)?.isIdempotent === true)
      if (!isThere) {
        throw new CheckFailed("acknowledged-before-log", "an acknowledged record is not in the log at its offset", {
          record: nameText(record),
          partition: `${at.topic}/${at.partition}`,
          offset,
          found: found === undefined ? "nothing" : nameText(found)
        })
      }
      this.#reads.acknowledged(partition!, offset + 1)
      this.acknowledged.push({ record, topicId: partition!.topic.topicId, partition: at.partition, offset })
    }
  }

  /** A producer was told that its records are in the partition, and nobody knows any more where: there is just one of each. */
  acknowledgeWithoutOffset(
    at: { readonly topic: string; readonly partition: number },
    records: ReadonlyArray<RecordName>
  ): void {
    const partition = this.#truth().partition(at.topic, at.partition)
    for (const record of records) {
      const offsets: Array<number> = []
      for (const [offset, { producer, number }] of partition?.records.entries() ?? []) {
        if (producer === record.producer && number === record.number) offsets.push(offset)
      }
      const [offset] = offsets
      if (offset === undefined || offsets.length > 1) {
        throw new CheckFailed(
          offset === undefined ? "acknowledged-lost" : "doubled",
          "a record that was acknowledged without an offset is not in its partition just once",
          { record: nameText(record), partition: `${at.topic}/${at.partition}`, offsets }
        )
      }
      this.#reads.acknowledged(partition!, offset + 1)
      this.acknowledged.push({ record, topicId: partition!.topic.topicId, partition: at.partition, offset })
      this.withoutOffset++
    }
  }

  /** A producer was told that these attempts surely have no effect. */
  refuse(records: ReadonlyArray<RecordName>): void {
    for (const record of records) {
      const name = nameText(record)
      this.#refused.add(name)
      const place = this.#attempts.get(name)
      if (place !== undefined) {
        throw new CheckFailed(
          "definite-failure",
          "a producer is told that its record surely is not in the log, but it is",
          {
            record: name,
            place
          }
        )
      }
    }
  }
}
