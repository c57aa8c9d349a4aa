/**
 * Elapsed time: for intervals, deadlines and whatever must not jump when somebody sets the clock.
 *
 * Whole milliseconds since some moment before this process began; comparable within the process only.
 */
import { Clock, Effect } from "effect"

const NANOS_PER_MS = 1_000_000n

export const monotonicMsOf = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe() / NANOS_PER_MS)

export const monotonicMs: Effect.Effect<number> = Clock.clockWith((clock) => Effect.sync(() => monotonicMsOf(clock)))
