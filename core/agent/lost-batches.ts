/**
 * Batches of idempotent producers that were lost here, until they come again [pure].
 *
 * Until the lost batch comes again, or is seen in the log, what comes behind it is refused as well, surely and retriably: a
 * client has sent more before it could hear of the loss. Let through, it would do harm in two ways. A partition that does not
 * know the producer lets it begin anywhere: the second batch would be accepted, and the first, sent again, be out of order for
 * ever. And where the partition knows it, "out of order" is fatal to clients that count a batch whose fate is not known as
 * appended (librdkafka up to 2.0). A producer that has given the batch up goes on with another epoch, or hears after
 * limits.lostBatchHeldMs that it is out of order.
 */
import { type BatchSummary } from "#core/log/command.ts"
import { type FoldState } from "#core/log/fold.ts"
import { isSequenceAfter } from "#core/log/producer-states.ts"
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
  /** When one was lost last. */
  readonly atMs: number
}

const keyOf = ({ topicId, partition, summary }: ProducedBatch): string =>
  `${summary.producerId}/${topicId}/${partition}`

/** Whether it will not be out of order: what was lost is in the log after all, and so may be this batch. */
const isInOrder = ({ topicId, partition, summary }: ProducedBatch, fold: FoldState): boolean => {
  const { producerId, producerEpoch, baseSequence } = summary
  const expected = fold.topicById(topicId)?.partitions[partition]?.expectedSequence(producerId, producerEpoch)
  return expected !== undefined && (expected === baseSequence || isSequenceAfter(expected, baseSequence))
}

export class LostBatches {
  /** By producer and partition, the one lost first at the front. */
  readonly #lost = new Map<string, Lost>()

  add(batch: ProducedBatch, atMs: number): void {
    const { producerId, producerEpoch, baseSequence } = batch.summary
    if (producerId < 0) return
    const key = keyOf(batch)
    const known = this.#lost.get(key)
    const isEarlier =
      known === undefined || known.producerEpoch !== producerEpoch || isSequenceAfter(known.baseSequence, baseSequence)
    this.#lost.set(key, isEarlier ? { producerEpoch, baseSequence, atMs } : { ...known, atMs })
    if (this.#lost.size <= limits.lostBatchesRemembered) return
    for (const oldest of this.#lost.keys()) {
      this.#lost.delete(oldest)
      return
    }
  }

  /** Whether it must not be appended: an earlier batch of its producer was lost, and has not come again. */
  isBehindLost(batch: ProducedBatch, fold: FoldState, nowMs: number): boolean {
    const { producerId, producerEpoch, baseSequence } = batch.summary
    if (this.#lost.size === 0 || producerId < 0) return false
    const key = keyOf(batch)
    const lost = this.#lost.get(key)
    if (lost === undefined) return false
    const isOfItsTime = lost.producerEpoch === producerEpoch && nowMs - lost.atMs < limits.lostBatchHeldMs
    if (isOfItsTime && isSequenceAfter(baseSequence, lost.baseSequence) && !isInOrder(batch, fold)) return true
    this.#lost.delete(key)
    return false
  }
}
