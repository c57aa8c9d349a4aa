/** Differential replay: Produce, every version, good and bad; and what a fetch then finds. */
import { UUID_ZERO } from "#core/model/uuid.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type RequestInput } from "#core/protocol/schema.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { topics as verdictTopics, verdictCases } from "../goldens/records/verdict-cases.ts"
import { UNKNOWN_ID, versionsOf } from "./differential-cluster.ts"
import { type Side } from "./differential-side.ts"

type Request = RequestInput<typeof Produce>
type Partition = Request["topicData"][number]["partitionData"][number]

/** First version with topic ids instead of names. */
const PRODUCE_IDS = 13
const INT32_MAX = 2_147_483_647

export async function produceScenario(side: Side): Promise<void> {
  await basics(side)
  await unanswered(side)
  await verdicts(side)
  await sequences(side)
}

const batchOf = (side: Side, text: string, more: Partial<Parameters<typeof buildBatch>[0]> = {}): Buffer =>
  buildBatch({
    records: [{ key: Buffer.from("k"), value: Buffer.from(text) }],
    timestampMs: side.nowMs - 5_000,
    ...more
  })

/** By id from version 13 on. */
export const topicData = (side: Side, version: number, name: string, partitionData: ReadonlyArray<Partition>) =>
  version >= PRODUCE_IDS ? { topicId: side.idOf(name), partitionData } : { name: side.topic(name), partitionData }

const request = (acks: number, ...data: Request["topicData"]): Request => ({
  transactionalId: null,
  acks,
  timeoutMs: 30_000,
  topicData: data
})

async function basics(side: Side): Promise<void> {
  await side.createTopic("p1", { partitions: 3 })
  await side.createTopic("p2")
  await side.createTopic("p3", { partitions: 3 })
  for (const version of versionsOf(Produce)) {
    const one = (index: number, text = "x"): Partition => ({ index, records: batchOf(side, text) })
    const p1 = (...partitions: ReadonlyArray<Partition>) => topicData(side, version, "p1", partitions)
    const ask = (what: string, body: Request): Promise<void> => side.ask(what, Produce, version, body)
    await ask("of nothing", request(-1))
    await ask("of no partition", request(-1, p1()))
    for (const acks of [-1, 1, 2, -2, 32_767]) await ask(`acks ${acks}`, request(acks, p1(one(0), one(1))))
    await ask("of two topics", request(-1, p1(one(2), one(0)), topicData(side, version, "p2", [one(0)])))
    await ask("of absent partitions", request(-1, p1(one(0), one(3), one(-1), one(INT32_MAX))))
    const absent =
      version >= PRODUCE_IDS
        ? [
            { topicId: UNKNOWN_ID, partitionData: [one(0)] },
            { topicId: UUID_ZERO, partitionData: [one(0)] }
          ]
        : ["absent", "a b", ""].map((name) => ({
            name: name === "absent" ? side.topic(name) : name,
            partitionData: [one(0)]
          }))
    await ask("of absent topics", request(-1, ...absent, p1(one(1))))
    // Not asked: records of null, which Kafka never answers (its error handling fails on them); we say INVALID_RECORD.
    await ask("of no bytes", request(-1, p1({ index: 0, records: Buffer.alloc(0) }, one(1))))
    const p3 = (...partitions: ReadonlyArray<Partition>) => topicData(side, version, "p3", partitions)
    await ask("of a partition twice", request(-1, p3(one(0, "first"), one(0, "second"))))
    await ask("of a topic twice", request(-1, p3(one(1, "first")), p3(one(2, "second"))))
    await ask("timeout 0", { ...request(-1, p1(one(0))), timeoutMs: 0 })
    await ask("timeout -1", { ...request(-1, p1(one(0))), timeoutMs: -1 })
    const control = batchOf(side, "x", { isControl: true })
    await ask("of control records", request(-1, p1({ index: 0, records: control }, one(1))))
    const transactional = { isTransactional: true, producerId: 77, producerEpoch: 0, baseSequence: 0 }
    await ask("transactional, without id", request(-1, p1({ index: 0, records: batchOf(side, "t", transactional) })))
  }
}

/** Bytes on which Kafka fails the whole request; we refuse their partition alone. They are sent alone. */
const harmsOthers = /^batch length (13|0|-1|2147483647)|^magic (3|-1)$|transactional/

/**
 * What we refuse and Kafka takes, or fails on with -1 (core/records/validate-batch.ts says why). In topics of their
 * own, so that the offsets of the others stay the same.
 */
const areWeStricter =
  /^record: (length|offset delta)|^offset delta 1 into|^producer with epoch -1|^compressed: gzip followed by 4 bytes/

async function unanswered(side: Side): Promise<void> {
  for (const version of versionsOf(Produce)) {
    const good = { index: 0, records: batchOf(side, "quiet") }
    await side.askUnanswered(`v${version} acks 0`, version, request(0, topicData(side, version, "p2", [good])))
    const bad = { index: 0, records: batchOf(side, "x", { isControl: true }) }
    await side.askUnanswered(`v${version} acks 0, bad`, version, request(0, topicData(side, version, "p2", [bad])))
  }
}

/** Each of the goldens' batches in a request beside good ones, by versions on both sides of each change. */
async function verdicts(side: Side): Promise<void> {
  for (const [topic, configs] of Object.entries(verdictTopics)) {
    await side.createTopic(`verdict-${topic}`, { partitions: 3, configs })
    await side.createTopic(`stricter-${topic}`, { configs })
  }
  for (const each of verdictCases(side.nowMs)) {
    if (each.records === null) continue
    const { records } = each
    const later = each.apiVersion === 8 ? [12, 13] : []
    for (const version of [each.apiVersion, ...later]) {
      if (areWeStricter.test(each.name)) {
        const alone = request(-1, topicData(side, version, `stricter-${each.topic}`, [{ index: 0, records }]))
        await side.ask(`stricter: ${each.name}`, Produce, version, alone)
        continue
      }
      const good = { index: 0, records: batchOf(side, "good beside") }
      const bad = { index: 1, records }
      const data = harmsOthers.test(each.name) ? [bad] : [good, bad, { ...good, index: 2 }]
      const body = request(-1, topicData(side, version, `verdict-${each.topic}`, data))
      await side.ask(`verdict: ${each.name}`, Produce, version, body)
    }
  }
  for (const topic of Object.keys(verdictTopics)) await readAll(side, `verdict-${topic}`, 1)
}

/** Everything that is stored in a partition, as comparable batches. */
export async function readAll(side: Side, topic: string, partition: number): Promise<void> {
  await side.ask(`all of ${topic}`, Fetch, 11, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 1,
    topics: [{ topic: side.topic(topic), partitions: [{ partition, fetchOffset: 0, partitionMaxBytes: 50_000_000 }] }],
    forgottenTopicsData: []
  })
}

interface Step {
  readonly what: string
  readonly producerId: number
  readonly epoch: number
  readonly sequence: number
  readonly count?: number
}

/** Idempotent producers; a producer id need not have been given out, so both brokers get the same bytes. */
const steps: ReadonlyArray<Step> = [
  { what: "first", producerId: 900, epoch: 0, sequence: 0 },
  { what: "second, of two", producerId: 900, epoch: 0, sequence: 1, count: 2 },
  { what: "the second again", producerId: 900, epoch: 0, sequence: 1, count: 2 },
  { what: "the first again", producerId: 900, epoch: 0, sequence: 0 },
  { what: "half of the second", producerId: 900, epoch: 0, sequence: 1 },
  { what: "its other half", producerId: 900, epoch: 0, sequence: 2 },
  { what: "over the second's end", producerId: 900, epoch: 0, sequence: 2, count: 2 },
  { what: "a gap", producerId: 900, epoch: 0, sequence: 5 },
  ...[3, 4, 5, 6, 7].map((sequence) => ({ what: `number ${sequence}`, producerId: 900, epoch: 0, sequence })),
  { what: "older than five batches", producerId: 900, epoch: 0, sequence: 0 },
  { what: "the fifth last", producerId: 900, epoch: 0, sequence: 3 },
  { what: "next epoch, not from 0", producerId: 900, epoch: 1, sequence: 8 },
  { what: "next epoch, from 0", producerId: 900, epoch: 1, sequence: 0 },
  { what: "the old epoch's next", producerId: 900, epoch: 0, sequence: 8 },
  { what: "the old epoch's last again", producerId: 900, epoch: 0, sequence: 7 },
  { what: "next epoch's first again", producerId: 900, epoch: 1, sequence: 0 },
  { what: "an epoch far ahead", producerId: 900, epoch: 32_767, sequence: 0 },
  { what: "unknown producer, from 42", producerId: 901, epoch: 3, sequence: 42 },
  { what: "and on", producerId: 901, epoch: 3, sequence: 43 },
  { what: "before its first", producerId: 901, epoch: 3, sequence: 41 },
  { what: "over its first", producerId: 901, epoch: 3, sequence: 41, count: 2 },
  { what: "over its last", producerId: 901, epoch: 3, sequence: 43, count: 2 },
  { what: "near the largest sequence", producerId: 902, epoch: 0, sequence: INT32_MAX - 1 },
  { what: "the largest sequence", producerId: 902, epoch: 0, sequence: INT32_MAX },
  { what: "after the largest, not 0", producerId: 902, epoch: 0, sequence: 1 },
  { what: "after the largest, 0", producerId: 902, epoch: 0, sequence: 0 },
  { what: "the largest again", producerId: 902, epoch: 0, sequence: INT32_MAX },
  { what: "three before the wrap", producerId: 903, epoch: 0, sequence: INT32_MAX - 3 },
  { what: "over the wrap", producerId: 903, epoch: 0, sequence: INT32_MAX - 2, count: 4 },
  { what: "over the wrap again", producerId: 903, epoch: 0, sequence: INT32_MAX - 2, count: 4 },
  { what: "after the wrap", producerId: 903, epoch: 0, sequence: 1 }
]

async function sequences(side: Side): Promise<void> {
  for (const version of [3, 9, 12, 13]) {
    const topic = `idempotent-${version}`
    await side.createTopic(topic)
    for (const [index, { what, producerId, epoch, sequence, count = 1 }] of steps.entries()) {
      const records = buildBatch({
        records: Array.from({ length: count }, () => ({ key: null, value: Buffer.from(what) })),
        timestampMs: side.nowMs - 4_000,
        producerId,
        producerEpoch: epoch,
        baseSequence: sequence
      })
      const body = request(-1, topicData(side, version, topic, [{ index: 0, records }]))
      await side.ask(`idempotent ${index}, ${what}`, Produce, version, body)
    }
    await readAll(side, topic, 0)
  }
}
