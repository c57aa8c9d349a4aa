/**
 * Who reaches whom, and how fast: the network between all places (hosts, the database, buckets).
 *
 * Cuts and slowness are between groups of places (a place or a whole region), each way by itself. What is under way on a cut
 * link waits, as TCP's does, and goes on some time after the link has healed; nothing is lost in the middle of a
 * connection. Whether something else gives up meanwhile is not decided here.
 */
import { type Place } from "../engine/process.ts"
import { type Prng, streamOf } from "../engine/prng.ts"
import { type World } from "../engine/world.ts"

/** A place by its name, or all places of a region. */
export type Group = { readonly place: string } | { readonly region: string }

export interface Way {
  readonly from: Group
  readonly to: Group
}

/** Round trips between regions. */
const ROUND_TRIPS_MS: ReadonlyArray<readonly [string, string, number]> = [
  ["us-east-1", "us-west-2", 65],
  ["us-east-1", "eu-west-1", 80],
  ["us-west-2", "eu-west-1", 140]
]
const ROUND_TRIP_LOCAL_MS = 0.5
/** One packet in so many is sent again after a while. */
const RESENT_CHANCE = 0.001
const RESENT_MS = 200
/** A sender whose packets were lost sends again after a pause that grows with the length of the cut. */
const RESUME_MS_MIN = 1
const RESUME_MS_MAX = 1_000

export const roundTripMs = (from: string, to: string): number => {
  if (from === to) return ROUND_TRIP_LOCAL_MS
  const found = ROUND_TRIPS_MS.find(([a, b]) => (a === from && b === to) || (a === to && b === from))
  return found?.[2] ?? 100
}

interface Stalled {
  readonly from: Place
  readonly to: Place
  readonly resume: () => void
}

export class Links {
  readonly #world: World
  readonly #random: Prng
  readonly #cuts = new Set<Way>()
  readonly #slow = new Map<Way, number>()
  #stalled: Array<Stalled> = []
  readonly #onChange: Array<() => void> = []
  readonly #oneWayMs = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
    this.#random = streamOf(world.seed, "network")
  }

  /** Until the answer is called. */
  cut(way: Way): () => void {
    this.#cuts.add(way)
    this.#changed()
    return () => {
      if (!this.#cuts.delete(way)) return
      this.#resumeStalled()
      this.#changed()
    }
  }

  /** Delays are so many times as long, until the answer is called. */
  slow(way: Way, factor: number): () => void {
    this.#slow.set(way, factor)
    return () => void this.#slow.delete(way)
  }

  healAll(): void {
    this.#cuts.clear()
    this.#slow.clear()
    this.#resumeStalled()
    this.#changed()
  }

  /** Called whenever something was cut or has healed. */
  onChange(listener: () => void): void {
    this.#onChange.push(listener)
  }

  isCut(from: Place, to: Place): boolean {
    for (const way of this.#cuts) if (concerns(way, from, to)) return true
    return false
  }

  /** How long one packet takes, this time. */
  oneWayMs(from: Place, to: Place): number {
    const baseMs = this.#baseMs(from.region, to.region)
    let factor = 1
    for (const [way, slower] of this.#slow) if (concerns(way, from, to)) factor *= slower
    const resentMs = this.#random.chance(RESENT_CHANCE) ? RESENT_MS : 0
    return baseMs * factor * (1 + 0.05 * this.#random.next()) + 0.05 * this.#random.next() + resentMs
  }

  /** A message that takes its time, waits while the link is cut, and then arrives. */
  send(from: Place, to: Place, arrive: () => void): void {
    this.#world.after(this.oneWayMs(from, to), undefined, () => this.arrive(from, to, arrive))
  }

  /** At the end of the link: now, or after it has healed. */
  arrive(from: Place, to: Place, arrive: () => void): void {
    if (!this.isCut(from, to)) arrive()
    else this.#stalled.push({ from, to, resume: arrive })
  }

  #baseMs(from: string, to: string): number {
    const key = `${from}>${to}`
    let ms = this.#oneWayMs.get(key)
    if (ms === undefined) {
      ms = roundTripMs(from, to) / 2
      this.#oneWayMs.set(key, ms)
    }
    return ms
  }

  #resumeStalled(): void {
    const stalled = this.#stalled
    this.#stalled = []
    for (const each of stalled) {
      const { from, to, resume } = each
      if (this.isCut(from, to)) this.#stalled.push(each)
      else {
        const pauseMs = this.#random.magnitude(RESUME_MS_MIN, RESUME_MS_MAX)
        this.#world.after(pauseMs, undefined, () => this.arrive(from, to, resume))
      }
    }
  }

  #changed(): void {
    for (const listener of this.#onChange) listener()
  }
}

const isIn = (place: Place, group: Group): boolean =>
  "place" in group ? place.name === group.place : place.region === group.region

/** A region's cut from itself would be no cut: places of one group reach each other, unless they are named. */
const concerns = ({ from, to }: Way, source: Place, target: Place): boolean => isIn(source, from) && isIn(target, to)
