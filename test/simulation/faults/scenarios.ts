/**
 * Scenarios by name [pure]: what a seed may draw for its cluster, its workload and its faults.
 *
 * All share one shape, so that a fault found in one can be looked for in all others.
 */
import { type Settings } from "#core/config/settings.ts"
import { type ClockError } from "../engine/process.ts"
import { type Prng } from "../engine/prng.ts"
import { type Mix } from "./generate.ts"

export interface Scenario {
  readonly doc: string
  readonly mix: Mix
  /** Faults of one run, both ends included. */
  readonly faults: readonly [min: number, max: number]
  /** How long faults and work go on, both ends included. */
  readonly activeMs: readonly [min: number, max: number]
  readonly clocks: "right" | "slightly-wrong" | "wrong"
  /** Pauses between what actors do are so many times as long; 1 where nothing is said. */
  readonly pace?: number
  /** See FaultGround; a quarter where nothing is said. */
  readonly sequencerShare?: number
}

const EVERYTHING: Mix = {
  kill: 3,
  stop: 1,
  freeze: 2,
  cut: 3,
  "cut-outside": 2,
  isolate: 1,
  slow: 1,
  "reset-connections": 1,
  "clock-jump": 1,
  "database-fault": 5,
  "database-away": 1,
  "bucket-fault": 3,
  "bucket-away": 1,
  "region-dark": 1
}

const SHORT = [4_000, 8_000] as const
const NO_FAULTS: Mix = {}

export const SCENARIOS = {
  calm: { doc: "nothing goes wrong", mix: NO_FAULTS, faults: [0, 0], activeMs: SHORT, clocks: "slightly-wrong" },
  default: { doc: "a bit of everything", mix: EVERYTHING, faults: [2, 10], activeMs: SHORT, clocks: "slightly-wrong" },
  kills: {
    doc: "agents die, stop and come back, also all at once",
    mix: { kill: 6, stop: 2, "reset-connections": 1, "database-fault": 1 },
    faults: [4, 14],
    activeMs: SHORT,
    clocks: "slightly-wrong"
  },
  freezes: {
    doc: "agents freeze, many far past every lease and timeout",
    mix: { freeze: 8, kill: 1, "database-fault": 2 },
    faults: [2, 6],
    activeMs: [6_000, 25_000],
    clocks: "slightly-wrong"
  },
  cuts: {
    doc: "links are cut, one or both ways, or slow; regions are isolated",
    mix: { cut: 5, "cut-outside": 4, isolate: 2, slow: 2, "reset-connections": 2 },
    faults: [3, 10],
    activeMs: SHORT,
    clocks: "slightly-wrong"
  },
  database: {
    doc: "statements fail before and after they take effect, come late or twice; the database goes away",
    mix: { "database-fault": 10, "database-away": 2, "cut-outside": 2, kill: 1 },
    faults: [4, 14],
    activeMs: SHORT,
    clocks: "slightly-wrong"
  },
  buckets: {
    doc: "buckets fail, hang, are slow, full or away, and answer wrong bytes",
    mix: { "bucket-fault": 10, "bucket-away": 3, "cut-outside": 2, kill: 1 },
    faults: [4, 14],
    activeMs: SHORT,
    clocks: "slightly-wrong"
  },
  skew: {
    doc: "clocks are minutes wrong, drift and jump",
    mix: { "clock-jump": 6, "database-clock-jump": 3, freeze: 1, kill: 1, "database-fault": 1 },
    faults: [3, 10],
    activeMs: SHORT,
    clocks: "wrong"
  },
  takeover: {
    doc: "the sequencer dies, freezes, is cut off or loses its database, again and again",
    mix: { kill: 4, stop: 1, freeze: 4, cut: 3, "cut-outside": 3, "reset-connections": 2, "database-fault": 2 },
    faults: [3, 10],
    activeMs: [6_000, 15_000],
    clocks: "slightly-wrong",
    sequencerShare: 0.9
  },
  long: {
    doc: "minutes of everything: the log's past goes to index pages and checkpoints, agents start from them",
    mix: { ...EVERYTHING, kill: 6, freeze: 3 },
    faults: [5, 16],
    activeMs: [25_000, 50_000],
    clocks: "slightly-wrong",
    pace: 4
  },
  regions: {
    doc: "a region goes dark or is isolated, while others have troubles of their own",
    mix: { "region-dark": 4, isolate: 4, kill: 1, cut: 1, "database-fault": 1 },
    faults: [2, 5],
    activeMs: [6_000, 15_000],
    clocks: "slightly-wrong"
  }
} as const satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof SCENARIOS

export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ReadonlyArray<ScenarioName>

export const clockErrorOf = (random: Prng, clocks: Scenario["clocks"]): ClockError => {
  switch (clocks) {
    case "right":
      return { offsetMs: 0, rate: 1 }
    case "slightly-wrong":
      return { offsetMs: random.between(-50, 50), rate: 1 + random.between(-0.0001, 0.0001) }
    case "wrong":
      return {
        offsetMs: random.magnitude(10, 10_000_000) * (random.chance(0.5) ? 1 : -1),
        rate: 1 + random.between(-0.05, 0.05)
      }
  }
}

/** Settings that a seed may have: the defaults in half of the runs. */
export const settingsOf = (random: Prng): Partial<Settings> =>
  random.chance(0.5)
    ? {}
    : {
        flushIntervalMs: random.pick([0, 5, 25, 250]),
        logPollIntervalMs: random.pick([10, 25, 100, 250]),
        segmentsInFlight: random.pick([1, 2, 8]),
        segmentBytes: random.pick([64 * 1024, 8 * 1024 * 1024]),
        putTimeoutMs: random.pick([1_000, 3_000, 10_000]),
        getTimeoutMs: random.pick([1_000, 5_000]),
        readHedgeDelayMs: random.pick([50, 300]),
        cacheBytes: random.pick([1024 * 1024, 32 * 1024 * 1024])
      }
