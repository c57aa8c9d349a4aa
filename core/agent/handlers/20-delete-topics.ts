/**
 * DeleteTopics (key 20), v1-6.
 *
 * By name, from v6 also by id. A topic that is named more than once, in either way, gets INVALID_REQUEST, once, and
 * stays. The id is never used again; a topic made later under the same name has another. The records' segments are
 * freed by retention later. Existence is never denied from memory alone.
 */
import { Effect } from "effect"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { type ResponseInput } from "#core/protocol/schema.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type TopicState } from "#core/log/fold.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { errorOfCommand, KAFKA } from "../kafka-error.ts"
import { type Certainty, errorOfMissing, findTopic, settleIfMissing, type TopicReference } from "../topic-lookup.ts"

type Answer = ResponseInput<typeof DeleteTopics>["responses"][number]

const answer = ({ name, topicId }: TopicReference, errorCode: number, errorMessage: string | null = null): Answer => ({
  name,
  topicId,
  errorCode,
  errorMessage
})

/** What is asked of one topic; `topic` where it is known. */
interface Asked {
  readonly reference: TopicReference
  readonly topic: TopicState | undefined
  readonly isRepeated: boolean
}

/** One of each topic, however often and in whichever way it is named. */
const distinct = (services: AgentServices, references: ReadonlyArray<TopicReference>): ReadonlyArray<Asked> => {
  const seen = new Map<string, Asked>()
  for (const reference of references) {
    const topic = isMalformed(reference) ? undefined : findTopic(services.log.fold, reference)
    const key = topic?.topicId ?? `${reference.topicId} ${reference.name}`
    const known = seen.get(key)
    if (known === undefined) seen.set(key, { reference, topic, isRepeated: false })
    else seen.set(key, { reference: merged(known.reference, reference), topic, isRepeated: true })
  }
  return [...seen.values()]
}

const merged = (a: TopicReference, b: TopicReference): TopicReference => ({
  name: a.name ?? b.name,
  topicId: a.topicId === UUID_ZERO ? b.topicId : a.topicId
})

const isMalformed = ({ name, topicId }: TopicReference): boolean => (name !== null) === (topicId !== UUID_ZERO)

const remove = (
  services: AgentServices,
  { reference, topic, isRepeated }: Asked,
  certainty: Certainty
): Effect.Effect<Answer> => {
  if (isRepeated) {
    return Effect.succeed(answer(reference, KAFKA.INVALID_REQUEST, "the topic is named more than once"))
  }
  if (isMalformed(reference)) {
    return Effect.succeed(answer(reference, KAFKA.INVALID_REQUEST, "name a topic or give its id: one of them"))
  }
  if (topic === undefined) {
    return Effect.succeed(answer(reference, errorOfMissing(reference, certainty), "there is no such topic"))
  }
  const { topicId, name } = topic
  return Effect.match(services.log.submit({ kind: "delete-topic", topicId, mayBeDone: false }), {
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
      distinct(services, references).map((asked) => remove(services, asked, certainty)),
      { concurrency: 64 }
    )
    return { throttleTimeMs: 0, responses }
  })
)
