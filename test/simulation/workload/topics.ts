/** Creates topics and waits for them, as an application does when it starts. */
import { Effect } from "effect"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Actor, RETRY_MS_MAX, RETRY_MS_MIN } from "./actor.ts"

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  readonly configs?: Readonly<Record<string, string>>
}

export const createTopicsRequest = (topics: ReadonlyArray<NewTopic>) => ({
  topics: topics.map(({ name, partitions, configs = {} }) => ({
    name,
    numPartitions: partitions,
    replicationFactor: -1,
    assignments: [],
    configs: Object.entries(configs).map(([key, value]) => ({ name: key, value }))
  }))
})

/** Ends when all exist. */
export const ensureTopics = Effect.fnUntraced(function* (actor: Actor, topics: ReadonlyArray<NewTopic>) {
  const { client, random } = actor
  let missing = topics
  while (missing.length > 0) {
    const asked = yield* Effect.result(client.ask(CreateTopics, 7, createTopicsRequest(missing)))
    if (asked._tag === "Success") {
      const there = new Set(
        asked.success.answer.topics
          .filter(({ errorCode }) => errorCode === errorCodes.NONE || errorCode === errorCodes.TOPIC_ALREADY_EXISTS)
          .map(({ name }) => name)
      )
      for (const name of there) {
        if (actor.truth.topicNamed(name) !== undefined) continue
        throw new CheckFailed("acknowledged-before-log", "a created topic is not in the log", { topic: name })
      }
      missing = missing.filter(({ name }) => !there.has(name))
      if (missing.length === 0) return
    }
    yield* Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))
  }
})
