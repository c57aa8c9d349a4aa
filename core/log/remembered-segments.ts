/**
 * The segments committed last, so that a retried commit gets the first answer [pure].
 *
 * Invariant: an answer is what the log says, not a copy of what was once answered: the entry's own bytes are kept and
 * decoded again when someone asks, which is rare. Forgetting goes by counts alone, so every agent forgets the same.
 */
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type SegmentCommitted } from "./effect.ts"
import { decodeEntry } from "./entry.ts"

interface Remembered {
  readonly entry: Uint8Array
  /** Index of the effect in the entry. */
  readonly effectIndex: number
  readonly batches: number
}

export class RememberedSegments {
  /** Oldest first. */
  private readonly byId = new Map<Uuid, Remembered>()
  private batches = 0

  get size(): number {
    return this.byId.size
  }

  has(segmentId: Uuid): boolean {
    return this.byId.has(segmentId)
  }

  /** What the log says of the segment, if it is remembered. */
  get(segmentId: Uuid): SegmentCommitted | undefined {
    const found = this.byId.get(segmentId)
    if (found === undefined) return undefined
    const effect = decodeEntry(found.entry)[found.effectIndex]
    return effect?.kind === "segment-committed" ? effect : undefined
  }

  /** `entry` holds the effect at the index, and must not change. */
  add(effect: SegmentCommitted, entry: Uint8Array, effectIndex: number): void {
    let batches = 0
    for (const run of effect.runs) batches += run.batches.length
    this.byId.set(effect.segmentId, { entry, effectIndex, batches })
    this.batches += batches
    for (const [segmentId, oldest] of this.byId) {
      const isFull = this.byId.size > limits.segmentsRemembered || this.batches > limits.batchesRemembered
      if (!isFull || this.byId.size === 1) return
      this.byId.delete(segmentId)
      this.batches -= oldest.batches
    }
  }

  segmentIds(): Iterable<Uuid> {
    return this.byId.keys()
  }
}
