/**
 * Health of one bucket, for one kind of call [pure]: like a doorman who stops waiting for a guest that came late three
 * times, but looks out for him now and then and lets him in as soon as he is on time again.
 *
 * (state, event, now) -> state; no clock, no timer, no I/O. A bucket is `healthy`, or `suspended` after
 * limits.bucketStrikesMax failures or slow answers in a row (or one that leaves no doubt). A suspended bucket is tried with one real call at a time (a
 * probe), at growing distances; one good answer brings it back at once. The judge only speeds things up: whether a write
 * is durable is decided by acknowledgements, never by health.
 *
 * This is the seam for fuller detectors (latency percentiles, peers' opinions): callers know `mayTry` and `judge` only.
 */
import { limits } from "#core/model/limits.ts"

export interface Health {
  readonly status: "healthy" | "suspended"
  /** Failures and slow answers since the last good answer. */
  readonly strikes: number
  /** While suspended: when the next probe may start. */
  readonly probeAtMs: number
  /** Pause that the next failed probe brings. */
  readonly probeDelayMs: number
  /** When the probe that is under way began; undefined where none is. */
  readonly probingSinceMs: number | undefined
}

export type HealthEvent =
  /** A call begins. In a suspended bucket it is the probe. */
  | { readonly kind: "started" }
  | { readonly kind: "answered"; readonly durationMs: number }
  /** An error that says something of the bucket (not "no such key"), a timeout, or an answer nobody waited for longer. */
  | { readonly kind: "failed" }
  /** It surely takes nothing for a while: no room left, or nobody there. Suspends at once. */
  | { readonly kind: "gone" }
  /** The caller gave the call up for reasons of its own, which says nothing of the bucket. */
  | { readonly kind: "abandoned" }

export const healthy: Health = {
  status: "healthy",
  strikes: 0,
  probeAtMs: 0,
  probeDelayMs: limits.bucketProbeDelayMs,
  probingSinceMs: undefined
}

/** Whether a call should go to the bucket now. A probe that nobody reported the end of is forgotten after a while. */
export const mayTry = (health: Health, nowMs: number): boolean =>
  health.status === "healthy" ||
  (nowMs >= health.probeAtMs &&
    (health.probingSinceMs === undefined || nowMs - health.probingSinceMs >= limits.putStuckMs))

export const judge = (health: Health, event: HealthEvent, nowMs: number): Health => {
  switch (event.kind) {
    case "started":
      return health.status === "suspended" ? { ...health, probingSinceMs: nowMs } : health
    case "answered":
      return event.durationMs <= limits.bucketSlowMs ? healthy : struck(health, nowMs)
    case "failed":
      return struck(health, nowMs)
    case "gone":
      return struck({ ...health, strikes: limits.bucketStrikesMax }, nowMs)
    case "abandoned":
      return { ...health, probingSinceMs: undefined }
  }
}

const struck = (health: Health, nowMs: number): Health => {
  const strikes = Math.min(health.strikes + 1, limits.bucketStrikesMax)
  if (health.status === "healthy") {
    return strikes < limits.bucketStrikesMax
      ? { ...health, strikes }
      : { ...health, status: "suspended", strikes, probeAtMs: nowMs + health.probeDelayMs, probingSinceMs: undefined }
  }
  // Calls that began before the suspension end here too: they must not push the first probe away again and again.
  if (health.probingSinceMs === undefined) return health
  const probeDelayMs = Math.min(health.probeDelayMs * 2, limits.bucketProbeDelayMaxMs)
  return { ...health, strikes, probeDelayMs, probeAtMs: nowMs + probeDelayMs, probingSinceMs: undefined }
}
