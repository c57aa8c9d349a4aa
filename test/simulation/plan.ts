/**
 * What a seed decides before anything runs [pure]: cluster, topics, actors and the schedule of faults.
 *
 * A plan is data, so that the trace can show it and a failure can be understood from it.
 */
import { type Settings } from "#core/config/settings.ts"
import { CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD } from "#core/records/codec-id.ts"
import { hostName, REGIONS } from "./cluster/regions.ts"
import { type ClockError } from "./engine/process.ts"
import { type Prng, streamOf } from "./engine/prng.ts"
import { type Schedule } from "./faults/fault.ts"
import { drawSchedule } from "./faults/generate.ts"
import { clockErrorOf, type Scenario, SCENARIOS, type ScenarioName, settingsOf } from "./faults/scenarios.ts"
import { type Knobs, knobsOf } from "./knobs.ts"
import { type FetcherOptions } from "./workload/fetcher.ts"
import { type ProducerOptions } from "./workload/producer.ts"
import { type NewTopic } from "./workload/topics.ts"

export interface Plan {
  readonly agentsPerRegion: ReadonlyArray<number>
  readonly settings: Partial<Settings>
  readonly knobs: Knobs
  /** By host name. */
  readonly clocks: ReadonlyMap<string, ClockError>
  readonly topics: ReadonlyArray<NewTopic>
  readonly producers: ReadonlyArray<ProducerOptions & { readonly region: string }>
  readonly fetchers: ReadonlyArray<FetcherOptions & { readonly region: string }>
  readonly probers: ReadonlyArray<{ readonly index: number; readonly pauseMs: number; readonly region: string }>
  readonly activeMs: number
  readonly schedule: Schedule
}

const SEQUENCER_SHARE = 0.25

export const makePlan = (seed: number, name: ScenarioName): Plan => {
  const scenario: Scenario = SCENARIOS[name]
  const random = streamOf(seed, `plan/${name}`)
  const agentsPerRegion = random.pick([
    [1, 1, 1],
    [1, 1, 1],
    [2, 1, 1],
    [1, 2, 1],
    [2, 2, 1]
  ])
  const agents = REGIONS.flatMap((region, index) =>
    Array.from({ length: agentsPerRegion[index]! }, (_, number) => ({
      name: hostName(region, "agent", number + 1),
      region
    }))
  )
  const clocks = new Map(agents.map((agent) => [agent.name, clockErrorOf(random, scenario.clocks)]))
  const topics = topicsOf(random)
  const activeMs = random.between(...scenario.activeMs)
  return {
    agentsPerRegion,
    settings: settingsOf(random),
    knobs: knobsOf(random),
    clocks,
    topics,
    producers: producersOf(random, topics, scenario.pace ?? 1),
    fetchers: fetchersOf(random, topics, activeMs),
    probers: probersOf(random, scenario.pace ?? 1),
    activeMs,
    schedule: drawSchedule(
      random,
      { agents, regions: REGIONS, sequencerShare: scenario.sequencerShare ?? SEQUENCER_SHARE },
      { mix: scenario.mix, count: random.whole(...scenario.faults), activeMs }
    )
  }
}

const topicsOf = (random: Prng): ReadonlyArray<NewTopic> =>
  Array.from({ length: random.whole(1, 3) }, (_, index) => ({
    name: `topic-${index}`,
    partitions: random.whole(1, 3),
    configs: random.chance(0.2) ? { "message.timestamp.type": "LogAppendTime" } : {}
  }))

const producersOf = (random: Prng, topics: ReadonlyArray<NewTopic>, pace: number): Plan["producers"] =>
  Array.from({ length: random.whole(2, 4) }, (_, index) => {
    const { name, partitions } = random.pick(topics)
    // The first always is: some promises concern only those.
    const isIdempotent = index === 0 || random.chance(0.6)
    return {
      index,
      isIdempotent,
      countsUnknown: isIdempotent && random.chance(0.4),
      topic: name,
      partitions,
      codec: random.chance(0.7) ? CODEC_NONE : random.pick([CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD]),
      payloadBytesMax: random.chance(0.1) ? 20_000 : 400,
      pauseMs: pace * random.magnitude(60, 400),
      requestTimeoutMs: random.pick([1_000, 5_000, 30_000]),
      acks: isIdempotent || random.chance(0.6) ? -1 : random.pick([0, 1] as const),
      version: random.whole(7, 13),
      region: random.pick(REGIONS)
    }
  })

/** Some begin when much is there already: in index pages. */
const fetchersOf = (random: Prng, topics: ReadonlyArray<NewTopic>, activeMs: number): Plan["fetchers"] =>
  topics.flatMap(({ name, partitions }) =>
    random.sample(REGIONS, random.whole(1, 2)).map((region) => ({
      topic: name,
      partitions,
      maxWaitMs: random.pick([0, 100, 500, 2_000]),
      partitionMaxBytes: random.pick([1, 2_000, 1_000_000]),
      version: random.whole(10, 18),
      startMs: random.chance(0.3) ? random.between(0, activeMs) : 0,
      region
    }))
  )

/** Beyond the producers' numbers. */
const FIRST_PROBER_INDEX = 100

const probersOf = (random: Prng, pace: number): Plan["probers"] =>
  Array.from({ length: random.whole(1, 2) }, (_, index) => ({
    index: FIRST_PROBER_INDEX + index,
    pauseMs: pace * random.magnitude(50, 400),
    region: random.pick(REGIONS)
  }))
