/** A playground started by `npm start`, and what `kcat -L -J` shows of it on each region's port. */
import { strict as assert } from "node:assert"
import { waitUntil } from "../peers/child-process.ts"
import { type KcatMetadata, kcatMetadata } from "../peers/kcat.ts"
import { type Cluster } from "./harness.ts"
import { type SystemTest } from "./system-test.ts"

/** Enough that an even choice by hashing leaves no agent with less than a quarter (one in a million). */
const partitions = 100
const agentsPerRegion = 2
const membershipDeadlineMs = 20_000

export const leaders: SystemTest = {
  name: "leaders: each region names its own agents",
  needs: ["kcat", "meridian"],
  deadlineMs: 180_000,
  run: async ({ startCluster, say }) => {
    const cluster = await startCluster({ by: "npm", agentsPerRegion })
    say(`npm start was ready after ${(cluster.readyMs / 1000).toFixed(1)} s`)
    await cluster.createTopic("leaders", partitions)
    const ids: number[] = []
    for (const [region, addresses] of cluster.bootstrap.entries()) {
      for (const address of addresses.split(",")) {
        // Agents learn of each other by and by.
        await waitUntil(`${address} names ${agentsPerRegion} agents`, membershipDeadlineMs, async () => {
          return (await kcatMetadata(address)).brokers.length === agentsPerRegion
        })
      }
      const answers = await Promise.all(addresses.split(",").map((address) => kcatMetadata(address, "leaders")))
      const own = ownBrokers(cluster, region, answers[0])
      ids.push(...own)
      for (const answer of answers) checkLeaders(own, answer)
      assert.deepEqual(leadersOf(answers[0]), leadersOf(answers[1]), `agents of region ${region} name other leaders`)
    }
    assert.equal(
      new Set(ids).size,
      agentsPerRegion * cluster.bootstrap.length,
      `a broker id is named twice: ${ids.join(", ")}`
    )
  }
}

/** The ids of the brokers that a region names, all of them at addresses of the region. */
function ownBrokers(cluster: Cluster, region: number, answer: KcatMetadata | undefined): number[] {
  const brokers = answer?.brokers ?? []
  for (const { name } of brokers) assert.equal(cluster.regionOf(name), region, `region ${region} names broker ${name}`)
  return brokers.map(({ id }) => id)
}

function checkLeaders(own: readonly number[], answer: KcatMetadata): void {
  const all = leadersOf(answer)
  assert.equal(all.length, partitions)
  for (const id of own) {
    const count = all.filter((leader) => leader === id).length
    assert(count >= partitions / 4, `broker ${id} leads ${count} of ${partitions} partitions`)
  }
  for (const leader of all) assert(own.includes(leader), `${leader} leads, and is none of ${own.join(", ")}`)
}

function leadersOf(answer: KcatMetadata | undefined): number[] {
  const topic = answer?.topics.find(({ topic: name }) => name === "leaders")
  return (topic?.partitions ?? []).toSorted((a, b) => a.partition - b.partition).map(({ leader }) => leader)
}
