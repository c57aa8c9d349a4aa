/**
 * When an agent takes a shard's sequencing over, and to whom a sequencer hands it [pure].
 *
 * Nothing here is about safety: two agents that take over at once, or one that takes over from a sequencer that is well,
 * cost some milliseconds, because compare-and-set decides. So all of it may be guesses, made fast: a sequencer whose port
 * refuses or whose session has left the list is gone; one that was not heard of for a while may be. Agents at home go
 * first, and chance keeps the others apart.
 */
import { limits } from "#core/model/limits.ts"
import { type Holder } from "./effect.ts"
import { type LogMember } from "./log-peers.ts"

/** What an agent sees of the sequencer now. */
export interface Sighting {
  readonly nowMs: number
  readonly epoch: number
  /** `none`: no epoch has begun yet. `gone`: surely not the sequencer any more, as far as one can tell. */
  readonly holder: "none" | "self" | "gone" | "there"
  /** How long nothing was heard of it. */
  readonly silentMs: number
  readonly isAtHome: boolean
}

/** The sequencer of this epoch seems to be away. */
export interface Suspicion {
  readonly epoch: number
  /** When to take over, unless it shows itself. */
  readonly takeOverAtMs: number
}

/** `chance` in [0, 1). Undefined: all is well. */
export const suspect = (before: Suspicion | undefined, seen: Sighting, chance: number): Suspicion | undefined => {
  if (seen.holder === "self") return undefined
  if (seen.holder === "there" && seen.silentMs < limits.sequencerSilentMs) return undefined
  if (before?.epoch === seen.epoch) return before
  const delayMs = (seen.isAtHome ? 0 : limits.takeoverForeignDelayMs) + chance * limits.takeoverJitterMs
  return { epoch: seen.epoch, takeOverAtMs: seen.nowMs + delayMs }
}

/** After an attempt that did not go through. */
export const retryLater = (suspicion: Suspicion, nowMs: number, chance: number): Suspicion => ({
  epoch: suspicion.epoch,
  takeOverAtMs: nowMs + limits.takeoverRetryMs * (1 + chance)
})

/** Since when each session has been seen in the list of members without a break. */
export type Presence = ReadonlyMap<string, number>

export const presenceAfter = (before: Presence, members: ReadonlyArray<LogMember>, nowMs: number): Presence =>
  new Map(members.map(({ session }) => [session, before.get(session) ?? nowMs]))

export interface Heirs {
  readonly self: LogMember
  readonly members: ReadonlyArray<LogMember>
  /** Whether an agent has just answered: one that does not would cost everyone a takeover. */
  readonly isAnswering: (member: LogMember) => boolean
  readonly homeRegion: string
}

const holderOf = ({ name, session, region }: LogMember): Holder => ({ name, session, region })

/**
 * To whom a sequencer away from home hands over: an agent at home that answers, and has been there for a while and for as long
 * as this epoch. One that was just replaced is still listed, and does not get the log back at its first word.
 */
export const heirAtHome = (
  { self, members, isAnswering, homeRegion }: Heirs,
  presence: Presence,
  { nowMs, epochSinceMs }: { readonly nowMs: number; readonly epochSinceMs: number }
): Holder | undefined => {
  if (self.region === homeRegion) return undefined
  const heir = members.find((member) => {
    const sinceMs = Math.max(presence.get(member.session) ?? nowMs, epochSinceMs)
    return member.region === homeRegion && nowMs - sinceMs >= limits.sequencerHomeAfterMs && isAnswering(member)
  })
  return heir === undefined ? undefined : holderOf(heir)
}

/** To whom a stopping sequencer hands over: at home first, then in its own region, then anywhere; to one that answers, if any. */
export const heirOnLeaving = ({ self, members, isAnswering, homeRegion }: Heirs): Holder | undefined => {
  const rank = (member: LogMember): number =>
    (isAnswering(member) ? 0 : 4) + (member.region === homeRegion ? 0 : member.region === self.region ? 1 : 2)
  const [heir] = members
    .filter(({ session }) => session !== self.session)
    .toSorted((left, right) => rank(left) - rank(right))
  return heir === undefined ? undefined : holderOf(heir)
}
