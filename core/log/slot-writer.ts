/**
 * Takes the next slot of one shard's log, by compare-and-set, and knows afterwards whether it has it.
 *
 * Invariants: one row is under way at a time. A row whose insert may or may not have taken effect is settled before
 * anything else is appended: the same row is issued again until its slot is taken, by it or by another, however long that
 * takes. The fold alone says whose the slot is, by the row's nonce; a row of an epoch that was over ("void") is nobody's.
 *
 * Who may append, and what, is not decided here (sequencer.ts).
 */
import { Effect, Latch, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Entropy } from "#core/ports/entropy.ts"
import { type LogRow, type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { LastingFailure } from "#core/telemetry/lasting-failure.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { type LogTail, type WatchedSlot } from "./log-tail.ts"
import { backoff, guarded } from "./store-call.ts"

/**
 * `mine`: the row is in the log, valid, and folded here. `lost`: it had no effect, because another row has the slot or its
 * epoch was over. `ended`: the log has ended, the row may be in it. An error: definitely not appended.
 */
export type SlotOutcome = "mine" | "lost" | "ended" | MetadataError

export class SlotWriter {
  /** Whether a row may be in the log of which that is not known yet. */
  isInDoubt = false
  private readonly store: MetadataStore["Service"]
  private readonly entropy: Entropy["Service"]
  private readonly tail: LogTail

  constructor(parts: {
    readonly store: MetadataStore["Service"]
    readonly entropy: Entropy["Service"]
    readonly tail: LogTail
  }) {
    this.store = parts.store
    this.entropy = parts.entropy
    this.tail = parts.tail
  }

  /**
   * Ends when it is known whether the entry was appended. `onDoubt` is called at each failed attempt to find out from
   * limits.appendAttemptsMax on, with the attempt's failure: whoever waits should be told.
   */
  readonly append = Effect.fnUntraced(function* (
    this: SlotWriter,
    entry: Uint8Array,
    options: { readonly epoch: number; readonly isKept?: boolean; readonly onDoubt?: (cause: unknown) => void }
  ) {
    const { fold } = this.tail
    const row: LogRow = {
      shard: fold.shard,
      seq: fold.seq + 1,
      epoch: options.epoch,
      nonce: this.entropy.uuid(),
      prevNonce: fold.nonce,
      isKept: options.isKept ?? false,
      entry
    }
    const slot: WatchedSlot = { seq: row.seq, nonce: row.nonce, outcome: "unknown", decided: Latch.makeUnsafe() }
    this.tail.watch(slot)
    this.isInDoubt = true
    const outcome = yield* this.insert(row, slot, options.onDoubt)
    this.isInDoubt = outcome === "ended"
    return { outcome, row }
  })

  /** Another's row may decide the slot while the call hangs: then its answer says nothing more. */
  private insertOnce(row: LogRow, slot: WatchedSlot) {
    const decided = Effect.as(slot.decided.await, "decided" as const)
    return Effect.result(Effect.raceFirst(guarded("append", this.store.append(row)), decided))
  }

  /** Issues the row until it is settled. Only a first, definite failure ends it as not appended. */
  private readonly insert = Effect.fnUntraced(function* (
    this: SlotWriter,
    row: LogRow,
    slot: WatchedSlot,
    onDoubt: ((cause: unknown) => void) | undefined
  ): Effect.fn.Return<SlotOutcome> {
    const failure = new LastingFailure()
    let read: Result.Result<unknown, MetadataError> = Result.succeed(undefined)
    for (let attempt = 1; ; attempt += 1) {
      // Only where the log was just looked at: a slot of long ago may be free because its row was trimmed.
      const inserted = Result.isFailure(read) ? read : yield* this.insertOnce(row, slot)
      if (Result.isSuccess(inserted) && inserted.success === "appended") this.tail.foldRows([row])
      else if (Result.isFailure(inserted)) {
        if (attempt === 1 && inserted.failure.outcome === "definite") return inserted.failure
        if (attempt >= limits.appendAttemptsMax) onDoubt?.(inserted.failure)
      }
      // Also after "taken": it may have been an earlier delivery of this very row that took the slot.
      if (slot.outcome === "unknown") read = yield* Effect.result(this.tail.readOnce)
      if (this.tail.ended !== undefined) return "ended"
      const nowMs = yield* monotonicMs
      const { shard, seq } = row
      if (slot.outcome !== "unknown") {
        const afterMs = failure.ended(nowMs)
        if (afterMs !== undefined) yield* Effect.logInfo("the append is settled", { shard, seq, afterMs })
        return slot.outcome === "mine" ? "mine" : "lost"
      }
      const forMs = failure.failed(nowMs)
      if (forMs !== undefined) {
        const error = Result.isFailure(inserted) ? inserted.failure.message : "its slot is taken, but is not read"
        yield* Effect.logWarning("an append cannot be settled", { shard, seq, forMs, error })
      }
      yield* backoff(attempt)
    }
  })
}
