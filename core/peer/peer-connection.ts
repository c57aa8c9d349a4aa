/**
 * The client's side of a connection between agents.
 *
 * Invariants: the order of the calls is the order on the wire, and answers come in it. It is not a connection before the
 * other side has said that it is the agent that was looked for. At most limits.peerRequestsInFlight requests are
 * unanswered; the others wait, within bounds.
 *
 * A request whose time is over fails alone, and its answer is dropped when it comes: a short deadline behind a long one
 * must not cost the long one its answer. Only where the connection is stuck (no answer at all came in the request's time,
 * and whoever asked before has given up too) it is closed, with everything on it.
 */
import { Effect, Exit, Scope } from "effect"
import { type Asked, type Connection, connect as connectClient } from "#core/client/connection.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type Connector } from "#core/ports/connector.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"
import { PeerHello } from "./api/10000-peer-hello.ts"
import { peerApis } from "./peer-apis.ts"
import { PeerError, peerErrorOf } from "./peer-error.ts"
import { identityOf, type PeerIdentity, type PeerSelf } from "./peer-identity.ts"

/** The one process that is looked for. */
export interface ExpectedPeer {
  readonly name: string
  readonly session: Uuid
}

export interface PeerConnectOptions {
  readonly host: string
  readonly port: number
  readonly self: PeerSelf
  readonly clusterId: string
  /** Without it any agent of the cluster will do. */
  readonly expected?: ExpectedPeer | undefined
}

export interface PeerRequestOptions {
  /** Waiting to be sent included; cut to limits.clientRequestTimeoutMs. */
  readonly timeoutMs: number
}

export interface PeerConnection {
  readonly peer: PeerIdentity
  /** Byte fields of the answer belong to the caller. */
  readonly request: <A extends Api>(
    api: A,
    body: RequestInput<A>,
    options: PeerRequestOptions
  ) => Effect.Effect<ResponseOf<A>, PeerError>
  /** The same, handed over now: for who must keep an order without waiting for a fiber to run. */
  readonly ask: <A extends Api>(api: A, body: RequestInput<A>, options: PeerRequestOptions) => AskedPeer<A>
  /** Calls back once with why it is over, at once where it is. Returns what takes the listener away. */
  readonly onClosed: (listener: (error: PeerError) => void) => () => void
  readonly closed: boolean
  /** Ends it before its scope does; what is under way fails. */
  readonly close: (why: string) => void
}

export interface AskedPeer<A extends Api> {
  /** To be waited for, once. */
  readonly answer: Effect.Effect<ResponseOf<A>, PeerError>
  /** Nobody will wait for it. */
  readonly abandon: () => void
}

const BOUNDS = {
  requestsInFlight: limits.peerRequestsInFlight,
  requestsQueued: limits.peerRequestsQueued,
  requestBytesMax: limits.peerFrameBytesMax,
  answerBytesMax: limits.peerFrameBytesMax
}

/** Connects, within limits.peerConnectMs, and makes sure who is there. The connection ends with the scope. */
export const connect = Effect.fn("PeerConnection.connect")(function* (
  options: PeerConnectOptions
): Effect.fn.Return<PeerConnection, PeerError, Scope.Scope | Connector> {
  const { host, port, expected } = options
  const address = `${host}:${port}`
  const peer = expected === undefined ? address : `${expected.name} (${address})`
  if (port === 0) return yield* refusal(peer, "Unreachable", "it has no port for other agents")
  // Of its own, so that what was opened by an attempt that fails does not stay open for as long as the caller's.
  const scope = yield* Scope.fork(yield* Effect.scope)
  return yield* greeted(options, peer).pipe(
    Scope.provide(scope),
    Effect.timeoutOrElse({
      duration: limits.peerConnectMs,
      orElse: () => Effect.fail(refusal(peer, "TimedOut", `no connection within ${limits.peerConnectMs} ms`))
    }),
    Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)))
  )
})

const refusal = (peer: string, reason: PeerError["reason"], cause: unknown): PeerError =>
  new PeerError({ reason, outcome: "definite", peer, operation: "connect", cause })

const greeted = Effect.fnUntraced(function* (options: PeerConnectOptions, peer: string) {
  const { host, port, self, clusterId, expected } = options
  const connection = yield* connectClient({
    host,
    port,
    clientId: self.name,
    requestTimeoutMs: limits.peerConnectMs,
    bounds: BOUNDS,
    onTimeout: "close-if-stuck"
  }).pipe(Effect.mapError((error) => connectErrorOf(error, peer)))
  if (!connection.apiVersions.has(PeerHello.key)) {
    return yield* refusal(peer, "Foreign", "whoever listens there is no agent, or it is not its port for other agents")
  }
  const versions = versionsOf(connection)
  const version = versions.get(PeerHello.key)
  if (version === undefined) return yield* refusal(peer, "Malformed", "it speaks another version of PeerHello")
  const answer = yield* connection
    .request(PeerHello, version, { clusterId, ...identityOf(self), secret: null })
    .pipe(Effect.mapError((error) => connectErrorOf(error, peer)))
  if (answer.errorCode === errorCodes.INCONSISTENT_CLUSTER_ID) {
    return yield* refusal(peer, "Foreign", answer.errorMessage)
  }
  if (answer.errorCode !== errorCodes.NONE) return yield* refusal(peer, "Malformed", answer.errorMessage)
  if (expected !== undefined && (answer.name !== expected.name || answer.session !== expected.session)) {
    const [theirs, wanted] = [answer, expected].map(({ name, session }) => `${name}, session ${session}`)
    return yield* refusal(peer, "Foreign", `another agent answers there: ${theirs}, instead of ${wanted}`)
  }
  return connectionOf({ connection, versions, identity: identityOf(answer), peer })
})

const connectionOf = (made: {
  readonly connection: Connection
  readonly versions: ReadonlyMap<number, number>
  readonly identity: PeerIdentity
  readonly peer: string
}): PeerConnection => {
  const { connection, versions, identity, peer } = made
  const ask: PeerConnection["ask"] = (api, body, { timeoutMs }) => {
    const version = versions.get(api.key)
    if (version === undefined) return { answer: Effect.fail(unknownApi(api, peer)), abandon: () => {} }
    return askedOf(connection.ask(api, version, body, { timeoutMs }), peer)
  }
  return {
    peer: identity,
    ask,
    request: (api, body, options) => Effect.suspend(() => ask(api, body, options).answer),
    onClosed: (listener) => connection.onFault((fault) => listener(peerErrorOf(fault, peer))),
    get closed() {
      return connection.fault() !== undefined
    },
    close: connection.close
  }
}

const askedOf = <A extends Api>({ answer, abandon }: Asked<A>, peer: string): AskedPeer<A> => {
  return { answer: Effect.mapError(answer, (error) => peerErrorOf(error, peer)), abandon }
}

/** Nothing that was asked so far has an effect. */
const connectErrorOf = (error: Parameters<typeof peerErrorOf>[0], peer: string): PeerError => {
  const { reason, cause } = peerErrorOf(error, peer)
  return refusal(peer, reason, cause)
}

const unknownApi = ({ name }: Api, peer: string): PeerError =>
  new PeerError({
    reason: "Malformed",
    outcome: "definite",
    peer,
    operation: name,
    cause: "the other agent does not do it in a version that this one does"
  })

/** The newest version that both sides do, by key; APIs without one are not there. */
const versionsOf = ({ apiVersions }: Connection): ReadonlyMap<number, number> =>
  new Map(
    peerApis.flatMap(({ key, versionMin, versionMax }) => {
      const theirs = apiVersions.get(key)
      const version = Math.min(theirs?.max ?? -1, versionMax)
      return theirs !== undefined && version >= Math.max(theirs.min, versionMin) ? [[key, version] as const] : []
    })
  )
