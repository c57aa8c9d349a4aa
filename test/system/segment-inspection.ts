/** `meridian segment inspect` on segments that a real producer filled: partitions, batches, records, and JSON. */
import { strict as assert } from "node:assert"
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { run } from "../peers/child-process.ts"
import { kcatProduce } from "../peers/kcat.ts"
import { bucketDirectory } from "./harness.ts"
import { packageRecordSample } from "./package-records.ts"
import { type SystemTest } from "./system-test.ts"

const program = fileURLToPath(new URL("../../bin/meridian.mjs", import.meta.url))
const deadlineMs = 60_000
const partitions = 3

export const segmentInspection: SystemTest = {
  name: "meridian segment inspect",
  needs: ["kcat", "package-list", "meridian"],
  deadlineMs: 200_000,
  run: async ({ startCluster, say }) => {
    const cluster = await startCluster()
    const topic = "inspected"
    await cluster.createTopic(topic, partitions)
    const records = packageRecordSample(2_000)
    const bootstrap = cluster.bootstrap[0] ?? ""
    await kcatProduce({ bootstrap, topic, records, compression: "zstd", deadlineMs })
    const segments = filesUnder(bucketDirectory(cluster.dir, 0)).toSorted((a, b) => statSync(b).size - statSync(a).size)
    const [largest] = segments
    assert(largest !== undefined, "the bucket of region 1 holds no segment")
    const text = await inspect(largest)
    assert.match(text, /partition/i)
    assert.match(text, /batch/i)
    const withRecords = await inspect(largest, "--records")
    assert(withRecords.length > text.length, "--records shows no more than without")
    const parsed: unknown = JSON.parse(await inspect(largest, "--json", "--records"))
    assert(typeof parsed === "object" && parsed !== null)
    say(`${segments.length} segments in region 1, the largest of ${statSync(largest).size} bytes`)
  }
}

async function inspect(...args: readonly string[]): Promise<string> {
  return (await run(process.execPath, [program, "segment", "inspect", ...args], { deadlineMs })).stdout.toString()
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}
