// Goal: whoever only passes on what it was told keeps nothing of agents that have left.
// Method: a herald whose list of members and whose messages the test holds.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { Herald } from "#core/log/herald.ts"
import { type LogMember, type LogPeers, type Tidings } from "#core/log/log-peers.ts"
import { idOf } from "./log-builders.ts"

const memberOf = (nodeId: number): LogMember => ({
  name: `agent-${nodeId}`,
  session: idOf("nonce", nodeId),
  nodeId,
  region: "west"
})

describe("a herald that passes on", () => {
  it.effect("tells those that it is asked to tell, and forgets those that have left", () =>
    Effect.gen(function* () {
      const [self, second, third] = [1, 2, 3].map(memberOf) as [LogMember, LogMember, LogMember]
      let members: ReadonlyArray<LogMember> = [self, second, third]
      const told: Array<string> = []
      const peers: LogPeers["Service"] = {
        self,
        homeRegion: "east",
        members: () => members,
        membersAskedAtMs: () => 0,
        openStream: () => Effect.die("not opened"),
        ping: () => Effect.die("not asked"),
        tell: ({ name }) => Effect.sync(() => void told.push(name))
      }
      const clock = yield* Clock.Clock
      const herald = new Herald({ peers, clock, run: (effect) => Effect.runSync(effect) })
      const tidings: Tidings = { epoch: 1, tailSeq: 5, rows: [], relayTo: [self.nodeId, second.nodeId] }
      herald.passOn(tidings)
      assert.deepEqual(told, [second.name])
      assert.isTrue(herald.isAnswering(second))
      assert.isFalse(herald.isAnswering(third))
      members = [self, third]
      herald.passOn({ ...tidings, relayTo: [third.nodeId] })
      assert.deepEqual(told, [second.name, third.name])
      assert.isTrue(herald.isAnswering(third))
      assert.isFalse(herald.isAnswering(second), "its mailbox is gone")
    })
  )
})
