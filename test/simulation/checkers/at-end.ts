/**
 * What must hold when everything has healed and all work is done: every agent serves, has folded the same, holds nothing of
 * what is over, and gives every record that is in the log, through the protocol.
 */
import { Effect, Result } from "effect"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { errorCodes, errorName } from "#core/protocol/error-codes.ts"
import { digest } from "#core/log/digest.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Simulation } from "../simulation.ts"
import { type Actor } from "../workload/actor.ts"
import { stillHeld } from "./bounds.ts"
import { type PartitionTruth } from "./truth.ts"

/** All agents serve, and all is read, within this time. */
const SERVE_MS_MAX = 60_000
const READ_MS_MAX = 120_000
const FOLD_MS_MAX = 30_000
/** Whatever a client that is gone had asked for has ended by then. */
const IDLE_MS = 40_000
const AGAIN_MS = 200
const LATEST = -1
const NO_RECORDS = Buffer.alloc(0)

export const checkAtEnd = (simulation: Simulation): void => {
  const { world, cluster, truth } = simulation
  const isServing = (): boolean => cluster.agents.every(({ running }) => running !== undefined)
  world.runUntil(world.nowMs + SERVE_MS_MAX, isServing)
  if (!isServing()) {
    const missing = cluster.agents.filter(({ running }) => running === undefined).map(({ name }) => name)
    return world.fail("liveness", `agents do not serve ${SERVE_MS_MAX} ms after everything has healed`, { missing })
  }
  const partitions = [...truth.topics.values()]
    .filter(({ isDeleted }) => !isDeleted)
    .flatMap((topic) => topic.partitions)
  const readers = cluster.agents.map((agent) => {
    const actor = simulation.actor("reader", agent.region, [agent.name])
    return { agent, fiber: simulation.start(actor, readAll(actor, agent.name, partitions)) }
  })
  const isRead = (): boolean => readers.every(({ fiber }) => fiber.pollUnsafe() !== undefined)
  world.runUntil(world.nowMs + READ_MS_MAX, isRead)
  if (!isRead()) {
    const unfinished = readers.filter(({ fiber }) => fiber.pollUnsafe() === undefined).map(({ agent }) => agent.name)
    return world.fail("acknowledged-lost", `not everything can be read ${READ_MS_MAX} ms after all work was done`, {
      unfinished
    })
  }
  if (world.failure === undefined) compareFolds(simulation)
  if (world.failure === undefined) checkIdle(simulation)
}

/** Nobody asks for anything any more: soon nothing is held for anyone. */
const checkIdle = (simulation: Simulation): void => {
  const { world, cluster } = simulation
  simulation.killClients()
  const held = (): ReadonlyArray<string> =>
    cluster.agents.flatMap(({ name, running }) => (running === undefined ? [] : stillHeld(name, running)))
  world.runUntil(world.nowMs + IDLE_MS, () => held().length === 0)
  if (held().length > 0) world.fail("bounded", "what was held for clients is not given back", { held: held() })
}

/** Through one agent, every partition from its beginning to its end. */
const readAll = Effect.fnUntraced(function* (actor: Actor, agent: string, partitions: ReadonlyArray<PartitionTruth>) {
  for (const partition of partitions) {
    // A statement that was lost on its way may still bring more.
    const logEnd = partition.records.length
    const end = yield* latestOffset(actor, agent, partition)
    if (end < logEnd) {
      throw new CheckFailed("acknowledged-lost", "the latest offset is before the log's end, though all work is done", {
        agent,
        partition: partition.name,
        end,
        logEnd
      })
    }
    for (let offset = 0; offset < end;) offset = yield* readFrom(actor, agent, partition, offset)
  }
})

const latestOffset = Effect.fnUntraced(function* (actor: Actor, agent: string, partition: PartitionTruth) {
  const { client, reads } = actor
  while (true) {
    const ticket = reads.ticket(partition, agent)
    const asked = yield* Effect.result(
      client.ask(ListOffsets, 7, {
        replicaId: -1,
        isolationLevel: 0,
        topics: [
          { name: partition.topic.name, partitions: [{ partitionIndex: partition.partition, timestamp: LATEST }] }
        ]
      })
    )
    if (asked._tag === "Success") {
      const { errorCode, offset } = asked.success.answer.topics[0]!.partitions[0]!
      if (errorCode === errorCodes.NONE) {
        reads.latest(partition, agent, ticket, offset)
        return offset
      }
      if (errorCode !== errorCodes.LEADER_NOT_AVAILABLE) throw refused(agent, partition, errorCode)
    }
    traceAgain(actor, partition, asked)
    yield* Effect.sleep(AGAIN_MS)
  }
})

const readFrom = Effect.fnUntraced(function* (actor: Actor, agent: string, partition: PartitionTruth, offset: number) {
  const { client, reads } = actor
  const ticket = reads.ticket(partition, agent)
  const asked = yield* Effect.result(
    client.ask(Fetch, 12, {
      maxWaitMs: 1_000,
      minBytes: 1,
      topics: [
        {
          topic: partition.topic.name,
          partitions: [{ partition: partition.partition, fetchOffset: offset, partitionMaxBytes: 10_000_000 }]
        }
      ],
      forgottenTopicsData: []
    })
  )
  if (asked._tag === "Success") {
    const { errorCode, highWatermark, records } = asked.success.answer.responses[0]!.partitions[0]!
    if (errorCode === errorCodes.NONE) {
      reads.highWatermark(partition, agent, ticket, highWatermark)
      return reads.fetched(partition, agent, { fetchOffset: offset, highWatermark, records: records ?? NO_RECORDS })
    }
    // Buckets that failed lately are tried again after a while.
    if (errorCode !== errorCodes.KAFKA_STORAGE_ERROR) throw refused(agent, partition, errorCode)
  }
  traceAgain(actor, partition, asked)
  yield* Effect.sleep(AGAIN_MS)
  return offset
})

const traceAgain = ({ world, name }: Actor, partition: PartitionTruth, asked: Result.Result<unknown, unknown>): void =>
  world.trace.add(name, () => {
    const why = Result.isFailure(asked) ? String(asked.failure) : "the agent cannot serve it now"
    return `asks again for ${partition.name}: ${why}`
  })

const refused = (agent: string, partition: PartitionTruth, errorCode: number): CheckFailed =>
  new CheckFailed("acknowledged-lost", `a reader is told ${errorName(errorCode)} at the end`, {
    agent,
    partition: partition.name
  })

/** Every agent follows the log, whether anyone asks it or not. */
const compareFolds = ({ world, cluster, truth }: Simulation): void => {
  const folds = (): ReadonlyArray<Fold> => cluster.agents.map(({ running }) => running!.log.fold as Fold)
  const isFolded = (): boolean => folds().every(({ seq }) => seq === truth.rows.length)
  world.runUntil(world.nowMs + FOLD_MS_MAX, isFolded)
  if (!isFolded()) {
    const seqs = cluster.agents.map(({ name, running }) => `${name} ${running!.log.fold.seq}`)
    return world.fail("liveness", `agents do not follow the log up to seq ${truth.rows.length}`, { seqs })
  }
  const replayed = createFold(0)
  for (const row of truth.rows) applyRow(replayed, row)
  const expected = digest(replayed)
  for (const { name, running } of cluster.agents) {
    if (digest(running!.log.fold as Fold) === expected) continue
    world.fail("folds-agree", `the fold of ${name} is not what the log says`, { seq: replayed.seq })
  }
}
