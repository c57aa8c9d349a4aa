// Goal: the path of a record through real sockets: produced in one region, fetched in another, under faults of buckets.
// Method: three agents in one process (cluster.ts), a raw client (kafka-client.ts), faults as data.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { CODEC_GZIP } from "#core/records/codec-id.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { startCluster, type TestAgent, type TestCluster } from "./cluster.ts"
import { KafkaClient } from "./kafka-client.ts"

const connect = (agent: TestAgent) =>
  Effect.acquireRelease(
    Effect.promise(() => KafkaClient.connect(agent.port)),
    (client) => Effect.sync(() => client.close())
  )

const batchOf = (values: ReadonlyArray<string>, more: Partial<Parameters<typeof buildBatch>[0]> = {}) =>
  buildBatch({
    records: values.map((value) => ({ key: null, value: Buffer.from(value) })),
    timestampMs: Date.now(),
    ...more
  })

const createTopic = (client: KafkaClient, name: string) =>
  Effect.promise(async () => {
    const answer = await client.request(Metadata, 12, {
      topics: [{ name, topicId: UUID_ZERO }],
      allowAutoTopicCreation: true
    })
    assert.strictEqual(answer.topics[0]!.errorCode, errorCodes.NONE)
    return answer.topics[0]!
  })

const produce = (
  client: KafkaClient,
  topic: string,
  records: Buffer,
  options: { partition?: number; acks?: number } = {}
) =>
  Effect.promise(async () => {
    const answer = await client.request(Produce, 9, {
      transactionalId: null,
      acks: options.acks ?? -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: options.partition ?? 0, records }] }]
    })
    return answer.responses[0]!.partitionResponses[0]!
  })

interface FetchOptions {
  readonly offset: number
  readonly maxWaitMs?: number
  readonly minBytes?: number
  readonly partitionMaxBytes?: number
  readonly maxBytes?: number
}

const fetch = (client: KafkaClient, topic: string, options: FetchOptions) =>
  Effect.promise(async () => {
    const answer = await client.request(Fetch, 12, {
      replicaId: -1,
      maxWaitMs: options.maxWaitMs ?? 0,
      minBytes: options.minBytes ?? 1,
      maxBytes: options.maxBytes ?? 50_000_000,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic,
          partitions: [
            {
              partition: 0,
              currentLeaderEpoch: -1,
              fetchOffset: options.offset,
              lastFetchedEpoch: -1,
              logStartOffset: -1,
              partitionMaxBytes: options.partitionMaxBytes ?? 1_000_000
            }
          ]
        }
      ],
      forgottenTopicsData: [],
      rackId: ""
    })
    return answer.responses[0]!.partitions[0]!
  })

/** What a consumer would see: offset and value of each record. */
const recordsOf = (records: Buffer | null): Array<string> => {
  const seen: Array<string> = []
  const cursor = new RecordCursor()
  if (records !== null && records.length > 0) {
    batchHeader.walkBatches(records, (at) => {
      assert.strictEqual(batchHeader.computeCrc(records, at), batchHeader.crc(records, at), "every batch is whole")
      assert.strictEqual(batchHeader.leaderEpoch(records, at), 0)
      cursor.open(records, at)
      while (cursor.next())
        seen.push(`${cursor.offset}:${cursor.bytes.toString("utf8", cursor.valueStart, cursor.valueEnd)}`)
    })
  }
  return seen
}

const latest = (client: KafkaClient, topic: string) =>
  Effect.promise(async () => {
    const answer = await client.request(ListOffsets, 6, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }]
    })
    return answer.topics[0]!.partitions[0]!
  })

const withCluster = <A>(
  body: (cluster: TestCluster, clients: ReadonlyArray<KafkaClient>) => Effect.Effect<A, unknown, Scope.Scope>,
  settings: Readonly<Record<string, unknown>> = {}
) =>
  Effect.gen(function* () {
    const cluster = yield* startCluster({ settings })
    const clients = yield* Effect.forEach(cluster.agents, connect)
    return yield* body(cluster, clients)
  })

describe("produce in one region, fetch in another", () => {
  it.live("a record is at its offset for consumers of every region as soon as it is acknowledged", () =>
    withCluster((_, [east, west, eu]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const first = yield* produce(east!, "t", batchOf(["a", "b"]))
        assert.deepInclude(first, { errorCode: 0, baseOffset: 0, logStartOffset: 0 })
        const second = yield* produce(eu!, "t", batchOf(["c"]))
        assert.strictEqual(second.baseOffset, 2)
        for (const client of [east!, west!, eu!]) {
          assert.strictEqual(
            (yield* latest(client, "t")).offset,
            3,
            "linearizable: what was acknowledged anywhere counts"
          )
          const { records, highWatermark } = yield* fetch(client, "t", { offset: 0 })
          assert.deepStrictEqual(recordsOf(records), ["0:a", "1:b", "2:c"])
          assert.strictEqual(highWatermark, 3)
        }
      })
    )
  )

  it.live("a fetch begins with the batch that contains its offset", () =>
    withCluster((_, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        yield* produce(east!, "t", batchOf(["a", "b", "c"]))
        yield* produce(east!, "t", batchOf(["d"]))
        const { records } = yield* fetch(east!, "t", { offset: 1 })
        assert.deepStrictEqual(recordsOf(records), ["0:a", "1:b", "2:c", "3:d"])
      })
    )
  )

  it.live("a long poll wakes when a record is produced in another region, and ends empty otherwise", () =>
    withCluster((_, [east, , eu]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const started = Date.now()
        const waiting = yield* Effect.forkChild(fetch(eu!, "t", { offset: 0, maxWaitMs: 20_000 }), {
          startImmediately: true
        })
        yield* produce(east!, "t", batchOf(["a"]))
        const woken = yield* Fiber.join(waiting)
        assert.deepStrictEqual(recordsOf(woken.records), ["0:a"])
        assert.isBelow(Date.now() - started, 10_000)
        const empty = yield* fetch(eu!, "t", { offset: 1, maxWaitMs: 50 })
        assert.deepStrictEqual(recordsOf(empty.records), [])
        assert.strictEqual(empty.errorCode, 0)
      })
    )
  )

  it.live("limits of a fetch bind in whole batches, and the first batch always comes", () =>
    withCluster((_, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const big = "x".repeat(10_000)
        for (let index = 0; index < 4; index++) yield* produce(east!, "t", batchOf([`${index}${big}`]))
        const count = (records: Buffer | null) => recordsOf(records).length
        assert.strictEqual(count((yield* fetch(east!, "t", { offset: 0, partitionMaxBytes: 1 })).records), 1)
        assert.strictEqual(count((yield* fetch(east!, "t", { offset: 0, maxBytes: 0 })).records), 1)
        assert.strictEqual(count((yield* fetch(east!, "t", { offset: 0, partitionMaxBytes: 25_000 })).records), 2)
        assert.strictEqual(count((yield* fetch(east!, "t", { offset: 1, maxBytes: 25_000 })).records), 2)
        assert.strictEqual(count((yield* fetch(east!, "t", { offset: 0 })).records), 4)
      })
    )
  )

  it.live("an offset outside the log is refused, its end is not", () =>
    withCluster((_, [east, , eu]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        yield* produce(east!, "t", batchOf(["a"]))
        assert.strictEqual((yield* fetch(eu!, "t", { offset: 1 })).errorCode, errorCodes.NONE)
        assert.strictEqual((yield* fetch(eu!, "t", { offset: 2 })).errorCode, errorCodes.OFFSET_OUT_OF_RANGE)
        assert.strictEqual((yield* fetch(eu!, "t", { offset: -1 })).errorCode, errorCodes.OFFSET_OUT_OF_RANGE)
        assert.strictEqual(
          (yield* fetch(eu!, "absent", { offset: 0 })).errorCode,
          errorCodes.UNKNOWN_TOPIC_OR_PARTITION
        )
      })
    )
  )

  it.live("pipelined produces are answered in their order and get ascending offsets", () =>
    withCluster((_, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const before = east!.answered.length
        const offsets = yield* Effect.all(
          Array.from({ length: 200 }, (_unused, index) =>
            Effect.map(produce(east!, "t", batchOf([`${index}`])), (answer) => answer.baseOffset)
          ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          offsets,
          Array.from({ length: 200 }, (_unused, index) => index)
        )
        const answered = east!.answered.slice(before)
        assert.deepStrictEqual(
          answered,
          [...answered].sort((a, b) => a - b)
        )
      })
    )
  )
})

describe("idempotent producers", () => {
  const producerOf = (client: KafkaClient) =>
    Effect.promise(async () => {
      const answer = await client.request(InitProducerId, 4, {
        transactionalId: null,
        transactionTimeoutMs: 0,
        producerId: -1,
        producerEpoch: -1
      })
      assert.strictEqual(answer.errorCode, 0)
      return answer.producerId
    })

  const batchBy = (producerId: number) => (sequence: number) =>
    batchOf([`s${sequence}`], { producerId, producerEpoch: 0, baseSequence: sequence })

  it.live("a batch sent again, also through another region, is answered with its first offset and stored once", () =>
    withCluster((_, [east, west]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const producerId = yield* producerOf(east!)
        const batch = batchBy(producerId)
        for (let sequence = 0; sequence < 3; sequence++) {
          assert.strictEqual((yield* produce(east!, "t", batch(sequence))).baseOffset, sequence)
        }
        for (const client of [east!, west!]) {
          assert.deepInclude(yield* produce(client, "t", batch(1)), { errorCode: 0, baseOffset: 1 })
        }
        const gap = yield* produce(west!, "t", batch(7))
        assert.strictEqual(gap.errorCode, errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER)
        assert.strictEqual((yield* produce(west!, "t", batch(3))).baseOffset, 3)
        assert.deepStrictEqual(recordsOf((yield* fetch(west!, "t", { offset: 0 })).records), [
          "0:s0",
          "1:s1",
          "2:s2",
          "3:s3"
        ])
      })
    )
  )

  it.live("an old batch sent again is answered as a duplicate without an offset, and harms nobody", () =>
    withCluster(({ agents }, [east, west]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const producerId = yield* producerOf(east!)
        const batch = batchBy(producerId)
        for (let sequence = 10; sequence < 17; sequence++) {
          assert.strictEqual((yield* produce(east!, "t", batch(sequence))).errorCode, errorCodes.NONE)
        }
        const old = { errorCode: errorCodes.DUPLICATE_SEQUENCE_NUMBER, baseOffset: -1, logStartOffset: 0 }
        for (const client of [east!, west!]) assert.deepInclude(yield* produce(client, "t", batch(10)), old)
        const before = yield* produce(west!, "t", batch(9))
        assert.strictEqual(before.errorCode, errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER)
        // Without an answer it is no failure either: the connection stays.
        const topicData = [{ name: "t", partitionData: [{ index: 0, records: batch(11) }] }]
        east!.send(Produce, 9, { transactionalId: null, acks: 0, timeoutMs: 1_000, topicData })
        assert.strictEqual((yield* produce(east!, "t", batch(17))).baseOffset, 7)
        const stored = Array.from({ length: 8 }, (_unused, n) => `${n}:s${10 + n}`)
        assert.deepStrictEqual(recordsOf((yield* fetch(east!, "t", { offset: 0 })).records), stored)
        const { produceDuplicates, produceRejected } = agents[0]!.metrics.counters
        assert.deepStrictEqual({ produceDuplicates, produceRejected }, { produceDuplicates: 2, produceRejected: 0 })
      })
    )
  )

  it.live("producer ids are never given twice, whichever agent gives them", () =>
    withCluster((_, clients) =>
      Effect.gen(function* () {
        const ids = yield* Effect.all(
          Array.from({ length: 60 }, (_unused, index) => producerOf(clients[index % 3]!)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(new Set(ids).size, 60)
      })
    )
  )
})

describe("produce checks", () => {
  it.live("a bad partition does not harm the others of its request", () =>
    withCluster((_, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const corrupt = batchOf(["x"])
        corrupt[corrupt.length - 1]! ^= 1
        const answer = yield* Effect.promise(() =>
          east!.request(Produce, 9, {
            transactionalId: null,
            acks: -1,
            timeoutMs: 1_000,
            topicData: [
              { name: "absent", partitionData: [{ index: 0, records: batchOf(["n"]) }] },
              {
                name: "t",
                partitionData: [
                  { index: 0, records: corrupt },
                  { index: 0, records: batchOf(["good"]) },
                  { index: 5, records: batchOf(["n"]) },
                  { index: 0, records: null }
                ]
              }
            ]
          })
        )
        assert.strictEqual(answer.responses[0]!.partitionResponses[0]!.errorCode, errorCodes.UNKNOWN_TOPIC_OR_PARTITION)
        assert.deepStrictEqual(
          answer.responses[1]!.partitionResponses.map(({ errorCode }) => errorCode),
          [
            errorCodes.CORRUPT_MESSAGE,
            errorCodes.NONE,
            errorCodes.UNKNOWN_TOPIC_OR_PARTITION,
            errorCodes.INVALID_RECORD
          ]
        )
        assert.deepStrictEqual(recordsOf((yield* fetch(east!, "t", { offset: 0 })).records), ["0:good"])
      })
    )
  )

  it.live("what a request unfolds to is bounded: the batches beyond it are too large, those before it are kept", () =>
    withCluster(
      (_, [east]) =>
        Effect.gen(function* () {
          yield* createTopic(east!, "t")
          const bomb = buildBatch({
            records: [{ key: null, value: Buffer.alloc(60 * 1024 * 1024) }],
            timestampMs: Date.now(),
            codec: CODEC_GZIP
          })
          const answer = yield* Effect.promise(() =>
            east!.request(Produce, 9, {
              transactionalId: null,
              acks: -1,
              timeoutMs: 30_000,
              topicData: [
                { name: "t", partitionData: Array.from({ length: 12 }, (_unused, index) => ({ index, records: bomb })) }
              ]
            })
          )
          const codes = answer.responses[0]!.partitionResponses.map(({ errorCode }) => errorCode)
          const kept = Math.floor(limits.requestBytesUncompressedMax / (60 * 1024 * 1024))
          assert.deepStrictEqual(
            codes,
            codes.map((_unused, index) => (index < kept ? errorCodes.NONE : errorCodes.MESSAGE_TOO_LARGE))
          )
        }),
      { "num.partitions": 12 }
    )
  )

  it.live("acks=0 has no answer, and an error closes the connection", () =>
    withCluster((cluster, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        const body = (records: Buffer) => ({
          transactionalId: null,
          acks: 0,
          timeoutMs: 1_000,
          topicData: [{ name: "t", partitionData: [{ index: 0, records }] }]
        })
        const quiet = yield* connect(cluster.agents[0]!)
        quiet.send(Produce, 9, body(batchOf(["a"])))
        assert.strictEqual((yield* latest(quiet, "t")).offset, 1, "the next answer is the next request's")
        const closed = new Promise<void>((resolve) => quiet.socket.once("close", () => resolve()))
        const corrupt = batchOf(["x"])
        corrupt[corrupt.length - 1]! ^= 1
        quiet.send(Produce, 9, body(corrupt))
        yield* Effect.promise(() => closed)
      })
    )
  )

  it.live("other acks than 0, 1 and -1 are refused", () =>
    withCluster((_, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        assert.strictEqual(
          (yield* produce(east!, "t", batchOf(["a"]), { acks: 2 })).errorCode,
          errorCodes.INVALID_REQUIRED_ACKS
        )
        assert.strictEqual((yield* produce(east!, "t", batchOf(["a"]), { acks: 1 })).errorCode, errorCodes.NONE)
      })
    )
  )
})

describe("buckets that fail", () => {
  /** As a client does: again while the error is a retriable one. */
  const produceUntilAccepted = Effect.fnUntraced(function* (client: KafkaClient, topic: string, records: Buffer) {
    for (let attempt = 0; attempt < 100; attempt++) {
      const answer = yield* produce(client, topic, records)
      if (answer.errorCode === errorCodes.NONE) return answer
      assert.strictEqual(answer.errorCode, errorCodes.NOT_ENOUGH_REPLICAS)
      yield* Effect.sleep(50)
    }
    return assert.fail("the buckets are back, but nothing is accepted")
  })

  const names = ["us-east-1", "us-west-2", "eu-west-1"]

  for (const down of names) {
    it.live(`reads and writes go on in all regions without the bucket of ${down}`, () =>
      withCluster(
        (cluster, clients) =>
          Effect.gen(function* () {
            yield* createTopic(clients[0]!, "t")
            yield* produceUntilAccepted(clients[0]!, "t", batchOf(["before"]))
            cluster.faults.get(down)!.add({ fault: { kind: "bucket-vanished" } })
            const values = ["0:before"]
            for (const client of clients) {
              const { baseOffset } = yield* produceUntilAccepted(client, "t", batchOf(["during"]))
              values.push(`${baseOffset}:during`)
            }
            for (const client of clients) {
              yield* latest(client, "t")
              assert.deepStrictEqual(recordsOf((yield* fetch(client, "t", { offset: 0 })).records), values)
            }
          }),
        { "bucket.put.timeout.ms": 500 }
      )
    )
  }

  it.live("a hanging bucket delays nobody for long, and reads fall over to another", () =>
    withCluster(
      (cluster, [east, , eu]) =>
        Effect.gen(function* () {
          yield* createTopic(east!, "t")
          cluster.faults.get("eu-west-1")!.add({ fault: { kind: "hang", when: "before" } })
          for (let index = 0; index < 40; index++) {
            assert.strictEqual((yield* produce(east!, "t", batchOf([`${index}`]))).errorCode, 0)
          }
          yield* latest(eu!, "t")
          const { records } = yield* fetch(eu!, "t", { offset: 0 })
          assert.strictEqual(recordsOf(records).length, 40)
        }),
      { "bucket.put.timeout.ms": 500, "bucket.get.timeout.ms": 500, "bucket.read.hedge.ms": 20 }
    )
  )

  it.live("a corrupted byte is never served: another bucket is read, and it is counted", () =>
    withCluster((cluster, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        yield* produce(east!, "t", batchOf(["precious"]))
        cluster.faults.get("us-east-1")!.add({ operation: "get", fault: { kind: "corrupt", byteIndex: 70 } })
        assert.deepStrictEqual(recordsOf((yield* fetch(east!, "t", { offset: 0 })).records), ["0:precious"])
        const { counters } = cluster.agents[0]!.quorum
        assert.isAbove(counters.buckets["us-east-1"]!.readsCorrupt, 0)
      })
    )
  )

  it.live("when no bucket has sound bytes the partition has an error, not wrong bytes", () =>
    withCluster((cluster, [east]) =>
      Effect.gen(function* () {
        yield* createTopic(east!, "t")
        yield* produce(east!, "t", batchOf(["precious"]))
        for (const plan of cluster.faults.values())
          plan.add({ operation: "get", fault: { kind: "corrupt", byteIndex: 70 } })
        const answer = yield* fetch(east!, "t", { offset: 0 })
        assert.strictEqual(answer.errorCode, errorCodes.KAFKA_STORAGE_ERROR)
        assert.deepStrictEqual(recordsOf(answer.records), [])
        for (const plan of cluster.faults.values()) plan.clear()
        assert.deepStrictEqual(recordsOf((yield* fetch(east!, "t", { offset: 0 })).records), ["0:precious"])
      })
    )
  )

  it.live("one bucket down: acknowledged; two down: not; back again: acknowledged", () =>
    withCluster(
      (cluster, [east, , eu]) =>
        Effect.gen(function* () {
          yield* createTopic(east!, "t")
          const vanished = { operation: "put", fault: { kind: "bucket-vanished" } } as const
          cluster.faults.get("us-west-2")!.add(vanished)
          assert.strictEqual((yield* produce(east!, "t", batchOf(["a"]))).errorCode, 0)
          cluster.faults.get("eu-west-1")!.add(vanished)
          assert.strictEqual((yield* produce(east!, "t", batchOf(["lost"]))).errorCode, errorCodes.NOT_ENOUGH_REPLICAS)
          for (const plan of cluster.faults.values()) plan.clear()
          const answer = yield* produceUntilAccepted(east!, "t", batchOf(["b"]))
          assert.strictEqual(answer.baseOffset, 1)
          yield* latest(eu!, "t")
          assert.deepStrictEqual(recordsOf((yield* fetch(eu!, "t", { offset: 0 })).records), ["0:a", "1:b"])
        }),
      { "bucket.put.timeout.ms": 500 }
    )
  )
})
