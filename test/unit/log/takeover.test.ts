/**
 * Goal: whoever sequences dies, sleeps, leaves or comes back, commands wait and are settled once; a deposed sequencer gets
 * nothing acknowledged, however long it slept.
 * Method: agents of three regions on one memory store, in virtual time. A sleeping agent is one that nobody reaches and
 * whose appends are held back and let go later.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Logger, Scope } from "effect"
import { type Fault } from "#backends/metadata/faulty.ts"
import { type CommitSegmentAnswer } from "#core/log/command.ts"
import { type CommitLog, type CommitLogError } from "#core/log/commit-log.ts"
import { digest } from "#core/log/digest.ts"
import { decodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { batchOf, commitOf, createTopicOf, idOf, runOf } from "./log-builders.ts"
import {
  agentOf,
  allRows,
  HOME,
  inTime,
  type LogAgent,
  type LogWorld,
  makeWorld,
  nowMs,
  setClock,
  type Store
} from "./log-harness.ts"

type Log = CommitLog["Service"]

const commit = (log: Log, segment: number): Effect.Effect<number, CommitLogError> =>
  Effect.gen(function* () {
    const createdAtMs = Math.floor(yield* nowMs)
    const answer: CommitSegmentAnswer = yield* log.submit(commitOf(segment, [runOf([batchOf()])], { createdAtMs }))
    return answer.runs[0]![0]!.baseOffset
  })

const until = (condition: () => boolean): Effect.Effect<void> =>
  inTime(
    Effect.gen(function* () {
      while (!condition()) yield* Effect.sleep(5)
    })
  )

const sequencerOf = (agents: ReadonlyArray<LogAgent>): LogAgent | undefined =>
  agents.find(({ view }) => view.isActing())

/** Agents at home (0) and in two other regions (1, 2), the one at home sequencing, with a topic. */
const threeRegions = Effect.fnUntraced(function* (stores: ReadonlyArray<((store: Store) => Store) | undefined> = []) {
  yield* setClock
  const world = yield* makeWorld
  const agents: Array<LogAgent> = []
  const scopes: Array<Scope.Closeable> = []
  for (const [index, region] of [HOME, "west", "south"].entries()) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const store = stores[index]?.(world.store) ?? world.store
    agents.push(yield* Scope.provide(agentOf(world, { region, store }), scope))
    scopes.push(scope)
  }
  yield* inTime(agents[1]!.log.submit(createTopicOf("orders")))
  assert.equal(sequencerOf(agents), agents[0], "the agent at home sequences")
  return { world, agents, scopes }
})

/** A store whose appends wait while the latch is closed: what a frozen process had on its way. */
const heldAppends = (store: Store, gate: Latch.Latch): Store => ({
  ...store,
  append: (row) => Effect.andThen(gate.await, store.append(row))
})

const assertOneHistory = Effect.fnUntraced(function* (world: LogWorld, agents: ReadonlyArray<LogAgent>) {
  const rows = yield* allRows(world.store)
  const replayed = createFold(0)
  for (const row of rows) assert.equal(applyRow(replayed, row).standing, "valid")
  for (const { log } of agents) {
    yield* inTime(log.barrier)
    assert.equal(digest(log.fold as Fold), digest(replayed))
  }
  return rows
})

describe("a sequencer that is gone", () => {
  it.effect("is replaced within a second, and commands wait through it", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const [, west, south] = agents as [LogAgent, LogAgent, LogAgent]
      assert.equal(yield* inTime(commit(west.log, 1)), 0)
      world.peers.set(agents[0]!.name, "gone")
      const startedMs = yield* nowMs
      const offsets = yield* inTime(
        Effect.forEach([2, 3, 4, 5], (segment) => commit(segment % 2 === 0 ? west.log : south.log, segment), {
          concurrency: "unbounded"
        })
      )
      assert.deepEqual(
        offsets.toSorted((left, right) => left - right),
        [1, 2, 3, 4]
      )
      assert.isBelow((yield* nowMs) - startedMs, 1_000)
      const rows = yield* assertOneHistory(world, [west, south])
      assert.equal(rows.at(-1)!.epoch, 2)
    })
  )

  it.effect("is replaced by an agent at home first, where there is one", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const second = yield* agentOf(world, { region: HOME })
      world.peers.set(agents[0]!.name, "gone")
      yield* until(() => sequencerOf([...agents.slice(1), second]) !== undefined)
      assert.equal(sequencerOf([...agents.slice(1), second]), second)
    })
  )

  it.effect("and starts anew under its name takes over at once: its former self is surely dead", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      world.peers.set(agents[0]!.name, "gone")
      const startedMs = yield* nowMs
      const anew = yield* agentOf(world, { region: HOME, name: agents[0]!.name, seed: 99 })
      yield* until(() => anew.view.isActing())
      assert.isBelow((yield* nowMs) - startedMs, 2 * limits.takeoverJitterMs)
    })
  )
})

describe("a sequencer that sleeps", () => {
  it.effect("is replaced when nothing was heard of it for a while", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const west = agents[1]!
      world.peers.set(agents[0]!.name, "silent")
      const startedMs = yield* nowMs
      assert.equal(yield* inTime(commit(west.log, 1)), 0)
      const tookMs = (yield* nowMs) - startedMs
      // It was asked meanwhile: its answer, which never comes, holds up nothing.
      const { sequencerSilentMs, takeoverForeignDelayMs, takeoverJitterMs, successionLookMs } = limits
      assert.isBelow(tookMs, sequencerSilentMs + takeoverForeignDelayMs + takeoverJitterMs + 2 * successionLookMs)
      assert.isAtLeast(tookMs, limits.sequencerSilentMs - limits.sequencerBeatMs)
    })
  )

  it.effect("gets nothing acknowledged when it wakes, whatever it had on its way", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(true)
      const { world, agents } = yield* threeRegions([(store) => heldAppends(store, gate)])
      const [home, west, south] = agents as [LogAgent, LogAgent, LogAgent]
      gate.closeUnsafe()
      const own = yield* Effect.forkChild(Effect.exit(commit(home.log, 1)), { startImmediately: true })
      world.peers.set(home.name, "silent")
      assert.equal(yield* inTime(commit(west.log, 2)), 0)
      for (let segment = 3; segment <= 10; segment += 1) yield* inTime(commit(south.log, segment))
      assert.isTrue(home.view.isActing(), "it does not know yet")
      gate.openUnsafe()
      world.peers.set(home.name, "up")
      const exit = yield* inTime(Fiber.join(own))
      // Its command was not acknowledged by its own, lost row: it was sent on to the new sequencer, and settled there once.
      assert.isTrue(Exit.isSuccess(exit))
      assert.equal(Exit.isSuccess(exit) ? exit.value : -1, 9)
      const rows = yield* assertOneHistory(world, agents)
      const segments = rows.flatMap(({ entry }) =>
        decodeEntry(entry).flatMap((effect) => (effect.kind === "segment-committed" ? [effect.segmentId] : []))
      )
      assert.equal(new Set(segments).size, 10)
      assert.equal(segments.length, 10)
      assert.equal(segments.at(-1), idOf("segment", 1))
    })
  )

  it.effect("and found a slot that was taken and trimmed meanwhile does not act on it", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(true)
      const { world, agents } = yield* threeRegions([undefined, (store) => heldAppends(store, gate)])
      const [home, west, south] = agents as [LogAgent, LogAgent, LogAgent]
      // The candidate in the west has looked at the log and is about to take over when it falls asleep.
      gate.closeUnsafe()
      world.peers.set(home.name, "silent")
      world.peers.set(south.name, "silent")
      yield* inTime(Effect.sleep(limits.sequencerSilentMs * 2))
      world.peers.set(west.name, "silent")
      world.peers.set(home.name, "up")
      world.peers.set(south.name, "up")
      yield* until(() => home.view.isActing() || south.view.isActing())
      for (let segment = 1; segment <= 20; segment += 1) yield* inTime(commit(south.log, segment))
      yield* world.store.trim({ shard: 0, through: (yield* world.store.tail(0)).seq - 5 })
      const early = yield* Effect.forkChild(Effect.exit(commit(west.log, 99)), { startImmediately: true })
      gate.openUnsafe()
      yield* inTime(Effect.sleep(2_000))
      assert.isFalse(west.view.isActing(), "it has a slot of long ago, and no epoch")
      yield* Fiber.interrupt(early)
    })
  )
})

describe("a sequencer that leaves", () => {
  it.effect("hands over, and nobody waits", () =>
    Effect.gen(function* () {
      const { world, agents, scopes } = yield* threeRegions()
      const west = agents[1]!
      yield* inTime(commit(west.log, 1))
      yield* inTime(Scope.close(scopes[0]!, Exit.void))
      const startedMs = yield* nowMs
      assert.equal(yield* inTime(commit(west.log, 2)), 1)
      assert.isBelow((yield* nowMs) - startedMs, 200)
      const rows = yield* assertOneHistory(world, agents.slice(1))
      assert.equal(rows.filter(({ isKept }) => isKept).length, 3)
    })
  )
})

describe("an agent that is handed the log while it tries to take it", () => {
  it.effect("acts, though its own attempt was lost", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const gate = yield* Latch.make(true)
      const scope = yield* Scope.fork(yield* Effect.scope)
      const home = yield* Scope.provide(agentOf(world, { region: HOME }), scope)
      const west = yield* agentOf(world, { region: "west", store: heldAppends(world.store, gate) })
      yield* inTime(west.log.submit(createTopicOf("orders")))
      assert.isTrue(home.view.isActing())
      gate.closeUnsafe()
      world.peers.set(home.name, "silent")
      yield* inTime(Effect.sleep(limits.sequencerSilentMs * 2))
      world.peers.set(home.name, "up")
      yield* inTime(Scope.close(scope, Exit.void))
      yield* inTime(Effect.sleep(limits.sequencerSilentMs))
      assert.equal(west.log.fold.epoch, 2)
      assert.isTrue(west.view.isActing())
      gate.openUnsafe()
      assert.equal(yield* inTime(commit(west.log, 1)), 0)
      assert.equal(west.log.fold.epoch, 2)
    })
  )
})

describe("a sequencer whose hand-over hangs", () => {
  it.effect("is silent after a while, and replaced", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const gate = yield* Latch.make(true)
      const west = yield* agentOf(world, { region: "west", store: heldAppends(world.store, gate) })
      yield* inTime(west.log.submit(createTopicOf("orders")))
      const home = yield* agentOf(world, { region: HOME })
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs / 2))
      assert.isTrue(west.view.isActing())
      gate.closeUnsafe()
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs / 2 + limits.sequencerStalledMs / 2))
      assert.isFalse(home.view.isActing(), "it is handed over, and time yet")
      yield* inTime(Effect.sleep(limits.sequencerStalledMs / 2 + limits.sequencerSilentMs * 2))
      assert.isTrue(home.view.isActing())
      assert.equal(yield* inTime(commit(home.log, 1)), 0)
      gate.openUnsafe()
      yield* inTime(Effect.sleep(1_000))
      yield* assertOneHistory(world, [home, west])
    })
  )
})

describe("an agent that is connecting to a sequencer that sleeps", () => {
  it.effect("turns to the next one as soon as its epoch has begun", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const second = yield* agentOf(world, { region: HOME })
      world.peers.set(agents[0]!.name, "silent")
      const late = yield* agentOf(world, { region: "south" })
      const startedMs = yield* nowMs
      assert.equal(yield* inTime(commit(late.log, 1)), 0)
      assert.isBelow((yield* nowMs) - startedMs, limits.sequencerSilentMs * 2)
      assert.isTrue(second.view.isActing())
    })
  )
})

describe("home", () => {
  it.effect("has its sequencer back when an agent has been there for a while", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      world.peers.set(agents[0]!.name, "gone")
      yield* until(() => sequencerOf(agents.slice(1)) !== undefined)
      const anew = yield* agentOf(world, { region: HOME, name: "anew" })
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs / 2))
      assert.isFalse(anew.view.isActing())
      const startedMs = yield* nowMs
      yield* until(() => anew.view.isActing())
      assert.isBelow((yield* nowMs) - startedMs, limits.sequencerHomeAfterMs)
      assert.equal(yield* inTime(commit(agents[1]!.log, 1)), 0)
      yield* assertOneHistory(world, [...agents.slice(1), anew])
    })
  )
})

describe("an agent at home that does not answer", () => {
  it.effect("is not handed the log that it has just lost, however long it is still listed", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const [home, west, south] = agents as [LogAgent, LogAgent, LogAgent]
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs * 1.5))
      world.peers.set(home.name, "silent")
      yield* inTime(commit(west.log, 1))
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs * 1.5))
      assert.equal(west.log.fold.epoch, 2)
      assert.notEqual(sequencerOf([west, south]), undefined)
      world.peers.set(home.name, "up")
      yield* until(() => west.log.fold.epoch > 2)
      assert.equal(sequencerOf([west, south]), undefined, "it answers again: the log is home")
      assert.equal(yield* inTime(commit(west.log, 2)), 1)
    })
  )

  it.effect("and listens again is given some time before it gets the log back", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const [home, west] = agents as [LogAgent, LogAgent]
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs * 1.5))
      world.peers.set(home.name, "silent")
      yield* inTime(commit(west.log, 1))
      world.peers.set(home.name, "up")
      yield* inTime(Effect.sleep(limits.sequencerHomeAfterMs / 2))
      assert.equal(west.log.fold.epoch, 2)
    })
  )

  it.effect("is passed over by a sequencer that leaves", () =>
    Effect.gen(function* () {
      const { world, agents, scopes } = yield* threeRegions()
      const west = agents[1]!
      yield* agentOf(world, { region: HOME, name: "other-at-home" })
      world.peers.set("other-at-home", "silent")
      yield* inTime(Effect.sleep(limits.sequencerSilentMs * 2))
      yield* inTime(Scope.close(scopes[0]!, Exit.void))
      const startedMs = yield* nowMs
      yield* inTime(commit(west.log, 1))
      assert.isBelow((yield* nowMs) - startedMs, 200)
    })
  )
})

describe("what people are told of the sequencer", () => {
  it.effect("is each change, once, by the agent that it concerns", () => {
    const events: Array<string> = []
    const logger = Logger.make<unknown, void>(({ message }) => {
      const [event, fields] = [message].flat() as [string, Record<string, unknown>]
      events.push(`${event} ${JSON.stringify(fields)}`)
    })
    return Effect.gen(function* () {
      const { world, agents, scopes } = yield* threeRegions()
      const [home, west] = agents as [LogAgent, LogAgent]
      yield* inTime(Effect.sleep(limits.successionLookMs * 2))
      assert.deepEqual(events.splice(0), [`this agent sequences the log now {"shard":0,"epoch":1}`])
      world.peers.set(home.name, "silent")
      yield* inTime(commit(west.log, 1))
      const by = sequencerOf(agents.slice(1))!
      world.peers.set(home.name, "up")
      yield* inTime(Effect.sleep(1_000))
      assert.sameMembers(events.splice(0), [
        `this agent sequences the log now {"shard":0,"epoch":2}`,
        `another agent has taken the log over {"shard":0,"epoch":2,"by":"${by.name}"}`
      ])
      yield* inTime(Scope.close(scopes[agents.indexOf(by)]!, Exit.void))
      yield* inTime(Effect.sleep(1_000))
      assert.sameMembers(events, [
        `the log is handed over {"shard":0,"epoch":3,"to":"${home.name}"}`,
        `this agent sequences the log now {"shard":0,"epoch":3}`
      ])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})

describe("the database's note of who sequences", () => {
  it.effect("follows takeovers, and keeps what it says of the log's front", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const [home, west] = agents as [LogAgent, LogAgent]
      yield* inTime(Effect.sleep(limits.sequencerNoteMs * 2))
      const noted = { shard: 0, epoch: 1, holder: home.name, holderRegion: HOME, homeRegion: HOME, trimmedSeq: 0 }
      assert.deepEqual(yield* world.store.shardNotes, [noted])
      yield* world.store.noteShard({ ...noted, trimmedSeq: 1 })
      world.peers.set(home.name, "gone")
      yield* inTime(commit(west.log, 1))
      yield* inTime(Effect.sleep(limits.sequencerNoteMs * 2))
      const holder = sequencerOf(agents.slice(1))!.name
      const holderRegion = holder === west.name ? "west" : "south"
      assert.deepEqual(yield* world.store.shardNotes, [{ ...noted, epoch: 2, holder, holderRegion, trimmedSeq: 1 }])
    })
  )

  it.effect("is made as soon as the database takes it", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      let isAway = true
      const failing: Fault = { kind: "fail-before", reason: "Unavailable", outcome: "definite" }
      const agent = yield* agentOf(world, {
        plan: ({ operation }) => (isAway && operation === "noteShard" ? failing : undefined)
      })
      yield* until(() => agent.view.isActing())
      yield* inTime(Effect.sleep(limits.sequencerNoteMs * 3))
      assert.deepEqual(yield* world.store.shardNotes, [])
      isAway = false
      yield* inTime(Effect.sleep(limits.sequencerNoteMs * 2))
      assert.equal((yield* world.store.shardNotes)[0]?.holder, agent.name)
    })
  )
})

describe("commands in an order", () => {
  it.effect("keep it over takeovers: none is judged without those before it", () =>
    Effect.gen(function* () {
      const { world, agents } = yield* threeRegions()
      const [home, west] = agents as [LogAgent, LogAgent]
      const offsets: Array<number> = []
      const all = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 300 }, (_, index) => index + 1),
          (segment) => Effect.tap(commit(west.log, segment), (offset) => Effect.sync(() => offsets.push(offset))),
          { concurrency: 50 }
        ),
        { startImmediately: true }
      )
      yield* until(() => offsets.length > 50)
      world.peers.set(home.name, "gone")
      yield* inTime(Fiber.join(all))
      const rows = yield* assertOneHistory(world, agents.slice(1))
      const order = rows.flatMap(({ entry }) =>
        decodeEntry(entry).flatMap((effect) =>
          effect.kind === "segment-committed" ? [Number.parseInt(effect.segmentId.slice(2), 16)] : []
        )
      )
      assert.deepEqual(
        order,
        Array.from({ length: 300 }, (_, index) => index + 1)
      )
    })
  )
})
