/**
 * From a frame to the handler of its API and back to bytes.
 *
 * What cannot be decoded closes the connection with one log event, as in Kafka; so does an API or version that is not
 * offered, but for ApiVersions, whose unknown versions are answered in version 0 (KIP-511). A defect in a handler is logged
 * and closes the connection: the client tries again elsewhere, the agent lives on.
 */
import { Cause, Effect } from "effect"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { decodeRequestBody, decodeRequestHeader, encodeResponse, type RequestHeader } from "#core/protocol/frame.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed } from "#core/protocol/registry.ts"
import { type Api } from "#core/protocol/schema.ts"
import {
  type Answer,
  type ConnectionInfo,
  type Hangup,
  type RequestDispatcher,
  type RequestHandles
} from "./connection.ts"
import { type AgentServices, type Handler, NO_ANSWER, type Reply, type RequestContext } from "./handler.ts"
import { createPartitions } from "./handlers/37-create-partitions.ts"
import { createTopics } from "./handlers/19-create-topics.ts"
import { deleteTopics } from "./handlers/20-delete-topics.ts"
import { describeCluster } from "./handlers/60-describe-cluster.ts"
import { describeConfigs } from "./handlers/32-describe-configs.ts"
import { fetch } from "./handlers/01-fetch.ts"
import { findCoordinator } from "./handlers/10-find-coordinator.ts"
import { initProducerId } from "./handlers/22-init-producer-id.ts"
import { listOffsets } from "./handlers/02-list-offsets.ts"
import { metadata } from "./handlers/03-metadata.ts"
import { offsetForLeaderEpoch } from "./handlers/23-offset-for-leader-epoch.ts"
import { produce } from "./handlers/00-produce.ts"
import { apiVersions, unsupportedApiVersions } from "./handlers/18-api-versions.ts"

export const HANDLERS = [
  produce,
  fetch,
  listOffsets,
  metadata,
  findCoordinator,
  apiVersions,
  createTopics,
  deleteTopics,
  initProducerId,
  offsetForLeaderEpoch,
  describeConfigs,
  createPartitions,
  describeCluster
] as const

type Handle = (request: never, context: RequestContext) => Effect.Effect<Reply<unknown>>

const NOTHING: Answer = { chunks: [] }

export const makeDispatcher = (services: AgentServices): RequestDispatcher => {
  const { counters, record } = services.metrics
  const handlers = new Map<number, { readonly api: Api; readonly handle: Handle }>()
  for (const handler of HANDLERS as unknown as ReadonlyArray<Handler<Api>>) {
    handlers.set(handler.api.key, { api: handler.api, handle: handler.make(services) as Handle })
  }

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
      header = decodeRequestHeader(frame)
      if (isNewerApiVersions(header)) return Effect.succeed(answerNewerApiVersions(header))
      body = decodeRequestBody(handlers.get(header.apiKey)!.api, header, frame)
    } catch (error) {
      return Effect.succeed(refuse(error))
    }
    const { apiKey, apiVersion, correlationId, clientId } = header
    const { api, handle } = handlers.get(apiKey)!
    const context: RequestContext = { apiVersion, clientId, listener: connection.listener, ...handles }
    const startedMs = services.clock.currentTimeMillisUnsafe()
    return Effect.map(handle(body as never, context), (reply): Answer | Hangup => {
      counters.requests++
      if (api.key === Produce.key) record.produceLatencyMs(services.clock.currentTimeMillisUnsafe() - startedMs)
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
    overlaps: (frame) => frame.readInt16BE(0) === Produce.key,
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
