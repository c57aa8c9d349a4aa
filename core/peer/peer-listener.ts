/**
 * The port on which an agent answers other agents: Kafka's framing, the agents' own APIs (peer-apis.ts).
 *
 * Connections, budgets and dispatch are those of the Kafka port (core/agent). What differs: every request overlaps, for a
 * submit takes as long as a commit; memory of a request is not used again, so that handlers may keep its bytes; and until
 * an agent's hello is answered, its frames must be short and its time is up soon.
 */
import { Clock, Effect, type Scope } from "effect"
import { type ConnectionPolicy, makeConnectionSet } from "#core/agent/connection-set.ts"
import { makeDispatcher, type RequestCounters } from "#core/agent/dispatcher.ts"
import { FramePool } from "#core/agent/frame-pool.ts"
import { RequestBudget } from "#core/agent/request-budget.ts"
import { limits } from "#core/model/limits.ts"
import { type ListenError, Network } from "#core/ports/network.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type PeerSelf } from "./peer-identity.ts"
import { type PeerHandlers, PeerSession } from "./peer-session.ts"

export { type PeerConnectionContext, type PeerHandlers } from "./peer-session.ts"

export interface PeerListenOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly self: PeerSelf
  readonly clusterId: string
  readonly handlers: PeerHandlers
  /** limits.peerConnectionsMax, unless the caller knows better. */
  readonly connectionsMax: number
}

const LISTENER = "peers"

/** Answers with the port. Listens until the scope ends; then all connections end, and what runs is interrupted. */
export const listen = Effect.fn("PeerListener.listen")(function* (
  options: PeerListenOptions
): Effect.fn.Return<number, ListenError, Network | Metrics | Scope.Scope> {
  const network = yield* Network
  const metrics = yield* Metrics
  const clock = yield* Clock.Clock
  const counters = makeCounters()
  const requestBudget = new RequestBudget(limits.peerRequestBytesInFlight, limits.peerRequestBytesSmall)
  // Frames are not lent and taken back: whoever folds an entry keeps its bytes.
  const framePool = new FramePool(0)
  const connections = yield* makeConnectionSet({ listener: LISTENER, idleMs: limits.peerConnectionIdleMs, counters })
  yield* observe(metrics, counters, connections.count)
  yield* metrics.observe("peerRequestBytesInFlight", () => [{ value: requestBudget.heldBytes }])

  const policyOf = (address: string): ConnectionPolicy => {
    const { self, clusterId, handlers } = options
    const session = new PeerSession({ self, clusterId, handlers, address })
    const acceptedAtMs = monotonicMsOf(clock)
    return {
      dispatcher: makeDispatcher({ served: session.served(), counters, clock }),
      requestBudget,
      framePool,
      get frameBytesMax() {
        return session.isAccepted ? limits.peerFrameBytesMax : limits.peerHelloBytesMax
      },
      requestsInFlightMax: limits.peerRequestsInFlight,
      onEnd: () => session.closed(),
      overdue: (nowMs) => {
        const isLate = !session.isAccepted && nowMs - acceptedAtMs >= limits.peerHelloMs
        return isLate ? "it has not said who it is" : undefined
      }
    }
  }
  return yield* network.listen({
    host: options.host,
    port: options.port,
    connectionsMax: options.connectionsMax,
    onConnection: (transport) => connections.accept(transport, policyOf(transport.peer)),
    onRefused: () => {
      counters.connectionsRefused++
    }
  })
})

interface PeerCounters extends RequestCounters {
  connectionsAccepted: number
  connectionsRefused: number
  connectionsFailed: number
  socketsPaused: number
}

const makeCounters = (): PeerCounters => {
  return {
    connectionsAccepted: 0,
    connectionsRefused: 0,
    connectionsFailed: 0,
    socketsPaused: 0,
    requests: 0,
    requestBytes: 0,
    responseBytes: 0,
    requestsUnsupported: 0,
    requestsMalformed: 0,
    requestsDefective: 0
  }
}

const observe = Effect.fnUntraced(function* (metrics: Metrics["Service"], counters: PeerCounters, open: () => number) {
  yield* metrics.observe("peerConnectionsOpen", () => [{ value: open() }])
  yield* metrics.observe("peerConnections", () => [
    { value: counters.connectionsAccepted, attributes: { outcome: "accepted" } },
    { value: counters.connectionsRefused, attributes: { outcome: "refused" } },
    { value: counters.connectionsFailed, attributes: { outcome: "failed" } }
  ])
  yield* metrics.observe("peerSocketsPaused", () => [{ value: counters.socketsPaused }])
  yield* metrics.observe("peerRequests", () => [
    { value: counters.requests, attributes: { outcome: "answered" } },
    { value: counters.requestsUnsupported, attributes: { outcome: "unsupported" } },
    { value: counters.requestsMalformed, attributes: { outcome: "malformed" } },
    { value: counters.requestsDefective, attributes: { outcome: "defective" } }
  ])
  yield* metrics.observe("peerBytes", () => [
    { value: counters.requestBytes, attributes: { direction: "read" } },
    { value: counters.responseBytes, attributes: { direction: "written" } }
  ])
})
