/** Goal: ports, names and topology of a playground are as documented. Method: pure functions, no processes. */
import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { parseTopology } from "#regions/topology.ts"
import { bucketDirectories, planAgents, topologyText } from "../../../bin/playground-plan.ts"

const plan = (options: { portBase?: number; httpPortBase?: number; agentsPerRegion?: number }) =>
  planAgents({ portBase: 9092, httpPortBase: 8080, agentsPerRegion: 1, ...options })

describe("ports", () => {
  it("beyond 65535 are refused with the highest base that works", () => {
    assert.include(plan({ portBase: 65_286 }) as string, "at most 65285")
    assert.isArray(plan({ portBase: 65_285 }))
    assert.include(plan({ httpPortBase: 65_335, agentsPerRegion: 2 }) as string, "--http-port-base")
  })

  it("used for both the agents themselves and HTTP are refused", () => {
    const refusal = plan({ portBase: 9000, httpPortBase: 9048, agentsPerRegion: 3 }) as string
    assert.include(refusal, "port 9050")
    assert.include(refusal, "--http-port-base")
    assert.isArray(plan({ portBase: 9000, httpPortBase: 9048, agentsPerRegion: 2 }))
  })

  it("used for both Kafka and HTTP are refused", () => {
    assert.include(plan({ portBase: 9000, httpPortBase: 8900 }) as string, "port 9000")
    assert.include(plan({ portBase: 9000, httpPortBase: 9002, agentsPerRegion: 3 }) as string, "port 9002")
    assert.isArray(plan({ portBase: 9000, httpPortBase: 9002, agentsPerRegion: 2 }))
  })

  it("are one hundred apart per region and one per agent", () => {
    const agents = plan({ agentsPerRegion: 2 })
    assert.isArray(agents)
    assert.deepStrictEqual(
      (agents as Exclude<typeof agents, string>).map(({ name, region, kafkaPort, peerPort, httpPort }) => {
        return [name, region, kafkaPort, peerPort, httpPort]
      }),
      [
        ["us-east-1-1", "us-east-1", 9092, 9142, 8080],
        ["us-east-1-2", "us-east-1", 9093, 9143, 8081],
        ["us-west-2-1", "us-west-2", 9192, 9242, 8180],
        ["us-west-2-2", "us-west-2", 9193, 9243, 8181],
        ["eu-west-1-1", "eu-west-1", 9292, 9342, 8280],
        ["eu-west-1-2", "eu-west-1", 9293, 9343, 8281]
      ]
    )
  })
})

describe("topology file", () => {
  it("is sound, keeps its data beside itself, and every agent has its place in it", () => {
    const topology = Result.getOrThrow(parseTopology(topologyText(), "/data/topology.yaml"))
    assert.deepStrictEqual(
      topology.buckets.map(({ location }) => location),
      bucketDirectories.map((directory) => ({ kind: "file" as const, directory: `/data/${directory}`, fsync: false }))
    )
    assert.deepStrictEqual(topology.metadata, { kind: "sqlite", file: "/data/metadata.db", fsync: false })
    assert.strictEqual(topology.bucketSets.get("quorum")!.writes, 2)
    for (const { region, zone } of plan({ agentsPerRegion: 5 }) as Exclude<ReturnType<typeof plan>, string>) {
      assert.include(topology.regions.find(({ name }) => name === region)!.zones, zone)
    }
  })
})
