/**
 * The sequencer is lost under load, and another agent takes over: killed by SIGKILL, and frozen by SIGSTOP.
 *
 * One producer in each region knows only this region's agent, so that two of them see nothing but the takeover (their pauses
 * have bars), and the third what it is to be a client of the lost agent itself (printed, for it waits for its agent).
 */
import { strict as assert } from "node:assert"
import { type Agent, type DatabaseCluster, logRows, rowsFault, startDatabaseCluster } from "./database-cluster.ts"
import { longestPauseMs } from "./numbered-records.ts"
import { flowing, judge, oneInEachRegion, startStreams, type Stream } from "./numbered-streams.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const rounds = 5
const recordsPerSecond = 500
/** Of each stream, between faults. */
const enough = 750
const pauseP50MaxMs = 2_000
const pauseMaxMs = 5_000

/** What one round showed. */
interface Round {
  /** Until another agent said that it sequences. */
  readonly takeoverMs: number
  readonly pausesMs: readonly number[]
}

export const killedSequencer: SystemTest = {
  name: "takeover: the sequencer is killed",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 300_000,
  run: async (context) => {
    const database = await startDatabaseCluster(context)
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    const seen: Round[] = []
    for (let round = 1; round <= rounds; round++) {
      await database.allReady()
      const { agent, epoch } = await database.sequencer()
      const atMs = Date.now()
      agent.signal("SIGKILL")
      const next = await database.sequencer(epoch)
      const takeoverMs = Date.now() - atMs
      await flowing(othersThan(streams, agent), enough)
      await flowing(streams, enough)
      seen.push(told(context, streams, { round, atMs, takeoverMs, lost: agent, next: next.agent, how: "kill -9" }))
    }
    await judgeAll(context, database, streams)
    bars(context, "kill -9 of the sequencer", seen)
  }
}

const othersThan = (streams: readonly Stream[], { region }: Agent): Stream[] =>
  streams.filter((stream) => stream.region !== region)

function told(
  context: Context,
  streams: readonly Stream[],
  round: {
    readonly round: number
    readonly atMs: number
    readonly takeoverMs: number
    readonly lost: Agent
    readonly next: Agent
    readonly how: string
  }
): Round {
  const { lost, next, atMs, takeoverMs, how } = round
  const pauseOf = ({ producer }: Stream): number => longestPauseMs(producer.acknowledged, atMs)
  const pausesMs = othersThan(streams, lost).map(pauseOf)
  const own = streams.filter(({ region }) => region === lost.region).map(pauseOf)
  context.say(
    `round ${round.round}: ${how} of ${lost.name}, ${next.name} took over after ${seconds(takeoverMs)}; ` +
      `longest pauses ${pausesMs.map(seconds).join(" and ")}, of its own clients ${own.map(seconds).join(" and ")}`
  )
  return { takeoverMs, pausesMs }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

function bars(context: Context, fault: string, seen: readonly Round[]): void {
  const pauses = seen.flatMap(({ pausesMs }) => pausesMs).toSorted((a, b) => a - b)
  const p50 = pauses[Math.floor((pauses.length - 1) / 2)] ?? Number.NaN
  const max = pauses.at(-1) ?? Number.NaN
  context.say(`${fault}, ${seen.length} rounds: produce gap p50 ${seconds(p50)}, max ${seconds(max)}`)
  assert(p50 <= pauseP50MaxMs, `the produce gap's p50 is ${p50} ms, above ${pauseP50MaxMs} ms`)
  assert(max <= pauseMaxMs, `the produce gap's maximum is ${max} ms, above ${pauseMaxMs} ms`)
}

async function judgeAll(context: Context, database: DatabaseCluster, streams: readonly Stream[]): Promise<void> {
  await database.allReady()
  await judge(context, database.cluster, streams, [...database.cluster.bootstrap.keys()])
  const rows = await logRows(database.server)
  assert.equal(rowsFault(rows), undefined)
  context.say(`${rows.length} rows of ${rows.at(-1)?.epoch} epochs, each behind the last of the epoch before it`)
}
