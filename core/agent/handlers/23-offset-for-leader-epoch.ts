/**
 * OffsetForLeaderEpoch (key 23), v2-4 (KIP-101, KIP-320).
 *
 * The leader epoch of every partition is 0 for ever and the log is never truncated, so an epoch that we gave out ends at
 * the log end offset; any other epoch is unknown: (-1, -1).
 */
import { Effect } from "effect"
import { OffsetForLeaderEpoch } from "#core/protocol/api/23-offset-for-leader-epoch.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { defineHandler } from "../handler.ts"
import { ERROR_UNSETTLED, KAFKA } from "../kafka-error.ts"
import { checkLeaderEpoch, findPartition, findTopic, settleFold } from "../topic-lookup.ts"

export const offsetForLeaderEpoch = defineHandler(OffsetForLeaderEpoch, ({ log }) =>
  Effect.fnUntraced(function* (request) {
    const certainty = yield* settleFold(log)
    const answer = (topicName: string, asked: (typeof request.topics)[number]["partitions"][number]) => {
      const reference = { name: topicName, topicId: UUID_ZERO }
      const found = findPartition(findTopic(log.fold, reference), reference, asked.partition, certainty)
      const refused = (errorCode: number) => ({ errorCode, partition: asked.partition, leaderEpoch: -1, endOffset: -1 })
      if (typeof found === "number") return refused(found)
      const epochError = checkLeaderEpoch(asked.currentLeaderEpoch)
      if (epochError !== KAFKA.NONE) return refused(epochError)
      // The end is the newest: without the barrier it would be a guess.
      if (certainty === "unsettled") return refused(ERROR_UNSETTLED)
      if (asked.leaderEpoch !== 0) return refused(KAFKA.NONE)
      return { errorCode: KAFKA.NONE, partition: asked.partition, leaderEpoch: 0, endOffset: found.highWatermark }
    }
    return {
      throttleTimeMs: 0,
      topics: request.topics.map((topic) => ({
        topic: topic.topic,
        partitions: topic.partitions.map((asked) => answer(topic.topic, asked))
      }))
    }
  })
)
