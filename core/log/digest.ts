/**
 * A digest of a whole fold [pure]: equal on all agents that folded the same rows, however they came by them, also from a
 * checkpoint.
 *
 * It covers everything that a later verdict, answer or fetch may depend on, also the order in which things will be
 * forgotten. It walks the whole state: for tests, drills and repair, not for a request.
 */
import { createHash, type Hash } from "node:crypto"
import { type Fold } from "./fold.ts"
import { type PartitionLog } from "./partition-log.ts"

/** SHA-256 in hex. */
export const digest = (fold: Fold): string => {
  const hash = createHash("sha256")
  const { shard, seq, nonce, epoch, holder, timeMs, clusterId, nextProducerId } = fold
  add(hash, { shard, seq, nonce, epoch, holder, timeMs, clusterId, nextProducerId })
  const { materializedSeq, materializedAtSeq, residentRuns } = fold
  add(hash, { materializedSeq, materializedAtSeq, residentRuns })
  add(hash, [...fold.deletedTopicIds])
  add(hash, fold.segments.forgottenMs)
  for (const remembered of fold.segments.inOrder()) add(hash, remembered)
  for (const topic of fold.topics()) {
    add(hash, [topic.topicId, topic.name, topic.createdAtMs, [...topic.configs], topic.partitions.length])
    for (const partition of topic.partitions) addPartition(hash, partition)
  }
  return hash.digest("hex")
}

const add = (hash: Hash, value: unknown): void => {
  hash.update(JSON.stringify(value))
  hash.update("\n")
}

const addPartition = (hash: Hash, partition: PartitionLog): void => {
  const { logStartOffset, residentOffset, highWatermark, runCount } = partition
  add(hash, [partition.partition, logStartOffset, residentOffset, highWatermark, runCount])
  for (let index = 0; index < partition.runCount; index += 1) add(hash, partition.run(index))
  for (const producer of partition.producers?.entries() ?? []) add(hash, producer)
}
