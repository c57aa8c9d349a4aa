/**
 * From a frame to the handler of its API and back to bytes.
 *
 * What cannot be decoded closes the connection with one log event, as in Kafka; so does an API or version that is not
 * offered, but for ApiVersions, whose unknown versions are answered in version 0 (KIP-511). A defect in a handler is logged
 * and closes the connection: the client tries again elsewhere, the agent lives on.
 *
 * It knows which APIs there are from its table only: Kafka's (kafka-dispatcher.ts) or the agents' own (core/peer).
 */
import { Cause, type Clock, Effect } from "effect"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { decodeRequestBody, decodeRequestHeader, encodeResponse, type RequestHeader } from "#core/protocol/frame.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed, registryOf } from "#core/protocol/registry.ts"
import { type Api } from "#core/protocol/schema.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import {
  type Answer,
  type ConnectionInfo,
  type Hangup,
  type RequestDispatcher,
  type RequestHandles
} from "./connection.ts"
import { NO_ANSWER, type Reply, type RequestContext } from "./handler.ts"
import { unsupportedApiVersions } from "./handlers/18-api-versions.ts"

/** One API of a listener. */
export interface ServedApi {
  readonly api: Api
  /** Whether its requests may run while earlier requests that overlap do. */
  readonly overlaps: boolean
  readonly handle: (request: never, context: RequestContext) => Effect.Effect<Reply<unknown>>
}

/** Counted by whoever reads them; plain numbers, as Metrics.counters. */
export interface RequestCounters {
  /** Answered. */
  requests: number
  requestBytes: number
  responseBytes: number
  /** Of an API or version that is not offered. */
  requestsUnsupported: number
  requestsMalformed: number
  /** That hit a defect of ours. */
  requestsDefective: number
}

export interface DispatcherOptions {
  /** ApiVersions is one of them. */
  readonly served: ReadonlyArray<ServedApi>
  readonly counters: RequestCounters
  readonly clock: Clock.Clock
  readonly onAnswered?: (api: Api, tookMs: number) => void
}

const NOTHING: Answer = { chunks: [] }

export const makeDispatcher = (options: DispatcherOptions): RequestDispatcher => {
  const { counters, clock, onAnswered } = options
  const served = new Map(options.served.map((each) => [each.api.key, each]))
  const registry = registryOf(options.served.map(({ api }) => api))
  const overlapping = new Set(options.served.flatMap(({ api, overlaps }) => (overlaps ? [api.key] : [])))

  const refuse = (error: unknown): Hangup => {
    if (!(error instanceof ProtocolError)) throw error
    if (error.reason === "unknown-api" || error.reason === "unsupported-version") counters.requestsUnsupported++
    else counters.requestsMalformed++
    return { hangup: error.message }
  }

  const dispatch = (
    frame: Buffer,
    connection: ConnectionInfo,
    handles: RequestHandles
  ): Effect.Effect<Answer | Hangup> => {
    counters.requestBytes += frame.length
    let header: RequestHeader
    let body: unknown
    try {
      header = decodeRequestHeader(frame, registry)
      if (isNewerApiVersions(header)) return Effect.succeed(answerNewerApiVersions(header))
      body = decodeRequestBody(served.get(header.apiKey)!.api, header, frame)
    } catch (error) {
      return Effect.succeed(refuse(error))
    }
    const { apiKey, apiVersion, correlationId, clientId } = header
    const { api, handle } = served.get(apiKey)!
    const context: RequestContext = { apiVersion, clientId, listener: connection.listener, ...handles }
    const startedMs = monotonicMsOf(clock)
    return Effect.map(handle(body as never, context), (reply): Answer | Hangup => {
      counters.requests++
      onAnswered?.(api, monotonicMsOf(clock) - startedMs)
      if (reply === NO_ANSWER) return NOTHING
      if (isHangup(reply)) return reply
      const encoded = encodeResponse({ api, version: apiVersion, correlationId, body: reply as never })
      counters.responseBytes += encoded.byteLength
      return { chunks: encoded.chunks }
    })
  }

  /** The client is newer than this agent: it is told so in version 0 (KIP-511). */
  const answerNewerApiVersions = ({ correlationId }: RequestHeader): Answer => {
    counters.requestsUnsupported++
    return encodeResponse({ api: ApiVersions, version: 0, correlationId, body: unsupportedApiVersions() })
  }

  const fell = (frame: Buffer, { peer }: ConnectionInfo, defect: unknown): Effect.Effect<Hangup> => {
    counters.requestsDefective++
    const apiKey = frame.readInt16BE(0)
    const apiVersion = frame.readInt16BE(2)
    const event = Effect.logError("request hit a defect", { peer, apiKey, apiVersion }, Cause.die(defect))
    return Effect.as(event, { hangup: `a request hit a defect of the agent: ${String(defect)}` })
  }

  return {
    overlaps: (frame) => overlapping.has(frame.readInt16BE(0)),
    dispatch: (frame, connection, hold) =>
      Effect.catchDefect(
        Effect.suspend(() => dispatch(frame, connection, hold)),
        (defect) => fell(frame, connection, defect)
      )
  }
}

const isNewerApiVersions = ({ apiKey, apiVersion }: RequestHeader): boolean =>
  apiKey === ApiVersions.key && !isServed(ApiVersions, apiVersion)

const isHangup = (reply: Reply<unknown>): reply is Hangup =>
  typeof reply === "object" && reply !== null && "hangup" in reply
