/**
 * DeleteTopics (key 20), v1-6.
 *
 * By name, from v6 also by id. The id is never used again; a topic made later under the same name has another. The records'
 * segments are freed by retention later. Existence is never denied from memory alone.
 */
import { Effect } from "effect"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { type ResponseInput } from "#core/protocol/schema.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { errorOfCommand, KAFKA } from "../kafka-error.ts"
import { type Certainty, errorOfMissing, findTopic, settleIfMissing, type TopicReference } from "../topic-lookup.ts"

type Answer = ResponseInput<typeof DeleteTopics>["responses"][number]

const answer = (
  { name, topicId }: TopicReference,
  errorCode: number,
  errorMessage: string | null = null
): Answer => ({ name, topicId, errorCode, errorMessage })

const remove = (services: AgentServices, reference: TopicReference, certainty: Certainty): Effect.Effect<Answer> => {
  if (reference.name !== null && reference.topicId !== UUID_ZERO) {
    return Effect.succeed(answer(reference, KAFKA.INVALID_REQUEST, "name a topic or give its id, not both"))
  }
  const topic = findTopic(services.log.fold, reference)
  if (topic === undefined) {
    return Effect.succeed(answer(reference, errorOfMissing(reference, certainty), "there is no such topic"))
  }
  const { topicId, name } = topic
  return Effect.match(services.log.submit({ kind: "delete-topic", topicId }), {
    onFailure: (error) => answer(reference, errorOfCommand(error), "the topic may or may not have been deleted"),
    onSuccess: ({ result }) =>
      result === "deleted"
        ? answer({ name, topicId }, KAFKA.NONE)
        : answer(reference, errorOfMissing(reference, "settled"), "there is no such topic")
  })
}

export const deleteTopics = defineHandler(DeleteTopics, (services) =>
  Effect.fnUntraced(function* (request, { apiVersion }) {
    const references: ReadonlyArray<TopicReference> =
      apiVersion >= 6 ? request.topics : request.topicNames.map((name) => ({ name, topicId: UUID_ZERO }))
    const certainty = yield* settleIfMissing(
      services.log,
      references.map(({ name, topicId }) => ({ name, topicId, partitionMax: -1 }))
    )
    const responses = yield* Effect.all(
      references.map((reference) => remove(services, reference, certainty)),
      { concurrency: 64 }
    )
    return { throttleTimeMs: 0, responses }
  })
)
