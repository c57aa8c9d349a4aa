/**
 * Bounds of the product that a run makes small, so that what happens in production once a year happens every minute here:
 * queues overflow, waits end, entries and pages are full.
 *
 * Only bounds that may have any such value without a promise being broken; the relations of core/model/limits.ts are kept.
 */
import { limits } from "#core/model/limits.ts"
import { type Prng } from "./engine/prng.ts"

type LimitName = keyof typeof limits
export type Knobs = Partial<Readonly<Record<LimitName, number>>>

/** Besides its real value each has one of these. */
const SMALL: Readonly<Partial<Record<LimitName, ReadonlyArray<number>>>> = {
  commandsQueued: [1, 3],
  tellsInFlight: [1],
  tellRowsQueued: [1, 5],
  answerFoldWaitMs: [1, 100],
  indexPageRuns: [1, 3],
  indexPagesPerWrite: [1, 3],
  logRowsPerTrim: [1, 10],
  checkpointChunkBytesMax: [200, 5_000],
  checkpointChunksPerDelete: [1, 3],
  commandsUnsettled: [8, 40],
  commandsPerEntry: [1, 2],
  commandSettleMs: [800, 3_000, 8_000],
  appendAttemptsMax: [1, 3],
  logRowsPerRead: [1, 3],
  logBackoffMaxMs: [50],
  barriersWaiting: [1, 2],
  barrierWaitMs: [300, 2_000],
  metadataTimeoutMs: [700, 3_000],
  producerIdBlock: [1, 2],
  segmentBatchesMax: [1, 3],
  blockBytes: [100, 2_000],
  lateCopyBytes: [500, 20_000],
  requestsInFlightPerConnection: [1, 2],
  framePoolBytes: [0],
  blockReadsInFlight: [1, 2],
  copiesAbsentMs: [100],
  bucketProbeDelayMaxMs: [2_000]
}

/** In half of the runs none. */
export const knobsOf = (random: Prng): Knobs => {
  if (random.chance(0.5)) return {}
  const knobs: Partial<Record<LimitName, number>> = {}
  for (const [name, values] of Object.entries(SMALL) as ReadonlyArray<[LimitName, ReadonlyArray<number>]>) {
    if (random.chance(0.25)) knobs[name] = random.pick(values)
  }
  // A batch a segment and a segment an entry is less than the clients ask for: those that give up after a second never end.
  const isNarrow = knobs.commandsQueued !== undefined || knobs.commandsPerEntry !== undefined
  if (isNarrow) delete knobs.segmentBatchesMax
  return knobs
}

/** Until the answer is called. Runs of one process come one after the other, so nobody else sees it. */
export const turnKnobs = (knobs: Knobs): (() => void) => {
  const bounds = limits as unknown as Record<string, number>
  const before = new Map<string, number>()
  for (const [name, value] of Object.entries(knobs)) {
    before.set(name, bounds[name]!)
    bounds[name] = value
  }
  return () => {
    for (const [name, value] of before) bounds[name] = value
  }
}
