/** `npm run bench -- --quick` runs to its end and prints its figures: the benchmark cannot rot unseen. */
import { strict as assert } from "node:assert"
import { fileURLToPath } from "node:url"
import { run } from "../peers/child-process.ts"
import { type SystemTest } from "./system-test.ts"

const program = fileURLToPath(new URL("../bench/run.ts", import.meta.url))
const deadlineMs = 600_000

export const benchmarkSmoke: SystemTest = {
  name: "benchmark: quick mode",
  needs: ["kafka", "meridian"],
  deadlineMs,
  run: async ({ say }) => {
    const { stdout, durationMs } = await run(process.execPath, [program, "--quick"], {
      deadlineMs: deadlineMs - 10_000
    })
    const last = stdout.toString().trimEnd().split("\n").at(-1) ?? ""
    const figures = JSON.parse(last) as Record<string, unknown>
    for (const name of ["produce-consume", "latency", "memory", "partitions", "start", "takeover", "commit"]) {
      assert(name in figures, `no figures of ${name} in ${last}`)
    }
    say(`quick mode took ${Math.round(durationMs / 1000)} s: ${last.slice(0, 2_000)}`)
  }
}
