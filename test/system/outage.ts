/**
 * Idempotent producers that know all regions go through an outage; afterwards everything acknowledged is there once.
 *
 * Faults: the agents of one region die by SIGKILL and stay dead; the bucket of one region becomes unusable in three
 * ways; every process dies at once and starts again on the same data, also several times at moments that a seed
 * decides. The pause, the longest time without an acknowledgement, is printed.
 */
import { strict as assert } from "node:assert"
import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { delay } from "../peers/child-process.ts"
import { kcatConsume } from "../peers/kcat.ts"
import { type ConsumedRecord } from "../peers/record-frames.ts"
import { bucketDirectory, type Cluster } from "./harness.ts"
import { NumberedProducer, longestPauseMs, numberedFault } from "./numbered-records.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const partitions = 6
const recordsPerSecond = 2_000
const stepDeadlineMs = 120_000
const numbersPerProducer = 100_000_000
/** Acknowledgements before a fault, and after it, at the least. */
const enough = 4_000
const killRounds = 4

const kinds = ["java", "confluent-kafka"] as const

export interface Stream {
  readonly topic: string
  readonly producer: NumberedProducer
}

/** One producer of each kind, each into a topic of its own, running and acknowledged. */
export async function startStreams(context: Context, cluster: Cluster): Promise<Stream[]> {
  const streams: Stream[] = []
  for (const [index, kind] of kinds.entries()) {
    const topic = `numbers-${kind}`
    await cluster.createTopic(topic, partitions)
    const producer = await NumberedProducer.start({
      kind,
      bootstrap: cluster.bootstrapOfAll,
      topic,
      partitions,
      first: index * numbersPerProducer,
      recordsPerSecond,
      dir: context.dir
    })
    streams.push({ topic, producer })
  }
  await flowing(streams)
  return streams
}

export async function flowing(streams: readonly Stream[]): Promise<void> {
  await Promise.all(streams.map(({ producer }) => producer.acknowledgesMore(enough, stepDeadlineMs)))
}

/** Ends the producers and judges what each region shows of their topics. */
export async function judge(context: Context, cluster: Cluster, streams: readonly Stream[], live: readonly number[]) {
  for (const { topic, producer } of streams) {
    const sent = await producer.end()
    const { acknowledged, failed } = producer
    assert.equal(failed.length, 0, `${topic}: ${failed.length} records failed, such as ${failed[0]}`)
    assert.equal(acknowledged.length, sent, `${topic}: ${sent} sent, ${acknowledged.length} acknowledged`)
    for (const region of live) {
      const read = await readAll(cluster.bootstrap[region] ?? "", topic)
      assert.equal(numberedFault(acknowledged, read), undefined, `${topic}, read through region ${region}`)
    }
    const pause = (longestPauseMs(acknowledged) / 1000).toFixed(2)
    context.say(`${topic}: ${acknowledged.length} acknowledged, none lost or doubled, longest pause ${pause} s`)
  }
}

async function readAll(bootstrap: string, topic: string): Promise<ConsumedRecord[]> {
  return await kcatConsume({ bootstrap, topic, deadlineMs: stepDeadlineMs })
}

export const regionOutage: SystemTest = {
  name: "outage: the agents of one region are killed",
  needs: ["kcat", "kafka", "confluent-kafka"],
  deadlineMs: 400_000,
  run: async (context) => {
    const cluster = await context.startCluster({ restart: "never" })
    const streams = await startStreams(context, cluster)
    // The region that a producer is using now: to kill another one would prove nothing for it.
    const victim = cluster.regionOf(streams[0]?.producer.leader ?? "")
    assert(victim >= 0 && victim < cluster.bootstrap.length, `no region has ${streams[0]?.producer.leader}`)
    context.say(`killing region ${victim + 1}`)
    await cluster.killRegion(victim)
    await flowing(streams)
    const live = [...cluster.bootstrap.keys()].filter((region) => region !== victim)
    await judge(context, cluster, streams, live)
  }
}

const bucketFaults = {
  "renamed away": (bucket: string) => {
    renameSync(bucket, `${bucket}.away`)
    return () => {
      // The agents may have made an empty folder in its place.
      rmSync(bucket, { recursive: true, force: true })
      renameSync(`${bucket}.away`, bucket)
    }
  },
  "replaced by a file": (bucket: string) => {
    renameSync(bucket, `${bucket}.away`)
    writeFileSync(bucket, "not a folder")
    return () => {
      rmSync(bucket)
      renameSync(`${bucket}.away`, bucket)
    }
  },
  "without permissions": (bucket: string) => {
    chmodSync(bucket, 0o000)
    return () => chmodSync(bucket, 0o755)
  }
} as const

export const bucketOutage: SystemTest = {
  name: "outage: the bucket of one region is unusable",
  needs: ["kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 600_000,
  run: async (context) => {
    const cluster = await context.startCluster({ restart: "never" })
    const streams = await startStreams(context, cluster)
    for (const [fault, begin] of Object.entries(bucketFaults)) {
      if (fault === "without permissions" && process.getuid?.() === 0) {
        context.say("bucket without permissions: not tried, root may do everything")
        continue
      }
      for (const region of cluster.bootstrap.keys()) {
        const mend = begin(bucketDirectory(cluster.dir, region))
        try {
          await flowing(streams)
        } finally {
          mend()
        }
        await flowing(streams)
      }
      context.say(`bucket ${fault}: every region once`)
    }
    await judge(context, cluster, streams, [...cluster.bootstrap.keys()])
  }
}

/** Kills everything after each pause and starts it again; the producers go on all the while. */
async function killAndStart(context: Context, pausesMs: readonly number[]): Promise<void> {
  const cluster = await context.startCluster({ restart: "never" })
  const streams = await startStreams(context, cluster)
  for (const pauseMs of pausesMs) {
    await delay(pauseMs)
    await cluster.killEverything()
    await cluster.startAgain()
    await flowing(streams)
  }
  await judge(context, cluster, streams, [...cluster.bootstrap.keys()])
  // Once more with nothing under way: what was read must have come from the disk alone.
  await cluster.killEverything()
  await cluster.startAgain()
  for (const { topic, producer } of streams) {
    const read = await readAll(cluster.bootstrap[1] ?? "", topic)
    assert.equal(numberedFault(producer.acknowledged, read), undefined, `${topic} after the last start`)
  }
}

export const totalOutage: SystemTest = {
  name: "outage: every process is killed and starts again",
  needs: ["kcat", "kafka", "confluent-kafka"],
  deadlineMs: 500_000,
  run: async (context) => await killAndStart(context, [0])
}

export const randomKills: SystemTest = {
  name: "outage: every process is killed at random moments",
  needs: ["kcat", "kafka", "confluent-kafka"],
  deadlineMs: 900_000,
  run: async (context) => {
    const seed = Number(process.env["MERIDIAN_TEST_SEED"] ?? process.pid)
    context.say(`seed ${seed} (MERIDIAN_TEST_SEED=${seed} repeats it)`)
    const random = randomFrom(seed)
    await killAndStart(
      context,
      Array.from({ length: killRounds }, () => Math.floor(random() * 1_500))
    )
  }
}

/** mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
