/** Commit logs of several agents on one store in memory, reaching each other in memory, on virtual time that runs by itself. */
import { Context, Effect, Fiber, type Latch, Layer } from "effect"
import { TestClock } from "effect/testing"
import { type FaultPlan, make as makeFaulty } from "#backends/metadata/faulty.ts"
import { make as makeMemory } from "#backends/metadata/memory.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { layer as foldedLogLayer } from "#core/log/folded-log.ts"
import { type MaterializerOptions } from "#core/log/materializer.ts"
import { LogPeers } from "#core/log/log-peers.ts"
import { LogDoor, SequencerView, layer as sequencedLogLayer } from "#core/log/sequenced-log.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type LogRow, MetadataStore } from "#core/ports/metadata-store.ts"
import { limits } from "#core/model/limits.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"
import { NOW_MS, randomOf } from "./log-builders.ts"
import { MemoryPeers } from "./memory-peers.ts"

export type Store = MetadataStore["Service"]

export const entropyOf = (seed: number): Entropy["Service"] => {
  const random = randomOf(seed)
  return Entropy.of({ uuid: () => uuidFromRandom(Buffer.from(Array.from({ length: 16 }, () => random() * 256))) })
}

export const noFaults: FaultPlan = () => undefined

export const memoryStore: Effect.Effect<Store> = makeMemory

export const HOME = "east"

export interface LogWorld {
  readonly store: Store
  readonly peers: MemoryPeers
  agents: number
}

export const makeWorld: Effect.Effect<LogWorld> = Effect.map(makeMemory, (store) => ({
  store,
  peers: new MemoryPeers(HOME),
  agents: 0
}))

export interface AgentOptions {
  readonly seed?: number
  readonly plan?: FaultPlan
  readonly region?: string
  readonly name?: string
  readonly materializer?: Partial<MaterializerOptions>
  readonly residentRunsRefuse?: number
  /** Instead of the world's. */
  readonly store?: Store
}

export interface LogAgent {
  readonly name: string
  readonly log: CommitLog["Service"]
  readonly view: SequencerView["Service"]
  readonly door: LogDoor["Service"]
}

/** One more agent of the world, in the test's scope. */
export const agentOf = Effect.fnUntraced(function* (world: LogWorld, options: AgentOptions = {}) {
  world.agents += 1
  const nodeId = world.agents
  const entropy = entropyOf(options.seed ?? nodeId)
  const name = options.name ?? `agent-${nodeId}`
  const entered = world.peers.enter({ name, session: entropy.uuid(), nodeId, region: options.region ?? HOME })
  const store = gated(options.store ?? world.store, entered.gate)
  const context = yield* Layer.build(
    sequencedLogLayer({
      ...(options.materializer === undefined ? {} : { materializer: options.materializer }),
      ...(options.residentRunsRefuse === undefined ? {} : { residentRunsRefuse: options.residentRunsRefuse })
    }).pipe(
      Layer.provide(foldedLogLayer({ shard: 0 })),
      Layer.provide(
        Layer.mergeAll(
          Layer.succeed(MetadataStore, makeFaulty(store, options.plan ?? noFaults)),
          Layer.succeed(Entropy, entropy),
          Layer.succeed(LogPeers, entered.peers)
        )
      )
    )
  )
  yield* Effect.addFinalizer(() => Effect.sync(entered.dismiss))
  const door = Context.get(context, LogDoor)
  entered.open(door)
  const agent: LogAgent = {
    name,
    log: Context.get(context, CommitLog),
    view: Context.get(context, SequencerView),
    door
  }
  return agent
})

/** Calls of an agent that was killed or frozen get nowhere. */
const gated = (store: Store, gate: Latch.Latch): Store => ({
  ...store,
  append: (row) => Effect.andThen(gate.await, store.append(row)),
  read: (range) => Effect.andThen(gate.await, store.read(range)),
  tail: (shard) => Effect.andThen(gate.await, store.tail(shard))
})

/**
 * Runs the effect while virtual time goes on, five milliseconds a step. A step is never interrupted: the clock would wait for
 * ever for the fibers that it woke.
 */
export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    while (fiber.pollUnsafe() === undefined) {
      yield* TestClock.adjust(5)
      yield* Effect.yieldNow
    }
    return yield* Fiber.join(fiber)
  })

export const nowMs: Effect.Effect<number> = Effect.clockWith((clock) => clock.currentTimeMillis)

export const setClock: Effect.Effect<void> = TestClock.setTime(NOW_MS)

export const allRows = (store: Store): Effect.Effect<ReadonlyArray<LogRow>> =>
  Effect.gen(function* () {
    const rows: Array<LogRow> = []
    for (;;) {
      const more = yield* Effect.orDie(store.read({ shard: 0, after: rows.length, limit: 500 }))
      if (more.length === 0) return rows
      rows.push(...more)
    }
  })

/** Bounds made small for the test's time. */
export const withLimits = (small: Partial<Record<keyof typeof limits, number>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = { ...limits }
      Object.assign(limits, small)
      return before
    }),
    (before) => Effect.sync(() => Object.assign(limits, before))
  )
