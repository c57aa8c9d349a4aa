/** Invariant 11: what an agent holds stays within its bounds while it runs, and is given back when nobody asks for anything. */
import { limits } from "#core/model/limits.ts"
import { type Settings } from "#core/config/settings.ts"
import { type Fold } from "#core/log/fold.ts"
import { RESIDENT_RUNS_REFUSE, type RunningAgent } from "../cluster/agent.ts"
import { CheckFailed } from "../engine/check-failed.ts"

/** Of the workload. */
const REQUEST_BYTES_MAX = 200_000
/** Of the workload: runs of one entry. */
const ENTRY_RUNS_MAX = 60

export const checkBounds = (name: string, { gauges, quorum, log }: RunningAgent, settings: Settings): void => {
  const { residentRuns } = log.fold as Fold
  const buckets = quorum.buckets()
  const bounds: ReadonlyArray<readonly [what: string, value: number, max: number]> = [
    ["requestBytesInFlight", gauges.value("requestBytesInFlight"), settings.requestBytesInFlight],
    ["fetchBytesInFlight", gauges.value("fetchBytesInFlight"), settings.fetchBytesInFlight],
    ["segmentsInFlight", gauges.value("segmentsInFlight"), settings.segmentsInFlight],
    ["connectionsOpen", gauges.value("connectionsOpen"), settings.connectionsMax],
    ["unfinishedPuts", Math.max(...buckets.map(({ unfinishedPuts }) => unfinishedPuts)), limits.putsInFlightPerBucket],
    // Each bucket may hold one segment more, and a segment may exceed its size by one request.
    [
      "lateBytes",
      quorum.counters.lateBytes,
      limits.lateCopyBytes + buckets.length * (settings.segmentBytes + REQUEST_BYTES_MAX)
    ],
    ["residentRuns", residentRuns, RESIDENT_RUNS_REFUSE + ENTRY_RUNS_MAX],
    ["missingQueued", quorum.counters.missingQueued, limits.missingCopiesQueue]
  ]
  for (const [what, value, max] of bounds) {
    if (value > max) throw new CheckFailed("bounded", `${what} of ${name} is ${value}, more than ${max}`)
  }
}

/** What an agent holds for clients, in words; empty soon after all clients have gone. */
export const stillHeld = (name: string, { gauges }: RunningAgent): ReadonlyArray<string> =>
  (["requestBytesInFlight", "fetchBytesInFlight", "segmentsInFlight", "connectionsOpen"] as const)
    .filter((what) => gauges.value(what) !== 0)
    .map((what) => `${what} of ${name}: ${gauges.value(what)}`)
