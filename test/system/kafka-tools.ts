/** Kafka's own administration tools against a cluster: what they ask must be answered as they expect. */
import { strict as assert } from "node:assert"
import { kafkaTool } from "../peers/apache-kafka/kafka.ts"
import { type SystemTest } from "./system-test.ts"

const deadlineMs = 60_000

export const kafkaTools: SystemTest = {
  name: "Kafka's tools: topics, configs, get-offsets, cluster, console-producer",
  needs: ["kafka"],
  deadlineMs: 300_000,
  run: async ({ startCluster }) => {
    const cluster = await startCluster()
    const tool = async (region: number, name: string, args: readonly string[], input = ""): Promise<string> => {
      const all = ["--bootstrap-server", cluster.bootstrap[region] ?? "", ...args]
      return (
        await kafkaTool(name, name === "cluster" ? [...args, ...all.slice(0, 2)] : all, { deadlineMs, input })
      ).stdout.toString()
    }
    const created = await tool(0, "topics", ["--create", "--topic", "tools", "--partitions", "3"])
    assert.match(created, /Created topic tools\./)
    const described = await tool(1, "topics", ["--describe", "--topic", "tools"])
    assert.match(described, /Topic: tools\s+TopicId: \S{22}\s+PartitionCount: 3/)
    assert.equal(described.match(/Partition: \d+\s+Leader: \d+/g)?.length, 3, described)

    await tool(2, "topics", ["--alter", "--topic", "tools", "--partitions", "5"])
    assert.match(await tool(0, "topics", ["--describe", "--topic", "tools"]), /PartitionCount: 5/)

    const lines = Array.from({ length: 100 }, (_, index) => `key-${index % 10}:value-${index}\n`).join("")
    const settings = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    settings.push("--command-property", "enable.idempotence=true", "--command-property", "acks=all")
    await tool(1, "console-producer", ["--topic", "tools", ...settings], lines)

    const offsets = await tool(2, "get-offsets", ["--topic", "tools"])
    const counts = [...offsets.matchAll(/^tools:\d+:(\d+)$/gm)].map(([, count]) => Number(count))
    assert.equal(counts.length, 5, offsets)
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      100
    )
    const earliest = await tool(2, "get-offsets", ["--topic", "tools", "--time", "earliest"])
    assert.equal(earliest.match(/^tools:\d+:0$/gm)?.length, 5, earliest)

    const configs = await tool(0, "configs", [
      "--describe",
      "--all",
      "--entity-type",
      "topics",
      "--entity-name",
      "tools"
    ])
    assert.match(configs, /max\.message\.bytes=1048588/)
    assert.match(configs, /cleanup\.policy=delete/)

    const clusterId = async (region: number): Promise<string> => {
      const text = await tool(region, "cluster", ["cluster-id"])
      const id = /Cluster ID: (\S+)/.exec(text)?.[1]
      assert(id !== undefined, text)
      return id
    }
    assert.equal(await clusterId(0), await clusterId(2), "two regions name two cluster ids")

    await tool(1, "topics", ["--delete", "--topic", "tools"])
    assert.doesNotMatch(await tool(2, "topics", ["--list"]), /^tools$/m)
  }
}
