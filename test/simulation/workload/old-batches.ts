/**
 * What a producer sends although no client should: batches that were acknowledged, some of them long ago, as a network may
 * deliver them once more; and batches that lie before the first one that its partition accepted, or reach over it.
 *
 * The former are duplicates for ever, the latter never: to claim one of them would be silent loss.
 */
import { type Prng } from "../engine/prng.ts"
import { type Batch } from "./producer.ts"

const KEPT_MAX = 40
const BEFORE_CHANCE = 0.3
const BEFORE_MAX = 4

export type OldBatch =
  | { readonly kind: "again"; readonly batch: Batch }
  /** `count` sequences, from `before` sequences before the first on. */
  | {
      readonly kind: "before"
      readonly partition: number
      readonly firstSequence: number
      readonly before: number
      readonly count: number
    }

export class OldBatches {
  readonly #acknowledged: Array<Batch> = []
  /** Of the producer id that is used now, by partition. */
  readonly #firstSequences = new Map<number, number>()
  /** Partitions that know the producer. */
  readonly #knowing = new Set<number>()

  /** A batch will be sent. */
  made({ partition, baseSequence }: Batch): void {
    if (!this.#firstSequences.has(partition)) this.#firstSequences.set(partition, baseSequence)
  }

  /** A batch was acknowledged. */
  add(batch: Batch): void {
    this.#knowing.add(batch.partition)
    this.#acknowledged.push(batch)
    if (this.#acknowledged.length > KEPT_MAX) this.#acknowledged.shift()
  }

  /** With another producer id. Older ones are remembered by their partitions all the same. */
  beginAnew(): void {
    this.#firstSequences.clear()
    this.#knowing.clear()
  }

  /** Undefined where there is none yet. */
  pick(random: Prng): OldBatch | undefined {
    if (random.chance(BEFORE_CHANCE)) {
      const knowing = [...this.#knowing]
      if (knowing.length === 0) return undefined
      const partition = random.pick(knowing)
      const firstSequence = this.#firstSequences.get(partition)!
      const before = 1 + random.below(BEFORE_MAX)
      return { kind: "before", partition, firstSequence, before, count: 1 + random.below(BEFORE_MAX) }
    }
    if (this.#acknowledged.length === 0) return undefined
    return { kind: "again", batch: random.pick(this.#acknowledged) }
  }
}
