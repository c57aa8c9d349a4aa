/**
 * What many partitions in every flush cost: the same records per second spread over 1,000 partitions and over 10.
 *
 * Each request carries 1,000 records of 1 KiB: 100 for each of 10 partitions, or one for each of 1,000, so the second
 * has a hundred times the batches, entries and index work of the first for the same bytes.
 */
import { startPlayground } from "../system/harness.ts"
import { type Benchmark, type Figures, printTable, randomBatch, recordBytes, rounded } from "./benchmark.ts"
import { RawConnection, checkProduced, produceFrame } from "./raw-connection.ts"

const recordsPerRequest = 1_000
const connections = 4
const requestsInFlight = 3

export const partitions: Benchmark = {
  name: "partitions",
  needsKafka: false,
  run: async ({ dir, quick }) => {
    const cluster = await startPlayground(dir)
    try {
      const address = cluster.bootstrap[0] ?? ""
      const durationMs = quick ? 2_000 : 15_000
      const rates: number[] = []
      const rows = [["partitions in every request", "rec/s", "MB/s", "of 10 partitions"]]
      for (const count of [10, 1_000]) {
        const topic = `partitions-${count}`
        await cluster.createTopic(topic, count)
        await load({ address, topic, count, durationMs: durationMs / 4 })
        const rate = await load({ address, topic, count, durationMs })
        rates.push(rate)
        const ratio = (rate / (rates[0] ?? rate)).toFixed(2)
        rows.push([String(count), rate.toFixed(0), ((rate * recordBytes) / 1e6).toFixed(1), ratio])
      }
      printTable(rows)
      const [few = 0, many = 0] = rates
      const figures: Figures = {
        recordsPerSecond10: Math.round(few),
        recordsPerSecond1000: Math.round(many),
        ratio: rounded(many / few)
      }
      return figures
    } finally {
      await cluster.stop()
    }
  }
}

async function load(options: {
  readonly address: string
  readonly topic: string
  readonly count: number
  readonly durationMs: number
}): Promise<number> {
  const batch = randomBatch(recordsPerRequest / options.count)
  const batches = Array.from({ length: options.count }, (_, partition) => ({ partition, batch }))
  const frame = produceFrame(options.topic, batches)
  const startedAtMs = performance.now()
  let records = 0
  const worker = async (connection: RawConnection): Promise<void> => {
    while (performance.now() - startedAtMs < options.durationMs) {
      checkProduced(await connection.request(frame))
      records += recordsPerRequest
    }
  }
  const opened = await Promise.all(Array.from({ length: connections }, () => RawConnection.open(options.address)))
  await Promise.all(opened.flatMap((connection) => Array.from({ length: requestsInFlight }, () => worker(connection))))
  const seconds = (performance.now() - startedAtMs) / 1000
  for (const connection of opened) connection.close()
  return records / seconds
}
