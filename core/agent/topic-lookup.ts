/**
 * Topics by name or id, linearizable where it matters: "there is no such topic" is never said from memory alone, because
 * another agent may have created it a moment ago. One barrier serves all misses of a request.
 */
import { Effect } from "effect"
import { type CommitLog } from "#core/log/commit-log.ts"
import { type FoldState, type PartitionState, type TopicState } from "#core/log/fold.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { ERROR_UNSETTLED, KAFKA } from "./kafka-error.ts"

/** By id where one is given or the name is null, else by name. */
export interface TopicReference {
  readonly name: string | null
  readonly topicId: string
}

/** What is known after `settle`: whether an absence is certain. */
export type Certainty = "settled" | "unsettled"

export const findTopic = (fold: FoldState, reference: TopicReference): TopicState | undefined =>
  reference.topicId !== UUID_ZERO
    ? fold.topicById(reference.topicId)
    : reference.name === null
      ? undefined
      : fold.topicByName(reference.name)

/** Reads up to the log's tail; "unsettled" where the database does not answer. */
export const settleFold = (log: CommitLog["Service"]): Effect.Effect<Certainty> =>
  Effect.match(log.barrier, { onSuccess: () => "settled" as const, onFailure: () => "unsettled" as const })

const SETTLED: Effect.Effect<Certainty> = Effect.succeed("settled")

/** The first of each name: what is asked twice is answered once, as in Kafka. */
export const distinctByName = <T extends { readonly name: string }>(asked: ReadonlyArray<T>): ReadonlyArray<T> => {
  const seen = new Set<string>()
  return asked.filter(({ name }) => {
    const isNew = !seen.has(name)
    seen.add(name)
    return isNew
  })
}

/** A barrier, unless all topics and partitions named are in the fold already. */
export const settleIfMissing = (
  log: CommitLog["Service"],
  references: Iterable<TopicReference & { readonly partitionMax: number }>
): Effect.Effect<Certainty> => {
  for (const reference of references) {
    const topic = findTopic(log.fold, reference)
    if (topic === undefined || reference.partitionMax >= topic.partitions.length) return settleFold(log)
  }
  return SETTLED
}

export const errorOfMissing = (reference: TopicReference, certainty: Certainty): number =>
  certainty === "unsettled"
    ? ERROR_UNSETTLED
    : reference.topicId === UUID_ZERO && reference.name !== null
      ? KAFKA.UNKNOWN_TOPIC_OR_PARTITION
      : KAFKA.UNKNOWN_TOPIC_ID

/** The partition, or the error code to answer. */
export const findPartition = (
  topic: TopicState | undefined,
  reference: TopicReference,
  partition: number,
  certainty: Certainty
): PartitionState | number => {
  if (topic === undefined) return errorOfMissing(reference, certainty)
  return topic.partitions[partition] ?? (certainty === "unsettled" ? ERROR_UNSETTLED : KAFKA.UNKNOWN_TOPIC_OR_PARTITION)
}

/** Kafka's check of a client's leader epoch (KIP-320) against the constant epoch 0; NONE when it may go on. */
export const checkLeaderEpoch = (currentLeaderEpoch: number): number =>
  currentLeaderEpoch > 0 ? KAFKA.UNKNOWN_LEADER_EPOCH : KAFKA.NONE
