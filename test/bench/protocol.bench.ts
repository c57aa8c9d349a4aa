/**
 * What decoding a Produce request and encoding a Fetch answer cost, with four partitions: the two hot messages.
 * Method: many calls after a warm-up, the median of several rounds; run it alone on a quiet machine:
 * node test/bench/protocol.bench.ts
 */
import { Produce } from "#core/protocol/api/00-produce.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { decodeRequest, encodeRequest, encodeResponse } from "#core/protocol/frame.ts"

const ROUNDS = 9
const CALLS = 100_000
const PARTITIONS = [0, 1, 2, 3]
const TOPIC_ID = "0123456789abcdef0123456789abcdef"
const records = Buffer.alloc(16_384, 7)

const produceFrame = (version: number): Buffer => {
  const topic = version < 13 ? { name: "orders.eu-central-1" } : { topicId: TOPIC_ID }
  const partitionData = PARTITIONS.map((index) => ({ index, records }))
  const body = { acks: -1, timeoutMs: 30_000, topicData: [{ ...topic, partitionData }] }
  const { chunks } = encodeRequest({ api: Produce, version, correlationId: 1, clientId: "producer-1", body })
  return Buffer.concat(chunks).subarray(4)
}

const fetchAnswer = {
  sessionId: 0,
  responses: [
    {
      topicId: TOPIC_ID,
      partitions: PARTITIONS.map((partitionIndex) => ({
        partitionIndex,
        errorCode: 0,
        highWatermark: 2 ** 40,
        lastStableOffset: 2 ** 40,
        logStartOffset: 0,
        abortedTransactions: null,
        records: [records, records]
      }))
    }
  ]
}

const metadataAnswer = {
  brokers: [1, 2, 3].map((nodeId) => ({ nodeId, host: `agent-${nodeId}.example.com`, port: 9092, rack: "zone-a" })),
  clusterId: "meridian",
  controllerId: 1,
  topics: Array.from({ length: 100 }, (_, topic) => ({
    errorCode: 0,
    name: `topic-${topic}`,
    topicId: TOPIC_ID,
    partitions: Array.from({ length: 12 }, (_ignored, partitionIndex) => ({
      errorCode: 0,
      partitionIndex,
      leaderId: 1,
      leaderEpoch: 0,
      replicaNodes: [1],
      isrNodes: [1],
      offlineReplicas: []
    }))
  }))
}

/** Nanoseconds per call, the median of the rounds. */
const measure = (run: () => unknown, calls: number): number => {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const started = process.hrtime.bigint()
    for (let call = 0; call < calls; call++) run()
    return Number(process.hrtime.bigint() - started) / calls
  })
  return rounds.toSorted((left, right) => left - right)[ROUNDS >> 1]!
}

/** Prints nanoseconds per operation, a line each. */
export const run = (): void => {
  const [v9, v13] = [produceFrame(9), produceFrame(13)]
  const cases: ReadonlyArray<readonly [string, number, () => unknown]> = [
    ["decode Produce v9, 4 partitions", CALLS, () => decodeRequest(v9)],
    ["decode Produce v13, 4 partitions", CALLS, () => decodeRequest(v13)],
    [
      "encode Fetch v16 answer, 4 partitions of 2 buffers",
      CALLS,
      () => encodeResponse({ api: Fetch, version: 16, correlationId: 1, body: fetchAnswer })
    ],
    [
      "encode Metadata v12 answer, 100 topics of 12 partitions",
      CALLS / 1_000,
      () => encodeResponse({ api: Metadata, version: 12, correlationId: 1, body: metadataAnswer })
    ]
  ]
  for (const [name, calls, call] of cases) console.log(`${Math.round(measure(call, calls))} ns/op  ${name}`)
}

if (import.meta.main) run()
