/**
 * Goal: a fetch waits for no more than its answer may hold, and says of a topic that was deleted meanwhile what Kafka says.
 * Method: the handler over a log made by hand, on a clock that the test moves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ByteBudget } from "#core/agent/byte-budget.ts"
import { type AgentServices, type RequestContext } from "#core/agent/handler.ts"
import { fetch } from "#core/agent/handlers/01-fetch.ts"
import { layer, RunReader } from "#core/agent/run-reader.ts"
import { defaultSettings } from "#core/config/settings.ts"
import { type Folded, type PartitionState, type TopicState } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { SegmentStore } from "#core/ports/segment-store.ts"
import { type Fetch } from "#core/protocol/api/01-fetch.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { makeSegment } from "./made-segment.ts"

const TOPIC_ID = "0000000000000000000000000000000a"

/** A topic "t" whose one partition has one run; and what deletes it. */
const makeTopic = () => {
  const { bytes, runs } = makeSegment([{ batches: [1], baseOffset: 0, valueBytes: 1_000 }])
  const partitions: Array<PartitionState> = []
  const topic: TopicState = { topicId: TOPIC_ID, name: "t", createdAtMs: 0, configs: new Map(), partitions }
  partitions.push({
    topic,
    partition: 0,
    logStartOffset: 0,
    expectedSequence: () => undefined,
    highWatermark: 1,
    residentOffset: 0,
    runCount: 1,
    run: () => runs[0]!,
    runIndexOf: () => 0
  })
  const listeners = new Set<(folded: Folded) => void>()
  let isThere = true
  const log = {
    barrier: Effect.void,
    fold: { topicById: () => (isThere ? topic : undefined), topicByName: () => (isThere ? topic : undefined) },
    onFolded: (listener: (folded: Folded) => void) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  } as unknown as AgentServices["log"]
  const remove = Effect.sync(() => {
    isThere = false
    for (const listener of listeners) {
      listener({ seq: 1, grown: [], effects: [{ kind: "topic-deleted", topicId: TOPIC_ID }] } as unknown as Folded)
    }
  })
  const store = Layer.succeed(
    SegmentStore,
    SegmentStore.of({
      write: () => Effect.die("not here"),
      read: (_, range) => Effect.sync(() => Buffer.from(bytes.subarray(range.offset, range.offset + range.length)))
    })
  )
  return { log, remove, store }
}

type Made = ReturnType<typeof makeTopic>

interface Asked {
  readonly version: number
  readonly maxWaitMs: number
  readonly minBytes: number
  readonly maxBytes: number
}

const ask = (made: Made, { version, ...asked }: Asked) =>
  Effect.gen(function* () {
    const services = {
      log: made.log,
      runs: yield* RunReader,
      metrics: yield* Metrics,
      clock: yield* Clock.Clock,
      settings: defaultSettings,
      fetchBudget: new ByteBudget(limits.fetchBytesInFlight)
    } as unknown as AgentServices
    const request = {
      ...asked,
      replicaId: -1,
      replicaState: { replicaId: -1, replicaEpoch: -1 },
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic: version < 13 ? "t" : "",
          topicId: version < 13 ? UUID_ZERO : TOPIC_ID,
          partitions: [{ partition: 0, currentLeaderEpoch: -1, fetchOffset: 0, partitionMaxBytes: 1_000_000 }]
        }
      ]
    } as unknown as RequestOf<typeof Fetch>
    const context = { apiVersion: version, hold: () => {} } as unknown as RequestContext
    const answer = (yield* fetch.make(services)(request, context)) as ResponseInput<typeof Fetch>
    return answer.responses[0]!.partitions[0]!
  }).pipe(
    Effect.provide(
      Layer.mergeAll(layer({ cacheBytes: limits.blockCacheBytes }).pipe(Layer.provide(made.store)), Metrics.layerNoop)
    )
  )

describe("a fetch that waits", () => {
  it.effect("is answered at once where it has as much as its answer may hold, whatever it asks for", () =>
    Effect.gen(function* () {
      const patient = { version: 12, maxWaitMs: 30_000, minBytes: 1_000_000, maxBytes: 500 }
      const waiting = yield* Effect.forkChild(ask(makeTopic(), patient), { startImmediately: true })
      yield* TestClock.adjust(1)
      const exit = waiting.pollUnsafe()
      assert.isDefined(exit, "500 bytes are there")
      assert.isAbove((yield* Fiber.join(waiting)).records!.length, 0)
    })
  )

  it.effect("is told that its topic is gone by the same error, whichever way it named it", () =>
    Effect.gen(function* () {
      // 13 asks by id. A real broker does not say UNKNOWN_TOPIC_ID here (test/system/differential-fetch.ts).
      const errorCode = errorCodes.UNKNOWN_TOPIC_OR_PARTITION
      for (const version of [12, 13]) {
        const made = makeTopic()
        const patient = { version, maxWaitMs: 30_000, minBytes: 1_000_000, maxBytes: 50_000_000 }
        const waiting = yield* Effect.forkChild(ask(made, patient), { startImmediately: true })
        yield* TestClock.adjust(1)
        assert.isUndefined(waiting.pollUnsafe())
        yield* made.remove
        assert.deepInclude(yield* Fiber.join(waiting), { errorCode, highWatermark: -1 })
      }
    })
  )
})
