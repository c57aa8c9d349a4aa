/**
 * The requests that are mutated: Kafka's own goldens of every API and version, and requests that mean something to the
 * agent of this run (its topics, its ids, batches that it accepts), so that mutations get past the look-up of a topic.
 */
import { buildBatch } from "#core/records/build-batch.ts"
import { encodeRequest } from "#core/protocol/frame.ts"
import { kafkaApis, type KafkaApi } from "#core/protocol/registry.ts"
import { isIn, type RequestInput } from "#core/protocol/schema.ts"
import { readGoldens } from "../unit/protocol/golden-messages.ts"
import { javaBatches } from "../unit/records/golden-batches.ts"
import { type FuzzAgent, type FuzzTopic } from "./fuzz-agent.ts"

export const FUZZ_TOPICS: ReadonlyArray<FuzzTopic> = [
  { name: "plain", partitions: 3, configs: {} },
  { name: "compacted", partitions: 1, configs: { "cleanup.policy": "compact" } },
  { name: "append", partitions: 2, configs: { "message.timestamp.type": "LogAppendTime" } },
  { name: "recompressed", partitions: 1, configs: { "compression.type": "lz4" } }
]

/** Topics that requests of the corpus create and delete. Few, so that a run does not fill the agent with topics. */
const CREATED = ["made-a", "made-b", "made.c"]

const CLIENT_IDS = ["fuzz", null, ""] as const

/** Frames without length prefix. */
export const goldenFrames: ReadonlyArray<Buffer> = readGoldens()
  .filter(
    ({ direction, version, api }) => direction === "request" && version >= api.versionMin && version <= api.versionMax
  )
  .map(({ header, body }) => Buffer.concat([header, body]))

const GOOD_BATCHES: ReadonlyArray<Buffer> = [
  buildBatch({ records: [{ key: Buffer.from("k"), value: Buffer.from("v") }], timestampMs: 1_700_000_000_000 }),
  buildBatch({
    records: [0, 1, 2].map((index) => ({
      key: Buffer.from(`key ${index}`),
      value: Buffer.from("value"),
      headers: [{ key: "h", value: null }],
      timestampMs: 1_700_000_000_000 + index
    }))
  }),
  buildBatch({
    records: [{ key: Buffer.from("k"), value: null }],
    timestampMs: 1_700_000_000_000,
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0
  }),
  ...javaBatches.map(({ batch }) => batch).filter((batch) => batch.length < 600)
]

/** For each API and version a few requests about the agent's topics. Those that change topics are to be drawn rarely. */
export const liveFrames = (agent: FuzzAgent): { readonly frequent: Array<Buffer>; readonly rare: Array<Buffer> } => {
  const frequent: Array<Buffer> = []
  const rare: Array<Buffer> = []
  for (const api of kafkaApis) {
    const into = RARE_KEYS.has(api.key) ? rare : frequent
    for (let version = api.versionMin; version <= api.versionMax; version++) {
      for (const body of bodiesOf(api, version, agent)) into.push(frameOf(api, version, body))
    }
  }
  return { frequent, rare }
}

export const frameOf = (api: KafkaApi, version: number, body: unknown): Buffer => {
  const clientId = CLIENT_IDS[version % CLIENT_IDS.length]!
  const { chunks } = encodeRequest({ api, version, correlationId: 1, clientId, body: body as RequestInput<KafkaApi> })
  return Buffer.concat(chunks).subarray(4)
}

/** CreateTopics, DeleteTopics, CreatePartitions. */
const RARE_KEYS: ReadonlySet<number> = new Set([19, 20, 37])

const bodiesOf = (api: KafkaApi, version: number, agent: FuzzAgent): ReadonlyArray<unknown> =>
  requestsOf(api.key, version, agent).map((body) => onlyKnown(api.request.fields, version, body))

/** A field that the version lacks must not be set. */
const onlyKnown = (fields: KafkaApi["request"]["fields"], version: number, value: unknown): unknown => {
  const known: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) {
    if (!isIn(field.versions, version)) continue
    const given = (value as Record<string, unknown>)[name]
    if (given === undefined) continue
    const inner = field.element?.fields
    known[name] =
      inner !== undefined && Array.isArray(given) ? given.map((each) => onlyKnown(inner, version, each)) : given
  }
  return known
}

const requestsOf = (key: number, version: number, agent: FuzzAgent): ReadonlyArray<unknown> => {
  const topics = FUZZ_TOPICS.map(({ name, partitions }) => {
    const topicId = agent.log.fold.topicByName(name)!.topicId
    return { name, topic: name, topicName: name, topicId, partitions }
  })
  const eachPartition = (count: number, make: (partition: number) => unknown) =>
    Array.from({ length: count }, (_, at) => make(at))
  switch (key) {
    case 0:
      return GOOD_BATCHES.flatMap((records, index) => {
        const { name, topicId } = topics[index % topics.length]!
        const acks = index % 5 === 4 ? 0 : -1
        return [
          {
            transactionalId: null,
            acks,
            timeoutMs: 1_000,
            topicData: [{ name, topicId, partitionData: [{ index: 0, records }] }]
          }
        ]
      })
    case 1:
      return [0, 1].map((fetchOffset) => ({
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: 65_536,
        topics: topics.map(({ topic, topicId, partitions }) => ({
          topic,
          topicId,
          partitions: eachPartition(partitions, (partition) => ({ partition, fetchOffset, partitionMaxBytes: 4_096 }))
        }))
      }))
    case 2:
      return [-1, -2, -3, 1_700_000_000_001].map((timestamp) => ({
        replicaId: -1,
        topics: topics.map(({ name, partitions }) => ({
          name,
          partitions: eachPartition(partitions, (partitionIndex) => ({ partitionIndex, timestamp }))
        }))
      }))
    case 3:
      return [
        { topics: topics.map(({ name, topicId }) => (version >= 12 ? { name: null, topicId } : { name })) },
        { topics: version === 0 ? [] : null }
      ]
    case 10:
      return [version >= 4 ? { keyType: 0, coordinatorKeys: ["group"] } : { key: "group", keyType: 0 }]
    case 18:
      return [{ clientSoftwareName: "fuzz", clientSoftwareVersion: "1.0" }]
    case 22:
      return [{ transactionalId: null, transactionTimeoutMs: 1_000 }]
    case 23:
      return [
        {
          replicaId: -1,
          topics: topics.map(({ topic }) => ({ topic, partitions: [{ partition: 0, leaderEpoch: 0 }] }))
        }
      ]
    case 32:
      return [
        { resources: topics.map(({ name }) => ({ resourceType: 2, resourceName: name, configurationKeys: null })) },
        { resources: [{ resourceType: 4, resourceName: "1", configurationKeys: ["num.partitions"] }] }
      ]
    default:
      return changesOf(key, version)
  }
}

const changesOf = (key: number, version: number): ReadonlyArray<unknown> => {
  switch (key) {
    case 19:
      return CREATED.map((name) => ({
        topics: [
          {
            name,
            numPartitions: 2,
            replicationFactor: 1,
            assignments: [],
            configs: [{ name: "retention.ms", value: "1000" }]
          }
        ],
        timeoutMs: 1_000,
        validateOnly: false
      }))
    case 20:
      return CREATED.map((name) => ({
        topicNames: [name],
        topics: version >= 6 ? [{ name, topicId: "00000000000000000000000000000000" }] : undefined,
        timeoutMs: 1_000
      }))
    case 37:
      return CREATED.map((name) => ({
        topics: [{ name, count: 3, assignments: null }],
        timeoutMs: 1_000,
        validateOnly: false
      }))
    default:
      return [{ includeClusterAuthorizedOperations: false }]
  }
}
