/** Commands of a made-up load: commits of segments over the partitions of one topic. */
import { randomBytes } from "node:crypto"
import { type CommitSegment, type RunSummary } from "#core/log/command.ts"

export const TOPIC = "70".repeat(16)
export const PARTITIONS = 200
const RUN_BYTES = 20_000
export const RECORDS_PER_BATCH = 100

export const createTopic = {
  kind: "create-topic",
  topicId: TOPIC,
  name: "orders",
  partitions: PARTITIONS,
  configs: []
} as const

export interface Batch {
  readonly partition: number
  /** -1 without idempotence. */
  readonly producerId: number
  readonly baseSequence: number
}

/** One segment with one batch of 100 records for each. */
export const commitOf = (batches: ReadonlyArray<Batch>): CommitSegment => {
  const nowMs = Date.now()
  return {
    kind: "commit-segment",
    segmentId: randomBytes(16).toString("hex"),
    createdAtMs: nowMs - 50,
    bucketSet: "quorum",
    ackedBuckets: ["east", "west"],
    segmentBytes: batches.length * RUN_BYTES + 500,
    blockOffsets: [0, batches.length * RUN_BYTES],
    runs: batches.map(({ partition, producerId, baseSequence }, index): RunSummary => {
      const producer = { producerId, producerEpoch: producerId < 0 ? -1 : 0, baseSequence }
      const batch = { offsetCount: RECORDS_PER_BATCH, maxTimestampMs: nowMs - 60, ...producer }
      const place = { byteOffset: index * RUN_BYTES, byteLength: RUN_BYTES, crc: 0x12345678 }
      return { topicId: TOPIC, partition, ...place, timestampType: "create", batches: [batch] }
    })
  }
}

/** Commits with idempotent producers of its own, one per partition. */
export class IdempotentLoad {
  readonly #firstProducerId: number
  readonly #sequences = Array.from({ length: PARTITIONS }, () => 0)

  /** `load`: from 0, another one for each. */
  constructor(load: number) {
    this.#firstProducerId = 1_000 + load * PARTITIONS
  }

  /** The partitions from one chosen by chance, as many as are wanted. */
  next(runs: number): CommitSegment {
    const first = Math.floor(Math.random() * PARTITIONS)
    return commitOf(
      Array.from({ length: runs }, (_, index) => {
        const partition = (first + index) % PARTITIONS
        const baseSequence = this.#sequences[partition]!
        this.#sequences[partition] = baseSequence + RECORDS_PER_BATCH
        return { partition, producerId: this.#firstProducerId + partition, baseSequence }
      })
    )
  }
}
