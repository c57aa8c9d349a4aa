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
  readonly homeRegion: string
}

const holderOf = ({ name, session, region }: LogMember): Holder => ({ name, session, region })

/** To whom a sequencer away from home hands over: an agent at home that has been there for a while. */
export const heirAtHome = (
  { self, members, homeRegion }: Heirs,
  presence: Presence,
  nowMs: number
): Holder | undefined => {
  if (self.region === homeRegion) return undefined
  const heir = members.find(
    ({ region, session }) =>
      region === homeRegion && nowMs - (presence.get(session) ?? nowMs) >= limits.sequencerHomeAfterMs
  )
  return heir === undefined ? undefined : holderOf(heir)
}

/** To whom a stopping sequencer hands over: at home first, then in its own region, then anywhere. */
export const heirOnLeaving = ({ self, members, homeRegion }: Heirs): Holder | undefined => {
  const others = members.filter(({ session }) => session !== self.session)
  const heir =
    others.find(({ region }) => region === homeRegion) ??
    others.find(({ region }) => region === self.region) ??
    others[0]
  return heir === undefined ? undefined : holderOf(heir)
}
