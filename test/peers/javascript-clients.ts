/**
 * The two JavaScript clients of npm: kafkajs as a producer, @platformatic/kafka as a producer and a consumer.
 *
 * Neither has a public consumer without a group, so kafkajs only produces here. @platformatic/kafka has a public fetch
 * by broker, topic id and offset: that is the consumer below. Keys decide partitions by each client's own partitioner.
 */
import { Consumer, Producer, type MessageToProduce } from "@platformatic/kafka"
import { Kafka, logLevel } from "kafkajs"
import { type ConsumedRecord, type InputRecord } from "./record-frames.ts"

export interface ProduceTask {
  readonly bootstrap: string
  readonly topic: string
  readonly records: readonly InputRecord[]
}

type FetchResponse = Awaited<ReturnType<Consumer["fetch"]>>

const empty = Buffer.alloc(0)
const messagesPerSend = 500
const emptyFetchesMax = 50
const fetchBytesMax = 4 * 1024 * 1024

export async function kafkajsProduce(task: ProduceTask): Promise<void> {
  const kafka = new Kafka({ clientId: "system-test", brokers: task.bootstrap.split(","), logLevel: logLevel.ERROR })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    for (const messages of slices(task.records)) await producer.send({ topic: task.topic, acks: -1, messages })
  } finally {
    await producer.disconnect()
  }
}

export async function platformaticProduce(task: ProduceTask): Promise<void> {
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({
    clientId: "system-test",
    bootstrapBrokers: task.bootstrap.split(","),
    idempotent: true
  })
  try {
    for (const records of slices(task.records)) {
      const messages: MessageToProduce<Buffer, Buffer, Buffer, Buffer>[] = records.map((record) => ({
        topic: task.topic,
        key: record.key,
        value: record.value
      }))
      await producer.send({ messages, acks: -1 })
    }
  } finally {
    await producer.close()
  }
}

/** Every record of a topic up to its present end, partition by partition. */
export async function platformaticConsume(task: {
  readonly bootstrap: string
  readonly topic: string
}): Promise<ConsumedRecord[]> {
  const consumer = new Consumer<Buffer, Buffer, Buffer, Buffer>({
    clientId: "system-test",
    bootstrapBrokers: task.bootstrap.split(","),
    // Asked for by the constructor and used for nothing.
    groupId: "unused",
    timeout: 10_000
  })
  try {
    consumer.topics.trackAll(task.topic)
    const metadata = await consumer.metadata({ topics: [task.topic] })
    const topic = metadata.topics.get(task.topic)
    if (topic === undefined) throw new Error(`@platformatic/kafka knows no topic ${task.topic}`)
    const ends = (await consumer.listOffsets({ topics: [task.topic] })).get(task.topic) ?? []
    const records: ConsumedRecord[] = []
    for (const [partition, end] of ends.entries()) {
      const leader = topic.partitions[partition]?.leader
      if (leader === undefined) throw new Error(`@platformatic/kafka knows no leader of partition ${partition}`)
      const place = { topicId: topic.id, node: leader, partition, end: Number(end) }
      records.push(...(await readPartition(consumer, place)))
    }
    return records
  } finally {
    await consumer.close()
  }
}

async function readPartition(
  consumer: Consumer<Buffer, Buffer, Buffer, Buffer>,
  place: { readonly topicId: string; readonly node: number; readonly partition: number; readonly end: number }
): Promise<ConsumedRecord[]> {
  const records: ConsumedRecord[] = []
  let next = 0
  for (let empty = 0; next < place.end;) {
    if (empty > emptyFetchesMax) throw new Error(`partition ${place.partition}: nothing from offset ${next} on`)
    const answer = await consumer.fetch({
      node: place.node,
      maxWaitTime: 200,
      minBytes: 1,
      maxBytes: fetchBytesMax,
      topics: [
        {
          topicId: place.topicId,
          partitions: [
            {
              partition: place.partition,
              currentLeaderEpoch: -1,
              fetchOffset: BigInt(next),
              lastFetchedEpoch: -1,
              partitionMaxBytes: fetchBytesMax
            }
          ]
        }
      ]
    })
    const before = next
    for (const record of recordsOf(answer, place.partition)) {
      // A fetch begins with the batch that holds the offset: its first records may be known already.
      if (record.offset < next) continue
      records.push(record)
      next = record.offset + 1
    }
    empty = next === before ? empty + 1 : 0
  }
  return records
}

function recordsOf(answer: FetchResponse, partition: number): ConsumedRecord[] {
  const found: ConsumedRecord[] = []
  for (const topic of answer.responses) {
    for (const answered of topic.partitions) {
      for (const batch of answered.records ?? []) {
        for (const record of batch.records) {
          found.push({
            partition,
            offset: Number(batch.firstOffset) + record.offsetDelta,
            key: Buffer.from(record.key ?? empty),
            value: Buffer.from(record.value ?? empty)
          })
        }
      }
    }
  }
  return found
}

function* slices(records: readonly InputRecord[]): Generator<InputRecord[]> {
  for (let from = 0; from < records.length; from += messagesPerSend) yield records.slice(from, from + messagesPerSend)
}
