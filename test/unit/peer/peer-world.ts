/** Two agents for tests: who they are, handlers that the test answers for, and a listener over real TCP. */
import { Deferred, Effect, Fiber, Layer, Logger } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { limits } from "#core/model/limits.ts"
import { type PeerEntries } from "#core/peer/api/10002-peer-entries.ts"
import { type PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { connect, type PeerConnection, type PeerConnectOptions } from "#core/peer/peer-connection.ts"
import { type PeerError } from "#core/peer/peer-error.ts"
import { type PeerIdentity } from "#core/peer/peer-identity.ts"
import { listen, type PeerConnectionContext, type PeerHandlers } from "#core/peer/peer-listener.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { MemoryNetwork } from "./memory-network.ts"

export const CLUSTER = "test-cluster"

export const identity = (name: string, nodeId: number, sessionDigit = String(nodeId)): PeerIdentity => {
  return { name, session: sessionDigit.repeat(32), nodeId, region: `${name}-region`, zone: `${name}-zone` }
}
export const CLIENT = identity("client", 1)
export const SERVER = identity("server", 2)

type Submit = RequestOf<typeof PeerSubmit>
type SubmitAnswer = ResponseInput<typeof PeerSubmit>

/** A submit that was started and that the test has to answer. */
export interface Started {
  readonly request: Submit
  readonly from: PeerConnectionContext
  readonly answer: (fields?: Partial<SubmitAnswer>) => void
}

export const ENTRIES_ANSWER: ResponseInput<typeof PeerEntries> = { errorCode: 0, foldedSeq: 7 }
export const PING_ANSWER: ResponseInput<typeof PeerPing> = { epoch: 3, isActing: false, tailSeq: 9 }

/** Submits wait for the test; the others are answered at once. `order` has what was started, by name and seq or epoch. */
export class HeldHandlers implements PeerHandlers {
  readonly started: Array<Started> = []
  readonly order: Array<string> = []
  readonly interrupted: Array<number> = []
  readonly entriesSeen: Array<RequestOf<typeof PeerEntries>> = []
  #awaited: { readonly count: number; readonly there: Deferred.Deferred<void> } | undefined

  readonly submit: PeerHandlers["submit"] = (request, from) =>
    Effect.callback<SubmitAnswer>((resume) => {
      const { epoch } = request
      this.order.push(`submit ${epoch}`)
      const answer: Started["answer"] = (fields) =>
        resume(
          Effect.succeed({ errorCode: 0, errorMessage: null, seq: epoch, answer: Buffer.from(`${epoch}`), ...fields })
        )
      this.started.push({ request, from, answer })
      if (this.#awaited !== undefined && this.started.length >= this.#awaited.count) {
        Deferred.doneUnsafe(this.#awaited.there, Effect.void)
      }
      return Effect.sync(() => void this.interrupted.push(epoch))
    })

  readonly entries: PeerHandlers["entries"] = (request) =>
    Effect.sync(() => {
      this.order.push(`entries ${request.tailSeq}`)
      this.entriesSeen.push(request)
      return ENTRIES_ANSWER
    })

  readonly ping: PeerHandlers["ping"] = ({ shard }) =>
    Effect.sync(() => {
      this.order.push(`ping ${shard}`)
      return PING_ANSWER
    })

  /** Waits until so many submits have been started in all. */
  untilStarted(count: number): Effect.Effect<void> {
    if (this.started.length >= count) return Effect.void
    const there = Deferred.makeUnsafe<void>()
    this.#awaited = { count, there }
    return Deferred.await(there)
  }
}

export const submitOf = (epoch: number, command: Buffer = Buffer.from("command")) => {
  return { shard: 0, epoch, command }
}

export const listenOnLoopback = (handlers: PeerHandlers, self: PeerIdentity = SERVER, port = 0) =>
  listen({ host: "127.0.0.1", port, self, clusterId: CLUSTER, handlers, connectionsMax: 100 })

export const loopback = Layer.mergeAll(tcp.layer, tcpConnector.layer, Metrics.layerNoop, Logger.layer([]))

/** Addresses as membership has them. */
export const agentAt = (self: PeerIdentity, peerPort: number) => {
  return { ...self, peerHost: "127.0.0.1", peerPort }
}

export const TIMEOUT = { timeoutMs: limits.clientRequestTimeoutMs }

export const to = (port: number, options: Partial<PeerConnectOptions> = {}): PeerConnectOptions => {
  return { host: "127.0.0.1", port, self: CLIENT, clusterId: CLUSTER, expected: SERVER, ...options }
}

export const submit = (connection: PeerConnection, epoch: number, timeoutMs: number = TIMEOUT.timeoutMs) =>
  Effect.forkChild(connection.request(PeerSubmit, submitOf(epoch), { timeoutMs }), { startImmediately: true })

export const errorOf = <A>(fiber: Fiber.Fiber<A, PeerError>) => Effect.map(Effect.flip(Fiber.join(fiber)), summary)
export const summary = ({ reason, outcome }: PeerError): string => `${reason} ${outcome}`

/** A connected pair over memory. */
export const connectedInMemory = (handlers: PeerHandlers) =>
  Effect.gen(function* () {
    const network = new MemoryNetwork()
    const port = yield* Effect.provide(listenOnLoopback(handlers), network.layer)
    const connection = yield* Effect.provide(connect(to(port)), network.layer)
    return { network, port, connection, pair: network.last }
  })
