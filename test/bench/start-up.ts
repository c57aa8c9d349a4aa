/** How long a playground of three regions takes from its command to the line that says "ready", new and with data. */
import { join } from "node:path"
import { startPlayground } from "../system/harness.ts"
import { type Benchmark, median, printTable, rounded } from "./benchmark.ts"

export const startUp: Benchmark = {
  name: "start",
  needsKafka: false,
  run: async ({ dir, quick }) => {
    const rounds = quick ? 1 : 5
    const newMs: number[] = []
    const againMs: number[] = []
    for (let round = 0; round < rounds; round++) {
      const cluster = await startPlayground(join(dir, String(round)))
      newMs.push(cluster.readyMs)
      await cluster.stop()
      await cluster.startAgain()
      againMs.push(cluster.readyMs)
      await cluster.stop()
    }
    const figures = { newSeconds: rounded(median(newMs) / 1000), againSeconds: rounded(median(againMs) / 1000) }
    printTable([
      ["playground, from the command to ready", "s"],
      ["new directory", figures.newSeconds.toFixed(2)],
      ["directory with data", figures.againSeconds.toFixed(2)]
    ])
    return figures
  }
}
