/**
 * Draws faults [pure]: one function for each kind, a mix that says how often each comes, and a schedule from both.
 *
 * Durations are drawn by magnitude, so that most are short (a blink, within every timeout) and some outlast timeouts and
 * leases. What no seed may break is not broken here: at most one region is dark or isolated at a time.
 */
import { type Prng } from "../engine/prng.ts"
import { type Group } from "../network/links.ts"
import { BUCKET_FAULTS } from "../outside/bucket.ts"
import { DATABASE_FAULTS } from "../outside/database.ts"
import { type Fault, type Schedule, type ScheduledFault, SEQUENCER } from "./fault.ts"

export interface FaultGround {
  readonly agents: ReadonlyArray<{ readonly name: string; readonly region: string }>
  readonly regions: ReadonlyArray<string>
  /** Of faults that concern an agent, so many concern the sequencer. */
  readonly sequencerShare: number
}

interface Drawn {
  readonly fault: Fault
  readonly durationMs: number
}

type Draw = (random: Prng, ground: FaultGround) => Drawn

const agentOf = (random: Prng, { agents, sequencerShare }: FaultGround): string =>
  random.chance(sequencerShare) ? SEQUENCER : random.pick(agents).name

/** Two places or regions that differ. */
const groupsOf = (random: Prng, ground: FaultGround): readonly [Group, Group] => {
  const [fromRegion, toRegion] = random.sample(ground.regions, 2) as [string, string]
  const groupOf = (region: string): Group => {
    const within = ground.agents.filter((agent) => agent.region === region)
    if (random.chance(ground.sequencerShare)) return { place: SEQUENCER }
    return within.length > 0 && random.chance(0.6) ? { place: random.pick(within).name } : { region }
  }
  return [groupOf(fromRegion), groupOf(toRegion)]
}

/** An agent and everything else in its region: its clients, its bucket, perhaps the database. */
const ownClientsOf = (random: Prng, { agents }: FaultGround): readonly [Group, Group] => {
  const { name, region } = random.pick(agents)
  return [{ place: name }, { region }]
}

const databaseFault: Draw = (random, ground) => ({
  fault: {
    kind: "database-fault",
    fault: random.pick(DATABASE_FAULTS),
    chance: random.magnitude(0.02, 0.6),
    ...(random.chance(0.4) ? { caller: agentOf(random, ground) } : {}),
    ...(random.chance(0.6) ? { operations: ["append"] } : {})
  },
  durationMs: random.magnitude(100, 6_000)
})

/** The log goes on, and nothing leaves memory. */
const withoutRoom = (random: Prng): Drawn => ({
  fault: {
    kind: "database-fault",
    fault: "refused",
    chance: 1,
    operations: ["writeIndexPages", "writeCheckpointChunk"]
  },
  durationMs: random.magnitude(2_000, 25_000)
})

export const DRAWS = {
  kill: (random, ground) => ({
    fault: { kind: "kill", agent: agentOf(random, ground), manner: random.chance(0.7) ? "reset" : "vanish" },
    durationMs: random.magnitude(10, 8_000)
  }),
  stop: (random, ground) => ({
    fault: { kind: "stop", agent: agentOf(random, ground) },
    durationMs: random.magnitude(10, 4_000)
  }),
  freeze: (random, ground) => ({
    fault: { kind: "freeze", agent: agentOf(random, ground) },
    durationMs: random.magnitude(50, 25_000)
  }),
  cut: (random, ground) => {
    const [from, to] = random.chance(0.8) ? groupsOf(random, ground) : ownClientsOf(random, ground)
    const ways = random.chance(0.6) ? "both" : "one"
    const resetShare = random.pick([0, 0, 0.5, 1])
    return { fault: { kind: "cut", from, to, ways, resetShare }, durationMs: random.magnitude(50, 15_000) }
  },
  /** An agent that does not reach the database, or a bucket. */
  "cut-outside": (random, ground) => {
    const from: Group = { place: agentOf(random, ground) }
    const region = random.pick(ground.regions)
    const to: Group = { place: random.chance(0.6) ? `database@${ground.regions[0]}` : `bucket@${region}` }
    const [a, b] = random.chance(0.5) ? [from, to] : [to, from]
    const ways = random.chance(0.5) ? "both" : "one"
    return { fault: { kind: "cut", from: a, to: b, ways, resetShare: 0 }, durationMs: random.magnitude(50, 15_000) }
  },
  isolate: (random, { regions }) => ({
    fault: { kind: "isolate", region: random.pick(regions) },
    durationMs: random.magnitude(200, 20_000)
  }),
  slow: (random, ground) => {
    const [from, to] = groupsOf(random, ground)
    return {
      fault: { kind: "slow", from, to, factor: random.magnitude(2, 50) },
      durationMs: random.magnitude(200, 8_000)
    }
  },
  "reset-connections": (random, ground) => ({
    fault: { kind: "reset-connections", agent: agentOf(random, ground), share: random.pick([0.3, 1]) },
    durationMs: 0
  }),
  "clock-jump": (random, ground) => ({
    fault: {
      kind: "clock-jump",
      agent: agentOf(random, ground),
      byMs: Math.round(random.magnitude(20, 10_000_000)) * (random.chance(0.5) ? 1 : -1)
    },
    durationMs: 0
  }),
  // Forward by less than the time within which a segment must be committed: else what is under way is rightly too late.
  "database-clock-jump": (random) => ({
    fault: {
      kind: "database-clock-jump",
      byMs: Math.round(random.chance(0.5) ? random.magnitude(20, 100_000) : -random.magnitude(20, 10_000_000))
    },
    durationMs: 0
  }),
  "database-fault": (random, ground) => (random.chance(0.15) ? withoutRoom(random) : databaseFault(random, ground)),
  "database-away": (random) => ({
    fault: { kind: "database-away", manner: random.pick(["refuse", "hang"] as const) },
    durationMs: random.magnitude(50, 15_000)
  }),
  "bucket-fault": (random, ground) => ({
    fault: {
      kind: "bucket-fault",
      region: random.pick(ground.regions),
      fault: random.pick(BUCKET_FAULTS),
      chance: random.magnitude(0.05, 0.9),
      ...(random.chance(0.3) ? { caller: agentOf(random, ground) } : {})
    },
    durationMs: random.magnitude(100, 8_000)
  }),
  "bucket-away": (random, { regions }) => ({
    fault: { kind: "bucket-away", region: random.pick(regions), manner: random.pick(["refuse", "hang"] as const) },
    durationMs: random.magnitude(100, 15_000)
  }),
  "region-dark": (random, { regions }) => ({
    fault: { kind: "region-dark", region: random.pick(regions) },
    durationMs: random.magnitude(500, 20_000)
  })
} as const satisfies Record<string, Draw>

export type DrawName = keyof typeof DRAWS

export type Mix = Partial<Readonly<Record<DrawName, number>>>

export interface ScheduleOptions {
  readonly mix: Mix
  readonly count: number
  readonly activeMs: number
}

export const drawSchedule = (
  random: Prng,
  ground: FaultGround,
  { mix, count, activeMs }: ScheduleOptions
): Schedule => {
  const names = Object.entries(mix) as ReadonlyArray<readonly [DrawName, number]>
  const total = names.reduce((sum, [, weight]) => sum + weight, 0)
  const schedule: Array<ScheduledFault> = []
  for (let index = 0; index < count; index++) {
    let at = random.between(0, total)
    const [name] = names.find(([, weight]) => (at -= weight) < 0) ?? names[0]!
    schedule.push({ atMs: random.between(0, activeMs), ...DRAWS[name](random, ground) })
  }
  return schedule.sort((left, right) => left.atMs - right.atMs).filter(isNotTooMuch)
}

const isRegionLost = ({ fault }: ScheduledFault): boolean => fault.kind === "region-dark" || fault.kind === "isolate"

/** Of two lost regions at a time the later one is spared. */
const isNotTooMuch = (each: ScheduledFault, index: number, all: Schedule): boolean =>
  !isRegionLost(each) ||
  !all.slice(0, index).some((other) => isRegionLost(other) && other.atMs + other.durationMs >= each.atMs)
