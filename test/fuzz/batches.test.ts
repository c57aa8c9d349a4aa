/**
 * Goal: whatever record batch a client produces, what was accepted can be read back, decodes, and has exactly the
 * offsets that were promised; what was refused leaves no trace; nobody else's batches suffer. Method: golden and
 * built batches are mutated, their CRC mostly set right again, and produced over a socket to topics of every kind,
 * between batches of a good producer to the same partitions. After each round everything accepted is fetched and
 * walked with the product's cursor, and looked up by time. The seed is printed; MERIDIAN_FUZZ_SEED and
 * MERIDIAN_FUZZ_BATCHES change it and how many.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { KafkaClient } from "../integration/kafka-client.ts"
import { javaBatches, librdkafkaBatches } from "../unit/records/golden-batches.ts"
import { FUZZ_TOPICS } from "./corpus.ts"
import { startFuzzAgent } from "./fuzz-agent.ts"
import { FuzzRandom, fuzzSeed } from "./fuzz-random.ts"
import { mutate } from "./mutation.ts"

const BATCHES = Number(process.env["MERIDIAN_FUZZ_BATCHES"] ?? 30_000)
const BATCHES_PER_ROUND = 500
const PIPELINED = 50
const TIMEOUT_MS = 60_000 + (BATCHES / 30_000) * 60_000

/** Any timestamp that the log can hold is welcome here. */
const ANY_TIME = {
  "message.timestamp.before.max.ms": "9223372036854775807",
  "message.timestamp.after.max.ms": "9223372036854775807"
}
const TOPICS = [...FUZZ_TOPICS, { name: "any-time", partitions: 1, configs: ANY_TIME }]

/** Kafka keeps the base offset of a stored batch; a producer sends 0. */
const fromZero = (batch: Buffer): Buffer => {
  const copy = Buffer.from(batch)
  batchHeader.writeInt64(copy, 0, batchHeader.AT_BASE_OFFSET)
  return copy
}
const SEEDS: ReadonlyArray<Buffer> = [
  ...javaBatches.map(({ batch }) => batch),
  ...librdkafkaBatches.flatMap(([, batches]) => batches)
]
  .filter((batch) => batch.length < 4_096)
  .map(fromZero)

const good = (): Buffer =>
  buildBatch({ records: [{ key: Buffer.from("good"), value: Buffer.from("good") }], timestampMs: 1_700_000_000_000 })

const hostileBatch = (random: FuzzRandom): Buffer => {
  const other = () => random.pick(SEEDS)
  const batch = Buffer.from(random.oneIn(8) ? other() : mutate(other(), random, other))
  if (batch.length < batchHeader.BATCH_HEADER_BYTES || random.oneIn(6)) return batch
  // What the mutation broke by accident is mended, so that what it broke on purpose is met.
  if (!random.oneIn(8)) batchHeader.writeInt64(batch, 0, batchHeader.AT_BASE_OFFSET)
  if (!random.oneIn(8))
    batch.writeInt32BE(batch.length - batchHeader.BATCH_LENGTH_OVERHEAD_BYTES, batchHeader.AT_BATCH_LENGTH)
  if (!random.oneIn(8)) batch[batchHeader.AT_MAGIC] = batchHeader.MAGIC_V2
  if (batchHeader.batchBytes(batch, 0) === batch.length) batchHeader.writeCrc(batch, 0)
  return batch
}

const produce = async (client: KafkaClient, name: string, records: Buffer) => {
  const answer = await client.request(Produce, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ name, partitionData: [{ index: 0, records }] }]
  })
  return answer.responses[0]!.partitionResponses[0]!
}

/** Everything from the offset to the end, each record looked at. Answers the next offset. */
const readAll = async (
  client: KafkaClient,
  topic: string,
  from: number,
  seen: Map<number, string>
): Promise<number> => {
  const cursor = new RecordCursor()
  let offset = from
  while (true) {
    const answer = await client.request(Fetch, 12, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: 1_000_000,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset: offset, partitionMaxBytes: 1_000_000 }] }]
    })
    const found = answer.responses[0]!.partitions[0]!
    assert.strictEqual(found.errorCode, errorCodes.NONE, `fetch of ${topic} at ${offset}`)
    if (found.records === null || found.records.length === 0) {
      assert.strictEqual(offset, found.highWatermark, "what was committed is served")
      return offset
    }
    batchHeader.walkBatches(found.records, (at, length) => {
      const batch = found.records!.subarray(at, at + length)
      assert.strictEqual(batchHeader.crc(batch, 0), batchHeader.computeCrc(batch, 0), "a served batch has its CRC")
      cursor.open(found.records!, at)
      while (cursor.next()) {
        assert.strictEqual(cursor.offset, offset, "offsets have no gap")
        cursor.headers()
        seen.set(cursor.offset, String(cursor.value()))
        offset++
      }
    })
  }
}

const lookUpByTime = async (client: KafkaClient, name: string, random: FuzzRandom): Promise<void> => {
  const timestamps = [-3, 0, 1, 1_700_000_000_000, random.next() * 2 ** 18]
  for (const timestamp of timestamps) {
    const answer = await client.request(ListOffsets, 7, {
      replicaId: -1,
      topics: [{ name, partitions: [{ partitionIndex: 0, timestamp }] }]
    })
    const found = answer.topics[0]!.partitions[0]!
    assert.strictEqual(found.errorCode, errorCodes.NONE, `look-up of ${timestamp} in ${name}`)
    if (timestamp >= 0 && found.offset >= 0) assert.isAtLeast(found.timestamp, timestamp)
  }
}

interface Sent {
  readonly isGood: boolean
  readonly batch: Buffer
  readonly answer: Awaited<ReturnType<typeof produce>>
}

const sendRound = async (
  clients: readonly [KafkaClient, KafkaClient],
  topic: string,
  random: FuzzRandom
): Promise<Array<Sent>> => {
  const sent: Array<Sent> = []
  for (let done = 0; done < BATCHES_PER_ROUND; done += PIPELINED) {
    const group = Array.from({ length: PIPELINED }, async (_, index) => {
      const isGood = index % 10 === 0
      const batch = isGood ? good() : hostileBatch(random)
      return { isGood, batch, answer: await produce(clients[isGood ? 0 : 1], topic, batch) }
    })
    sent.push(...(await Promise.all(group)))
  }
  return sent
}

describe("hostile record batches", () => {
  it.live(
    "are refused, or read back whole at the offsets that they were given",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const seed = fuzzSeed()
          process.stdout.write(`batches.test.ts: MERIDIAN_FUZZ_SEED=${seed} MERIDIAN_FUZZ_BATCHES=${BATCHES}\n`)
          const random = new FuzzRandom(seed)
          const agent = yield* startFuzzAgent({ random, network: tcp.layer, topics: TOPICS })
          yield* Effect.promise(async () => {
            const clients = [await KafkaClient.connect(agent.port), await KafkaClient.connect(agent.port)] as const
            const next = new Map(TOPICS.map(({ name }) => [name, 0]))
            let accepted = 0
            for (let round = 0; round * BATCHES_PER_ROUND < BATCHES; round++) {
              const { name } = TOPICS[round % TOPICS.length]!
              const sent = await sendRound(clients, name, random)
              const seen = new Map<number, string>()
              let count = 0
              const offsets = new Set<number>()
              for (const { isGood, batch, answer } of sent) {
                if (isGood)
                  assert.strictEqual(answer.errorCode, errorCodes.NONE, "a good batch is accepted whatever others send")
                if (
                  answer.errorCode !== errorCodes.NONE ||
                  offsets.has(answer.baseOffset) ||
                  answer.baseOffset < next.get(name)!
                )
                  continue
                offsets.add(answer.baseOffset)
                count += batchHeader.recordCount(batch, 0)
                accepted++
              }
              const end = await readAll(clients[0], name, next.get(name)!, seen)
              assert.strictEqual(end - next.get(name)!, count, `${name}: as many records as were acknowledged`)
              for (const { isGood, answer } of sent) if (isGood) assert.strictEqual(seen.get(answer.baseOffset), "good")
              next.set(name, end)
              await lookUpByTime(clients[0], name, random)
              assert.deepStrictEqual(agent.events, [], `seed ${seed}: nothing is worth a log event`)
            }
            assert.isAtLeast(accepted, BATCHES / 7, "hostile batches are among the accepted")
            assert.strictEqual(agent.closings.size, 0)
            assert.strictEqual(agent.counters.requestsDefective, 0)
            for (const client of clients) client.close()
          })
        })
      ),
    TIMEOUT_MS
  )
})
