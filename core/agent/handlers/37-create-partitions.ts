/**
 * CreatePartitions (key 37), v0-3 (KIP-195).
 *
 * `count` is the new total and must be more than there are. Assignments are checked for their form and otherwise ignored:
 * any agent serves any partition. Errors are per topic; a topic that is named twice gets INVALID_REQUEST, once.
 */
import { Effect } from "effect"
import { CreatePartitions } from "#core/protocol/api/37-create-partitions.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { brokersProblem } from "../assignment.ts"
import { errorMessageOf } from "../error-message.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { errorOfCommand, KAFKA } from "../kafka-error.ts"
import { type Certainty, distinctByName, errorOfMissing, findTopic, settleIfMissing } from "../topic-lookup.ts"

type Asked = RequestOf<typeof CreatePartitions>["topics"][number]
type Answer = ResponseInput<typeof CreatePartitions>["results"][number]

const notMore = (name: string, current: number, count: number): Answer => ({
  name,
  errorCode: KAFKA.INVALID_PARTITIONS,
  errorMessage: `Topic currently has ${current} partitions, which is ${current === count ? "the same as" : "higher than"} the requested ${count}.`
})

const grow = (
  services: AgentServices,
  { name, count, assignments }: Asked,
  options: { readonly validateOnly: boolean; readonly certainty: Certainty; readonly isRepeated: boolean }
): Effect.Effect<Answer> => {
  const refuse = (errorCode: number, text: string) =>
    Effect.succeed({ name, errorCode, errorMessage: errorMessageOf(text) })
  if (options.isRepeated) return refuse(KAFKA.INVALID_REQUEST, `the topic ${name} is named more than once`)
  const reference = { name, topicId: UUID_ZERO }
  const topic = findTopic(services.log.fold, reference)
  if (topic === undefined) return refuse(errorOfMissing(reference, options.certainty), "there is no such topic")
  const current = topic.partitions.length
  if (count <= current) return Effect.succeed(notMore(name, current, count))
  if (count > limits.partitionsPerTopicMax) {
    return refuse(
      KAFKA.INVALID_PARTITIONS,
      `at most ${limits.partitionsPerTopicMax} partitions are allowed, not ${count}`
    )
  }
  if (assignments !== null && assignments.length !== count - current) {
    return refuse(
      KAFKA.INVALID_REPLICA_ASSIGNMENT,
      `${count - current} partitions are added but ${assignments.length} assignments are given`
    )
  }
  const malformed = assignments
    ?.map(({ brokerIds }) => brokersProblem(brokerIds))
    .find((problem) => problem !== undefined)
  if (malformed !== undefined) return refuse(KAFKA.INVALID_REPLICA_ASSIGNMENT, malformed)
  if (options.validateOnly) return Effect.succeed({ name, errorCode: KAFKA.NONE, errorMessage: null })
  const command = { kind: "create-partitions", topicId: topic.topicId, partitions: count, mayBeDone: false } as const
  return Effect.match(services.log.submit(command), {
    onFailure: (error): Answer => ({
      name,
      errorCode: errorOfCommand(error),
      errorMessage: "the partitions may or may not have been created"
    }),
    onSuccess: ({ result, partitions }): Answer =>
      result === "created"
        ? { name, errorCode: KAFKA.NONE, errorMessage: null }
        : result === "not-more"
          ? notMore(name, partitions, count)
          : { name, errorCode: errorOfMissing(reference, "settled"), errorMessage: "there is no such topic" }
  })
}

export const createPartitions = defineHandler(CreatePartitions, (services) =>
  Effect.fnUntraced(function* (request) {
    const certainty = yield* settleIfMissing(
      services.log,
      request.topics.map(({ name }) => ({ name, topicId: UUID_ZERO, partitionMax: -1 }))
    )
    const times = new Map<string, number>()
    for (const { name } of request.topics) times.set(name, (times.get(name) ?? 0) + 1)
    const results = yield* Effect.all(
      distinctByName(request.topics).map((asked) =>
        grow(services, asked, {
          validateOnly: request.validateOnly,
          certainty,
          isRepeated: times.get(asked.name)! > 1
        })
      ),
      { concurrency: 64 }
    )
    return { throttleTimeMs: 0, results }
  })
)
