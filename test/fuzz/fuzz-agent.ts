/**
 * A real agent in this process for hostile clients: every layer of the product but for the stores, which are in
 * memory, and the network, which the caller brings. What fuzz tests must see is in reach: log events, counters,
 * budgets, the fold.
 *
 * Ids are drawn from a seed, so that a run can be had again.
 */
import { Context, Effect, Layer, Logger, type Scope } from "effect"
import { make as makeMemoryMetadata } from "#backends/metadata/memory.ts"
import { make as makeMemoryBucket } from "#backends/object/memory.ts"
import { Agent, layer as agentLayer } from "#core/agent/agent.ts"
import { layer as runReaderLayer } from "#core/agent/run-reader.ts"
import { parseSettings } from "#core/config/settings.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { layer as foldedLogLayer } from "#core/log/folded-log.ts"
import { layer as peeredLogLayer } from "#core/peer/peered-log.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { assert } from "#core/model/assert.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { MetadataStore } from "#core/ports/metadata-store.ts"
import { type Network } from "#core/ports/network.ts"
import {
  type Counters,
  HISTOGRAMS,
  type Histograms,
  makeCounters,
  Metrics,
  type Observation
} from "#core/telemetry/metrics.ts"
import { layer as membershipLayer } from "#regions/membership.ts"
import { layer as quorumLayer } from "#replication/quorum/quorum.ts"
import { FuzzRandom } from "./fuzz-random.ts"

export interface FuzzTopic {
  readonly name: string
  readonly partitions: number
  readonly configs: Readonly<Record<string, string>>
}

export interface FuzzAgent {
  readonly port: number
  readonly log: CommitLog["Service"]
  readonly counters: Counters
  readonly connectionCount: () => number
  readonly requestBytesHeld: () => number
  readonly fetchBytesHeld: () => number
  /** Why connections were closed by the agent, by peer. The reader deletes what it has seen. */
  readonly closings: Map<string, Array<string>>
  /** Everything else that was logged above debug level, errors first of all. */
  readonly events: Array<string>
}

const PLACE = { region: "here", zone: "here-a" }
const BUCKET = "bucket"

/** Small bounds, so that they are met: every one of them is hit by some connection of a run. */
const SETTINGS = {
  "flush.interval.ms": 0,
  "log.poll.interval.ms": 1_000,
  "auto.create.topics.enable": false,
  "segment.bytes": 1_048_576,
  "request.bytes.in.flight": 8 * 1_048_576,
  "socket.request.max.bytes": 262_144,
  "fetch.max.bytes": 65_536,
  "fetch.bytes.in.flight": 1_048_576
}

export const startFuzzAgent = Effect.fnUntraced(function* (options: {
  readonly random: FuzzRandom
  readonly network: Layer.Layer<Network>
  readonly topics: ReadonlyArray<FuzzTopic>
  readonly settings?: Readonly<Record<string, unknown>>
}): Effect.fn.Return<FuzzAgent, unknown, Scope.Scope> {
  const parsed = parseSettings({ ...SETTINGS, ...options.settings })
  assert(parsed.ok, "the test's settings are valid")
  const { settings } = parsed
  // Apart from the caller's draws: how often the agent draws depends on time.
  const ids = new FuzzRandom(options.random.next())
  const closings = new Map<string, Array<string>>()
  const events: Array<string> = []
  const observed = new Map<string, () => Iterable<Observation>>()
  const counters = makeCounters()
  const bucket = { name: BUCKET, ...PLACE, store: makeMemoryBucket({ bucket: BUCKET }) }
  const bucketSets = new Map([
    ["quorum", { name: "quorum", buckets: [BUCKET], writes: 1, failureDomain: "region" as const }]
  ])
  const outside = Layer.mergeAll(
    Layer.succeed(MetadataStore, yield* makeMemoryMetadata),
    Layer.succeed(Entropy, Entropy.of({ uuid: () => uuidFromRandom(ids.bytes(16)) })),
    options.network,
    tcpConnector.layer,
    Layer.succeed(Metrics, metricsOf(counters, observed))
  )
  const storage = runReaderLayer({ cacheBytes: 4 * 1_048_576 }).pipe(
    Layer.provideMerge(quorumLayer({ buckets: [bucket], bucketSets, ...PLACE, settings }))
  )
  const members = membershipLayer({
    agent: { name: "agent", ...PLACE, host: "127.0.0.1", port: 9092, peerHost: "127.0.0.1", peerPort: 0 },
    ttlMs: 60_000
  })
  const folded = foldedLogLayer({ shard: 0, pollIntervalMs: settings.logPollIntervalMs })
  const log = peeredLogLayer({ shard: 0, homeRegion: PLACE.region, host: "127.0.0.1", port: 0 })
  const whole = agentLayer({ host: "127.0.0.1", port: 0, listener: "local", settings, bucketSet: "quorum" }).pipe(
    Layer.provideMerge(log),
    Layer.provideMerge(members),
    Layer.provideMerge(Layer.mergeAll(storage, folded)),
    Layer.provideMerge(outside),
    Layer.provideMerge(capturingLogger(closings, events))
  )
  const context = yield* Layer.build(whole)
  const commitLog = Context.get(context, CommitLog)
  for (const { name, partitions, configs } of options.topics) {
    const topicId = uuidFromRandom(options.random.bytes(16))
    yield* commitLog.submit({ kind: "create-topic", topicId, name, partitions, configs: Object.entries(configs) })
  }
  const agent = Context.get(context, Agent)
  const valueOf = (name: string) => () => [...(observed.get(name)?.() ?? [])][0]?.value ?? Number.NaN
  return {
    port: agent.port,
    log: commitLog,
    counters,
    connectionCount: agent.connectionCount,
    requestBytesHeld: valueOf("requestBytesInFlight"),
    fetchBytesHeld: valueOf("fetchBytesInFlight"),
    closings,
    events
  }
})

/** What every agent says that is alone. */
const BEGINNING = "this agent sequences the log now"

const capturingLogger = (closings: Map<string, Array<string>>, events: Array<string>) =>
  Logger.layer([
    Logger.make<unknown, void>(({ message, logLevel, cause }) => {
      const [event, fields] = Array.isArray(message) ? message : [message]
      if (event === "connection closed" && logLevel === "Warn") {
        const { peer, reason } = fields as { readonly peer: string; readonly reason: string }
        const reasons = closings.get(peer)
        if (reasons === undefined) closings.set(peer, [reason])
        else reasons.push(reason)
      } else if (event !== BEGINNING && logLevel !== "Debug" && logLevel !== "Trace") {
        const shown = typeof fields === "object" ? JSON.stringify(fields, shownValue) : String(fields)
        events.push(`${logLevel} ${String(event)} ${shown} ${cause.reasons.length > 0 ? String(cause) : ""}`)
      }
    })
  ])

const shownValue = (_key: string, value: unknown): unknown => (value instanceof Error ? value.stack : value)

const metricsOf = (counters: Counters, observed: Map<string, () => Iterable<Observation>>): Metrics["Service"] =>
  Metrics.of({
    counters,
    record: Object.fromEntries(Object.keys(HISTOGRAMS).map((name) => [name, () => {}])) as unknown as Histograms,
    observe: (name, read) => Effect.sync(() => void observed.set(name, read))
  })
