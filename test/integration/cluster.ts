/**
 * A cluster in one process: agents of three regions over real sockets on loopback, buckets and metadata in memory, each
 * bucket and the database behind a plan of faults. For integration and fuzz tests.
 */
import { Context, Effect, Layer, type Scope } from "effect"
import * as entropy from "#backends/entropy.ts"
import * as tcp from "#backends/network/tcp.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { FaultPlan, make as makeFaulty } from "#backends/object/faulty.ts"
import { make as makeMemoryBucket } from "#backends/object/memory.ts"
import { make as makeMemoryMetadata } from "#backends/metadata/memory.ts"
import { Agent, layer as agentLayer } from "#core/agent/agent.ts"
import { layer as runReaderLayer, RunReader } from "#core/agent/run-reader.ts"
import { parseSettings, type Settings } from "#core/config/settings.ts"
import { layer as foldedLogLayer } from "#core/log/folded-log.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { assert } from "#core/model/assert.ts"
import { layer as peeredLogLayer } from "#core/peer/peered-log.ts"
import { type Bucket } from "#core/ports/object-store.ts"
import { MetadataStore } from "#core/ports/metadata-store.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { layer as membershipLayer } from "#regions/membership.ts"
import { layer as quorumLayer, QuorumStatus } from "#replication/quorum/quorum.ts"
import { freePort } from "./free-port.ts"

export const REGIONS = ["us-east-1", "us-west-2", "eu-west-1"] as const

export interface TestAgent {
  readonly region: string
  readonly port: number
  readonly log: CommitLog["Service"]
  readonly quorum: QuorumStatus["Service"]
  readonly runs: RunReader["Service"]
  readonly metrics: Metrics["Service"]
  readonly connectionCount: () => number
}

export interface TestCluster {
  readonly agents: ReadonlyArray<TestAgent>
  /** Faults of each region's bucket, by region. */
  readonly faults: ReadonlyMap<string, FaultPlan>
  readonly stores: ReadonlyArray<Bucket>
  readonly metadata: MetadataStore["Service"]
}

const settingsOf = (overrides: Readonly<Record<string, unknown>>): Settings => {
  const parsed = parseSettings({ "flush.interval.ms": 0, "log.poll.interval.ms": 5, ...overrides })
  assert(parsed.ok, "the test's settings are valid")
  return parsed.settings
}

export const startCluster = Effect.fnUntraced(function* (
  options: { readonly settings?: Readonly<Record<string, unknown>>; readonly metadata?: MetadataStore["Service"] } = {}
): Effect.fn.Return<TestCluster, unknown, Scope.Scope> {
  const settings = settingsOf(options.settings ?? {})
  const metadata = options.metadata ?? (yield* makeMemoryMetadata)
  const faults = new Map(REGIONS.map((region) => [region as string, new FaultPlan()]))
  const stores = REGIONS.map((region): Bucket => {
    const store = makeFaulty(makeMemoryBucket({ bucket: region }), faults.get(region)!)
    return { name: region, region, zone: region, store }
  })
  const agents = yield* Effect.forEach(REGIONS, (region) => startAgent({ region, settings, metadata, stores }))
  return { agents, faults, stores, metadata }
})

const startAgent = Effect.fnUntraced(function* (options: {
  readonly region: string
  readonly settings: Settings
  readonly metadata: MetadataStore["Service"]
  readonly stores: ReadonlyArray<Bucket>
}) {
  const { region, settings } = options
  const port = yield* freePort
  const peerPort = yield* freePort
  const place = { region, zone: `${region}a` }
  const outside = Layer.mergeAll(
    Layer.succeed(MetadataStore, options.metadata),
    entropy.layer,
    tcp.layer,
    tcpConnector.layer,
    Metrics.layerNoop
  )
  const bucketSets = new Map([
    ["quorum", { name: "quorum", buckets: REGIONS.map(String), writes: 2, failureDomain: "region" as const }]
  ])
  const storage = runReaderLayer({ cacheBytes: settings.cacheBytes }).pipe(
    Layer.provideMerge(quorumLayer({ buckets: options.stores, bucketSets, ...place, settings }))
  )
  const folded = foldedLogLayer({ shard: 0, pollIntervalMs: settings.logPollIntervalMs })
  const log = peeredLogLayer({ shard: 0, homeRegion: REGIONS[0], host: "127.0.0.1", port: peerPort })
  const members = membershipLayer({
    agent: { name: region, ...place, host: "127.0.0.1", port, peerHost: "127.0.0.1", peerPort },
    ttlMs: settings.membershipTtlMs
  })
  const whole = agentLayer({ host: "127.0.0.1", port, listener: "local", settings, bucketSet: "quorum" }).pipe(
    Layer.provideMerge(log),
    Layer.provideMerge(members),
    Layer.provideMerge(Layer.mergeAll(storage, folded)),
    Layer.provideMerge(outside)
  )
  const context = yield* Layer.build(whole)
  const agent: TestAgent = {
    region,
    port: Context.get(context, Agent).port,
    log: Context.get(context, CommitLog),
    quorum: Context.get(context, QuorumStatus),
    runs: Context.get(context, RunReader),
    metrics: Context.get(context, Metrics),
    connectionCount: Context.get(context, Agent).connectionCount
  }
  return agent
})
