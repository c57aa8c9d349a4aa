/**
 * What a playground consists of [pure]: its regions, agents, ports and topology file, from the command's flags.
 *
 * The topology file names its directories relative to itself, so a playground's directory can be moved.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { fileBucketUrl, sqliteUrl } from "#regions/topology-url.ts"

export const PLAYGROUND_REGIONS = ["us-east-1", "us-west-2", "eu-west-1"] as const
export const PLAYGROUND_HOST = "127.0.0.1"
const ZONES_PER_REGION = 3
const PORTS_PER_REGION = 100
/** Agents of a region are reached by other agents so far above their Kafka ports. */
const PEER_PORT_OFFSET = 50
const PORT_MAX = 65_535
assert(limits.playgroundAgentsPerRegionMax <= PEER_PORT_OFFSET, "Kafka's ports end where those of the agents begin")

export interface PlaygroundOptions {
  readonly dir: string
  /** URL of a database server; undefined: a file in the directory, or what was said when the directory was made. */
  readonly metadata: string | undefined
  readonly portBase: number
  readonly httpPortBase: number
  readonly agentsPerRegion: number
  readonly restart: boolean
  readonly logFormat: "json" | "pretty"
  readonly logLevel: string
}

export interface AgentPlan {
  readonly name: string
  readonly region: string
  readonly zone: string
  readonly kafkaPort: number
  /** For the other agents. */
  readonly peerPort: number
  readonly httpPort: number
}

type PortOptions = Pick<PlaygroundOptions, "portBase" | "httpPortBase" | "agentsPerRegion">

/** All agents, region by region; or what is wrong with the ports. */
export const planAgents = (options: PortOptions): ReadonlyArray<AgentPlan> | string => {
  const agents = PLAYGROUND_REGIONS.flatMap((region, regionIndex) =>
    Array.from({ length: options.agentsPerRegion }, (_, index) => {
      const portOffset = regionIndex * PORTS_PER_REGION + index
      return {
        name: `${region}-${index + 1}`,
        region,
        zone: zonesOf(region)[index % ZONES_PER_REGION]!,
        kafkaPort: options.portBase + portOffset,
        peerPort: options.portBase + PEER_PORT_OFFSET + portOffset,
        httpPort: options.httpPortBase + portOffset
      }
    })
  )
  const last = agents.at(-1)!
  if (last.peerPort > PORT_MAX) return tooHigh("--port-base", options.portBase, last.peerPort - options.portBase)
  if (last.httpPort > PORT_MAX)
    return tooHigh("--http-port-base", options.httpPortBase, last.httpPort - options.httpPortBase)
  const uses = new Map(
    agents.flatMap(({ kafkaPort, peerPort }) => [[kafkaPort, "Kafka"] as const, [peerPort, "the agents' own"] as const])
  )
  const both = agents.find((agent) => uses.has(agent.httpPort))
  if (both !== undefined) {
    const { httpPort } = both
    return `port ${httpPort} would be used both for ${uses.get(httpPort)} and for HTTP: change --port-base or --http-port-base`
  }
  return agents
}

const tooHigh = (flag: string, base: number, span: number): string =>
  `${flag} ${base} leads to ports above ${PORT_MAX}: give at most ${PORT_MAX - span}`

const zonesOf = (region: string): ReadonlyArray<string> =>
  Array.from({ length: ZONES_PER_REGION }, (_, index) => `${region}${"abc"[index]}`)

/** Directories of the buckets, relative to the playground's. */
export const bucketDirectories: ReadonlyArray<string> = PLAYGROUND_REGIONS.map((region) => `buckets/${region}`)

/** Without fsync: what is acknowledged outlives killed processes, but not a power failure. */
export const topologyText = (
  metadataUrl: string = sqliteUrl("metadata.db", "no-fsync")
): string => `# Topology of this playground, made by \`meridian playground\`. It may be edited: it is made only once.
cluster: playground
regions:
${PLAYGROUND_REGIONS.map((region) => `  - { name: ${region}, zones: [${zonesOf(region).join(", ")}] }`).join("\n")}
buckets:
${PLAYGROUND_REGIONS.map((region) => {
  return `  - { name: ${region}, region: ${region}, url: "${fileBucketUrl(`buckets/${region}`, "no-fsync")}" }`
}).join("\n")}
metadata:
  url: ${JSON.stringify(metadataUrl)}
settings:
  # Writes to a directory cost nothing, so a busy agent need not save them up: a segment follows as soon as the last is safe.
  flush.interval.ms: 0
  segments.in.flight: 2
  # num.partitions: 3
`
