/**
 * Records of 1 KiB through one agent of a playground of three regions, and through Apache Kafka: one node, which keeps one
 * copy of each record, and three nodes with three replicas, which keep as many copies as the playground's buckets.
 *
 * Both run on this machine at the same time and take turns: Kafka, Meridian, Kafka, Meridian; the table shows medians.
 * Neither syncs files to the disk. Load comes from Kafka's own producer-perf, and from AssignConsumerPerf, which is the
 * loop of consumer-perf without a group. Acks are of all, producers are idempotent. Two settings of the producer: as it
 * comes (batches of 16 KiB), and with batches as large as object storage wants them.
 */
import { join } from "node:path"
import { installProgram, runJava } from "../peers/apache-kafka/installation.ts"
import { kafkaTool, startKafka } from "../peers/apache-kafka/kafka.ts"
import { freePorts, startPlayground } from "../system/harness.ts"
import {
  type Benchmark,
  type BenchmarkOptions,
  type Figures,
  median,
  printTable,
  recordBytes,
  rounded
} from "./benchmark.ts"

const runDeadlineMs = 300_000

const settings = {
  defaults: [],
  "large-batches": ["batch.size=1000000", "linger.ms=25", "buffer.memory=134217728"]
} as const

type Setting = keyof typeof settings
type Side = "kafka" | "meridian"
type Step = "produce" | "consume"

interface Case {
  readonly partitions: number
  readonly setting: Setting
  /** Of Kafka, and copies of each record. */
  readonly nodes: 1 | 3
}

interface Target {
  readonly bootstrap: string
  readonly createTopic: (topic: string, partitions: number) => Promise<void>
}

export const produceConsume: Benchmark = {
  name: "produce-consume",
  needsKafka: true,
  run: async (options) => {
    const cases: ReadonlyArray<Case> = options.quick
      ? [{ partitions: 4, setting: "large-batches", nodes: 1 }]
      : [
          { partitions: 4, setting: "defaults", nodes: 1 },
          { partitions: 12, setting: "defaults", nodes: 1 },
          { partitions: 4, setting: "large-batches", nodes: 1 },
          { partitions: 12, setting: "large-batches", nodes: 1 },
          { partitions: 4, setting: "defaults", nodes: 3 },
          { partitions: 4, setting: "large-batches", nodes: 3 }
        ]
    const rows = [["1 KiB records, acks=all", "Kafka rec/s", "MB/s", "Meridian rec/s", "MB/s", "Meridian/Kafka"]]
    const figures: Record<string, Figures> = {}
    for (const each of cases) {
      const rates = await compare(options, each)
      for (const step of ["produce", "consume"] as const) {
        const kafka = median(rates.kafka[step])
        const meridian = median(rates.meridian[step])
        const ratio = rounded(meridian / kafka)
        const copies = each.nodes === 1 ? "Kafka on one node" : "Kafka on three nodes"
        figures[`${step}-${each.partitions}-${each.setting}-${each.nodes}`] = {
          kafkaRecordsPerSecond: Math.round(kafka),
          meridianRecordsPerSecond: Math.round(meridian),
          ratio
        }
        const name = `${step}, ${each.partitions} partitions, ${each.setting}, ${copies}`
        rows.push([name, ...shown(kafka), ...shown(meridian), ratio.toFixed(2)])
      }
    }
    printTable(rows)
    return figures
  }
}

/** New clusters per case: data of one case must not fill the page cache, or the disk, of the next. */
async function compare(
  { dir, quick }: BenchmarkOptions,
  { partitions, setting, nodes }: Case
): Promise<Record<Side, Record<Step, number[]>>> {
  const records = quick ? 20_000 : 300_000
  const rounds = quick ? 1 : 3
  const place = join(dir, `${partitions}-${setting}-${nodes}`)
  const rates = { kafka: { produce: [], consume: [] }, meridian: { produce: [], consume: [] } } as Record<
    Side,
    Record<Step, number[]>
  >
  const port = await freePorts()
  const kafka = await startKafka({ dir: join(place, "kafka"), port, nodes, heapMiB: nodes === 1 ? 1024 : 512 })
  try {
    const meridian = await startPlayground(join(place, "meridian"))
    try {
      const sides: Record<Side, Target> = {
        kafka: { bootstrap: kafka.bootstrap[0] ?? "", createTopic: createOnKafka(kafka.bootstrap[0] ?? "", nodes) },
        meridian: { bootstrap: meridian.bootstrap[0] ?? "", createTopic: meridian.createTopic }
      }
      for (let round = 0; round <= rounds; round++) {
        for (const side of ["kafka", "meridian"] as const) {
          const { bootstrap, createTopic } = sides[side]
          const topic = `bench-${round}`
          await createTopic(topic, partitions)
          const produced = await produce(bootstrap, topic, records, settings[setting])
          const consumed = await consume(bootstrap, topic, records)
          // Round 0 warms both up.
          if (round === 0) continue
          rates[side].produce.push(produced)
          rates[side].consume.push(consumed)
        }
      }
    } finally {
      await meridian.stop()
    }
  } finally {
    await kafka.stop()
  }
  return rates
}

async function produce(
  bootstrap: string,
  topic: string,
  records: number,
  properties: readonly string[]
): Promise<number> {
  const args = ["--bootstrap-server", bootstrap, "--topic", topic, "--num-records", String(records)]
  args.push("--record-size", String(recordBytes), "--throughput", "-1")
  args.push("--command-property", "acks=all", "enable.idempotence=true", ...properties)
  const { stdout } = await kafkaTool("producer-perf", args, { deadlineMs: runDeadlineMs })
  const last = stdout.toString().trim().split("\n").at(-1) ?? ""
  const [, sent, rate] = /^(\d+) records sent, ([\d.]+) records\/sec/.exec(last) ?? []
  if (Number(sent) !== records) throw new Error(`producer-perf did not send ${records} records: ${last}`)
  return Number(rate)
}

async function consume(bootstrap: string, topic: string, records: number): Promise<number> {
  const classes = await installProgram("AssignConsumerPerf")
  const args = [bootstrap, topic, String(records)]
  const { stdout } = await runJava(classes, "AssignConsumerPerf", args, { deadlineMs: runDeadlineMs })
  const [read = 0, , ms = 0] = stdout.toString().trim().split(" ").map(Number)
  return (read * 1000) / ms
}

function createOnKafka(bootstrap: string, replicas: number): Target["createTopic"] {
  return async (topic, partitions) => {
    const args = ["--bootstrap-server", bootstrap, "--create", "--topic", topic, "--partitions", String(partitions)]
    args.push("--replication-factor", String(replicas))
    await kafkaTool("topics", args, { deadlineMs: 60_000 })
  }
}

/** Records and megabytes per second. */
function shown(recordsPerSecond: number): readonly [string, string] {
  return [recordsPerSecond.toFixed(0), ((recordsPerSecond * recordBytes) / 1e6).toFixed(1)]
}
