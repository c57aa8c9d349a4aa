/**
 * The segments that were committed within the orphan horizon, so that a retried commit gets the first answer [pure].
 *
 * Invariants:
 * - An id is forgotten only when no command with it can be judged anew: everything that was created at or before
 *   `forgottenMs` and is not remembered is too late, for ever. That time never retreats. So a segment is committed once,
 *   however late and often its command comes; and what is not committed and was created by then never will be.
 * - Forgetting goes by the times that entries carry and by a cap, so every agent forgets the same at the same entry. What
 *   was created first goes first: one author whose clock is ahead cannot push others out before their time.
 * - An answer is what the log says, not a copy of what was once answered. The newest entries' own bytes are kept, which
 *   differs from agent to agent; others are read back from the log by whoever judges (judge.ts, `entriesNeeded`).
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type SegmentCommitted } from "./effect.ts"
import { decodeEntry } from "./entry.ts"

export interface RememberedSegment {
  readonly segmentId: Uuid
  /** Of the entry that committed it. */
  readonly seq: number
  /** Index of the effect in the entry. */
  readonly effectIndex: number
  readonly createdAtMs: number
}

/** Segments are forgotten by whole seconds of their creation. */
const SLICE_MS = 1_000

export class RememberedSegments {
  /** Segments that were created at or before and are not remembered can no longer be committed. Never retreats. */
  forgottenMs = -1
  private readonly byId = new Map<Uuid, RememberedSegment>()
  /** By the second of creation, in the order of their commits. */
  private readonly slices = new Map<number, Array<Uuid>>()
  /** Keys of `slices`, ascending. */
  private readonly seconds: Array<number> = []
  /** By seq, oldest first. */
  private readonly entries = new Map<number, Uint8Array>()
  private entryBytes = 0

  get size(): number {
    return this.byId.size
  }

  has(segmentId: Uuid): boolean {
    return this.byId.has(segmentId)
  }

  /** Seq of the entry that `get` needs and that is not in memory. */
  entryNeeded(segmentId: Uuid): number | undefined {
    const found = this.byId.get(segmentId)
    return found === undefined || this.entries.has(found.seq) ? undefined : found.seq
  }

  /** What the log says of the segment, if it is remembered. Throws where its entry is not given, or is another. */
  get(segmentId: Uuid, entries: ReadonlyMap<number, Uint8Array>): SegmentCommitted | undefined {
    const found = this.byId.get(segmentId)
    if (found === undefined) return undefined
    const entry = this.entries.get(found.seq) ?? entries.get(found.seq)
    if (entry === undefined) throw new Error(`entry ${found.seq} is needed for the answer to segment ${segmentId}`)
    const effect = decodeEntry(entry)[found.effectIndex]
    if (effect?.kind === "segment-committed" && effect.segmentId === segmentId) return effect
    throw new Error(`entry ${found.seq} does not hold segment ${segmentId}`)
  }

  /** Forgets what is older than the orphan horizon at the fold's time, which never retreats. */
  advance(foldTimeMs: number): void {
    const horizonMs = foldTimeMs - limits.orphanHorizonMs - 1
    this.forgottenMs = Math.max(this.forgottenMs, horizonMs)
    while (this.seconds.length > 0 && lastMsOf(this.seconds[0]!) <= horizonMs) this.forgetOldest()
  }

  /** `entry` holds the effect at the index, and must not change. */
  add(
    effect: SegmentCommitted,
    at: { readonly seq: number; readonly effectIndex: number; readonly entry: Uint8Array }
  ): void {
    const { segmentId, createdAtMs } = effect
    // Too late it was and will be.
    if (createdAtMs <= this.forgottenMs) return
    this.remember({ segmentId, seq: at.seq, effectIndex: at.effectIndex, createdAtMs })
    while (this.byId.size > limits.segmentsRemembered) this.forgetOldest()
    this.keepEntry(at.seq, at.entry)
  }

  /** The oldest entry that an answer may need; undefined where none may. */
  oldestSeq(): number | undefined {
    let oldest: number | undefined
    for (const { seq } of this.byId.values()) if (oldest === undefined || seq < oldest) oldest = seq
    return oldest
  }

  /** In the order in which they will be forgotten, within a second in the order of their commits. */
  *inOrder(): Iterable<RememberedSegment> {
    for (const second of this.seconds) {
      for (const segmentId of this.slices.get(second)!) yield this.byId.get(segmentId)!
    }
  }

  /** For restoring a checkpoint alone: entries in memory stay. */
  become(remembered: Iterable<RememberedSegment>, forgottenMs: number): void {
    assert(forgottenMs >= this.forgottenMs, "what was forgotten stays forgotten")
    this.byId.clear()
    this.slices.clear()
    this.seconds.length = 0
    this.forgottenMs = forgottenMs
    for (const each of remembered) this.remember(each)
  }

  private remember(segment: RememberedSegment): void {
    this.byId.set(segment.segmentId, segment)
    const second = Math.floor(segment.createdAtMs / SLICE_MS)
    const slice = this.slices.get(second)
    if (slice !== undefined) {
      slice.push(segment.segmentId)
      return
    }
    this.slices.set(second, [segment.segmentId])
    let at = this.seconds.length
    while (at > 0 && this.seconds[at - 1]! > second) at -= 1
    this.seconds.splice(at, 0, second)
  }

  private forgetOldest(): void {
    const second = this.seconds.shift()!
    for (const segmentId of this.slices.get(second)!) this.byId.delete(segmentId)
    this.slices.delete(second)
    this.forgottenMs = Math.max(this.forgottenMs, lastMsOf(second))
  }

  private keepEntry(seq: number, entry: Uint8Array): void {
    if (this.entries.has(seq)) return
    this.entries.set(seq, entry)
    this.entryBytes += entry.length
    for (const [oldest, bytes] of this.entries) {
      if (this.entryBytes <= limits.entriesRememberedBytes) return
      this.entries.delete(oldest)
      this.entryBytes -= bytes.length
    }
  }
}

const lastMsOf = (second: number): number => (second + 1) * SLICE_MS - 1
