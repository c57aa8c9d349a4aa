// Goal: what a listener counts of its connections. Method: transports in memory, and requests that never end.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeConnectionSet } from "#core/agent/connection-set.ts"
import { FramePool } from "#core/agent/frame-pool.ts"
import { RequestBudget } from "#core/agent/request-budget.ts"
import { framed, MemoryTransport } from "./memory-transport.ts"

describe("a connection set", () => {
  it.effect("counts connections, those that end badly, and pauses of their sockets", () =>
    Effect.gen(function* () {
      const counters = { connectionsAccepted: 0, connectionsFailed: 0, socketsPaused: 0 }
      const set = yield* makeConnectionSet({ listener: "kafka", idleMs: 60_000, counters })
      const policy = {
        requestBudget: new RequestBudget(1_000),
        framePool: new FramePool(),
        frameBytesMax: 100,
        requestsInFlightMax: 1,
        dispatcher: { overlaps: () => true, dispatch: () => Effect.never }
      }
      const [first, second] = [new MemoryTransport(), new MemoryTransport()]
      for (const transport of [first, second]) set.accept(transport, policy)
      first.receive(framed(Buffer.alloc(8)))
      assert.deepStrictEqual(counters, { connectionsAccepted: 2, connectionsFailed: 0, socketsPaused: 0 })
      first.receive(framed(Buffer.alloc(8)))
      assert.isTrue(first.paused)
      second.receive(framed(Buffer.alloc(101)))
      assert.deepStrictEqual(counters, { connectionsAccepted: 2, connectionsFailed: 1, socketsPaused: 1 })
      assert.strictEqual(set.count(), 1)
    })
  )
})
