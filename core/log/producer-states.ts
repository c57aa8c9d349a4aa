/**
 * What is remembered of idempotent producers, per partition [pure]: epoch and the last five batches (KIP-98).
 *
 * Invariant: a function of the log alone. Forgetting goes by the time that entries carry and by a cap, never by a clock,
 * so that every agent forgets the same at the same entry. A partition's producers live on when its records are deleted.
 */
import { limits } from "#core/model/limits.ts"
import { type BatchSummary } from "./command.ts"
import { type Verdict } from "./verdict.ts"

const SEQUENCE_MAX = 0x7fffffff
/** Numbers of one remembered batch in ProducerState.batches. */
export const NUMBERS_PER_BATCH = 4
const NUMBERS_MAX = NUMBERS_PER_BATCH * limits.producerBatchesRemembered

export interface ProducerState {
  epoch: number
  /** The fold's time when the last batch was accepted. */
  seenMs: number
  /** Of this epoch, oldest first, four numbers each: base sequence, last sequence, base offset, append time (or -1). */
  readonly batches: Array<number>
}

export interface AcceptedBatch {
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly offsetCount: number
  readonly baseOffset: number
  /** What the answer said: -1 unless the records carry the time of the append. */
  readonly appendTimeMs: number
}

/** Sequences wrap from 2^31 - 1 to 0. */
export const lastSequenceOf = (baseSequence: number, offsetCount: number): number =>
  (baseSequence + offsetCount - 1) % (SEQUENCE_MAX + 1)

/** Index in `batches` of the remembered batch that this one repeats; -1 where there is none. */
export const duplicateIndexOf = (state: ProducerState, batch: BatchSummary): number => {
  if (batch.producerEpoch !== state.epoch) return -1
  const lastSequence = lastSequenceOf(batch.baseSequence, batch.offsetCount)
  for (let index = 0; index < state.batches.length; index += NUMBERS_PER_BATCH) {
    if (state.batches[index] === batch.baseSequence && state.batches[index + 1] === lastSequence) return index
  }
  return -1
}

/** Kafka's rules for a batch that is no duplicate. A producer that is not known may begin anywhere. */
export const sequenceVerdict = (state: ProducerState, batch: BatchSummary): Verdict => {
  if (batch.producerEpoch < state.epoch) return "invalidProducerEpoch"
  if (batch.producerEpoch > state.epoch) return batch.baseSequence === 0 ? "accepted" : "outOfOrderSequence"
  const lastSequence = state.batches.length === 0 ? -1 : state.batches[state.batches.length - NUMBERS_PER_BATCH + 1]!
  const expected = lastSequence === SEQUENCE_MAX ? 0 : lastSequence + 1
  return batch.baseSequence === expected ? "accepted" : "outOfOrderSequence"
}

/** Changes the state to what it is after the batch. */
export const rememberBatch = (state: ProducerState, batch: AcceptedBatch, seenMs: number): void => {
  const { batches } = state
  if (batch.producerEpoch !== state.epoch) {
    state.epoch = batch.producerEpoch
    batches.length = 0
  } else if (batches.length >= NUMBERS_MAX) {
    batches.copyWithin(0, NUMBERS_PER_BATCH)
    batches.length -= NUMBERS_PER_BATCH
  }
  const lastSequence = lastSequenceOf(batch.baseSequence, batch.offsetCount)
  batches.push(batch.baseSequence, lastSequence, batch.baseOffset, batch.appendTimeMs)
  state.seenMs = seenMs
}

export const newProducerState = (epoch: number): ProducerState => ({ epoch, seenMs: 0, batches: [] })

export const copyOfProducerState = (state: ProducerState): ProducerState => ({
  epoch: state.epoch,
  seenMs: state.seenMs,
  batches: state.batches.slice()
})

/** The producers of one partition, the one that was silent longest first. */
export class ProducerStates {
  private readonly byId = new Map<number, ProducerState>()

  get size(): number {
    return this.byId.size
  }

  get(producerId: number): ProducerState | undefined {
    return this.byId.get(producerId)
  }

  /** `seenMs` never retreats: it is the fold's time. */
  accept(producerId: number, batch: AcceptedBatch, seenMs: number): void {
    const known = this.byId.get(producerId)
    const state = known ?? newProducerState(batch.producerEpoch)
    if (known !== undefined) this.byId.delete(producerId)
    else if (this.byId.size >= limits.producersPerPartition) this.forgetOldest()
    rememberBatch(state, batch, seenMs)
    this.byId.set(producerId, state)
  }

  /** Forgets who was silent for longer than limits.producerIdExpirationMs. */
  expire(foldTimeMs: number): void {
    for (const [producerId, state] of this.byId) {
      if (foldTimeMs - state.seenMs <= limits.producerIdExpirationMs) return
      this.byId.delete(producerId)
    }
  }

  /** The one that was silent longest first. */
  entries(): Iterable<readonly [producerId: number, state: ProducerState]> {
    return this.byId
  }

  snapshot(): ProducerStates {
    const snapshot = new ProducerStates()
    for (const [producerId, state] of this.byId) snapshot.byId.set(producerId, copyOfProducerState(state))
    return snapshot
  }

  /** For restoring a checkpoint alone: in the order of `entries`. */
  restore(producerId: number, state: ProducerState): void {
    this.byId.set(producerId, state)
  }

  private forgetOldest(): void {
    for (const producerId of this.byId.keys()) {
      this.byId.delete(producerId)
      return
    }
  }
}
