/**
 * An agent: a Kafka broker without state. This layer opens the listener on top of everything else and closes it first.
 *
 * On the way out no new connection is accepted and the open ones are destroyed; what is not answered by then was not
 * acknowledged, and clients send it again elsewhere.
 */
import { Clock, Context, Effect, FiberSet, Layer, Schedule } from "effect"
import { type Settings } from "#core/config/settings.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { ClusterView } from "#core/ports/cluster-view.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type AcceptedTransport, Network } from "#core/ports/network.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { ByteBudget } from "./byte-budget.ts"
import { FramePool } from "./frame-pool.ts"
import { type Answer, Connection, type ConnectionContext, type Hangup, type RequestDispatcher } from "./connection.ts"
import { makeDispatcher } from "./dispatcher.ts"
import { IndexPages } from "./index-pages.ts"
import { makeProducerIds } from "./producer-ids.ts"
import { RequestBudget } from "./request-budget.ts"
import { RunReader } from "./run-reader.ts"
import { SegmentBuffer } from "./segment-buffer.ts"

export interface AgentOptions {
  readonly host: string
  readonly port: number
  /** Name of the listener, for ClusterView. */
  readonly listener: string
  readonly settings: Settings
  readonly bucketSet: string
}

export class Agent extends Context.Service<
  Agent,
  {
    /** Where it listens: the one asked for, or the free one taken where that was 0. */
    readonly port: number
    readonly connectionCount: () => number
  }
>()("meridian/core/agent/Agent") {}

export const layer = (options: AgentOptions) =>
  Layer.effect(Agent, make(options)).pipe(
    Layer.provide(IndexPages.layer),
    Layer.provide(
      SegmentBuffer.layer({
        segmentBytes: options.settings.segmentBytes,
        flushIntervalMs: options.settings.flushIntervalMs,
        segmentsInFlight: options.settings.segmentsInFlight,
        bucketSet: options.bucketSet
      })
    )
  )

const SWEEP_INTERVAL_MS = 5_000

const make = Effect.fnUntraced(function* (options: AgentOptions) {
  const { settings } = options
  const log = yield* CommitLog
  const network = yield* Network
  const metrics = yield* Metrics
  const requestBudget = new RequestBudget(settings.requestBytesInFlight)
  const fetchBudget = new ByteBudget(settings.fetchBytesInFlight)
  const dispatcher = makeDispatcher({
    log,
    cluster: yield* ClusterView,
    buffer: yield* SegmentBuffer,
    runs: yield* RunReader,
    pages: yield* IndexPages,
    producerIds: yield* makeProducerIds(log),
    entropy: yield* Entropy,
    clock: yield* Clock.Clock,
    settings,
    fetchBudget,
    metrics
  })
  yield* metrics.observe("requestBytesInFlight", () => [{ value: requestBudget.heldBytes }])
  yield* metrics.observe("fetchBytesInFlight", () => [{ value: fetchBudget.heldBytes }])
  const connections = yield* serve(options, dispatcher, requestBudget)
  yield* metrics.observe("connectionsOpen", () => [{ value: connections.open.size }])
  const port = yield* network.listen({
    host: options.host,
    port: options.port,
    connectionsMax: settings.connectionsMax,
    onConnection: connections.accept
  })
  return Agent.of({ port, connectionCount: () => connections.open.size })
})

/** Runs connections' requests, and ends connections that have stalled or idled. */
const serve = Effect.fnUntraced(function* (
  options: AgentOptions,
  dispatcher: RequestDispatcher,
  requestBudget: RequestBudget
) {
  const { settings, listener } = options
  const { counters } = yield* Metrics
  const open = new Set<Connection>()
  const requests = yield* FiberSet.make<Answer | Hangup>()
  const run = yield* FiberSet.runtime(requests)()
  const events = yield* FiberSet.make<void>()
  const report = yield* FiberSet.runtime(events)()
  const context: ConnectionContext = {
    dispatcher,
    requestBudget,
    framePool: new FramePool(),
    frameBytesMax: settings.requestBytesMax,
    run: (effect) => run(effect),
    onEnd: (connection, reason, manner) => {
      open.delete(connection)
      if (manner === "orderly") return
      counters.connectionsFailed++
      report(Effect.logWarning("connection closed", { peer: connection.info.peer, reason }))
    }
  }
  const accept = (transport: AcceptedTransport): void => {
    counters.connectionsAccepted++
    open.add(new Connection(transport, listener, context))
  }
  const bounds = { idleMs: settings.connectionIdleMs, stalledMs: limits.socketStalledMs }
  const sweep = Effect.map(Clock.currentTimeMillis, (nowMs) => {
    for (const connection of open) connection.sweep(nowMs, bounds)
  })
  yield* Effect.forkScoped(Effect.repeat(sweep, Schedule.spaced(SWEEP_INTERVAL_MS)))
  return { open, accept }
})
