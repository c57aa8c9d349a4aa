/**
 * Kafka requests as promises, for integration tests that read like a client's story: topics, batches, offsets.
 * Versions are the newest with topic names where a test does not say otherwise. It judges nothing but what a test
 * cannot go on without.
 */
import { Effect, type Scope } from "effect"
import { assert } from "@effect/vitest"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { startCluster, type TestCluster } from "./cluster.ts"
import { KafkaClient } from "./kafka-client.ts"

export interface SeenRecord {
  readonly offset: number
  readonly timestampMs: number
  readonly value: string
}

export interface FetchAsked {
  readonly offset?: number
  readonly partition?: number
  readonly maxWaitMs?: number
}

export class PromisedClient {
  readonly client: KafkaClient

  constructor(client: KafkaClient) {
    this.client = client
  }

  request<A extends Api>(api: A, version: number, body: RequestInput<A>): Promise<ResponseOf<A>> {
    return this.client.request(api, version, body)
  }

  /** Its id. */
  async createTopic(
    name: string,
    options: { readonly partitions?: number; readonly configs?: Readonly<Record<string, string>> } = {}
  ): Promise<string> {
    const { topics } = await this.request(CreateTopics, 7, {
      topics: [
        {
          name,
          numPartitions: options.partitions ?? 1,
          replicationFactor: -1,
          assignments: [],
          configs: Object.entries(options.configs ?? {}).map(([key, value]) => ({ name: key, value }))
        }
      ]
    })
    assert.strictEqual(topics[0]!.errorCode, errorCodes.NONE, topics[0]!.errorMessage ?? "")
    return topics[0]!.topicId
  }

  async deleteTopic(name: string): Promise<number> {
    const body = { topics: [{ name, topicId: UUID_ZERO }], timeoutMs: 30_000 }
    return (await this.request(DeleteTopics, 6, body)).responses[0]!.errorCode
  }

  async describe(name: string): Promise<ResponseOf<typeof Metadata>["topics"][number]> {
    const body = { topics: [{ name, topicId: UUID_ZERO }], allowAutoTopicCreation: false }
    return (await this.request(Metadata, 12, body)).topics[0]!
  }

  async produce(topic: string, records: Buffer, partition = 0) {
    const { responses } = await this.request(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }]
    })
    return responses[0]!.partitionResponses[0]!
  }

  async fetch(topic: string, { offset = 0, partition = 0, maxWaitMs = 0 }: FetchAsked = {}) {
    const { responses } = await this.request(Fetch, 12, {
      replicaId: -1,
      maxWaitMs,
      minBytes: 1,
      topics: [{ topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: 10_000_000 }] }],
      forgottenTopicsData: []
    })
    return responses[0]!.partitions[0]!
  }

  async listOffset(topic: string, timestamp: number, partition = 0) {
    const { topics } = await this.request(ListOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }]
    })
    const { errorCode, offset, timestamp: found } = topics[0]!.partitions[0]!
    return { errorCode, offset, timestamp: found }
  }
}

/** The batches of an answer, each with a right CRC. */
export const batchesOf = (records: Buffer | null): ReadonlyArray<Buffer> => {
  const batches: Array<Buffer> = []
  if (records === null) return batches
  batchHeader.walkBatches(records, (at, length) => {
    assert.strictEqual(batchHeader.computeCrc(records, at), batchHeader.crc(records, at), "every batch is whole")
    batches.push(records.subarray(at, at + length))
  })
  return batches
}

/** What a consumer would see. */
export const recordsOf = (records: Buffer | null): ReadonlyArray<SeenRecord> => {
  const cursor = new RecordCursor()
  const seen: Array<SeenRecord> = []
  for (const batch of batchesOf(records)) {
    cursor.open(batch, 0)
    while (cursor.next()) {
      const value = cursor.bytes.toString("utf8", cursor.valueStart, cursor.valueEnd)
      seen.push({ offset: cursor.offset, timestampMs: cursor.timestamp, value })
    }
  }
  return seen
}

/** A cluster of three regions, and a client in each. */
export const withRegions = (
  story: (clients: readonly [PromisedClient, PromisedClient, PromisedClient], cluster: TestCluster) => Promise<void>
): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const cluster = yield* startCluster()
    const clients = yield* Effect.forEach(cluster.agents, (agent) => connected(agent.port))
    yield* Effect.promise(() => story([clients[0]!, clients[1]!, clients[2]!], cluster))
  })

/** One more connection, for what must not wait behind another request. */
export const connected = (port: number): Effect.Effect<PromisedClient, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => KafkaClient.connect(port)),
      (client) => Effect.sync(() => client.close())
    ),
    (client) => new PromisedClient(client)
  )
