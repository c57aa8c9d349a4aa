/**
 * Whether a bucket counts for quorums, since when it does not, and why.
 *
 * Invariant: `putHealth` changes here only, so each change of its status leaves its time and its reason behind.
 * Puts tell of a bucket that takes writes; probes (small reads that somebody makes now and then) tell agents without
 * traffic of one that is not there at all. A probe that is answered does not say that puts would be: a full bucket lists
 * its keys. Nothing here decides whether a segment is durable.
 */
import { limits } from "#core/model/limits.ts"
import { type Health, type HealthEvent, healthy, judge } from "#regions/health.ts"
import { type BucketState } from "./bucket-state.ts"

export type ProbeAnswer = { readonly kind: "answered" } | { readonly kind: "failed"; readonly why: string }

export interface PutNews {
  readonly event: HealthEvent
  /** Of a failure. */
  readonly why?: string
  readonly isFull?: boolean
}

export const notePut = (state: BucketState, news: PutNews, nowMs: number): void => {
  const { event, why, isFull = false } = news
  if (event.kind === "answered") {
    state.putAckedAtMs = nowMs
    if (event.durationMs > limits.bucketSlowMs) {
      state.failure = { why: `a put took ${event.durationMs} ms`, isFull: false, atMs: nowMs }
    }
  }
  if (why !== undefined) state.failure = { why, isFull, atMs: nowMs }
  settle(state, judge(state.putHealth, event, nowMs), nowMs)
}

export const noteProbe = (state: BucketState, answer: ProbeAnswer, nowMs: number): void => {
  const isAway = state.putHealth.status === "suspended"
  if (answer.kind === "failed") {
    // Puts that go through say more than a probe that does not (its turn may not come under load).
    if (state.putAckedAtMs >= state.probeFailedAtMs) state.probeFailures = 0
    state.probeFailures = Math.min(state.probeFailures + 1, limits.bucketProbeFailuresMax)
    state.probeFailedAtMs = nowMs
    if (isAway || state.probeFailures < limits.bucketProbeFailuresMax) return
    state.failure = { why: answer.why, isFull: false, atMs: nowMs }
    return settle(state, judge(state.putHealth, { kind: "gone" }, nowMs), nowMs)
  }
  const cameBack = state.probeFailures > 0
  state.probeFailures = 0
  // Without writes nobody would find out that an old suspicion is unfounded; where it is not, the next puts say so.
  if (isAway && (cameBack || isForgiven(state, nowMs))) settle(state, healthy, nowMs)
}

const isForgiven = ({ failure }: BucketState, nowMs: number): boolean =>
  failure === undefined || (!failure.isFull && nowMs - failure.atMs >= limits.bucketForgivenMs)

const settle = (state: BucketState, health: Health, nowMs: number): void => {
  const before = state.putHealth
  state.putHealth = health
  // From the first strike on, so that the copies that made it leave are among those that it missed.
  if (before.strikes === 0 && health.strikes > 0) state.copiesMissed = 0
  if (before.status !== health.status) state.awaySinceMs = health.status === "suspended" ? nowMs : undefined
}
