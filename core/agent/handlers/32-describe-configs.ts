/**
 * DescribeConfigs (key 32), v1-4.
 *
 * Topics (2) and brokers (4): every config with its value, source and synonyms; v3+ type and documentation. Clients read,
 * change and write back what they find here, so nothing is left out. A broker is described by itself: ask the one that is
 * meant; the cluster-wide default (empty name) has no configs of its own. Other resource types do not exist:
 * INVALID_REQUEST.
 */
import { Effect } from "effect"
import { brokerConfigs } from "#core/config/broker-config.ts"
import { isTopicName } from "#core/model/topic-name.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { DescribeConfigs } from "#core/protocol/api/32-describe-configs.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { type ConfigDescription, describeBrokerConfigs, describeTopicConfigs } from "../config-description.ts"
import { errorMessageOf } from "../error-message.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { KAFKA } from "../kafka-error.ts"
import { type Certainty, errorOfMissing, findTopic, settleFold } from "../topic-lookup.ts"

type Resource = RequestOf<typeof DescribeConfigs>["resources"][number]
type Result = ResponseInput<typeof DescribeConfigs>["results"][number]

interface Options {
  readonly includeSynonyms: boolean
  readonly includeDocumentation: boolean
  readonly certainty: Certainty
  readonly listener: string
}

const TYPE_TOPIC = 2
const TYPE_BROKER = 4

const failed = ({ resourceType, resourceName }: Resource, errorCode: number, text: string): Result => ({
  errorCode,
  errorMessage: errorMessageOf(text),
  resourceType,
  resourceName,
  configs: []
})

const found = (
  { resourceType, resourceName }: Resource,
  configs: ReadonlyArray<ConfigDescription>,
  options: Options
): Result => ({
  errorCode: KAFKA.NONE,
  errorMessage: null,
  resourceType,
  resourceName,
  configs: configs.map((config) => ({
    ...config,
    synonyms: options.includeSynonyms ? config.synonyms : [],
    documentation: options.includeDocumentation ? config.documentation : null
  }))
})

/** An empty list of keys asks for all of them, as null does. */
const keysOf = ({ configurationKeys }: Resource): ReadonlyArray<string> | null =>
  configurationKeys === null || configurationKeys.length === 0 ? null : configurationKeys

const describeTopic = (services: AgentServices, resource: Resource, options: Options): Result => {
  const { resourceName } = resource
  if (!isTopicName(resourceName)) {
    return failed(resource, KAFKA.INVALID_TOPIC_EXCEPTION, `"${resourceName}" is no valid topic name`)
  }
  const reference = { name: resourceName, topicId: UUID_ZERO }
  const topic = findTopic(services.log.fold, reference)
  return topic === undefined
    ? failed(resource, errorOfMissing(reference, options.certainty), "there is no such topic")
    : found(resource, describeTopicConfigs(topic.configs, keysOf(resource)), options)
}

const describeBroker = (services: AgentServices, resource: Resource, options: Options): Result => {
  const { resourceName } = resource
  if (resourceName === "") return found(resource, [], options)
  const { selfNodeId } = services.cluster
  if (resourceName !== String(selfNodeId)) {
    return failed(
      resource,
      KAFKA.INVALID_REQUEST,
      `Unexpected broker id, expected ${selfNodeId} or empty string, but received ${resourceName}`
    )
  }
  const self = services.cluster.brokers(options.listener).find(({ nodeId }) => nodeId === selfNodeId)
  const facts = {
    nodeId: selfNodeId,
    rack: self?.rack ?? "",
    advertisedListeners: self === undefined ? "" : `PLAINTEXT://${self.host}:${self.port}`,
    replicationFactor: 1,
    settings: services.settings
  }
  return found(resource, describeBrokerConfigs(brokerConfigs(facts), keysOf(resource)), options)
}

/**
 * A description is hundreds of times as long as the question: named a million times in one request, a resource is still
 * described once. Clients keep answers by resource and cannot tell.
 */
const distinct = (resources: ReadonlyArray<Resource>): ReadonlyArray<Resource> => {
  const seen = new Map<string, Resource>()
  for (const resource of resources) seen.set(`${resource.resourceType} ${resource.resourceName}`, resource)
  return [...seen.values()]
}

const describe = (services: AgentServices, resource: Resource, options: Options): Result => {
  if (resource.resourceType === TYPE_TOPIC) return describeTopic(services, resource, options)
  if (resource.resourceType === TYPE_BROKER) return describeBroker(services, resource, options)
  return failed(
    resource,
    KAFKA.INVALID_REQUEST,
    `resource type ${resource.resourceType} has no configs here: use 2 (topic) or 4 (broker)`
  )
}

export const describeConfigs = defineHandler(
  DescribeConfigs,
  (services) =>
    (request, { apiVersion, listener }) =>
      Effect.map(settleFold(services.log), (certainty) => {
        const options: Options = {
          includeSynonyms: request.includeSynonyms,
          includeDocumentation: apiVersion >= 3 && request.includeDocumentation,
          certainty,
          listener
        }
        return {
          throttleTimeMs: 0,
          results: distinct(request.resources).map((resource) => describe(services, resource, options))
        }
      })
)
