/**
 * One run: a cluster, a workload and a schedule of faults, all from one seed, with the checkers looking on.
 *
 * In order: the cluster starts and topics are made, in peace; then faults and work, for a while; then everything heals, and
 * what was begun must come to its end within a bounded time; then everything that is there is read once more, through every
 * agent, and compared.
 */
import { Effect } from "effect"
import { Acknowledgements } from "./checkers/acknowledgements.ts"
import { Reads } from "./checkers/reads.ts"
import { Truth } from "./checkers/truth.ts"
import { Cluster, WRITES } from "./cluster/cluster.ts"
import { hostName, REGIONS } from "./cluster/regions.ts"
import { type CheckFailed } from "./engine/check-failed.ts"
import { Process } from "./engine/process.ts"
import { streamOf } from "./engine/prng.ts"
import { World } from "./engine/world.ts"
import { type Actor, guarded } from "./workload/actor.ts"
import { SimClient } from "./workload/client.ts"
import { fetch } from "./workload/fetcher.ts"
import { produce } from "./workload/producer.ts"
import { ensureTopics } from "./workload/topics.ts"

export interface RunOptions {
  readonly seed: number
  readonly scenario: string
  readonly trace: "lines" | "none"
}

export interface RunResult {
  readonly seed: number
  readonly scenario: string
  readonly failure: CheckFailed | undefined
  readonly simulatedMs: number
  readonly lines: ReadonlyArray<string>
  readonly counts: Readonly<Record<string, number>>
}

export const run = (options: RunOptions): RunResult => {
  const world = new World(options)
  const random = streamOf(options.seed, "plan")
  const cluster = new Cluster(world, {
    agentsPerRegion: [1, 1, 1],
    settings: {},
    clockOf: () => ({ offsetMs: 0, rate: 1 })
  })
  const acknowledgements = new Acknowledgements(() => truth)
  const truth: Truth = new Truth({
    readObject: (bucket, key) => cluster.bucketOf(bucket).stored(key),
    writes: WRITES,
    regionOf: (bucket) => bucket,
    accepted: (record, partition, offset) => acknowledgements.accepted(record, partition, offset)
  })
  cluster.database.watcher = { appended: (row) => truth.append(row) }
  const reads = new Reads()
  let isOver = false
  let clients = 0
  const actorOf = (kind: string, region: string): Actor => {
    const name = hostName(region, kind, ++clients)
    const process = new Process(world, { name, region, generation: 1 })
    const local = cluster.agents.filter((agent) => agent.region === region)
    const others = cluster.agents.filter((agent) => agent.region !== region)
    const client = new SimClient({
      process,
      network: cluster.network.layerOf(process),
      agents: [...random.sample(local, local.length), ...random.sample(others, others.length)].map(({ name }) => name),
      requestTimeoutMs: 30_000
    })
    return { name, world, client, random: process.random, truth, acknowledgements, reads, isOver: () => isOver }
  }
  const start = (actor: Actor, effect: Effect.Effect<void>) => actor.client.process.fork(guarded(actor, effect))
  const topic = { name: "orders", partitions: 2 }
  cluster.start()
  const admin = actorOf("admin", REGIONS[0])
  const made = start(admin, ensureTopics(admin, [topic]))
  world.runUntil(10_000, () => made.pollUnsafe() !== undefined)
  const producer = actorOf("producer", REGIONS[1])
  const produced = start(
    producer,
    produce(producer, {
      index: 1,
      isIdempotent: true,
      topic: "orders",
      partitions: 2,
      codec: 0,
      payloadBytesMax: 2000,
      pauseMs: 100
    })
  )
  const fetcher = actorOf("fetcher", REGIONS[2])
  start(fetcher, fetch(fetcher, { topic: "orders", partitions: 2, maxWaitMs: 500, partitionMaxBytes: 1e6 }))
  world.runUntil(12_000)
  isOver = true
  world.runUntil(30_000, () => produced.pollUnsafe() !== undefined)
  return {
    seed: options.seed,
    scenario: options.scenario,
    failure: world.failure,
    simulatedMs: world.nowMs,
    lines: world.trace.lines,
    counts: {
      events: world.eventCount,
      tasks: world.taskCount,
      rows: truth.rows.length,
      acknowledged: acknowledgements.acknowledged.length,
      recordsChecked: reads.recordsChecked
    }
  }
}
