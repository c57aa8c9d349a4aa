/**
 * ListOffsets (key 2), v1-11.
 *
 * -1 latest (the high watermark, after a barrier: what was acknowledged in any region counts), -2 earliest, -3 (v7+)
 * offset and timestamp of the record with the largest timestamp, -4 (v8+) earliest local (equals earliest: there are
 * no tiers), -5 (v9+) and -6 (v11+) tiered storage: there is none, (-1, -1). From 0 on: the first record whose
 * timestamp is at least the one asked, (-1, -1) without error where there is none. Versions that lack a special
 * timestamp get UNSUPPORTED_VERSION. A partition named twice gets INVALID_REQUEST, once, as in Kafka. read_committed
 * equals read_uncommitted until transactions exist.
 */
import { Effect } from "effect"
import { type PartitionState } from "#core/log/fold.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type AgentServices, defineHandler } from "../handler.ts"
import { ERROR_UNSETTLED, KAFKA } from "../kafka-error.ts"
import { firstAtOrAfter, type RecordTime, withLargestTimestamp } from "../timestamp-search.ts"
import { type Certainty, checkLeaderEpoch, findPartition, findTopic, settleFold } from "../topic-lookup.ts"

type PartitionRequest = RequestOf<typeof ListOffsets>["topics"][number]["partitions"][number]
type PartitionAnswer = ResponseInput<typeof ListOffsets>["topics"][number]["partitions"][number]

const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
const EARLIEST_PENDING_UPLOAD = -6

/** First version that knows the special timestamp. */
const SINCE: ReadonlyMap<number, number> = new Map([
  [LATEST, 1],
  [EARLIEST, 1],
  [MAX_TIMESTAMP, 7],
  [EARLIEST_LOCAL, 8],
  [LATEST_TIERED, 9],
  [EARLIEST_PENDING_UPLOAD, 11]
])

const NOWHERE: RecordTime = { offset: -1, timestampMs: -1 }

const isOffered = (timestamp: number, apiVersion: number): boolean =>
  timestamp >= 0 || apiVersion >= (SINCE.get(timestamp) ?? Number.POSITIVE_INFINITY)

const find = (services: AgentServices, state: PartitionState, timestamp: number) => {
  switch (timestamp) {
    case LATEST:
      return Effect.succeed({ offset: state.highWatermark, timestampMs: -1 })
    case EARLIEST:
    case EARLIEST_LOCAL:
      return Effect.succeed({ offset: state.logStartOffset, timestampMs: -1 })
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return Effect.succeed(NOWHERE)
    case MAX_TIMESTAMP:
      return withLargestTimestamp(services, state)
    default:
      return firstAtOrAfter(services, state, timestamp)
  }
}

const refused = (partitionIndex: number, errorCode: number): PartitionAnswer => ({
  partitionIndex,
  errorCode,
  timestamp: -1,
  offset: -1,
  leaderEpoch: -1
})

const answerPartition = (
  services: AgentServices,
  name: string,
  asked: PartitionRequest,
  options: { readonly apiVersion: number; readonly certainty: Certainty; readonly isRepeated: boolean }
): Effect.Effect<PartitionAnswer> => {
  const { partitionIndex, timestamp } = asked
  const reference = { name, topicId: UUID_ZERO }
  const refuse = (errorCode: number) => Effect.succeed(refused(partitionIndex, errorCode))
  if (options.isRepeated) return refuse(KAFKA.INVALID_REQUEST)
  const state = findPartition(findTopic(services.log.fold, reference), reference, partitionIndex, options.certainty)
  if (typeof state === "number") return refuse(state)
  if (!isOffered(timestamp, options.apiVersion)) return refuse(KAFKA.UNSUPPORTED_VERSION)
  const epochError = checkLeaderEpoch(asked.currentLeaderEpoch)
  if (epochError !== KAFKA.NONE) return refuse(epochError)
  // Only the beginning is certain without the database.
  if (options.certainty === "unsettled" && timestamp !== EARLIEST && timestamp !== EARLIEST_LOCAL) {
    return refuse(ERROR_UNSETTLED)
  }
  return Effect.match(find(services, state, timestamp), {
    onFailure: () => refused(partitionIndex, KAFKA.KAFKA_STORAGE_ERROR),
    onSuccess: ({ offset, timestampMs }) => ({
      partitionIndex,
      errorCode: KAFKA.NONE,
      timestamp: timestampMs,
      offset,
      // Older versions cannot carry one.
      leaderEpoch: options.apiVersion < 4 || offset < 0 ? -1 : 0
    })
  })
}

export const listOffsets = defineHandler(ListOffsets, (services) =>
  Effect.fnUntraced(function* (request, { apiVersion }) {
    const certainty = yield* settleFold(services.log)
    const topics: Array<{ name: string; partitions: Array<PartitionAnswer> }> = []
    for (const { name, partitions } of request.topics) {
      const times = new Map<number, number>()
      for (const { partitionIndex } of partitions) times.set(partitionIndex, (times.get(partitionIndex) ?? 0) + 1)
      const named = new Set<number>()
      const once = partitions.filter(({ partitionIndex }) => !named.has(partitionIndex) && named.add(partitionIndex))
      const answers = once.map((asked) =>
        answerPartition(services, name, asked, {
          apiVersion,
          certainty,
          isRepeated: times.get(asked.partitionIndex)! > 1
        })
      )
      topics.push({ name, partitions: yield* Effect.all(answers, { concurrency: 16 }) })
    }
    return { throttleTimeMs: 0, topics }
  })
)
