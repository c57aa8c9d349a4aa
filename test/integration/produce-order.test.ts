// Goal: pipelined produce requests of one connection are appended in their order, also where the first has to look its
// topic up (a barrier) and the fold learns of the topic meanwhile.
// Method: a topic made through one region, produced to at once through another whose database answers slowly.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { make as makeMemoryMetadata } from "#backends/metadata/memory.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { startCluster } from "./cluster.ts"
import { KafkaClient } from "./kafka-client.ts"

const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(() => KafkaClient.connect(port)),
    (client) => Effect.sync(() => client.close())
  )

const bodyOf = (topic: string, text: string) => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 10_000,
  topicData: [
    {
      name: topic,
      partitionData: [
        {
          index: 0,
          records: buildBatch({ records: [{ key: null, value: Buffer.from(text) }], timestampMs: Date.now() })
        }
      ]
    }
  ]
})

describe("order of pipelined produce requests", () => {
  it.live("holds where the first request waits for a barrier that the second does not need", () =>
    Effect.gen(function* () {
      const memory = yield* makeMemoryMetadata
      // The tail, which barriers read, is slow; the poll, which reads rows, is not.
      const metadata = { ...memory, tail: (shard: number) => Effect.delay(memory.tail(shard), 60) }
      const { agents } = yield* startCluster({ metadata, settings: { "auto.create.topics.enable": false } })
      const maker = yield* connect(agents[0]!.port)
      const producer = yield* connect(agents[1]!.port)
      for (let round = 0; round < 5; round++) {
        const topic = `t${round}`
        const made = maker.request(CreateTopics, 7, {
          topics: [{ name: topic, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
          validateOnly: false
        })
        yield* Effect.promise(() => made)
        const answers: Array<Promise<number>> = []
        // The first comes before the fold knows the topic, the others while the barrier is under way and behind it.
        for (let request = 0; request < 12; request++) {
          const answer = producer.request(Produce, 9, bodyOf(topic, `${request}`))
          answers.push(answer.then((body) => body.responses[0]!.partitionResponses[0]!.baseOffset))
          yield* Effect.sleep(2)
        }
        const offsets = yield* Effect.promise(() => Promise.all(answers))
        assert.deepStrictEqual(
          offsets,
          Array.from({ length: 12 }, (_, index) => index)
        )
      }
    })
  )
})
