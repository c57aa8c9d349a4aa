/**
 * How long one record waits for its acknowledgement when nothing else is under way.
 *
 * One connection, one record of 1 KiB at a time over a raw socket. Spaced: with a pause before each, as an idle system
 * sees it. Back to back: each right after the answer to the one before, which is what a client without batching does.
 */
import { startPlayground } from "../system/harness.ts"
import { type Benchmark, type Figures, printTable, quantile, randomBatch, rounded } from "./benchmark.ts"
import { RawConnection, checkProduced, produceFrame } from "./raw-connection.ts"

const warmUps = 20
const spaceMs = 400

export const latency: Benchmark = {
  name: "latency",
  needsKafka: false,
  run: async ({ dir, quick }) => {
    const cluster = await startPlayground(dir)
    try {
      await cluster.createTopic("latency", 1)
      const rows = [["one record at a time", "count", "p50 ms", "p99 ms", "max ms"]]
      const figures: Record<string, Figures> = {}
      const measured = [
        { name: "spaced", count: quick ? 8 : 60, pauseMs: spaceMs },
        { name: "back-to-back", count: quick ? 40 : 500, pauseMs: 0 }
      ]
      const connection = await RawConnection.open(cluster.bootstrap[0] ?? "")
      await measure(connection, warmUps, 0)
      for (const { name, count, pauseMs } of measured) {
        const timesMs = await measure(connection, count, pauseMs)
        const [p50 = 0, p99 = 0, max = 0] = [0.5, 0.99, 1].map((part) => rounded(quantile(timesMs, part)))
        figures[name] = { p50Ms: p50, p99Ms: p99, maxMs: max }
        rows.push([name, String(count), p50.toFixed(2), p99.toFixed(2), max.toFixed(2)])
      }
      connection.close()
      printTable(rows)
      return figures
    } finally {
      await cluster.stop()
    }
  }
}

async function measure(connection: RawConnection, count: number, pauseMs: number): Promise<number[]> {
  const frame = produceFrame("latency", [{ partition: 0, batch: randomBatch(1) }])
  const timesMs: number[] = []
  for (let index = 0; index < count; index++) {
    if (pauseMs > 0) await pause(pauseMs)
    const startedAtMs = performance.now()
    checkProduced(await connection.request(frame))
    timesMs.push(performance.now() - startedAtMs)
  }
  return timesMs
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}
