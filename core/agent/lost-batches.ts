/**
 * Batches of idempotent producers that were lost here, until they come again [pure].
 *
 * A partition that does not know a producer lets it begin anywhere. So a client whose first batch was lost, and who has sent
 * more before it could hear of that, would have the second one accepted; the first, sent again, would then be out of order
 * for ever. Until the lost batch comes again, what comes behind it is lost as well. Once the partition knows the producer,
 * sequences are judged there, and nothing is remembered here.
 */
import { type BatchSummary } from "#core/log/command.ts"
import { type FoldState } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"

export interface ProducedBatch {
  readonly topicId: string
  readonly partition: number
  readonly summary: BatchSummary
}

interface Lost {
  readonly producerEpoch: number
  /** Of the earliest that was lost. */
  readonly baseSequence: number
}

const HALF_OF_SEQUENCES = 2 ** 30
const SEQUENCES = 2 ** 31

/** Sequences wrap from 2^31 - 1 to 0. */
const isBehind = (sequence: number, other: number): boolean => {
  const distance = (sequence - other + SEQUENCES) % SEQUENCES
  return distance > 0 && distance < HALF_OF_SEQUENCES
}

const keyOf = ({ topicId, partition, summary }: ProducedBatch): string =>
  `${summary.producerId}/${topicId}/${partition}`

export class LostBatches {
  /** By producer and partition, the one lost first at the front. */
  readonly #lost = new Map<string, Lost>()

  add(batch: ProducedBatch): void {
    const { producerId, producerEpoch, baseSequence } = batch.summary
    if (producerId < 0) return
    const key = keyOf(batch)
    const known = this.#lost.get(key)
    const isEarlier =
      known === undefined || known.producerEpoch !== producerEpoch || isBehind(known.baseSequence, baseSequence)
    if (!isEarlier) return
    this.#lost.set(key, { producerEpoch, baseSequence })
    if (this.#lost.size <= limits.lostBatchesRemembered) return
    for (const oldest of this.#lost.keys()) {
      this.#lost.delete(oldest)
      return
    }
  }

  /** Whether it must not be appended: an earlier batch of its producer was lost, and has not come again. */
  isBehindLost(batch: ProducedBatch, fold: FoldState): boolean {
    const { producerId, producerEpoch, baseSequence } = batch.summary
    if (this.#lost.size === 0 || producerId < 0) return false
    const key = keyOf(batch)
    const lost = this.#lost.get(key)
    if (lost === undefined) return false
    const isKnown = fold.topicById(batch.topicId)?.partitions[batch.partition]?.knowsProducer(producerId) ?? false
    if (!isKnown && lost.producerEpoch === producerEpoch && isBehind(baseSequence, lost.baseSequence)) return true
    this.#lost.delete(key)
    return false
  }
}
