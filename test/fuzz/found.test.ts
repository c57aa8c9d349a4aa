/**
 * Goal: what fuzzing found stays found. Method: each hostile request, as small as it can be, against a whole agent
 * over a socket; a test is named by the symptom that it had.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DescribeConfigs } from "#core/protocol/api/32-describe-configs.ts"
import { FindCoordinator } from "#core/protocol/api/10-find-coordinator.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { decodeResponse, encodeRequest } from "#core/protocol/frame.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { KafkaClient } from "../integration/kafka-client.ts"
import { FUZZ_TOPICS } from "./corpus.ts"
import { type FuzzAgent, startFuzzAgent } from "./fuzz-agent.ts"
import { FuzzRandom } from "./fuzz-random.ts"

const ANY_TIME = {
  "message.timestamp.before.max.ms": "9223372036854775807",
  "message.timestamp.after.max.ms": "9223372036854775807"
}
const TOPICS = [
  ...FUZZ_TOPICS,
  { name: "any-time", partitions: 1, configs: ANY_TIME },
  { name: "wide", partitions: 1_000, configs: {} }
]
const STRING_BYTES_MAX = 32_767

const withClient = (body: (client: KafkaClient, agent: FuzzAgent) => Promise<void>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const settings = { "socket.request.max.bytes": 4 * 1_048_576 }
      const agent = yield* startFuzzAgent({ random: new FuzzRandom(1), network: tcp.layer, topics: TOPICS, settings })
      const client = yield* Effect.acquireRelease(
        Effect.promise(() => KafkaClient.connect(agent.port)),
        (connected) => Effect.sync(() => connected.close())
      )
      yield* Effect.promise(() => body(client, agent))
      assert.deepStrictEqual(agent.events, [])
      assert.strictEqual(agent.counters.requestsDefective, 0)
    })
  )

const produce = async (client: KafkaClient, name: string, timestampMs: number): Promise<number> => {
  const records = buildBatch({ records: [{ key: null, value: Buffer.from("v") }], timestampMs })
  const answer = await client.request(Produce, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ name, partitionData: [{ index: 0, records }] }]
  })
  return answer.responses[0]!.partitionResponses[0]!.errorCode
}

/** The answer's frame, of a request whose bytes are the caller's own. */
const exchange = (client: KafkaClient, frame: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const gathered: Array<Buffer> = []
    client.socket.on("data", (chunk) => {
      gathered.push(chunk)
      const bytes = Buffer.concat(gathered)
      if (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) resolve(bytes.subarray(4))
    })
    client.socket.once("close", () => reject(new Error("the agent hung up")))
    client.socket.write(frame)
  })

describe("found by fuzzing", () => {
  it.live("a timestamp beyond 2^51 in a LogAppendTime topic lost the whole segment with everybody's batches", () =>
    withClient(async (client) => {
      assert.strictEqual(await produce(client, "append", 2 ** 52), errorCodes.NONE)
      const partitions = [{ partitionIndex: 0, timestamp: -3 }]
      const answer = await client.request(ListOffsets, 7, { replicaId: -1, topics: [{ name: "append", partitions }] })
      assert.approximately(answer.topics[0]!.partitions[0]!.timestamp, Date.now(), 60_000)
    })
  )

  it.live("a timestamp beyond 2^51 in a topic that allows any time lost the whole segment", () =>
    withClient(async (client) => {
      for (const timestampMs of [-(2 ** 52), 2 ** 52]) {
        assert.strictEqual(await produce(client, "any-time", timestampMs), errorCodes.NONE)
      }
      const partitions = [{ partitionIndex: 0, timestamp: -3 }]
      const answer = await client.request(ListOffsets, 7, { replicaId: -1, topics: [{ name: "any-time", partitions }] })
      assert.deepInclude(answer.topics[0]!.partitions[0]!, { timestamp: 2 ** 52, offset: 1 })
    })
  )

  it.live("Metadata v10 and v11 with a null name had an answer that could not be encoded", () =>
    withClient(async (client) => {
      for (const version of [10, 11]) {
        const topics = [{ name: null, topicId: UUID_ZERO }]
        const answer = await client.request(Metadata, version, { topics })
        assert.strictEqual(answer.topics[0]!.errorCode, errorCodes.INVALID_REQUEST)
      }
    })
  )

  it.live("a text of an error that quotes a name of 32 KiB had an answer that could not be encoded", () =>
    withClient(async (client) => {
      const name = "é".repeat(Math.floor(STRING_BYTES_MAX / 2))
      const resources = [{ resourceType: 2, resourceName: name, configurationKeys: null }]
      const described = await client.request(DescribeConfigs, 4, { resources })
      assert.strictEqual(described.results[0]!.errorCode, errorCodes.INVALID_TOPIC_EXCEPTION)
      assert.isAtMost(described.results[0]!.errorMessage!.length, limits.errorMessageLengthMax + 2)
      const topic = {
        name: "t",
        numPartitions: 1,
        replicationFactor: 1,
        assignments: [],
        configs: [{ name, value: null }]
      }
      const created = await client.request(CreateTopics, 7, { topics: [topic], timeoutMs: 1_000 })
      assert.strictEqual(created.topics[0]!.errorCode, errorCodes.INVALID_CONFIG)
    })
  )

  it.live("a string that is no UTF-8 grew threefold and had an answer that could not be encoded", () =>
    withClient(async (client, agent) => {
      const text = "k".repeat(STRING_BYTES_MAX)
      const { chunks } = encodeRequest({
        api: FindCoordinator,
        version: 4,
        correlationId: 1,
        clientId: "c",
        body: { keyType: 0, coordinatorKeys: [text] }
      })
      const frame = Buffer.concat(chunks)
      frame.fill(0xff, frame.indexOf("kkkk"), frame.indexOf("kkkk") + STRING_BYTES_MAX)
      const hungUp = await exchange(client, frame).then(
        () => "answered",
        () => "hung up"
      )
      assert.strictEqual(hungUp, "hung up")
      assert.strictEqual(agent.counters.requestsMalformed, 1)
      const reasons = [...agent.closings.values()].flat()
      assert.match(reasons.join(), /coordinatorKeys/)
    })
  )

  it.live("the beginning of a request behind one that ended the connection held its memory for ever", () =>
    withClient(async (client, agent) => {
      const malformed = Buffer.from("0000000a7fff0000000000000000", "hex")
      const beginning = Buffer.from("000fffff0000", "hex")
      const closed = new Promise((resolve) => client.socket.once("close", resolve))
      client.socket.write(Buffer.concat([malformed, beginning]))
      await closed
      assert.strictEqual(agent.connectionCount(), 0)
      assert.strictEqual(agent.requestBytesHeld(), 0)
    })
  )

  it.live("a resource that is named 100,000 times was described 100,000 times", () =>
    withClient(async (client) => {
      const resource = { resourceType: 2, resourceName: "plain", configurationKeys: null }
      const resources = Array.from({ length: 100_000 }, () => resource)
      const answer = await client.request(DescribeConfigs, 4, {
        resources,
        includeSynonyms: true,
        includeDocumentation: true
      })
      assert.strictEqual(answer.results.length, 1)
      assert.isAbove(answer.results[0]!.configs.length, 10)
    })
  )

  it.live("a topic of 1,000 partitions that is named 100,000 times was described 100,000 times", () =>
    withClient(async (client) => {
      const topics = Array.from({ length: 100_000 }, () => ({ name: "wide" }))
      const answer = await client.request(Metadata, 9, { topics })
      assert.strictEqual(answer.topics.length, 1)
      assert.strictEqual(answer.topics[0]!.partitions.length, 1_000)
    })
  )

  it.live("one request could create any number of topics of 10,000 partitions", () =>
    withClient(async (client, agent) => {
      const topics = Array.from({ length: 5_000 }, (_, index) => ({
        name: `many-${index}`,
        numPartitions: limits.partitionsPerTopicMax,
        replicationFactor: 1,
        assignments: [],
        configs: []
      }))
      const answer = await client.request(CreateTopics, 7, { topics, timeoutMs: 1_000 })
      const codes = answer.topics.map(({ errorCode }) => errorCode)
      assert.deepStrictEqual(codes.slice(0, 2), [errorCodes.NONE, errorCodes.POLICY_VIOLATION])
      assert.strictEqual(agent.log.fold.topics().length, TOPICS.length + 1)
    })
  )
})

describe("a defect of the agent", () => {
  it.live("is counted, logged with its place, and ends only the connection that met it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const agent = yield* startFuzzAgent({ random: new FuzzRandom(1), network: tcp.layer, topics: TOPICS })
        const fold = agent.log.fold as { topicByName: unknown }
        const { topicByName } = fold
        fold.topicByName = () => {
          throw new Error("a planted defect")
        }
        yield* Effect.promise(async () => {
          const client = await KafkaClient.connect(agent.port)
          const { chunks } = encodeRequest({
            api: Metadata,
            version: 9,
            correlationId: 7,
            clientId: null,
            body: { topics: [{ name: "plain" }] }
          })
          const outcome = await exchange(client, Buffer.concat(chunks)).then(
            () => "answered",
            () => "hung up"
          )
          assert.strictEqual(outcome, "hung up")
          assert.strictEqual(agent.counters.requestsDefective, 1)
          assert.match(agent.events.join(), /request hit a defect.*planted/s)
          fold.topicByName = topicByName
          const other = await KafkaClient.connect(agent.port)
          const frame = await exchange(other, Buffer.concat(chunks))
          const { body } = decodeResponse({ api: Metadata, version: 9, frame })
          assert.strictEqual(body.topics[0]!.errorCode, errorCodes.NONE)
          other.close()
        })
      })
    )
  )
})
