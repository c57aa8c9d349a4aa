/**
 * Keeps what the log holds in memory bounded: at the sequencer, which alone can.
 *
 * Every agent has the runs in memory that are in no index page yet. Where pages cannot be written (the database takes rows of
 * the log, and no pages, or too slowly), that would grow without end, on all agents alike. So segments are not judged then:
 * they wait, which holds up who produces; whoever waits too long is told that it was not settled, and more than can wait are
 * refused, as by a sequencer with too much to do. What else is asked passes, above all that runs went to pages: it makes room.
 *
 * Invariants: nothing of a segment that waits is appended. Segments keep their order. One that is committed already adds no
 * runs, and gets its first answer. So there are at most the bound's runs in memory, and one entry's.
 */
import { Effect } from "effect"
import { LastingFailure } from "#core/telemetry/lasting-failure.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { limits } from "#core/model/limits.ts"
import { type Command } from "./command.ts"
import { type Fold } from "./fold.ts"

export class SegmentGate {
  private readonly fold: Fold
  private readonly residentRunsRefuse: number

  constructor(fold: Fold, residentRunsRefuse: number) {
    this.fold = fold
    this.residentRunsRefuse = residentRunsRefuse
  }

  get isClosed(): boolean {
    return this.fold.residentRuns > this.residentRunsRefuse
  }

  admits(command: Command): boolean {
    return command.kind !== "commit-segment" || !this.isClosed || this.fold.segments.has(command.segmentId)
  }

  /** Tells people of it, once, and when it is over; for whoever sequences. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => this.watchForEver())

  private readonly watchForEver = Effect.fnUntraced(function* (this: SegmentGate) {
    const failure = new LastingFailure()
    for (;;) {
      const { shard, residentRuns } = this.fold
      const nowMs = yield* monotonicMs
      if (this.isClosed) {
        const forMs = failure.failed(nowMs)
        const facts = { shard, residentRuns, residentRunsRefuse: this.residentRunsRefuse, forMs }
        if (forMs !== undefined) {
          yield* Effect.logWarning(
            "segments wait or are refused: index pages cannot be written, and memory is full of runs",
            facts
          )
        }
      } else {
        const afterMs = failure.ended(nowMs)
        if (afterMs !== undefined) yield* Effect.logInfo("segments are taken again", { shard, residentRuns, afterMs })
      }
      yield* Effect.sleep(limits.segmentGateLookMs)
    }
  })
}
