/** A whole Meridian in one world: three regions with agents and a bucket each, a database, and the network between them. */
import { defaultSettings, type Settings } from "#core/config/settings.ts"
import { QUORUM_SET, type TopologyBucketSet } from "#regions/topology.ts"
import { type ClockError } from "../engine/process.ts"
import { type World } from "../engine/world.ts"
import { Links } from "../network/links.ts"
import { SimNetwork } from "../network/network.ts"
import { SimBucket } from "../outside/bucket.ts"
import { SimDatabase } from "../outside/database.ts"
import { AgentHost } from "./agent-host.ts"
import { hostName, REGIONS } from "./regions.ts"

/** What a seed decides about a cluster. */
export interface ClusterPlan {
  /** By region, in the order of REGIONS. */
  readonly agentsPerRegion: ReadonlyArray<number>
  readonly settings: Partial<Settings>
  readonly clockOf: (host: string) => ClockError
}

export const WRITES = 2

export class Cluster {
  readonly world: World
  readonly links: Links
  readonly network: SimNetwork
  readonly database: SimDatabase
  readonly buckets: ReadonlyArray<SimBucket>
  readonly agents: ReadonlyArray<AgentHost>
  readonly settings: Settings
  readonly regions: ReadonlyArray<string> = REGIONS

  constructor(world: World, plan: ClusterPlan) {
    this.world = world
    this.links = new Links(world)
    this.network = new SimNetwork(world, this.links)
    this.database = new SimDatabase(world, this.links, REGIONS)
    this.buckets = REGIONS.map((region) => new SimBucket(world, this.links, region))
    const bucketSet: TopologyBucketSet = {
      name: QUORUM_SET,
      buckets: [...REGIONS],
      writes: WRITES,
      failureDomain: "region"
    }
    this.settings = { ...defaultSettings, ...plan.settings }
    this.agents = REGIONS.flatMap((region, index) =>
      Array.from({ length: plan.agentsPerRegion[index]! }, (_, number) => {
        const name = hostName(region, "agent", number + 1)
        const { network, database, buckets, settings } = this
        const clock = plan.clockOf(name)
        return new AgentHost({ world, name, region, network, database, buckets, bucketSet, settings, clock })
      })
    )
  }

  start(): void {
    for (const agent of this.agents) agent.start()
  }

  agentNamed(name: string): AgentHost {
    const found = this.agents.find((agent) => agent.name === name)
    if (found === undefined) throw new Error(`no agent is called ${name}`)
    return found
  }

  bucketOf(region: string): SimBucket {
    const found = this.buckets.find((bucket) => bucket.region === region)
    if (found === undefined) throw new Error(`no bucket is in ${region}`)
    return found
  }
}
