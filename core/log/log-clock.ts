/**
 * The time of the log: the database's clock, carried on between two looks at it by this machine's monotonic clock.
 *
 * Segments say when they were created, and the sequencer decides by time what is too old to be committed and which producers
 * are forgotten. By the wall clock of whoever happens to sequence, one machine that is far ahead would make everyone's
 * segments too old, and what it wrote would stay true for all after it. So no agent's wall clock is asked, only what all of
 * them share.
 *
 * The database's answer was true at some moment between the question and its arrival: that bounds the difference of the two
 * clocks. Within the bounds nothing is changed, so that a slow way there does not make time jump.
 *
 * The time is never before the fold's. Where the database's clock was set back, it goes on from there at half its pace until
 * it is reached again, and nothing is refused meanwhile. It must go on: segments are forgotten second by second of their
 * creation (remembered-segments.ts), and of a second that does not end only so many can be committed.
 */
import { type Clock, Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { backoff, guarded } from "./store-call.ts"

const SLOW_LEAD_MS = 1_000

export class LogClock {
  private readonly store: MetadataStore["Service"]
  private readonly clock: Clock.Clock
  private readonly fold: { readonly timeMs: number }
  /** The database's time less the monotonic one; undefined before the first look. */
  private differenceMs: number | undefined
  /** The time where the database's is behind the fold's, with its fraction, and when it was that. */
  private readonly slow = { ms: 0, atMs: 0 }

  constructor(parts: {
    readonly store: MetadataStore["Service"]
    readonly clock: Clock.Clock
    readonly fold: { readonly timeMs: number }
  }) {
    this.store = parts.store
    this.clock = parts.clock
    this.fold = parts.fold
  }

  /** Milliseconds since 1970, whole. Before the first look, which comes before anything else, it is the fold's. */
  nowMs(): number {
    const { timeMs } = this.fold
    if (this.differenceMs === undefined) return timeMs
    const monotonicMs = monotonicMsOf(this.clock)
    const databaseMs = Math.floor(monotonicMs + this.differenceMs)
    return databaseMs >= timeMs ? databaseMs : this.slowMs(timeMs, monotonicMs)
  }

  /** Little ahead of the fold: agents that do not ask at the same times must not drift apart while nothing is committed. */
  private slowMs(timeMs: number, monotonicMs: number): number {
    const { slow } = this
    const onMs = slow.ms + (monotonicMs - slow.atMs) / 2
    slow.ms = Math.min(Math.max(onMs, timeMs), timeMs + SLOW_LEAD_MS)
    slow.atMs = monotonicMs
    return Math.floor(slow.ms)
  }

  /** How far this machine's wall clock is ahead; negative where it is behind. */
  wallAheadMs(): number {
    return Math.round(this.clock.currentTimeMillisUnsafe() - this.nowMs())
  }

  /** Asks the database for the time. */
  readonly look: Effect.Effect<void, MetadataError> = Effect.suspend(() => {
    const askedAtMs = monotonicMsOf(this.clock)
    return Effect.map(guarded("now", this.store.now), (nowMs) => {
      const leastMs = nowMs - monotonicMsOf(this.clock)
      const mostMs = nowMs - askedAtMs
      const presentMs = this.differenceMs ?? (leastMs + mostMs) / 2
      this.differenceMs = Math.min(Math.max(presentMs, leastMs), mostMs)
    })
  })

  /** Looks again and again, and says where this machine's own clock is wrong. Never ends. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => this.watchForEver())

  private readonly watchForEver = Effect.fnUntraced(function* (this: LogClock) {
    let isTold = false
    for (let failures = 0; ;) {
      const looked = yield* Effect.result(this.look)
      failures = looked._tag === "Success" ? 0 : failures + 1
      const aheadMs = this.wallAheadMs()
      const isWrong = Math.abs(aheadMs) > limits.clockWrongMs
      if (isWrong && !isTold) yield* Effect.logWarning(CLOCK_WRONG, { aheadMs })
      if (isTold && !isWrong)
        yield* Effect.logInfo("this machine's clock agrees with the database's again", { aheadMs })
      isTold = isWrong
      if (failures === 0) yield* Effect.sleep(limits.logClockLookMs)
      else yield* backoff(failures)
    }
  })
}

const CLOCK_WRONG =
  "this machine's clock and the database's disagree: set the wrong one right; the log goes by the database's"
