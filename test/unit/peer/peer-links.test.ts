/**
 * Goal: links connect when they are used, come back when they are lost, rest when nobody uses them, and say why they are
 * down; streams are connections of their own. Method: over real TCP on the loopback for what works, and over connectors
 * in memory with a test clock for what fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { make } from "#core/peer/peer-links.ts"
import {
  agentAt,
  CLIENT,
  CLUSTER,
  HeldHandlers,
  listenOnLoopback,
  loopback,
  PING_ANSWER,
  SERVER
} from "./peer-world.ts"

describe("links", () => {
  it.live("connect at the first request, and are the same for the same process", () =>
    Effect.gen(function* () {
      const port = yield* listenOnLoopback(new HeldHandlers())
      const agent = agentAt(SERVER, port)
      const links = yield* make({ self: CLIENT, clusterId: CLUSTER, members: () => [agent] })
      const link = links.link(agent)
      assert.strictEqual(links.link({ ...agent }), link)
      assert.strictEqual(link.state, "down")
      const states: Array<string> = []
      link.onChange(() => states.push(link.state))
      assert.deepStrictEqual(yield* link.request(PeerPing, { shard: 0 }, { timeoutMs: 5_000 }), PING_ANSWER)
      assert.deepStrictEqual(states, ["connecting", "connected"])
      const stream = yield* links.openStream(agent)
      assert.deepStrictEqual(yield* stream.request(PeerPing, { shard: 0 }, { timeoutMs: 5_000 }), PING_ANSWER)
    }).pipe(Effect.provide(loopback))
  )
})
