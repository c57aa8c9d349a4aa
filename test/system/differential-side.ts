/**
 * One of the two brokers of a differential replay: asks it, and writes its answers down in a form that can be compared.
 *
 * What may differ between any two clusters is made equal here: ids, addresses, brokers, texts of errors, the broker's
 * own clock, and the order of what is named (topics, partitions, configs). Everything else is written down as decoded.
 * Requests are the same bytes for both, but for topic and broker ids. It must not know which of the two brokers it
 * asks.
 */
import { UUID_ZERO } from "#core/model/uuid.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { decompress } from "#core/records/compression.ts"
import { KafkaClient } from "../integration/kafka-client.ts"
import { waitUntil } from "../peers/child-process.ts"

/** Of a broker that closed the connection instead of an answer. */
export const CLOSED = "the connection was closed"

const answerDeadlineMs = 30_000
const topicDeadlineMs = 20_000
/** The brokers' clock against ours, and how long a run may take. */
const clockSlackMs = 60_000
const unfoldedBytesMax = 64 << 20
/** Fields whose text is each broker's own. */
const texts = new Set(["errorMessage", "batchIndexErrorMessage", "documentation"])
const brokerIds = new Set(["leaderId", "controllerId", "nodeId", "brokerId"])
const brokerIdLists = new Set(["replicaNodes", "isrNodes", "offlineReplicas"])
const brokerTimes = new Set(["timestamp", "logAppendTimeMs"])

export interface NewTopic {
  readonly partitions?: number
  readonly configs?: Readonly<Record<string, string>>
}

export class Side {
  readonly name: string
  readonly nowMs: number
  /** Id of a broker that lives. */
  readonly brokerId: number
  readonly answers = new Map<string, unknown>()
  readonly #port: number
  readonly #prefix: string
  readonly #topicNames = new Map<string, string>()
  readonly #topicIds = new Map<string, string>()
  #client: KafkaClient

  private constructor(options: SideOptions, client: KafkaClient, brokerId: number) {
    this.name = options.name
    this.nowMs = options.nowMs
    this.#port = options.port
    this.#prefix = options.prefix
    this.#client = client
    this.brokerId = brokerId
  }

  static async open(options: SideOptions): Promise<Side> {
    const client = await KafkaClient.connect(options.port)
    const { brokers } = await client.request(Metadata, 4, { topics: [], allowAutoTopicCreation: false })
    return new Side(options, client, brokers[0]!.nodeId)
  }

  close(): void {
    this.#client.close()
  }

  /** The name of a topic of this run, so that runs do not meet each other. */
  topic(name: string): string {
    return this.#prefix + name
  }

  /** Of a topic that was made by `createTopic` or `learn`. */
  idOf(name: string): string {
    const id = this.#topicIds.get(name)
    if (id === undefined) throw new Error(`the id of topic ${name} was never asked`)
    return id
  }

  /** Asks without writing anything down. */
  async request<A extends Api>(api: A, version: number, body: RequestInput<A>): Promise<ResponseOf<A>> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const what = `${this.name} does not answer ${api.name} v${version} within ${answerDeadlineMs} ms`
      timer = setTimeout(() => reject(new Error(what)), answerDeadlineMs)
    })
    try {
      return await Promise.race([this.#client.request(api, version, body), late])
    } catch (error) {
      if (error instanceof Error && error.message === CLOSED) this.#client = await KafkaClient.connect(this.#port)
      throw new AskFailed(`${this.name}, ${api.name} v${version}: ${String(error)}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  /** Asks and writes the answer down under a label that is used once. */
  async ask<A extends Api>(what: string, api: A, version: number, body: RequestInput<A>): Promise<void> {
    const label = `${api.name} v${version} ${what}`
    if (this.answers.has(label)) throw new Error(`two questions are called ${label}`)
    try {
      this.answers.set(label, this.#comparable(await this.request(api, version, body), ""))
    } catch (error) {
      if (!isClosed(error)) throw new AskFailed(`${label}: ${String(error)}`, { cause: error })
      this.answers.set(label, CLOSED)
    }
  }

  /** Produce with acks=0: whether the connection lived on is told by the next answer. */
  async askUnanswered(what: string, version: number, body: RequestInput<typeof Produce>): Promise<void> {
    this.#client.send(Produce, version, body)
    await this.ask(`after Produce ${what}`, Metadata, 4, { topics: [], allowAutoTopicCreation: false })
  }

  async createTopic(name: string, { partitions = 1, configs = {} }: NewTopic = {}): Promise<void> {
    const { topics } = await this.request(CreateTopics, 7, {
      topics: [
        {
          name: this.topic(name),
          numPartitions: partitions,
          replicationFactor: 1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value }))
        }
      ],
      timeoutMs: answerDeadlineMs
    })
    const { errorCode, errorMessage } = topics[0]!
    if (errorCode !== 0) throw new Error(`${this.name} does not create ${name}: error ${errorCode}, ${errorMessage}`)
    await this.learn(name, partitions)
  }

  /** Waits until a topic is there, its partitions answer, and learns its id. */
  async learn(name: string, partitions = 1): Promise<void> {
    await waitUntil(`${this.name} has topic ${name} with ${partitions} partitions`, topicDeadlineMs, async () => {
      const [topic] = await this.#describe(name)
      const isThere = topic?.errorCode === 0 && topic.partitions.length === partitions
      if (!isThere || !(await this.#isLed(name, partitions))) return false
      this.#topicIds.set(name, topic.topicId)
      this.#topicNames.set(topic.topicId, name)
      return true
    })
  }

  /** Deletes over a connection of its own, while another request waits for its answer. */
  async deleteBeside(name: string): Promise<void> {
    const client = await KafkaClient.connect(this.#port)
    try {
      const { responses } = await client.request(DeleteTopics, 5, {
        topicNames: [this.topic(name)],
        timeoutMs: answerDeadlineMs
      })
      const { errorCode } = responses[0]!
      if (errorCode !== 0) throw new Error(`${this.name} does not delete ${name}: error ${errorCode}`)
    } finally {
      client.close()
    }
  }

  /** Waits until a topic is gone. */
  async forget(name: string): Promise<void> {
    await waitUntil(`${this.name} has no topic ${name} any more`, topicDeadlineMs, async () => {
      const [topic] = await this.#describe(name)
      return topic?.errorCode === 3
    })
  }

  /** A new partition is in Kafka's metadata before its broker leads it. */
  async #isLed(name: string, partitions: number): Promise<boolean> {
    const asked = Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: -1 }))
    const topics = [{ name: this.topic(name), partitions: asked }]
    const answer = await this.request(ListOffsets, 4, { replicaId: -1, isolationLevel: 0, topics })
    return answer.topics[0]!.partitions.every(({ errorCode }) => errorCode === 0)
  }

  async #describe(name: string): Promise<ResponseOf<typeof Metadata>["topics"]> {
    const topics = [{ topicId: UUID_ZERO, name: this.topic(name) }]
    return (await this.request(Metadata, 12, { topics, allowAutoTopicCreation: false })).topics
  }

  /** A topic's batches one by one, as comparable as an answer. */
  #records(bytes: Buffer): ReadonlyArray<unknown> {
    const batches: unknown[] = []
    // Kafka cuts the last batch of an answer off in the middle; clients drop such a rest.
    for (let at = 0; at + batchHeader.BATCH_HEADER_BYTES <= bytes.length;) {
      const end = at + batchHeader.batchBytes(bytes, at)
      if (end > bytes.length) break
      batches.push(this.#batch(bytes.subarray(at, end)))
      at = end
    }
    return batches
  }

  #batch(batch: Buffer): unknown {
    const isAppend = batchHeader.timestampType(batch, 0) === "append"
    const maxTimestamp = batchHeader.maxTimestamp(batch, 0)
    return {
      baseOffset: batchHeader.baseOffset(batch, 0),
      leaderEpoch: batchHeader.leaderEpoch(batch, 0),
      attributes: batchHeader.attributes(batch, 0),
      lastOffsetDelta: batchHeader.lastOffsetDelta(batch, 0),
      baseTimestamp: batchHeader.baseTimestamp(batch, 0),
      maxTimestamp: isAppend ? this.#time(maxTimestamp) : maxTimestamp,
      producerId: batchHeader.producerId(batch, 0),
      producerEpoch: batchHeader.producerEpoch(batch, 0),
      baseSequence: batchHeader.baseSequence(batch, 0),
      recordCount: batchHeader.recordCount(batch, 0),
      isWhole: batchHeader.computeCrc(batch, 0) === batchHeader.crc(batch, 0),
      // Compressed by either broker the bytes differ, unfolded they must not.
      records: unfolded(batch).toString("latin1")
    }
  }

  #time(timestampMs: number): unknown {
    return timestampMs >= this.nowMs - 1_000 && timestampMs < this.nowMs + clockSlackMs * 10 ? "now" : timestampMs
  }

  #comparable(value: unknown, field: string): unknown {
    if (Buffer.isBuffer(value)) return this.#records(value)
    if (Array.isArray(value)) return this.#comparableList(value, field)
    if (typeof value === "object" && value !== null) {
      const named = Object.entries(value).filter(([key]) => !texts.has(key))
      return Object.fromEntries(named.map(([key, each]) => [key, this.#comparable(each, key)]))
    }
    if (typeof value === "string") return this.#comparableText(value, field)
    if (brokerIds.has(field) && typeof value === "number") return value >= 0 ? "a broker" : value
    if (field === "port" && typeof value === "number") return value > 0 ? "a port" : value
    if (field === "sessionId" && typeof value === "number") return value > 0 ? "a session" : value
    if (field === "producerId" && typeof value === "number") return value >= 0 ? "a producer" : value
    if (brokerTimes.has(field) && typeof value === "number") return this.#time(value)
    return value
  }

  #comparableText(value: string, field: string): string {
    if (field === "topicId") return value === UUID_ZERO ? "zero" : (this.#topicNames.get(value) ?? "another id")
    if (field === "clusterId") return value === "" ? "" : "a cluster"
    if (field === "host") return value === "" ? "" : "a host"
    if (field === "rack") return "a rack"
    return value.startsWith(this.#prefix) ? value.slice(this.#prefix.length) : value
  }

  #comparableList(list: ReadonlyArray<unknown>, field: string): unknown {
    if (brokerIdLists.has(field)) return list.length > 0 ? "brokers" : []
    if (field === "brokers")
      return list.length > 0 ? [this.#comparable({ ...(list[0] as object), rack: null }, "")] : []
    return list
      .map((each) => this.#comparable(each, field))
      .map((each) => ({ each, key: keyOf(each) }))
      .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
      .map(({ each }) => each)
  }
}

export interface SideOptions {
  readonly name: string
  readonly port: number
  readonly nowMs: number
  readonly prefix: string
}

class AskFailed extends Error {}

const isClosed = (error: unknown): boolean =>
  error instanceof AskFailed && error.cause instanceof Error && error.cause.message === CLOSED

/** What brokers may list in any order. */
const keyOf = (each: unknown): string => {
  if (typeof each !== "object" || each === null || Buffer.isBuffer(each)) return ""
  const named = each as Readonly<Record<string, string | number | null | undefined>>
  const index = named["index"] ?? named["partition"] ?? named["partitionIndex"] ?? named["apiKey"] ?? named["errorCode"]
  const name = named["name"] ?? named["topic"] ?? named["resourceName"] ?? named["key"]
  return `${String(name)} ${String(named["topicId"])} ${String(index ?? 0).padStart(12, "0")}`
}

const unfolded = (batch: Buffer): Buffer => {
  const block = batch.subarray(batchHeader.BATCH_HEADER_BYTES)
  const codec = batchHeader.codec(batch, 0)
  try {
    return codec === 0 ? block : decompress(codec, block, unfoldedBytesMax)
  } catch {
    return block
  }
}
