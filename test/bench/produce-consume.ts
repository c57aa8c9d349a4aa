/**
 * Records of 1 KiB through one agent of a playground of three regions, and through one node of Apache Kafka.
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

interface Target {
  readonly bootstrap: string
  readonly createTopic: (topic: string, partitions: number) => Promise<void>
}

export const produceConsume: Benchmark = {
  name: "produce-consume",
  needsKafka: true,
  run: async (options) => {
    const cases: ReadonlyArray<readonly [number, Setting]> = options.quick
      ? [[4, "large-batches"]]
      : [
          [4, "defaults"],
          [12, "defaults"],
          [4, "large-batches"],
          [12, "large-batches"]
        ]
    const rows = [["1 KiB records, acks=all", "Kafka rec/s", "MB/s", "Meridian rec/s", "MB/s", "Meridian/Kafka"]]
    const figures: Record<string, Figures> = {}
    for (const [partitions, setting] of cases) {
      const rates = await compare(options, partitions, setting)
      for (const step of ["produce", "consume"] as const) {
        const kafka = median(rates.kafka[step])
        const meridian = median(rates.meridian[step])
        const ratio = rounded(meridian / kafka)
        figures[`${step}-${partitions}-${setting}`] = {
          kafkaRecordsPerSecond: Math.round(kafka),
          meridianRecordsPerSecond: Math.round(meridian),
          ratio
        }
        const name = `${step}, ${partitions} partitions, ${setting}`
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
  partitions: number,
  setting: Setting
): Promise<Record<Side, Record<Step, number[]>>> {
  const records = quick ? 20_000 : setting === "defaults" ? 100_000 : 300_000
  const rounds = quick ? 1 : 3
  const place = join(dir, `${partitions}-${setting}`)
  const rates = { kafka: { produce: [], consume: [] }, meridian: { produce: [], consume: [] } } as Record<
    Side,
    Record<Step, number[]>
  >
  const kafka = await startKafka({ dir: join(place, "kafka"), port: await freePorts(), heapMiB: 1024 })
  try {
    const meridian = await startPlayground(join(place, "meridian"))
    try {
      const sides: Record<Side, Target> = {
        kafka: { bootstrap: kafka.bootstrap[0] ?? "", createTopic: createOnKafka(kafka.bootstrap[0] ?? "") },
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

function createOnKafka(bootstrap: string): Target["createTopic"] {
  return async (topic, partitions) => {
    const args = ["--bootstrap-server", bootstrap, "--create", "--topic", topic, "--partitions", String(partitions)]
    await kafkaTool("topics", args, { deadlineMs: 60_000 })
  }
}

/** Records and megabytes per second. */
function shown(recordsPerSecond: number): readonly [string, string] {
  return [recordsPerSecond.toFixed(0), ((recordsPerSecond * recordBytes) / 1e6).toFixed(1)]
}
