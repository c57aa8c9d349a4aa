/**
 * What is remembered of idempotent producers, per partition [pure]: epoch and the last five batches (KIP-98), and how many
 * sequences were accepted in the epoch, so that older batches are known as duplicates too (core/decisions/0015).
 *
 * Invariant: a function of the log alone. Forgetting goes by the time that entries carry and by a cap, never by a clock,
 * so that every agent forgets the same at the same entry. A partition's producers live on when its records are deleted.
 */
import { limits } from "#core/model/limits.ts"
import { type BatchSummary } from "./command.ts"
import { type Verdict } from "./verdict.ts"

export const SEQUENCE_MAX = 0x7fffffff
/** Sequences wrap from 2^31 - 1 to 0. */
const SEQUENCES = SEQUENCE_MAX + 1
/**
 * Half of all sequences. With more of them counted, one that is yet to come could not be told from one of long ago, and a
 * batch behind a gap would be taken for a duplicate: silent loss.
 */
export const ACCEPTED_COUNT_MAX = SEQUENCES / 2
/** Numbers of one remembered batch in ProducerState.batches. */
export const NUMBERS_PER_BATCH = 4
const NUMBERS_MAX = NUMBERS_PER_BATCH * limits.producerBatchesRemembered

export interface ProducerState {
  epoch: number
  /** The fold's time when the last batch was accepted. */
  seenMs: number
  /**
   * Sequences accepted in this epoch since the state was made, at most ACCEPTED_COUNT_MAX. They have no gap: these are the
   * last so many ones up to the last batch's last sequence, each accepted exactly once.
   */
  acceptedCount: number
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

export const lastSequenceOf = (baseSequence: number, offsetCount: number): number =>
  (baseSequence + offsetCount - 1) % SEQUENCES

/** Of the sequence that follows: 0 after the largest. */
export const nextSequenceOf = (lastSequence: number): number => (lastSequence === SEQUENCE_MAX ? 0 : lastSequence + 1)

/** How many steps it is from one sequence to another, over the wrap as well. */
const stepsBetween = (from: number, to: number): number => (to - from + SEQUENCES) % SEQUENCES

/** Whether the sequence comes after the other, by less than half of all. */
export const isSequenceAfter = (sequence: number, other: number): boolean =>
  sequence !== other && stepsBetween(other, sequence) < SEQUENCES / 2

/** How many sequences a remembered batch has, from its base sequence to its last one. */
export const sequenceCountOf = (baseSequence: number, lastSequence: number): number =>
  stepsBetween(baseSequence, lastSequence) + 1

/** `acceptedCount` with so many more. */
export const countAccepted = (acceptedCount: number, more: number): number =>
  Math.min(acceptedCount + more, ACCEPTED_COUNT_MAX)

/** Index in `batches` of the remembered batch that this one repeats; -1 where there is none. */
export const duplicateIndexOf = (state: ProducerState, batch: BatchSummary): number => {
  if (batch.producerEpoch !== state.epoch) return -1
  const lastSequence = lastSequenceOf(batch.baseSequence, batch.offsetCount)
  for (let index = 0; index < state.batches.length; index += NUMBERS_PER_BATCH) {
    if (state.batches[index] === batch.baseSequence && state.batches[index + 1] === lastSequence) return index
  }
  return -1
}

/** Whether all of the batch lies within the sequences that were accepted up to this last one. */
const isAcceptedBefore = (state: ProducerState, lastSequence: number, batch: BatchSummary): boolean => {
  const steps = stepsBetween(lastSequenceOf(batch.baseSequence, batch.offsetCount), lastSequence)
  return steps + batch.offsetCount <= state.acceptedCount
}

/**
 * Kafka's rules for a batch that is none of the remembered ones. A producer that is not known may begin anywhere. Beyond
 * Kafka's: a batch that was accepted whole, however long ago, is known as such. One that overlaps in part, or lies before
 * the first accepted sequence, is not: to claim it would be silent loss.
 */
export const sequenceVerdict = (state: ProducerState, batch: BatchSummary): Verdict => {
  if (batch.producerEpoch < state.epoch) return "invalidProducerEpoch"
  if (batch.producerEpoch > state.epoch) return batch.baseSequence === 0 ? "accepted" : "outOfOrderSequence"
  const lastSequence = state.batches.length === 0 ? -1 : state.batches[state.batches.length - NUMBERS_PER_BATCH + 1]!
  if (batch.baseSequence === nextSequenceOf(lastSequence)) return "accepted"
  return isAcceptedBefore(state, lastSequence, batch) ? "duplicateWithoutOffset" : "outOfOrderSequence"
}

/** What is accepted next; undefined where another epoch has to begin, or nothing was accepted. */
export const expectedSequence = ({ epoch, batches }: ProducerState, producerEpoch: number): number | undefined =>
  epoch !== producerEpoch || batches.length === 0
    ? undefined
    : nextSequenceOf(batches[batches.length - NUMBERS_PER_BATCH + 1]!)

/** Changes the state to what it is after the batch. */
export const rememberBatch = (state: ProducerState, batch: AcceptedBatch, seenMs: number): void => {
  const { batches } = state
  if (batch.producerEpoch !== state.epoch) {
    state.epoch = batch.producerEpoch
    state.acceptedCount = 0
    batches.length = 0
  } else if (batches.length >= NUMBERS_MAX) {
    batches.copyWithin(0, NUMBERS_PER_BATCH)
    batches.length -= NUMBERS_PER_BATCH
  }
  const lastSequence = lastSequenceOf(batch.baseSequence, batch.offsetCount)
  batches.push(batch.baseSequence, lastSequence, batch.baseOffset, batch.appendTimeMs)
  state.acceptedCount = countAccepted(state.acceptedCount, batch.offsetCount)
  state.seenMs = seenMs
}

export const newProducerState = (epoch: number): ProducerState => ({
  epoch,
  seenMs: 0,
  acceptedCount: 0,
  batches: []
})

export const copyOfProducerState = (state: ProducerState): ProducerState => ({
  epoch: state.epoch,
  seenMs: state.seenMs,
  acceptedCount: state.acceptedCount,
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
