/** Debian's whole package list through region 1, in each compression, read back through region 3, byte for byte. */
import { strict as assert } from "node:assert"
import { kcatConsume, kcatProduce, type KcatCompression } from "../peers/kcat.ts"
import { difference } from "../peers/record-frames.ts"
import { packageRecords } from "./package-records.ts"
import { type SystemTest } from "./system-test.ts"

const compressions: readonly KcatCompression[] = ["none", "gzip", "snappy", "lz4", "zstd"]
const partitions = 12
const stepDeadlineMs = 120_000

export const realInput: SystemTest = {
  name: "real input: the package list in five compressions",
  needs: ["kcat", "package-list"],
  deadlineMs: 900_000,
  run: async ({ startCluster, say }) => {
    const cluster = await startCluster()
    const [producing = "", , consuming = ""] = cluster.bootstrap
    const records = packageRecords()
    for (const compression of compressions) {
      const topic = `packages-${compression}`
      await cluster.createTopic(topic, partitions)
      const startedAtMs = performance.now()
      await kcatProduce({ bootstrap: producing, topic, records, compression, deadlineMs: stepDeadlineMs })
      const producedAtMs = performance.now()
      const read = await kcatConsume({ bootstrap: consuming, topic, deadlineMs: stepDeadlineMs })
      const consumedAtMs = performance.now()
      assert.equal(difference(records, read), undefined)
      const used = new Set(read.map(({ partition }) => partition)).size
      assert.equal(used, partitions, `the keys went to ${used} of ${partitions} partitions`)
      const times = `${seconds(producedAtMs - startedAtMs)} in, ${seconds(consumedAtMs - producedAtMs)} out`
      say(`${compression}: ${read.length} records, ${times}`)
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
