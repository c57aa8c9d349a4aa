/**
 * The sequencer is lost under load, and another agent takes over: killed by SIGKILL, or frozen by SIGSTOP and continued later.
 *
 * One producer in each region knows only this region's agent, so that two of them see nothing but the takeover (their pauses
 * have bars), and the third what it is to be a client of the lost agent itself (printed, for it waits for its agent).
 *
 * Invariant 3 by hand: a sequencer that is continued gets nothing acknowledged. Its epoch appends no row behind the one that
 * begins the next; what it had taken from its clients is settled once, by whoever has taken over, or not at all.
 */
import { strict as assert } from "node:assert"
import { join } from "node:path"
import { delay, run, waitUntil } from "../peers/child-process.ts"
import { requireQuiet } from "./agent-log.ts"
import { type Agent, type DatabaseCluster, logRows, rowsFault, startDatabaseCluster } from "./database-cluster.ts"
import { bundle } from "./harness.ts"
import { longestPauseMs } from "./numbered-records.ts"
import { flowing, judge, oneInEachRegion, startStreams, type Stream } from "./numbered-streams.ts"
import { type Context, type SystemTest } from "./system-test.ts"

export const recordsPerSecond = 500
/** Of each stream, between faults. */
export const enough = 750
const rounds = 5
/**
 * How long it stays frozen after another has taken over; the longer ones outlast a membership too. `isHeld`: the appends that it
 * has on its way reach the server only after it was continued.
 */
const freezes = [
  { isHeld: true, extraMs: 0 },
  { isHeld: false, extraMs: 4_000 },
  { isHeld: true, extraMs: 500 },
  { isHeld: false, extraMs: 0 },
  { isHeld: true, extraMs: 1_000 }
]
/** Long enough for an append to set out. */
const heldForMs = 100
const refusedDeadlineMs = 10_000
const followsDeadlineMs = 20_000
/** What had been sent before a fault may arrive so much later. */
const onTheWayMs = 500
const statusDeadlineMs = 20_000
const pauseP50MaxMs = 2_000
const pauseMaxMs = 5_000

/** A fault of the sequencer, and what the clients of the other agents saw. */
export interface Loss {
  readonly name: string
  readonly lost: Agent
  readonly next: Agent
  readonly atMs: number
  readonly takeoverMs: number
}

export const killedSequencer: SystemTest = {
  name: "takeover: the sequencer is killed",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 300_000,
  run: async (context) => {
    const database = await startDatabaseCluster(context)
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    const pausesMs: number[] = []
    for (let round = 1; round <= rounds; round++) {
      const logBefore = database.log().length
      const loss = await loseSequencer(database, `round ${round}: kill -9`, (agent) => agent.signal("SIGKILL"))
      await flowing(streams, enough)
      pausesMs.push(...tellLoss(context, streams, loss))
      await database.allReady()
      requireQuiet(database.log().slice(logBefore))
    }
    await judgeAll(context, database, streams)
    requirePauses(context, `kill -9 of the sequencer, ${rounds} rounds`, pausesMs)
  }
}

export const frozenSequencer: SystemTest = {
  name: "takeover: the sequencer is frozen, and continued",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 300_000,
  run: async (context) => {
    const database = await startDatabaseCluster(context)
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    const pausesMs: number[] = []
    for (const [index, { isHeld, extraMs }] of freezes.entries()) {
      const { proxy, refusals } = database
      const logBefore = database.log().length
      const before = new Map(database.agents.map((agent) => [agent, refusals(agent)]))
      const loss = await loseSequencer(database, `round ${index + 1}: SIGSTOP`, async (agent) => {
        if (isHeld) {
          proxy.setFor(agent.application, { kind: "hang" })
          await delay(heldForMs)
        }
        agent.signal("SIGSTOP")
      })
      const { lost, atMs } = loss
      const refused = (): number => refusals(lost) - (before.get(lost) ?? 0)
      try {
        await flowing(othersThan(streams, lost), enough)
        await delay(extraMs)
      } finally {
        lost.signal("SIGCONT")
        proxy.setFor(lost.application, undefined)
      }
      const continuedAtMs = Date.now()
      await followsAgain(database, lost)
      await flowing(streams, enough)
      if (isHeld) await waitUntil("the server refuses its late append", refusedDeadlineMs, () => refused() > 0)
      const [own] = streams.filter(({ region }) => region === lost.region)
      const early = own?.producer.acknowledged.filter((ack) => ack.atMs > atMs + onTheWayMs && ack.atMs < continuedAtMs)
      assert.deepEqual(early, [], "a frozen agent has answered")
      const more = `, continued after ${seconds(continuedAtMs - atMs)}, ${refused()} late appends of it refused`
      pausesMs.push(...tellLoss(context, streams, loss, more))
      await database.allReady()
      requireQuiet(database.log().slice(logBefore))
    }
    await judgeAll(context, database, streams)
    requirePauses(context, `SIGSTOP of the sequencer, ${freezes.length} rounds`, pausesMs)
  }
}

/** Ends when another agent sequences; those that live can serve clients all the while. */
export async function loseSequencer(
  { sequencer, agents }: DatabaseCluster,
  name: string,
  lose: (agent: Agent) => void | Promise<void>
): Promise<Loss> {
  const { agent: lost, epoch } = await sequencer()
  const atMs = Date.now()
  await lose(lost)
  const { agent: next } = await sequencer(
    epoch,
    agents.filter((agent) => agent !== lost)
  )
  const takeoverMs = Date.now() - atMs
  for (const agent of agents) {
    if (agent !== lost) assert.equal((await agent.http("/ready")).status, 200, `${agent.name} is ready`)
  }
  return { name, lost, next, atMs, takeoverMs }
}

/** The agent knows of the newest epoch, and that it is not its own, unless the log was handed back to it. */
async function followsAgain({ sequencer, agents }: DatabaseCluster, agent: Agent): Promise<void> {
  const { epoch } = await sequencer(
    0,
    agents.filter((other) => other !== agent)
  )
  await waitUntil(`${agent.name} knows of epoch ${epoch}`, followsDeadlineMs, async () => {
    const metrics = await agent.metrics()
    return metrics !== undefined && metrics.sum("meridian_sequencer_epoch") >= epoch
  })
}

const othersThan = (streams: readonly Stream[], { region }: Agent): Stream[] =>
  streams.filter((stream) => stream.region !== region)

/** Says what the loss cost, and answers with the longest pauses of the other agents' clients. */
export function tellLoss(context: Context, streams: readonly Stream[], loss: Loss, more = ""): number[] {
  const { name, lost, next, atMs, takeoverMs } = loss
  const pauseOf = ({ producer }: Stream): number => longestPauseMs(producer.acknowledged, atMs)
  const others = othersThan(streams, lost).map(pauseOf)
  const own = streams.filter(({ region }) => region === lost.region).map(pauseOf)
  context.say(
    `${name} of ${lost.name}, ${next.name} took over within ${seconds(takeoverMs)}${more}; ` +
      `longest pauses ${others.map(seconds).join(" and ")}, of its own clients ${own.map(seconds).join(" and ")}`
  )
  return others
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

function requirePauses(context: Context, fault: string, pausesMs: readonly number[]): void {
  const sorted = pausesMs.toSorted((a, b) => a - b)
  const p50 = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
  const max = sorted.at(-1) ?? Number.NaN
  context.say(`${fault}: produce gap p50 ${seconds(p50)}, max ${seconds(max)}`)
  assert(p50 <= pauseP50MaxMs, `the produce gap's p50 is ${p50} ms, above ${pauseP50MaxMs} ms`)
  assert(max <= pauseMaxMs, `the produce gap's maximum is ${max} ms, above ${pauseMaxMs} ms`)
}

/** `meridian metadata status` names who sequences. */
async function requireStatus({ sequencer, cluster }: DatabaseCluster): Promise<void> {
  const args = [bundle, "metadata", "status", "--config", join(cluster.dir, "topology.yaml")]
  await waitUntil("meridian metadata status names the sequencer", statusDeadlineMs, async () => {
    const { agent, epoch } = await sequencer()
    const { stdout } = await run(process.execPath, args, { deadlineMs: statusDeadlineMs })
    const [, holder, told] = /^0 +(\S+) +\S+ +\S+ +(\d+) /m.exec(stdout.toString()) ?? []
    return holder === agent.name && Number(told) === epoch
  })
}

/** Nothing lost, nothing doubled, and no epoch reaches into the next. */
export async function judgeAll(context: Context, database: DatabaseCluster, streams: readonly Stream[]): Promise<void> {
  await database.allReady()
  await requireStatus(database)
  await judge(context, database.cluster, streams, [...database.cluster.bootstrap.keys()])
  const rows = await logRows(database.server)
  assert.equal(rowsFault(rows), undefined)
  context.say(`${rows.length} rows of ${rows.at(-1)?.epoch} epochs, each behind the last of the epoch before it`)
}
