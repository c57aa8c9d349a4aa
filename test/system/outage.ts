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
import { startDatabase } from "./database-cluster.ts"
import { bucketDirectory, type Cluster } from "./harness.ts"
import { numberedFault } from "./numbered-records.ts"
import { flowing, judge, readAll, startStreams } from "./numbered-streams.ts"
import { seededRandom } from "./seeded-random.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const killRounds = 4

/** Where the cluster keeps its metadata: the playground's own file, or a server that outlives every agent. */
type Metadata = "file" | "PostgreSQL"

const outageOn = (metadata: Metadata, what: string): Pick<SystemTest, "name" | "needs"> =>
  metadata === "file"
    ? { name: `outage: ${what}`, needs: ["kcat", "kafka", "confluent-kafka"] }
    : {
        name: `outage on PostgreSQL: ${what}`,
        needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"]
      }

async function startOn(metadata: Metadata, context: Context): Promise<Cluster> {
  if (metadata === "file") return await context.startCluster({ restart: "never" })
  return await context.startCluster({ restart: "never", metadata: (await startDatabase(context)).url() })
}

const regionOutageOn = (metadata: Metadata): SystemTest => ({
  ...outageOn(metadata, "the agents of one region are killed"),
  deadlineMs: 400_000,
  run: async (context) => {
    const cluster = await startOn(metadata, context)
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
})

export const regionOutage = regionOutageOn("file")
export const regionOutageOnPostgres = regionOutageOn("PostgreSQL")

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
async function killAndStart(context: Context, metadata: Metadata, pausesMs: readonly number[]): Promise<void> {
  const cluster = await startOn(metadata, context)
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

const totalOutageOn = (metadata: Metadata): SystemTest => ({
  ...outageOn(metadata, "every process is killed and starts again"),
  deadlineMs: 500_000,
  run: async (context) => await killAndStart(context, metadata, [0])
})

export const totalOutage = totalOutageOn("file")
export const totalOutageOnPostgres = totalOutageOn("PostgreSQL")

export const randomKills: SystemTest = {
  name: "outage: every process is killed at random moments",
  needs: ["kcat", "kafka", "confluent-kafka"],
  deadlineMs: 900_000,
  run: async (context) => {
    const random = seededRandom(context)
    await killAndStart(
      context,
      "file",
      Array.from({ length: killRounds }, () => Math.floor(random() * 1_500))
    )
  }
}
