/**
 * Metadata (key 3), v0-13.
 *
 * Brokers are the agents that clients of this listener should use, and each partition's leader is one of them: any
 * agent serves any partition, so the answer only spreads load and keeps clients in their region. Leader epoch is 0 for
 * ever. v0: an empty list asks for all topics; v1+: null does. v4+: allowAutoTopicCreation (older: always). v10-11
 * carry topic ids and null names that must not be used: such a request is INVALID_REQUEST for every topic, as in
 * Kafka. v12+ look up by id with a null name. v13 has a top-level error (KIP-1102), never set.
 * A missing topic is created at once where that is allowed (Kafka answers UNKNOWN_TOPIC_OR_PARTITION first): friendlier.
 * Replicas are the leader alone: durability is the buckets' and not a matter of brokers.
 */
import { Effect } from "effect"
import { type TopicState } from "#core/log/fold.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { type ResponseInput } from "#core/protocol/schema.ts"
import { isTopicName } from "#core/model/topic-name.ts"
import { uuidToBase64, UUID_ZERO } from "#core/model/uuid.ts"
import {
  AUTHORIZED_OPERATIONS_UNKNOWN,
  CLUSTER_OPERATIONS_ALL,
  TOPIC_OPERATIONS_ALL
} from "../authorized-operations.ts"
import { type AgentServices, defineHandler, type RequestContext } from "../handler.ts"
import { ERROR_UNSETTLED, errorOfCommand, KAFKA } from "../kafka-error.ts"
import {
  type Certainty,
  errorOfMissing,
  findTopic,
  settleFold,
  settleIfMissing,
  type TopicReference
} from "../topic-lookup.ts"

type TopicAnswer = ResponseInput<typeof Metadata>["topics"][number]

/** Ids and null names are carried from v10 on, but may be used from here on. */
const BY_ID_SINCE = 12

const refused = (reference: TopicReference, errorCode: number): TopicAnswer => ({
  errorCode,
  name: reference.name,
  topicId: reference.topicId,
  isInternal: false,
  partitions: [],
  topicAuthorizedOperations: AUTHORIZED_OPERATIONS_UNKNOWN
})

const described = (services: AgentServices, listener: string, topic: TopicState): TopicAnswer => ({
  errorCode: KAFKA.NONE,
  name: topic.name,
  topicId: topic.topicId,
  isInternal: false,
  partitions: topic.partitions.map((_, partitionIndex) => {
    const leaderId = services.cluster.leaderOf(listener, topic.topicId, partitionIndex).nodeId
    return {
      errorCode: KAFKA.NONE,
      partitionIndex,
      leaderId,
      leaderEpoch: 0,
      replicaNodes: [leaderId],
      isrNodes: [leaderId],
      offlineReplicas: []
    }
  }),
  topicAuthorizedOperations: AUTHORIZED_OPERATIONS_UNKNOWN
})

/** Creates the topic, or finds that someone else just did. Answers with the error code where neither. */
const createOnDemand = (services: AgentServices, name: string): Effect.Effect<TopicState | number> => {
  const { log, entropy, settings } = services
  const command = {
    kind: "create-topic" as const,
    topicId: entropy.uuid(),
    name,
    partitions: settings.numPartitions,
    configs: []
  }
  return Effect.match(log.submit(command), {
    onFailure: errorOfCommand,
    onSuccess: ({ result }) =>
      result === "collides" ? KAFKA.INVALID_TOPIC_EXCEPTION : (log.fold.topicByName(name) ?? KAFKA.LEADER_NOT_AVAILABLE)
  })
}

const answerTopic = Effect.fnUntraced(function* (
  services: AgentServices,
  context: RequestContext,
  reference: TopicReference,
  may: { readonly create: boolean; readonly certainty: Certainty }
) {
  const { name } = reference
  const isByName = reference.topicId === UUID_ZERO
  const found = findTopic(services.log.fold, reference)
  if (found !== undefined) return described(services, context.listener, found)
  if (!isByName) return refused(reference, errorOfMissing(reference, may.certainty))
  if (name === null || !isTopicName(name)) return refused(reference, KAFKA.INVALID_TOPIC_EXCEPTION)
  if (may.certainty === "unsettled") return refused(reference, ERROR_UNSETTLED)
  if (!may.create) return refused(reference, KAFKA.UNKNOWN_TOPIC_OR_PARTITION)
  const created = yield* createOnDemand(services, name)
  return typeof created === "number" ? refused(reference, created) : described(services, context.listener, created)
})

/** Each topic once, as in Kafka: the answer about a topic can be ten thousand times as long as its name. */
const distinct = (asked: ReadonlyArray<TopicReference>) => {
  const seen = new Map<string, TopicReference & { readonly partitionMax: number }>()
  for (const { name, topicId } of asked) {
    seen.set(`${topicId} ${name}`, { name, topicId, partitionMax: -1 })
  }
  return [...seen.values()]
}

/** Answers nothing but the error, once for each topic: there was no place for an error of the request. */
const malformed = (asked: ReadonlyArray<TopicReference>) => ({
  throttleTimeMs: 0,
  brokers: [],
  clusterId: null,
  controllerId: -1,
  // An answer of these versions must have a name.
  topics: distinct(asked).map(({ name, topicId }) => refused({ name: name ?? "", topicId }, KAFKA.INVALID_REQUEST)),
  errorCode: KAFKA.NONE
})

const isBeforeItsTime = ({ name, topicId }: TopicReference): boolean => name === null || topicId !== UUID_ZERO

export const metadata = defineHandler(Metadata, (services) =>
  Effect.fnUntraced(function* (request, context) {
    const { log, cluster, settings } = services
    const { apiVersion, listener } = context
    const asked = request.topics
    if (asked !== null && apiVersion < BY_ID_SINCE && asked.some(isBeforeItsTime)) return malformed(asked)
    const isForAll = asked === null || (apiVersion === 0 && asked.length === 0)
    const topics: Array<TopicAnswer> = []
    if (isForAll) {
      // Who lists topics has often just created one through another agent.
      yield* settleFold(log)
      for (const topic of log.fold.topics()) topics.push(described(services, listener, topic))
    } else {
      const references = distinct(asked)
      const certainty = yield* settleIfMissing(log, references)
      const create = settings.autoCreateTopics && (apiVersion < 4 || request.allowAutoTopicCreation)
      for (const reference of references) {
        topics.push(yield* answerTopic(services, context, reference, { create, certainty }))
      }
    }
    if (request.includeTopicAuthorizedOperations) {
      for (const [index, topic] of topics.entries()) {
        if (topic.errorCode !== KAFKA.NONE) continue
        topics[index] = { ...topic, topicAuthorizedOperations: TOPIC_OPERATIONS_ALL }
      }
    }
    return {
      throttleTimeMs: 0,
      brokers: cluster.brokers(listener),
      clusterId: uuidToBase64(log.fold.clusterId ?? UUID_ZERO),
      controllerId: cluster.leaderOf(listener, "controller", 0).nodeId,
      topics,
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? CLUSTER_OPERATIONS_ALL
        : AUTHORIZED_OPERATIONS_UNKNOWN,
      errorCode: KAFKA.NONE
    }
  })
)
