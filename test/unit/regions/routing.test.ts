/**
 * Goal: leaders are even over the agents, the same for everyone, and stable when an agent comes or goes.
 * Method: count and compare over many partitions, with fixed topic ids.
 */
import { assert, describe, it } from "vitest"
import { type Broker } from "#core/ports/cluster-view.ts"
import { type AgentRecord } from "#core/ports/metadata-store.ts"
import { brokersOfRegion, leaderAmong } from "#regions/routing.ts"

const broker = (nodeId: number): Broker => ({ nodeId, host: `host-${nodeId}`, port: 9092, rack: "az" })
const brokers = (...nodeIds: ReadonlyArray<number>): ReadonlyArray<Broker> => nodeIds.map(broker)

const topicIds = Array.from({ length: 10 }, (_, index) => (index * 2_654_435_761).toString(16).padStart(32, "0"))

const countsOf = (among: ReadonlyArray<Broker>, topicId: string, partitions: number): Map<number, number> => {
  const counts = new Map<number, number>()
  for (let partition = 0; partition < partitions; partition++) {
    const { nodeId } = leaderAmong(among, topicId, partition)
    counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1)
  }
  return counts
}

const agent = (nodeId: number, region: string): AgentRecord => ({
  nodeId,
  name: `agent-${nodeId}`,
  session: String(nodeId).padStart(32, "0"),
  region,
  zone: `${region}-az1`,
  host: "127.0.0.1",
  port: 9000 + nodeId,
  peerHost: "127.0.0.1",
  peerPort: 7000 + nodeId
})

describe("leaders", () => {
  it("of 1,000 partitions over three agents are within 10 % of even", () => {
    for (const [, count] of countsOf(brokers(1, 2, 3), "4f2b7c9e5a3d41e8b6c0d9f8e7a61524", 1_000)) {
      assert.isBelow(Math.abs(count - 1_000 / 3), 100 / 3)
    }
  })

  it("of many topics together are within 3 % of even, for any node ids", () => {
    for (const among of [brokers(0, 1, 2), brokers(5, 1_000, 70_000), brokers(1, 2, 3, 4, 5, 6, 7)]) {
      const total = new Map<number, number>()
      for (const topicId of topicIds) {
        for (const [nodeId, count] of countsOf(among, topicId, 2_000))
          total.set(nodeId, (total.get(nodeId) ?? 0) + count)
      }
      const even = (topicIds.length * 2_000) / among.length
      for (const count of total.values()) assert.isBelow(Math.abs(count - even) / even, 0.05)
    }
  })

  it("move only from the agent that leaves", () => {
    const before = brokers(1, 2, 3, 4)
    const after = brokers(1, 2, 4)
    for (const topicId of topicIds) {
      for (let partition = 0; partition < 500; partition++) {
        const leader = leaderAmong(before, topicId, partition).nodeId
        if (leader !== 3) assert.strictEqual(leaderAmong(after, topicId, partition).nodeId, leader)
      }
    }
  })

  it("move only to the agent that comes, and about one in n of them", () => {
    const before = brokers(1, 2, 3)
    const after = brokers(1, 2, 3, 4)
    let moved = 0
    for (let partition = 0; partition < 4_000; partition++) {
      const leader = leaderAmong(before, topicIds[0]!, partition).nodeId
      const now = leaderAmong(after, topicIds[0]!, partition).nodeId
      if (now === leader) continue
      assert.strictEqual(now, 4)
      moved++
    }
    assert.isBelow(Math.abs(moved - 1_000), 100)
  })

  it("do not depend on the order of the list", () => {
    for (let partition = 0; partition < 100; partition++) {
      assert.strictEqual(
        leaderAmong(brokers(1, 2, 3), topicIds[1]!, partition).nodeId,
        leaderAmong(brokers(3, 1, 2), topicIds[1]!, partition).nodeId
      )
    }
  })

  it("of an empty list are a defect", () => {
    assert.throws(() => leaderAmong([], topicIds[0]!, 0))
  })
})

describe("brokers of a region", () => {
  it("are the region's agents and always this one, by node id", () => {
    const self = agent(2, "a")
    const list = brokersOfRegion([agent(3, "a"), agent(1, "b"), agent(0, "a")], self)
    assert.deepStrictEqual(
      list.map((each) => each.nodeId),
      [0, 2, 3]
    )
    assert.deepStrictEqual(list[1], { nodeId: 2, host: "127.0.0.1", port: 9002, rack: "a-az1" })
  })

  it("show this agent by its own words, not by what the database remembers of it", () => {
    const self = { ...agent(2, "a"), port: 1234 }
    assert.deepStrictEqual(
      brokersOfRegion([agent(2, "a")], self).map((each) => each.port),
      [1234]
    )
  })
})
