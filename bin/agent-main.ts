/**
 * `meridian agent`: one agent, put together from the topology and the flags, running until it is stopped.
 *
 * This is the composition root: the only place that knows which adapter stands behind which port. The HTTP port opens
 * first, so that probes see a starting agent; the Kafka listener last, when the log is folded and the agent is a member;
 * on the way out it closes first.
 *
 * The process ends by itself where going on would be wrong: another process took this agent's name, or the fold stopped.
 */
import { hostname } from "node:os"
import { Effect, Layer, type Scope } from "effect"
import * as EntropyLayer from "#backends/entropy.ts"
import * as Tcp from "#backends/network/tcp.ts"
import * as TcpConnector from "#backends/network/tcp-connector.ts"
import * as Agent from "#core/agent/agent.ts"
import * as RunReader from "#core/agent/run-reader.ts"
import * as FoldedLog from "#core/log/folded-log.ts"
import { type CommitLogError } from "#core/log/commit-log.ts"
import * as PeeredLog from "#core/peer/peered-log.ts"
import { type MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { type ListenError } from "#core/ports/network.ts"
import { type LogFormat, layer as loggerLayer } from "#core/telemetry/log.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import * as Membership from "#regions/membership.ts"
import { QUORUM_SET, type Topology, agentPlace } from "#regions/topology.ts"
import * as Quorum from "#replication/quorum/quorum.ts"
import { tellSupervisor } from "./agent-message.ts"
import { observeAgent } from "./agent-metrics.ts"
import { openBuckets } from "./buckets.ts"
import { causeText, type CommandFailed, failed, invalid } from "./command-failed.ts"
import * as HttpServer from "./http-server.ts"
import { instrument } from "./instrumented-metadata.ts"
import { type LogWriter, makeLogWriter } from "./log-writer.ts"
import { explainMetadata, openMetadata, whileServerIsLost } from "./metadata-database.ts"
import { checkPort } from "./port-check.ts"
import * as Readiness from "./readiness.ts"
import * as Telemetry from "./telemetry.ts"
import { readTopology } from "./topology-file.ts"

export interface AgentFlags {
  readonly config: string
  readonly region: string
  readonly zone: string | undefined
  readonly name: string | undefined
  readonly host: string
  readonly port: number
  readonly advertisedHost: string | undefined
  readonly peerHost: string | undefined
  readonly peerPort: number
  readonly advertisedPeerHost: string | undefined
  readonly httpHost: string | undefined
  readonly httpPort: number
  readonly logFormat: LogFormat
  /** Whether a supervisor listens on the IPC channel. */
  readonly supervised: boolean
  readonly version: string
}

/** Name of the one listener that there is. */
const LISTENER = "clients"
const SHARD = 0

/** Runs until interrupted. */
export const run = (flags: AgentFlags): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    const topology = yield* readTopology(flags.config)
    const place = agentPlace(topology, flags)
    if ("path" in place) return yield* invalid(`${place.path}: ${place.message}`)
    const name = flags.name ?? `${hostname()}-${flags.port}`
    const writer = makeLogWriter()
    const fields = { region: place.region, agent: name }
    yield* Effect.scoped(agent({ ...flags, ...place, name, topology, writer })).pipe(
      Effect.provide(loggerLayer({ format: flags.logFormat, fields, write: writer.write })),
      Effect.ensuring(Effect.promise(writer.drained))
    )
  }).pipe(
    Effect.tapError(({ message, exitCode }) =>
      flags.supervised ? Effect.promise(() => tellSupervisor({ type: "failed", message, exitCode })) : Effect.void
    )
  )

interface AgentOptions extends AgentFlags {
  readonly zone: string
  readonly name: string
  readonly topology: Topology
  readonly writer: LogWriter
}

const agent = Effect.fnUntraced(function* (options: AgentOptions): Effect.fn.Return<void, CommandFailed, Scope.Scope> {
  const { name, region, zone, version, topology } = options
  const telemetry = yield* Telemetry.make({ agent: name, region, zone, version })
  yield* requireFreePorts(options)
  let notReady = (): ReadonlyArray<string> => ["the agent is starting"]
  let degraded = (): ReadonlyArray<string> => []
  const httpPort = yield* HttpServer.listen({
    host: options.httpHost ?? options.host,
    port: options.httpPort,
    notReady: () => notReady(),
    degraded: () => degraded(),
    serveMetrics: telemetry.serveMetrics
  }).pipe(Effect.mapError((error) => explainListenError(error, "--http-port")))
  const buckets = yield* openBuckets(topology.buckets)
  const onWaiting = (reason: string): void => {
    notReady = () => [reason]
  }
  const opened = yield* openMetadata({ topology, region, name, buckets, onWaiting })
  notReady = () => ["the agent is starting"]
  const metadata = instrument(opened.store)
  const running = Effect.gen(function* () {
    const membership = yield* Membership.Membership
    const { port } = yield* Agent.Agent
    const readiness = yield* Readiness.make({ bucketSet: topology.bucketSets.get(QUORUM_SET)!, buckets })
    notReady = readiness.notReady
    degraded = () => [...readiness.degraded(), ...opened.outOfUse()]
    yield* observeAgent({
      listener: LISTENER,
      buckets,
      metadataCalls: metadata.calls,
      notReady: readiness.notReady,
      logLinesDropped: options.writer.droppedCount
    })
    yield* Telemetry.observeProcess
    readiness.listening()
    yield* Effect.forkScoped(sayReady(options, readiness, { kafkaPort: port, httpPort }))
    return yield* Effect.raceFirst(
      Effect.andThen(membership.superseded, failed("another process has taken this agent's name: names must differ")),
      Effect.flatMap(readiness.foldStopped, (why) => failed(`the commit log cannot be followed any further: ${why}`))
    )
  })
  yield* Effect.scoped(running).pipe(
    Effect.provide(layers(options, Layer.succeed(MetadataStore, metadata.store), buckets)),
    Effect.provide(Metrics.layer(telemetry.provider)),
    whileServerIsLost({ topology, onWaiting }),
    Effect.mapError((error) => explain(options, error))
  )
})

/** Everything of an agent on its ports. What stands further down is built first and closed last. */
const layers = (
  options: AgentOptions,
  metadata: Layer.Layer<MetadataStore>,
  buckets: ReadonlyArray<{ readonly bucket: Quorum.QuorumOptions["buckets"][number] }>
) => {
  const { topology, region, zone, name, host, port } = options
  const { settings } = topology
  return Agent.layer({ host, port, listener: LISTENER, settings, bucketSet: QUORUM_SET }).pipe(
    Layer.provideMerge(
      PeeredLog.layer({
        shard: SHARD,
        homeRegion: topology.home,
        host: peerListenHost(options),
        port: options.peerPort
      })
    ),
    Layer.provideMerge(
      Membership.layer({
        agent: {
          name,
          region,
          zone,
          host: advertisedHost(options),
          port,
          peerHost: options.advertisedPeerHost ?? advertisedHost(options),
          peerPort: options.peerPort
        },
        ttlMs: settings.membershipTtlMs
      })
    ),
    Layer.provideMerge(FoldedLog.layer({ shard: SHARD, pollIntervalMs: settings.logPollIntervalMs })),
    Layer.provideMerge(RunReader.layer({ cacheBytes: settings.cacheBytes })),
    Layer.provideMerge(
      Quorum.layer({
        buckets: buckets.map(({ bucket }) => bucket),
        bucketSets: topology.bucketSets,
        region,
        zone,
        settings
      })
    ),
    Layer.provideMerge(Layer.mergeAll(metadata, EntropyLayer.layer, Tcp.layer, TcpConnector.layer))
  )
}

/**
 * The listeners for clients and agents open late, when the agent has taken its name among the members: a port that is in
 * use must be found out before that, or a start that fails would take the name from the agent that runs.
 */
const requireFreePorts = Effect.fnUntraced(function* (options: AgentOptions) {
  const { host, port, peerPort } = options
  if (port !== 0 && port === peerPort) {
    return yield* invalid(
      `port ${port} would be used both for Kafka and for other agents: change --port or --peer-port`
    )
  }
  const listeners = [
    { host, port, flag: "--port" },
    { host: peerListenHost(options), port: peerPort, flag: "--peer-port" }
  ]
  for (const listener of listeners) {
    const state = listener.port === 0 ? "free" : yield* checkPort(listener.host, listener.port)
    if (state !== "free")
      return yield* invalid(`port ${listener.port} is ${state}: choose another with ${listener.flag}`)
  }
})

/** Where this agent listens for others. */
const peerListenHost = ({ peerHost, host }: AgentOptions): string => peerHost ?? host

/** An agent that listens on all addresses tells clients its host's name. */
const advertisedHost = ({ advertisedHost: told, host }: AgentOptions): string =>
  told ?? (host === "0.0.0.0" || host === "::" ? hostname() : host)

/** Says once that the agent can serve clients; until then, now and then, why it cannot. */
const sayReady = Effect.fnUntraced(function* (
  options: AgentOptions,
  { notReady }: Readiness.Readiness,
  ports: { readonly kafkaPort: number; readonly httpPort: number }
) {
  for (let waitedMs = 0; notReady().length > 0; waitedMs += READY_POLL_MS) {
    if (waitedMs % READY_TOLD_MS === READY_TOLD_MS - READY_POLL_MS) {
      yield* Effect.logWarning("not ready yet", { reasons: notReady() })
    }
    yield* Effect.sleep(READY_POLL_MS)
  }
  yield* Effect.logInfo("agent is ready", ports)
  if (options.supervised) yield* Effect.promise(() => tellSupervisor({ type: "ready", ...ports }))
})

const READY_POLL_MS = 20
const READY_TOLD_MS = 5_000

const explain = (
  options: Pick<AgentFlags, "port">,
  error: CommandFailed | MetadataError | CommitLogError | ListenError
): CommandFailed => {
  switch (error._tag) {
    case "CommandFailed":
      return error
    case "ListenError":
      return explainListenError(error, options.port === error.port ? "--port" : "--peer-port")
    case "MetadataError":
      return explainMetadata(error)
    case "CommitLogError":
      return failed(`the commit log cannot be read: ${causeText(error.cause)}`)
  }
}

const explainListenError = (error: ListenError, flag: string): CommandFailed =>
  error.reason === "AddressInUse"
    ? invalid(`port ${error.port} is in use: choose another with ${flag}`)
    : invalid(`${error.message}: ${causeText(error.cause)}`)
