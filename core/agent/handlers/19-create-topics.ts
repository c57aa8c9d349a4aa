/**
 * CreateTopics (key 19), v2-7.
 *
 * Any agent creates topics; the topic is visible to whoever asks anywhere once the answer is given. Replication is the
 * bucket set's matter, so every replication factor from 1 on (and -1) is accepted. Manual assignments give the number of
 * partitions; the brokers in them are ignored. v4+ -1 asks for the default number of partitions; v5+ answers the configs;
 * v7+ the topic id. Errors are per topic; a name that comes twice is INVALID_REQUEST, once.
 */
import { Effect } from "effect"
import { type CreateTopic } from "#core/log/command.ts"
import { validateTopicConfig, validateTopicConfigs } from "#core/config/topic-config.ts"
import { limits } from "#core/model/limits.ts"
import { collisionKey, topicNameProblem } from "#core/model/topic-name.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { brokersProblem } from "../assignment.ts"
import { errorMessageOf } from "../error-message.ts"
import { describeTopicConfigs } from "../config-description.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { errorOfCommand, KAFKA } from "../kafka-error.ts"
import { distinctByName, settleFold } from "../topic-lookup.ts"

type Asked = RequestOf<typeof CreateTopics>["topics"][number]
type Answer = ResponseInput<typeof CreateTopics>["topics"][number]

interface Problem {
  readonly errorCode: number
  readonly errorMessage: string
}

const problem = (errorCode: number, text: string): Problem => ({ errorCode, errorMessage: errorMessageOf(text) })

/** Shown to clients: durability does not come from replicas among brokers. */
const REPLICATION_FACTOR_SHOWN = 1

const assignmentProblem = ({ assignments, numPartitions, replicationFactor }: Asked): Problem | undefined => {
  if (numPartitions !== -1 || replicationFactor !== -1) {
    return problem(KAFKA.INVALID_REQUEST, "with assignments, numPartitions and replicationFactor must both be -1")
  }
  const indexes = assignments.map(({ partitionIndex }) => partitionIndex).sort((a, b) => a - b)
  if (indexes.some((partition, place) => partition !== place)) {
    return problem(KAFKA.INVALID_REPLICA_ASSIGNMENT, "assignments must name the partitions 0, 1, 2 … once each")
  }
  for (const { brokerIds } of assignments) {
    const malformed = brokersProblem(brokerIds)
    if (malformed !== undefined) return problem(KAFKA.INVALID_REPLICA_ASSIGNMENT, malformed)
  }
  return undefined
}

const countProblem = ({ numPartitions, replicationFactor }: Asked): Problem | undefined => {
  if (replicationFactor === 0 || replicationFactor < -1) {
    return problem(
      KAFKA.INVALID_REPLICATION_FACTOR,
      `replicationFactor must be -1 (default) or at least 1, not ${replicationFactor}`
    )
  }
  const countRule = `numPartitions must be -1 (default) or 1 to ${limits.partitionsPerTopicMax}, not ${numPartitions}`
  if (numPartitions === 0 || numPartitions < -1) return problem(KAFKA.INVALID_PARTITIONS, countRule)
  return numPartitions > limits.partitionsPerTopicMax ? problem(KAFKA.POLICY_VIOLATION, countRule) : undefined
}

const configProblem = ({ configs }: Asked): Problem | undefined => {
  for (const { name, value } of configs) {
    const message =
      value === null ? `Null value not supported for topic configs: ${name}` : validateTopicConfig(name, value)
    if (message !== undefined) return problem(KAFKA.INVALID_CONFIG, message)
  }
  const conflict = validateTopicConfigs(new Map(configs.map(({ name, value }) => [name, value ?? ""])))
  return conflict === undefined ? undefined : problem(KAFKA.INVALID_CONFIG, conflict)
}

const problemOf = (asked: Asked, isRepeated: boolean): Problem | undefined => {
  if (isRepeated) return problem(KAFKA.INVALID_REQUEST, `the topic ${asked.name} is named more than once`)
  const name = topicNameProblem(asked.name)
  if (name !== undefined) return problem(KAFKA.INVALID_TOPIC_EXCEPTION, name)
  return (asked.assignments.length > 0 ? assignmentProblem(asked) : countProblem(asked)) ?? configProblem(asked)
}

const refused = (name: string, { errorCode, errorMessage }: Problem): Answer => ({
  name,
  topicId: UUID_ZERO,
  errorCode,
  errorMessage,
  configs: []
})

const TOO_MANY_PARTITIONS = problem(
  KAFKA.POLICY_VIOLATION,
  `one request may create at most ${limits.partitionsPerRequestMax} partitions: create the topics in several requests`
)
const exists = (name: string): Problem => problem(KAFKA.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`)
const collides = (name: string): Problem =>
  problem(
    KAFKA.INVALID_TOPIC_EXCEPTION,
    `Topic '${name}' collides with an existing topic: they differ only in '.' and '_'.`
  )

const created = (command: CreateTopic): Answer => ({
  name: command.name,
  topicId: command.topicId,
  errorCode: KAFKA.NONE,
  errorMessage: null,
  numPartitions: command.partitions,
  replicationFactor: REPLICATION_FACTOR_SHOWN,
  configs: describeTopicConfigs(new Map(command.configs), null).map(
    ({ name, value, readOnly, configSource, isSensitive }) => ({
      name,
      value,
      readOnly,
      configSource,
      isSensitive
    })
  )
})

const partitionsOf = ({ settings }: AgentServices, { assignments, numPartitions }: Asked): number =>
  assignments.length > 0 ? assignments.length : numPartitions === -1 ? settings.numPartitions : numPartitions

const create = (services: AgentServices, asked: Asked, validateOnly: boolean): Effect.Effect<Answer> => {
  const partitions = partitionsOf(services, asked)
  const command: CreateTopic = {
    kind: "create-topic",
    topicId: services.entropy.uuid(),
    name: asked.name,
    partitions,
    configs: asked.configs.map(({ name, value }) => [name, value ?? ""] as const)
  }
  if (validateOnly) {
    return Effect.map(settleFold(services.log), (certainty) => {
      const { name } = asked
      if (certainty === "unsettled") {
        return refused(name, problem(KAFKA.REQUEST_TIMED_OUT, "the metadata database does not answer"))
      }
      const { fold } = services.log
      if (fold.topicByName(name) !== undefined) return refused(name, exists(name))
      const key = collisionKey(name)
      if (fold.topics().some((topic) => collisionKey(topic.name) === key)) return refused(name, collides(name))
      return { ...created(command), topicId: UUID_ZERO }
    })
  }
  return Effect.match(services.log.submit(command), {
    onFailure: (error) =>
      refused(asked.name, problem(errorOfCommand(error), "the topic may or may not have been created")),
    onSuccess: ({ result }) =>
      result === "created"
        ? created(command)
        : refused(asked.name, result === "exists" ? exists(asked.name) : collides(asked.name))
  })
}

export const createTopics = defineHandler(CreateTopics, (services) =>
  Effect.fnUntraced(function* (request) {
    const times = new Map<string, number>()
    for (const { name } of request.topics) times.set(name, (times.get(name) ?? 0) + 1)
    let partitions = 0
    const answers = distinctByName(request.topics).map((asked) => {
      let wrong = problemOf(asked, times.get(asked.name)! > 1)
      if (wrong === undefined) {
        partitions += partitionsOf(services, asked)
        if (partitions > limits.partitionsPerRequestMax) wrong = TOO_MANY_PARTITIONS
      }
      return wrong === undefined
        ? create(services, asked, request.validateOnly)
        : Effect.succeed(refused(asked.name, wrong))
    })
    return { throttleTimeMs: 0, topics: yield* Effect.all(answers, { concurrency: 64 }) }
  })
)
