/**
 * A small Kafka client: one connection, on the same codecs as the server. Tests and benches use it, later the mirror.
 *
 * It negotiates versions (ApiVersions, KIP-511) and sends requests; it retries nothing and routes nothing: that is its
 * caller's business. Requests are pipelined in the order of the calls. Whatever breaks the protocol closes the
 * connection and fails everything that is under way.
 */
import { Deferred, Effect, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { Connector } from "#core/ports/connector.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { errorCodes, errorName } from "#core/protocol/error-codes.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { type Api, type RequestInput, type ResponseOf, type VersionRange } from "#core/protocol/schema.ts"
import { ClientError } from "./client-error.ts"
import { type PipelineBounds, RequestPipeline, type Slot } from "./request-pipeline.ts"

const CLIENT_SOFTWARE = { clientSoftwareName: "meridian", clientSoftwareVersion: "1" }

export interface ConnectOptions {
  readonly host: string
  readonly port: number
  readonly clientId: string
  /** Cut to limits.clientRequestTimeoutMs. A fetch that waits on the server's side must fit into it. */
  readonly requestTimeoutMs?: number
  /** Otherwise those of the section "Kafka client" of limits. */
  readonly bounds?: PipelineBounds
  /**
   * What becomes of the connection when a request had no answer in its time. It is closed, because answers come in order,
   * so that later ones wait too; or only where it is stuck (RequestPipeline.isStuckAt).
   */
  readonly onTimeout?: "close" | "close-if-stuck"
}

export interface RequestOptions {
  /** Instead of the connection's own. */
  readonly timeoutMs?: number
}

/** A request that was handed over. */
export interface Asked<A extends Api> {
  /** To be waited for once; nobody else watches the request's time. */
  readonly answer: Effect.Effect<ResponseOf<A>, ClientError>
  /** Nobody will wait for the answer. */
  readonly abandon: () => void
}

export interface Connection {
  /** What the other side offers, by API key. */
  readonly apiVersions: ReadonlyMap<number, VersionRange>
  /** The newest version that both sides do, at most `versionMax`. */
  readonly versionOf: (api: Api, versionMax?: number) => Effect.Effect<number, ClientError>
  /** Buffers in the answer are views of its frame, which belongs to the caller. */
  readonly request: <A extends Api>(
    api: A,
    version: number,
    body: RequestInput<A>,
    options?: RequestOptions
  ) => Effect.Effect<ResponseOf<A>, ClientError>
  /** The same, begun now: a caller who must keep an order need not wait for a fiber to run. */
  readonly ask: <A extends Api>(api: A, version: number, body: RequestInput<A>, options?: RequestOptions) => Asked<A>
  /** For what is never answered (Produce with acks 0): ends when it was handed to the socket. */
  readonly send: <A extends Api>(api: A, version: number, body: RequestInput<A>) => Effect.Effect<void, ClientError>
  /** Why it is over, undefined while it is not. */
  readonly fault: () => ClientError | undefined
  /** Calls back once when it is over, at once where it is. Returns what takes the listener away. */
  readonly onFault: (listener: (fault: ClientError) => void) => () => void
  /** Ends it before its scope does. */
  readonly close: (why: string) => void
}

const BOUNDS: PipelineBounds = {
  requestsInFlight: limits.clientRequestsInFlight,
  requestsQueued: limits.clientRequestsQueued,
  requestBytesMax: limits.requestBytesMax,
  answerBytesMax: limits.clientAnswerBytesMax
}

/** Connects and learns the other side's versions. The connection ends with the scope. */
export const connect = Effect.fn("Client.connect")(function* (
  options: ConnectOptions
): Effect.fn.Return<Connection, ClientError, Scope.Scope | Connector> {
  const { host, port, clientId } = options
  const peer = `${host}:${port}`
  const connector = yield* Connector
  const transport = yield* Effect.mapError(
    connector.connect({ host, port }),
    (cause) => new ClientError({ reason: "Unreachable", outcome: "definite", peer, operation: "connect", cause })
  )
  const pipeline = new RequestPipeline({ transport, peer, clientId, bounds: options.bounds ?? BOUNDS })
  yield* Effect.addFinalizer(() => Effect.sync(() => pipeline.fail("Closed", "its scope ended")))
  const onTimeout = options.onTimeout ?? "close"
  const timeoutMsOf = (wantedMs: number | undefined): number =>
    Math.min(wantedMs ?? options.requestTimeoutMs ?? limits.clientRequestTimeoutMs, limits.clientRequestTimeoutMs)
  const askFor = (request: Call, wantedMs: number | undefined): Asked<Api> =>
    ask(pipeline, { ...request, timeoutMs: timeoutMsOf(wantedMs), onTimeout })
  const apiVersions = yield* negotiate(pipeline, timeoutMsOf(undefined))
  return {
    apiVersions,
    versionOf: (api, versionMax) => versionOf({ apiVersions, peer, api, versionMax: versionMax ?? api.versionMax }),
    request: (api, version, body, how) =>
      Effect.suspend(() => askFor({ api, version, body, expects: "answer" }, how?.timeoutMs).answer) as never,
    ask: (api, version, body, how) => askFor({ api, version, body, expects: "answer" }, how?.timeoutMs) as never,
    send: (api, version, body) =>
      Effect.asVoid(Effect.suspend(() => askFor({ api, version, body, expects: "nothing" }, undefined).answer)),
    fault: () => pipeline.fault,
    onFault: (listener) => pipeline.onFault(listener),
    close: (why) => pipeline.fail("Closed", why)
  }
})

interface Call {
  readonly api: Api
  readonly version: number
  readonly body: unknown
  readonly expects: Slot["expects"]
}

interface TimedCall extends Call {
  readonly timeoutMs: number
  readonly onTimeout: NonNullable<ConnectOptions["onTimeout"]>
}

const ask = (pipeline: RequestPipeline, request: TimedCall): Asked<Api> => {
  const { api, version, body, expects, timeoutMs } = request
  const { peer } = pipeline
  const operation = `${api.name} v${version}`
  let queued: Slot | ClientError
  try {
    queued = pipeline.enqueue(api, version, body, expects)
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause
    const reason = cause.reason === "unsupported-version" ? "UnsupportedVersion" : "Unencodable"
    queued = new ClientError({ reason, outcome: "definite", peer, operation, cause })
  }
  if (queued instanceof ClientError) return { answer: Effect.fail(queued), abandon: () => {} }
  const slot = queued
  const abandon = (): void => pipeline.abandon(slot)
  const answer = Effect.timeoutOrElse(
    Effect.onInterrupt(Deferred.await(slot.answered), () => Effect.sync(abandon)),
    {
      duration: timeoutMs,
      orElse: () => {
        const cause = `no answer to ${operation} within ${timeoutMs} ms`
        if (request.onTimeout === "close" || pipeline.isStuckAt(slot)) pipeline.fail("TimedOut", cause)
        const outcome = slot.wasSent ? "indefinite" : "definite"
        return Effect.fail(new ClientError({ reason: "TimedOut", outcome, peer, operation, cause }))
      }
    }
  )
  return { answer: answer as Effect.Effect<never, ClientError>, abandon }
}

/** Asks in our newest version; one that the other side does not know is answered in version 0, with its own range. */
const negotiate = Effect.fnUntraced(function* (pipeline: RequestPipeline, timeoutMs: number) {
  const askIn = (version: number) => {
    const request = { api: ApiVersions, version, body: CLIENT_SOFTWARE, expects: "answer" } as const
    return ask(pipeline, { ...request, timeoutMs, onTimeout: "close" }).answer as Effect.Effect<
      ResponseOf<typeof ApiVersions>,
      ClientError
    >
  }
  let answer = yield* askIn(ApiVersions.versionMax)
  if (answer.errorCode === errorCodes.UNSUPPORTED_VERSION) {
    const theirs = answer.apiKeys.find(({ apiKey }) => apiKey === ApiVersions.key)?.maxVersion ?? 0
    answer = yield* askIn(Math.max(0, Math.min(theirs, ApiVersions.versionMax)))
  }
  if (answer.errorCode !== errorCodes.NONE) {
    const cause = `the peer answers ${errorName(answer.errorCode)}`
    const { peer } = pipeline
    return yield* new ClientError({
      reason: "UnsupportedVersion",
      outcome: "definite",
      peer,
      operation: "connect",
      cause
    })
  }
  return new Map(
    answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }])
  )
})

const versionOf = (question: {
  readonly apiVersions: ReadonlyMap<number, VersionRange>
  readonly peer: string
  readonly api: Api
  readonly versionMax: number
}): Effect.Effect<number, ClientError> => {
  const { apiVersions, peer, api } = question
  const theirs = apiVersions.get(api.key)
  const version = Math.min(theirs?.max ?? -1, question.versionMax, api.versionMax)
  if (theirs !== undefined && version >= Math.max(theirs.min, api.versionMin)) return Effect.succeed(version)
  const offered = theirs === undefined ? "nothing" : `${theirs.min} to ${theirs.max}`
  const cause = `it offers ${offered}, we do ${api.versionMin} to ${Math.min(question.versionMax, api.versionMax)}`
  const operation = api.name
  return Effect.fail(new ClientError({ reason: "UnsupportedVersion", outcome: "definite", peer, operation, cause }))
}
