/**
 * Keeps batches of an idempotent producer in order where the log cannot: before it knows the producer [pure].
 *
 * The log accepts the first batch of a producer that it does not know whatever its sequence is (the producer may have been
 * forgotten), and from then on only what follows. So where the very first batch is lost, a later one that is already under
 * way must not take its place: the first, sent again, would be out of order for ever. This remembers, for this agent's
 * clients, which batch was lost, until it (or an earlier one) comes again; what comes behind it meanwhile is to be refused,
 * surely and retriably. A client sends it again in order. Requests of one client come on one connection, and so to one agent.
 *
 * A gap is forgotten after limits.producerGapMs (what was under way is here by then, and some clients give a batch up and go
 * on) and when too many others have come: then the log alone decides, as Kafka's does.
 */
import { limits } from "#core/model/limits.ts"

/** An idempotent producer in one partition. */
export interface ProducerPlace {
  readonly producerId: number
  /** As the client named it, or its id. */
  readonly topic: string
  readonly partition: number
}

export interface Sequence {
  readonly producerEpoch: number
  readonly baseSequence: number
}

interface Gap extends Sequence {
  readonly sinceMs: number
}

/** Sequences go round from 2^31 - 1 to 0. */
const SEQUENCE_MASK = 0x7fffffff
const isLater = (sequence: number, other: number): boolean => {
  const distance = (sequence - other) & SEQUENCE_MASK
  return distance > 0 && distance < 2 ** 30
}

export class ProducerOrder {
  /** Producers that the log knows, by what this agent was answered. Longest ago first. */
  readonly #known = new Set<string>()
  /** First batches that were lost. Oldest first. */
  readonly #gaps = new Map<string, Gap>()

  get gapCount(): number {
    return this.#gaps.size
  }

  /** Whether the log will see to the order by itself. */
  isKnown(place: ProducerPlace): boolean {
    return this.#known.has(keyOf(place))
  }

  /** The log has the batch. */
  settled(place: ProducerPlace): void {
    const key = keyOf(place)
    this.#gaps.delete(key)
    if (this.#known.has(key)) return
    if (this.#known.size >= limits.producersKnown) forgetFirst(this.#known)
    this.#known.add(key)
  }

  /** The batch was answered with an error after which its producer sends it again. */
  lost(place: ProducerPlace, { producerEpoch, baseSequence }: Sequence, nowMs: number): void {
    const key = keyOf(place)
    if (this.#known.has(key)) return
    const gap = this.#gaps.get(key)
    if (gap !== undefined && gap.producerEpoch === producerEpoch && isLater(baseSequence, gap.baseSequence)) return
    this.#gaps.delete(key)
    if (this.#gaps.size >= limits.producerGaps) forgetFirst(this.#gaps)
    this.#gaps.set(key, { producerEpoch, baseSequence, sinceMs: nowMs })
  }

  /** Whether the batch must not go on: one before it was lost, and has not come again. */
  isBehindGap(place: ProducerPlace, { producerEpoch, baseSequence }: Sequence, nowMs: number): boolean {
    const key = keyOf(place)
    const gap = this.#gaps.get(key)
    if (gap === undefined) return false
    const isBehind = gap.producerEpoch === producerEpoch && isLater(baseSequence, gap.baseSequence)
    if (isBehind && nowMs - gap.sinceMs < limits.producerGapMs) return true
    this.#gaps.delete(key)
    return false
  }
}

const keyOf = ({ producerId, topic, partition }: ProducerPlace): string => `${producerId}/${partition}/${topic}`

const forgetFirst = (remembered: { keys(): Iterator<string>; delete(key: string): boolean }): void => {
  const first = remembered.keys().next()
  if (first.done !== true) remembered.delete(first.value)
}
