/**
 * An agent: a Kafka broker without state. This layer opens the listener on top of everything else and closes it first.
 *
 * On the way out no new connection is accepted and the open ones are destroyed; what is not answered by then was not
 * acknowledged, and clients send it again elsewhere.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { type Settings } from "#core/config/settings.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { limits } from "#core/model/limits.ts"
import { ClusterView } from "#core/ports/cluster-view.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { Network } from "#core/ports/network.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { ByteBudget } from "./byte-budget.ts"
import { FramePool } from "./frame-pool.ts"
import { type ConnectionPolicy, makeConnectionSet } from "./connection-set.ts"
import { makeKafkaDispatcher } from "./kafka-dispatcher.ts"
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

const make = Effect.fnUntraced(function* (options: AgentOptions) {
  const { settings } = options
  const log = yield* CommitLog
  const network = yield* Network
  const metrics = yield* Metrics
  const requestBudget = new RequestBudget(settings.requestBytesInFlight)
  const fetchBudget = new ByteBudget(settings.fetchBytesInFlight)
  const dispatcher = makeKafkaDispatcher({
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
  const connections = yield* makeConnectionSet({
    listener: options.listener,
    idleMs: settings.connectionIdleMs,
    counters: metrics.counters
  })
  const policy: ConnectionPolicy = {
    dispatcher,
    requestBudget,
    framePool: new FramePool(),
    frameBytesMax: settings.requestBytesMax,
    requestsInFlightMax: limits.requestsInFlightPerConnection
  }
  yield* metrics.observe("connectionsOpen", () => [{ value: connections.count() }])
  const port = yield* network.listen({
    host: options.host,
    port: options.port,
    connectionsMax: settings.connectionsMax,
    onConnection: (transport) => connections.accept(transport, policy),
    onRefused: () => {
      metrics.counters.connectionsRefused++
    }
  })
  return Agent.of({ port, connectionCount: connections.count })
})
