/** A playground started by `npm start`, and what `kcat -L -J` shows of it on each region's port. */
import { strict as assert } from "node:assert"
import { kcatMetadata } from "../peers/kcat.ts"
import { type SystemTest } from "./system-test.ts"

const partitions = 12

export const leaders: SystemTest = {
  name: "leaders: each region names its own agents",
  needs: ["kcat", "meridian"],
  deadlineMs: 180_000,
  run: async ({ startCluster, say }) => {
    const cluster = await startCluster({ by: "npm", agentsPerRegion: 2 })
    say(`npm start was ready after ${(cluster.readyMs / 1000).toFixed(1)} s`)
    await cluster.createTopic("leaders", partitions)
    const idsSeen = new Set<number>()
    for (const [region, bootstrap] of cluster.bootstrap.entries()) {
      const metadata = await kcatMetadata(bootstrap, "leaders")
      for (const broker of metadata.brokers) {
        assert.equal(cluster.regionOf(broker.name), region, `region ${region} names broker ${broker.name}`)
        assert(!idsSeen.has(broker.id), `broker id ${broker.id} is named in two regions`)
        idsSeen.add(broker.id)
      }
      const own = new Set(metadata.brokers.map(({ id }) => id))
      assert.equal(own.size, 2, `region ${region} names ${own.size} brokers`)
      const topic = metadata.topics.find(({ topic: name }) => name === "leaders")
      assert.equal(topic?.partitions.length, partitions)
      const led = new Map<number, number>()
      for (const { partition, leader } of topic.partitions) {
        assert(own.has(leader), `region ${region}: partition ${partition} is led by ${leader}, not of the region`)
        led.set(leader, (led.get(leader) ?? 0) + 1)
      }
      assert.deepEqual([...led.values()], [partitions / 2, partitions / 2], "the partitions are not spread evenly")
    }
  }
}
