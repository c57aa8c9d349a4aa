// Goal: administration through the wire is Kafka's: what is refused, what is answered once, and that a topic that was
// made, grown or deleted in one region is so in all of them at once.
// Method: three agents in one process, a client in each region. The differential replay (test/system) asks a real
// Kafka the same; the rules that it found broken are here, so that they stay mended where no Kafka is at hand.
import { assert, describe, it } from "@effect/vitest"
import { CreatePartitions } from "#core/protocol/api/37-create-partitions.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { DescribeCluster } from "#core/protocol/api/60-describe-cluster.ts"
import { DescribeConfigs } from "#core/protocol/api/32-describe-configs.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type RequestInput } from "#core/protocol/schema.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { KafkaClient } from "./kafka-client.ts"
import { PromisedClient, recordsOf, withRegions } from "./promised-client.ts"

type NewTopic = RequestInput<typeof CreateTopics>["topics"][number]

const timeoutMs = 30_000
const UNKNOWN_ID = "0123456789abcdef0123456789abcdef"

const batchOf = (value: string): Buffer =>
  buildBatch({ records: [{ key: null, value: Buffer.from(value) }], timestampMs: Date.now() })

const topicOf = (name: string, more: Partial<NewTopic> = {}): NewTopic => ({
  name,
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more
})

const assignedTo = (name: string, ...brokerIds: ReadonlyArray<number>): NewTopic =>
  topicOf(name, { numPartitions: -1, replicationFactor: -1, assignments: [{ partitionIndex: 0, brokerIds }] })

/** Name and error of each answer. */
const verdictsOf = (answers: ReadonlyArray<{ readonly name: string | null; readonly errorCode: number }>) =>
  answers.map(({ name, errorCode }) => [name, errorCode])

const create = async (client: PromisedClient, topics: ReadonlyArray<NewTopic>, validateOnly = false) =>
  verdictsOf((await client.request(CreateTopics, 7, { topics, timeoutMs, validateOnly })).topics)

/** By a linearizable question: Metadata may be as old as an agent's last look at the log. */
const isThere = async (client: PromisedClient, name: string): Promise<boolean> => {
  const { errorCode } = await client.listOffset(name, -1)
  assert.strictEqual((await client.describe(name)).errorCode, errorCode)
  if (errorCode !== errorCodes.NONE) assert.strictEqual(errorCode, errorCodes.UNKNOWN_TOPIC_OR_PARTITION)
  return errorCode === errorCodes.NONE
}

describe("creating topics", () => {
  it.live("a topic that is named twice is answered once, refused, and not created", () =>
    withRegions(async ([east, , eu]) => {
      const answers = await create(east, [topicOf("twice"), topicOf("once"), topicOf("twice", { numPartitions: 2 })])
      assert.deepStrictEqual(answers, [
        ["twice", errorCodes.INVALID_REQUEST],
        ["once", errorCodes.NONE]
      ])
      assert.isFalse(await isThere(eu, "twice"))
      assert.isTrue(await isThere(eu, "once"))
    })
  )

  it.live("a colliding name is refused, also where it is only validated", () =>
    withRegions(async ([east, west]) => {
      await east.createTopic("a.b")
      for (const validateOnly of [true, false]) {
        const answers = await create(
          west,
          [topicOf("a_b"), topicOf("a.b"), topicOf(`free-${validateOnly}`)],
          validateOnly
        )
        assert.deepStrictEqual(answers, [
          ["a_b", errorCodes.INVALID_TOPIC_EXCEPTION],
          ["a.b", errorCodes.TOPIC_ALREADY_EXISTS],
          [`free-${validateOnly}`, errorCodes.NONE]
        ])
      }
      assert.isFalse(await isThere(west, "free-true"), "validated only")
    })
  )

  it.live("assignments to nobody, to a broker twice or to a negative one are refused", () =>
    withRegions(async ([east]) => {
      const wrong = [assignedTo("nobody"), assignedTo("same", 1, 1), assignedTo("negative", -1)]
      for (const [name, errorCode] of await create(east, wrong)) {
        assert.strictEqual(errorCode, errorCodes.INVALID_REPLICA_ASSIGNMENT, String(name))
        assert.isFalse(await isThere(east, String(name)))
      }
      assert.deepStrictEqual(await create(east, [assignedTo("good", 1)]), [["good", errorCodes.NONE]])
    })
  )

  it.live("the replication factor is judged before the number of partitions, and too many are against policy", () =>
    withRegions(async ([east]) => {
      const answers = await create(east, [
        topicOf("none", { numPartitions: 0, replicationFactor: 0 }),
        topicOf("zero", { numPartitions: 0 }),
        topicOf("many", { numPartitions: 2_000_000_000 })
      ])
      assert.deepStrictEqual(answers, [
        ["none", errorCodes.INVALID_REPLICATION_FACTOR],
        ["zero", errorCodes.INVALID_PARTITIONS],
        ["many", errorCodes.POLICY_VIOLATION]
      ])
    })
  )
})

describe("growing topics", () => {
  it.live("partitions that were added in one region take records from all regions at once", () =>
    withRegions(async (clients) => {
      const [east] = clients
      await east.createTopic("t")
      for (const [round, client] of clients.entries()) {
        const count = round + 2
        const { results } = await client.request(CreatePartitions, 3, {
          topics: [{ name: "t", count, assignments: null }],
          timeoutMs,
          validateOnly: false
        })
        assert.deepStrictEqual(verdictsOf(results), [["t", errorCodes.NONE]])
        const produced = await Promise.all(
          clients.map((each, index) => each.produce("t", batchOf(`${index}`), count - 1))
        )
        assert.deepStrictEqual(
          produced.map(({ errorCode }) => errorCode),
          [0, 0, 0]
        )
        assert.sameMembers(
          produced.map(({ baseOffset }) => baseOffset),
          [0, 1, 2]
        )
        for (const each of clients) {
          assert.deepInclude(await each.listOffset("t", -1, count - 1), { errorCode: 0, offset: 3 })
          assert.strictEqual((await each.describe("t")).partitions.length, count)
        }
      }
    })
  )

  it.live("a topic that is named twice is answered once, and malformed assignments are refused: nothing grows", () =>
    withRegions(async ([east, , eu]) => {
      await east.createTopic("t")
      const grow = async (...topics: RequestInput<typeof CreatePartitions>["topics"]) =>
        verdictsOf((await east.request(CreatePartitions, 3, { topics, timeoutMs, validateOnly: false })).results)
      const twice = await grow({ name: "t", count: 3, assignments: null }, { name: "t", count: 4, assignments: null })
      assert.deepStrictEqual(twice, [["t", errorCodes.INVALID_REQUEST]])
      for (const brokerIds of [[], [1, 1], [-1]]) {
        const answers = await grow({ name: "t", count: 2, assignments: [{ brokerIds }] })
        assert.deepStrictEqual(answers, [["t", errorCodes.INVALID_REPLICA_ASSIGNMENT]])
      }
      assert.strictEqual((await eu.describe("t")).partitions.length, 1)
    })
  )
})

describe("deleting topics", () => {
  it.live("a topic that is named twice, in either way, is answered once, refused, and stays", () =>
    withRegions(async ([east, , eu]) => {
      const topicId = await east.createTopic("t")
      const byName = { name: "t", topicId: UUID_ZERO }
      const byId = { name: null, topicId }
      for (const topics of [
        [byName, byName],
        [byId, byId],
        [byId, byName],
        [byName, byName, byId]
      ]) {
        const { responses } = await east.request(DeleteTopics, 6, { topics, timeoutMs })
        assert.deepStrictEqual(
          responses.map(({ errorCode }) => errorCode),
          [errorCodes.INVALID_REQUEST]
        )
      }
      assert.isTrue(await isThere(eu, "t"))
      const { responses } = await eu.request(DeleteTopics, 5, { topicNames: ["t"], timeoutMs })
      assert.deepStrictEqual(verdictsOf(responses), [["t", errorCodes.NONE]])
      assert.isFalse(await isThere(east, "t"))
    })
  )

  it.live("a topic without name and id, or with both, is refused", () =>
    withRegions(async ([east]) => {
      const topicId = await east.createTopic("t")
      const topics = [
        { name: null, topicId: UUID_ZERO },
        { name: "t", topicId }
      ]
      const { responses } = await east.request(DeleteTopics, 6, { topics, timeoutMs })
      assert.deepStrictEqual(
        responses.map(({ errorCode }) => errorCode),
        [errorCodes.INVALID_REQUEST, errorCodes.INVALID_REQUEST]
      )
      assert.isTrue(await isThere(east, "t"))
    })
  )

  it.live("a topic made again under the same name has another id and begins at 0 in every region", () =>
    withRegions(async (clients) => {
      const [east, west, eu] = clients
      const oldId = await east.createTopic("t")
      await east.produce("t", batchOf("old"))
      assert.strictEqual(await west.deleteTopic("t"), errorCodes.NONE)
      const newId = await eu.createTopic("t")
      assert.notStrictEqual(newId, oldId)
      for (const client of clients) {
        assert.deepInclude(await client.listOffset("t", -1), { errorCode: 0, offset: 0 })
        assert.strictEqual((await client.describe("t")).topicId, newId)
        assert.strictEqual(await fetchById(client, oldId), errorCodes.UNKNOWN_TOPIC_ID)
        assert.strictEqual(await produceById(client, oldId), errorCodes.UNKNOWN_TOPIC_ID)
        assert.strictEqual(await fetchById(client, newId), errorCodes.NONE)
      }
      assert.strictEqual((await west.produce("t", batchOf("new"))).baseOffset, 0)
      const seen = recordsOf((await eu.fetch("t", { maxWaitMs: 10_000 })).records)
      assert.deepStrictEqual(
        seen.map(({ offset, value }) => [offset, value]),
        [[0, "new"]]
      )
    })
  )

  it.live("a long poll ends with an error when its topic is deleted in another region", () =>
    withRegions(async ([east, , eu], cluster) => {
      const topicId = await east.createTopic("t")
      assert.isTrue(await isThere(eu, "t"))
      const waiting = eu.fetch("t", { maxWaitMs: 25_000 })
      const second = new PromisedClient(await KafkaClient.connect(cluster.agents[2]!.port))
      const waitingById = fetchById(second, topicId, 25_000)
      const startedMs = performance.now()
      assert.strictEqual(await east.deleteTopic("t"), errorCodes.NONE)
      assert.deepInclude(await waiting, { errorCode: errorCodes.UNKNOWN_TOPIC_OR_PARTITION, highWatermark: -1 })
      assert.strictEqual(await waitingById, errorCodes.UNKNOWN_TOPIC_OR_PARTITION)
      assert.isBelow(performance.now() - startedMs, 10_000)
      second.client.close()
    })
  )
})

describe("topics by id", () => {
  it.live("an unknown id and the zero id are UNKNOWN_TOPIC_ID in Produce and Fetch", () =>
    withRegions(async ([east]) => {
      for (const topicId of [UNKNOWN_ID, UUID_ZERO]) {
        assert.strictEqual(await produceById(east, topicId), errorCodes.UNKNOWN_TOPIC_ID)
        assert.strictEqual(await fetchById(east, topicId), errorCodes.UNKNOWN_TOPIC_ID)
      }
    })
  )

  it.live("Metadata before version 12 refuses ids and null names as a whole, from then on it finds by id", () =>
    withRegions(async ([east]) => {
      const topicId = await east.createTopic("t")
      for (const version of [10, 11]) {
        for (const asked of [
          { name: null, topicId },
          { name: "t", topicId },
          { name: null, topicId: UUID_ZERO }
        ]) {
          const answer = await east.request(Metadata, version, { topics: [asked] })
          assert.deepStrictEqual(verdictsOf(answer.topics), [[asked.name ?? "", errorCodes.INVALID_REQUEST]])
          assert.deepStrictEqual(answer.brokers, [])
        }
        const byName = await east.request(Metadata, version, { topics: [{ name: "t", topicId: UUID_ZERO }] })
        assert.deepStrictEqual(verdictsOf(byName.topics), [["t", errorCodes.NONE]])
      }
      const answer = await east.request(Metadata, 12, { topics: [{ name: null, topicId }] })
      assert.deepStrictEqual(verdictsOf(answer.topics), [["t", errorCodes.NONE]])
    })
  )
})

describe("descriptions", () => {
  it.live("an empty list of config keys asks for all, as null does", () =>
    withRegions(async ([east]) => {
      await east.createTopic("t")
      const ask = async (configurationKeys: ReadonlyArray<string> | null) => {
        const resources = [{ resourceType: 2, resourceName: "t", configurationKeys }]
        return (await east.request(DescribeConfigs, 4, { resources })).results[0]!.configs.map(({ name }) => name)
      }
      const all = await ask(null)
      assert.include(all, "retention.ms")
      assert.deepStrictEqual(await ask([]), all)
      assert.deepStrictEqual(await ask(["retention.ms", "no.such.key"]), ["retention.ms"])
    })
  )

  it.live("allowed operations are told to those who ask, and to nobody else", () =>
    withRegions(async ([east]) => {
      const unknown = -2_147_483_648
      await east.createTopic("t")
      for (const isAsked of [true, false]) {
        const described = await east.request(DescribeCluster, 1, { includeClusterAuthorizedOperations: isAsked })
        assert.strictEqual(described.clusterAuthorizedOperations, isAsked ? 8_096 : unknown)
        const metadata = await east.request(Metadata, 10, {
          topics: [{ name: "t", topicId: UUID_ZERO }],
          includeClusterAuthorizedOperations: isAsked,
          includeTopicAuthorizedOperations: isAsked
        })
        assert.strictEqual(metadata.clusterAuthorizedOperations, isAsked ? 8_096 : unknown)
        assert.strictEqual(metadata.topics[0]!.topicAuthorizedOperations, isAsked ? 3_576 : unknown)
      }
    })
  )

  it.live("an endpoint type that is not served gets an error and no cluster id", () =>
    withRegions(async ([east]) => {
      const ask = (endpointType: number) =>
        east.request(DescribeCluster, 2, { includeClusterAuthorizedOperations: false, endpointType })
      assert.deepInclude(await ask(2), { errorCode: errorCodes.MISMATCHED_ENDPOINT_TYPE, clusterId: "", brokers: [] })
      assert.deepInclude(await ask(3), { errorCode: errorCodes.UNSUPPORTED_ENDPOINT_TYPE, clusterId: "", brokers: [] })
      assert.notStrictEqual((await ask(1)).clusterId, "")
    })
  )
})

describe("requests that contradict themselves", () => {
  it.live("a producer id without its epoch is refused, with it a fresh id comes", () =>
    withRegions(async ([east]) => {
      const ask = async (producerId: number, producerEpoch: number) => {
        const body = { transactionalId: null, transactionTimeoutMs: 60_000, producerId, producerEpoch }
        return (await east.request(InitProducerId, 4, body)).errorCode
      }
      assert.strictEqual(await ask(5, -1), errorCodes.INVALID_REQUEST)
      assert.strictEqual(await ask(-1, 5), errorCodes.INVALID_REQUEST)
      assert.strictEqual(await ask(5, 5), errorCodes.NONE)
    })
  )

  it.live("an incremental fetch has no session to go on with, whatever id it names", () =>
    withRegions(async ([east]) => {
      for (const sessionId of [0, 77]) {
        const answer = await east.request(Fetch, 12, { ...fetchOf([]), sessionId, sessionEpoch: 1 })
        assert.strictEqual(answer.errorCode, errorCodes.FETCH_SESSION_ID_NOT_FOUND)
      }
      assert.strictEqual(
        (await east.request(Fetch, 12, { ...fetchOf([]), sessionEpoch: 0 })).errorCode,
        errorCodes.NONE
      )
    })
  )
})

const fetchOf = (topics: RequestInput<typeof Fetch>["topics"], maxWaitMs = 0): RequestInput<typeof Fetch> => ({
  maxWaitMs,
  minBytes: 1,
  topics,
  forgottenTopicsData: []
})

const fetchById = async (client: PromisedClient, topicId: string, maxWaitMs = 0): Promise<number> => {
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }]
  const answer = await client.request(Fetch, 13, fetchOf([{ topicId, partitions }], maxWaitMs))
  assert.strictEqual(answer.errorCode, errorCodes.NONE)
  assert.strictEqual(answer.responses[0]!.topicId, topicId)
  return answer.responses[0]!.partitions[0]!.errorCode
}

const produceById = async (client: PromisedClient, topicId: string): Promise<number> => {
  const { responses } = await client.request(Produce, 13, {
    transactionalId: null,
    acks: -1,
    timeoutMs,
    topicData: [{ topicId, partitionData: [{ index: 0, records: batchOf("x") }] }]
  })
  assert.strictEqual(responses[0]!.topicId, topicId)
  return responses[0]!.partitionResponses[0]!.errorCode
}
