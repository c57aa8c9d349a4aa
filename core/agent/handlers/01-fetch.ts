/**
 * Fetch (key 1), v4-18.
 *
 * Whole batches from the one that contains the offset on; at least one batch for the first partition that has records,
 * whatever the limits say (KIP-74). Waits for minBytes up to maxWait and wakes on any entry that is folded, wherever it was
 * produced; for old offsets, whose sizes index pages tell, it does not wait. Batches are views of cached blocks, stamped with their offsets; copies only where little of a block is served.
 * v7+ sessions (KIP-227): never created; session id 0 is what Kafka answers when its cache is full, and clients then send
 * full requests. v11+ preferred read replica: none, the agent itself is in the client's region. v12+ lastFetchedEpoch: the
 * epoch is 0 for ever and nothing diverges. v13+ topic ids. v15+ and v18: fields of replicas.
 * OFFSET_OUT_OF_RANGE is never said from memory alone. read_committed equals read_uncommitted until transactions exist.
 * Refused: replicas (replicaId >= 0) with NOT_LEADER_OR_FOLLOWER.
 */
import { Effect } from "effect"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type FetchRead, planFetch, readPlan, waitForBytes, type WantedPartition } from "../fetch-plan.ts"
import { type AgentServices, defineHandler, type Reply, type RequestContext } from "../handler.ts"
import { ERROR_UNSETTLED, KAFKA } from "../kafka-error.ts"
import {
  type Certainty,
  checkLeaderEpoch,
  findPartition,
  findTopic,
  settleFold,
  type TopicReference
} from "../topic-lookup.ts"

type Request = RequestOf<typeof Fetch>
type Response = ResponseInput<typeof Fetch>
type TopicAnswer = Response["responses"][number]
type PartitionAnswer = TopicAnswer["partitions"][number]
type PartitionRequest = Request["topics"][number]["partitions"][number]

/** First version that names topics by id, and only so. */
const BY_ID_SINCE = 13
const SESSION_NONE = 0
const SESSION_EPOCH_FULL = 0
const SESSION_EPOCH_FINAL = -1
const READ_COMMITTED = 1

const failure = (errorCode: number): Response => ({
  throttleTimeMs: 0,
  errorCode,
  sessionId: SESSION_NONE,
  responses: []
})

/** Errors of the request as a whole. */
const refuse = (request: Request, apiVersion: number): number => {
  const replicaId = apiVersion >= 15 ? request.replicaState.replicaId : request.replicaId
  if (replicaId >= 0) return KAFKA.NOT_LEADER_OR_FOLLOWER
  if (apiVersion < 7) return KAFKA.NONE
  const isFull = request.sessionEpoch === SESSION_EPOCH_FULL || request.sessionEpoch === SESSION_EPOCH_FINAL
  return isFull ? KAFKA.NONE : KAFKA.FETCH_SESSION_ID_NOT_FOUND
}

/** The partition to read, or its error. */
const resolve = (
  services: AgentServices,
  reference: TopicReference,
  asked: PartitionRequest,
  certainty: Certainty
): WantedPartition | number => {
  const topic = findTopic(services.log.fold, reference)
  const state = findPartition(topic, reference, asked.partition, certainty)
  if (typeof state === "number") return state
  const epochError = checkLeaderEpoch(asked.currentLeaderEpoch)
  if (epochError !== KAFKA.NONE) return epochError
  const { fetchOffset } = asked
  if (fetchOffset < state.logStartOffset || fetchOffset > state.highWatermark) {
    return certainty === "unsettled" ? ERROR_UNSETTLED : KAFKA.OFFSET_OUT_OF_RANGE
  }
  return { state, offset: fetchOffset, bytesMax: Math.max(0, asked.partitionMaxBytes) }
}

interface Resolved {
  readonly reference: TopicReference
  readonly asked: PartitionRequest
  wanted: WantedPartition | number
}

const resolveAll = (services: AgentServices, request: Request, apiVersion: number, certainty: Certainty) =>
  request.topics.flatMap(({ topic, topicId, partitions }) => {
    const reference = apiVersion >= BY_ID_SINCE ? { name: null, topicId } : { name: topic, topicId: UUID_ZERO }
    return partitions.map((asked): Resolved => ({
      reference,
      asked,
      wanted: resolve(services, reference, asked, certainty)
    }))
  })

const refused = (partitionIndex: number, errorCode: number): PartitionAnswer => ({
  partitionIndex,
  errorCode,
  highWatermark: -1,
  lastStableOffset: -1,
  logStartOffset: -1,
  abortedTransactions: null,
  preferredReadReplica: -1,
  records: []
})

const answerPartition = (
  services: AgentServices,
  each: Resolved,
  read: FetchRead,
  isolationLevel: number
): PartitionAnswer => {
  const partitionIndex = each.asked.partition
  if (typeof each.wanted === "number") {
    const isMissing = each.wanted === KAFKA.UNKNOWN_TOPIC_OR_PARTITION || each.wanted === KAFKA.UNKNOWN_TOPIC_ID
    return { ...refused(partitionIndex, each.wanted), abortedTransactions: isMissing ? [] : null }
  }
  const { state } = each.wanted
  // Deleted while the request waited. Kafka says so by this code also to those who asked by id.
  if (services.log.fold.topicById(state.topic.topicId) === undefined) {
    return refused(partitionIndex, KAFKA.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const answered = read.answers.get(each.wanted)
  return {
    partitionIndex,
    errorCode: answered?.errorCode ?? KAFKA.NONE,
    highWatermark: read.highWatermarks.get(each.wanted) ?? state.highWatermark,
    lastStableOffset: read.highWatermarks.get(each.wanted) ?? state.highWatermark,
    logStartOffset: state.logStartOffset,
    abortedTransactions: isolationLevel === READ_COMMITTED ? [] : null,
    preferredReadReplica: -1,
    records: (answered?.records ?? []) as Array<Buffer>
  }
}

const group = (request: Request, answers: ReadonlyArray<PartitionAnswer>): Array<TopicAnswer> => {
  let at = 0
  return request.topics.map(({ topic, topicId, partitions }) => ({
    topic,
    topicId,
    partitions: answers.slice(at, (at += partitions.length))
  }))
}

const isWanted = (each: WantedPartition | number): each is WantedPartition => typeof each !== "number"

const answer = Effect.fnUntraced(function* (
  services: AgentServices,
  request: Request,
  resolved: ReadonlyArray<Resolved>,
  hold: RequestContext["hold"]
) {
  const { counters, record } = services.metrics
  const wanted = resolved.map((each) => each.wanted).filter(isWanted)
  const bytesMax = Math.min(Math.max(0, request.maxBytes), services.settings.fetchMaxBytes)
  // An error is told at once (as Kafka does); otherwise wait for enough bytes, never for more than the answer may hold.
  if (wanted.length === resolved.length && wanted.length > 0) {
    const waitMs = Math.min(Math.max(0, request.maxWaitMs), limits.fetchWaitMaxMs)
    yield* waitForBytes(services.log, wanted, { minBytes: Math.min(request.minBytes, bytesMax), waitMs })
  }
  const startedMs = monotonicMsOf(services.clock)
  const planned = planFetch(services.pages, wanted, bytesMax)
  const read = yield* readPlan(services, Effect.isEffect(planned) ? yield* planned : planned, hold)
  const answers = resolved.map((each) => answerPartition(services, each, read, request.isolationLevel))
  if (read.bytes === 0) counters.fetchEmpty++
  counters.fetchBytes += read.bytes
  record.fetchLatencyMs(monotonicMsOf(services.clock) - startedMs)
  return { throttleTimeMs: 0, errorCode: KAFKA.NONE, sessionId: SESSION_NONE, responses: group(request, answers) }
})

export const fetch = defineHandler(
  Fetch,
  (services) =>
    (request: Request, { apiVersion, hold }: RequestContext): Effect.Effect<Reply<Response>> => {
      const refusal = refuse(request, apiVersion)
      if (refusal !== KAFKA.NONE) return Effect.succeed(failure(refusal))
      const resolved = resolveAll(services, request, apiVersion, "settled")
      if (resolved.every(({ wanted }) => typeof wanted !== "number")) return answer(services, request, resolved, hold)
      return Effect.flatMap(settleFold(services.log), (certainty) =>
        answer(services, request, resolveAll(services, request, apiVersion, certainty), hold)
      )
    }
)
