/**
 * One agent as the product's own composition root puts it together (bin/agent-main.ts), on simulated ports.
 */
import { Context, Effect, Layer } from "effect"
import { layer as agentLayer } from "#core/agent/agent.ts"
import { layer as runReaderLayer, RunReader } from "#core/agent/run-reader.ts"
import { type Settings } from "#core/config/settings.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { layer as foldedLogLayer } from "#core/log/folded-log.ts"
import { SequencerView } from "#core/log/sequenced-log.ts"
import { layer as peeredLogLayer } from "#core/peer/peered-log.ts"
import { type Connector } from "#core/ports/connector.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { MetadataStore } from "#core/ports/metadata-store.ts"
import { type Network } from "#core/ports/network.ts"
import { type Bucket } from "#core/ports/object-store.ts"
import { Membership, layer as membershipLayer } from "#regions/membership.ts"
import { QUORUM_SET, type TopologyBucketSet } from "#regions/topology.ts"
import { layer as quorumLayer, QuorumStatus } from "#replication/quorum/quorum.ts"
import * as Readiness from "../../../bin/readiness.ts"
import { type Process } from "../engine/process.ts"
import { Gauges } from "./gauges.ts"
import { REGIONS } from "./regions.ts"

export const CLIENT_PORT = 9092
export const PEER_PORT = 9192
const SHARD = 0

export interface AgentParts {
  readonly process: Process
  readonly network: Layer.Layer<Network | Connector>
  readonly store: MetadataStore["Service"]
  readonly buckets: ReadonlyArray<Bucket>
  readonly bucketSet: TopologyBucketSet
  readonly settings: Settings
}

/** What checkers look at. */
export interface RunningAgent {
  readonly sequencer: SequencerView["Service"]
  readonly log: CommitLog["Service"]
  readonly quorum: QuorumStatus["Service"]
  readonly runs: RunReader["Service"]
  readonly gauges: Gauges
}

/** Small, so that windows, checkpoints and trimming come many times in a short run. */
const MATERIALIZER = {
  keepEntries: 20,
  keepMs: 1_000,
  checkpointEntries: 30,
  keepRows: 20,
  pageRuns: 4,
  intervalMs: 700,
  residentRunsMax: 40
}
/** So that segments have to wait where pages cannot be written for some seconds. */
export const RESIDENT_RUNS_REFUSE = 2 * MATERIALIZER.residentRunsMax

const layersOf = (parts: AgentParts, gauges: Gauges) => {
  const { process, settings, bucketSet } = parts
  const place = { region: process.region, zone: `${process.region}a` }
  const address = { host: process.name, port: CLIENT_PORT }
  return agentLayer({ ...address, listener: "clients", settings, bucketSet: bucketSet.name }).pipe(
    Layer.provideMerge(
      peeredLogLayer({
        shard: SHARD,
        homeRegion: REGIONS[0],
        host: process.name,
        port: PEER_PORT,
        log: { materializer: MATERIALIZER, residentRunsRefuse: RESIDENT_RUNS_REFUSE }
      })
    ),
    Layer.provideMerge(
      membershipLayer({
        agent: { name: process.name, ...place, ...address, peerHost: process.name, peerPort: PEER_PORT },
        ttlMs: settings.membershipTtlMs
      })
    ),
    Layer.provideMerge(runReaderLayer({ cacheBytes: settings.cacheBytes })),
    Layer.provideMerge(foldedLogLayer({ shard: SHARD, pollIntervalMs: settings.logPollIntervalMs })),
    Layer.provideMerge(
      quorumLayer({ buckets: parts.buckets, bucketSets: new Map([[QUORUM_SET, bucketSet]]), ...place, settings })
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(MetadataStore, parts.store),
        Layer.succeed(Entropy, process.entropy),
        gauges.layer,
        parts.network
      )
    )
  )
}

/** Runs until it ends by itself, which it tells why, or is interrupted. `started` is called when it serves clients. */
export const runAgent = (parts: AgentParts, started: (agent: RunningAgent) => void): Effect.Effect<string, unknown> =>
  Effect.scoped(
    Effect.gen(function* () {
      const gauges = new Gauges()
      const context = yield* Layer.build(layersOf(parts, gauges))
      const readiness = yield* Readiness.make({
        bucketSet: parts.bucketSet,
        buckets: parts.buckets.map((bucket) => ({ bucket, isOpen: () => true, counters: {} as never }))
      }).pipe(Effect.provideContext(context))
      readiness.listening()
      started({
        log: Context.get(context, CommitLog),
        sequencer: Context.get(context, SequencerView),
        quorum: Context.get(context, QuorumStatus),
        runs: Context.get(context, RunReader),
        gauges
      })
      const { superseded } = Context.get(context, Membership)
      return yield* Effect.raceFirst(
        Effect.as(superseded, "superseded"),
        Effect.map(readiness.foldStopped, (why) => `the fold stopped: ${why}`)
      )
    })
  )
