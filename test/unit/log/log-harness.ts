/** Commit logs of several agents on one store in memory, on virtual time that runs by itself. */
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { type FaultPlan, make as makeFaulty } from "#backends/metadata/faulty.ts"
import { make as makeMemory } from "#backends/metadata/memory.ts"
import { make as makeAppendLog } from "#core/log/append-log.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type LogRow, MetadataStore } from "#core/ports/metadata-store.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"
import { NOW_MS, randomOf } from "./log-builders.ts"

export type Store = MetadataStore["Service"]

export const entropyOf = (seed: number): Entropy["Service"] => {
  const random = randomOf(seed)
  return Entropy.of({ uuid: () => uuidFromRandom(Buffer.from(Array.from({ length: 16 }, () => random() * 256))) })
}

export const noFaults: FaultPlan = () => undefined

/** The log of one agent, in the test's scope. */
export const agentLog = (store: Store, options: { readonly seed?: number; readonly plan?: FaultPlan } = {}) =>
  makeAppendLog({ shard: 0 }).pipe(
    Effect.provide(
      Layer.mergeAll(
        Layer.succeed(MetadataStore, makeFaulty(store, options.plan ?? noFaults)),
        Layer.succeed(Entropy, entropyOf(options.seed ?? 1))
      )
    )
  )

export const memoryStore: Effect.Effect<Store> = makeMemory

/** Runs the effect while virtual time goes on, five milliseconds a step. */
export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.raceFirst(effect, Effect.forever(Effect.andThen(TestClock.adjust(5), Effect.yieldNow))) as Effect.Effect<
    A,
    E,
    R
  >

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
