/**
 * Numbered producers (numbered-records.ts) of several kinds, each into a topic of its own, while faults go on; and the judgement.
 *
 * A stream may be bound to one region: its producer knows the addresses of that region only, so that it tells what this
 * region's clients see. The others know all regions.
 */
import { strict as assert } from "node:assert"
import { kcatConsume } from "../peers/kcat.ts"
import { type ConsumedRecord } from "../peers/record-frames.ts"
import { type Cluster } from "./harness.ts"
import { longestPauseMs, NumberedProducer, numberedFault, type ProducerKind } from "./numbered-records.ts"
import { type Context } from "./system-test.ts"

export interface Stream {
  readonly topic: string
  /** The only one that its producer knows; undefined: it knows all. */
  readonly region: number | undefined
  readonly producer: NumberedProducer
}

export interface StreamPlan {
  readonly kind: ProducerKind
  readonly region?: number
}

export interface StreamOptions {
  readonly plans?: readonly StreamPlan[]
  readonly recordsPerSecond?: number
  /** Acknowledgements that each gets before this is done. */
  readonly enough?: number
}

export const stepDeadlineMs = 120_000
const partitions = 6
const numbersPerProducer = 100_000_000
/** Acknowledgements before a fault, and after it, at the least. */
const enough = 4_000

const oneOfEachKind: readonly StreamPlan[] = [{ kind: "java" }, { kind: "confluent-kafka" }]
/** One in each region, of both kinds. */
export const oneInEachRegion: readonly StreamPlan[] = [
  { kind: "java", region: 0 },
  { kind: "confluent-kafka", region: 1 },
  { kind: "java", region: 2 }
]

/** All running and acknowledged. */
export async function startStreams(context: Context, cluster: Cluster, options: StreamOptions = {}): Promise<Stream[]> {
  const { plans = oneOfEachKind, recordsPerSecond = 2_000 } = options
  const streams = await Promise.all(
    plans.map(async ({ kind, region }, index): Promise<Stream> => {
      const topic = region === undefined ? `numbers-${kind}` : `numbers-${kind}-of-region-${region + 1}`
      await cluster.createTopic(topic, partitions)
      const producer = await NumberedProducer.start({
        kind,
        bootstrap: region === undefined ? cluster.bootstrapOfAll : (cluster.bootstrap[region] ?? ""),
        topic,
        partitions,
        first: index * numbersPerProducer,
        recordsPerSecond,
        dir: context.dir
      })
      return { topic, region, producer }
    })
  )
  await flowing(streams, options.enough)
  return streams
}

/** Each gets some more acknowledgements. */
export async function flowing(streams: readonly Stream[], count = enough): Promise<void> {
  await Promise.all(streams.map(({ producer }) => producer.acknowledgesMore(count, stepDeadlineMs)))
}

/** Ends the producers and judges what each region shows of their topics. */
export async function judge(
  context: Context,
  cluster: Cluster,
  streams: readonly Stream[],
  live: readonly number[]
): Promise<void> {
  const sent = await Promise.all(streams.map(({ producer }) => producer.end()))
  for (const [index, { topic, producer }] of streams.entries()) {
    const { acknowledged, failed } = producer
    assert.equal(failed.length, 0, `${topic}: ${failed.length} records failed, such as ${failed[0]}`)
    assert.equal(acknowledged.length, sent[index], `${topic}: ${sent[index]} sent, ${acknowledged.length} acknowledged`)
    const reads = await Promise.all(live.map((region) => readAll(cluster.bootstrap[region] ?? "", topic)))
    for (const [at, read] of reads.entries()) {
      assert.equal(numberedFault(acknowledged, read), undefined, `${topic}, read through region ${live[at]}`)
    }
    const pause = (longestPauseMs(acknowledged) / 1000).toFixed(2)
    context.say(`${topic}: ${acknowledged.length} acknowledged, none lost or doubled, longest pause ${pause} s`)
  }
}

export async function readAll(bootstrap: string, topic: string): Promise<ConsumedRecord[]> {
  return await kcatConsume({ bootstrap, topic, deadlineMs: stepDeadlineMs })
}
