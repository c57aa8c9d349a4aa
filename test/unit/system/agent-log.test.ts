/**
 * Goal: the judges of the takeover tests see what they are for: noise in the agents' logs, and rows that break the log's order.
 * Method: right ones, then one fault at a time.
 */
import { assert, describe, it } from "vitest"
import { requireQuiet } from "../../system/agent-log.ts"
import { type LogRowFacts, rowsFault } from "../../system/database-cluster.ts"

const lost = (agent: string, other: string): string =>
  `${agent} | 10:38:30.235 warn  lost the connection to another agent other=${other} address=127.0.0.1:29350 cause="no x=1"`

describe("requireQuiet", () => {
  it("takes what is told once of each, and counts it", () => {
    const log = [
      lost("a-1", "b-1"),
      lost("a-1", "c-1"),
      lost("b-1", "c-1"),
      "a-1 | 10:38:30.235 info  agent is ready kafkaPort=1",
      "playground | agent a-1 was killed (SIGKILL); starting it again in 100 ms",
      "no line of an agent"
    ]
    assert.equal(requireQuiet(log.join("\n")), 3)
  })

  it("sees a warning that comes at each attempt", () => {
    assert.throws(
      () => requireQuiet(Array.from({ length: 3 }, () => lost("a-1", "b-1")).join("\n")),
      /told 3 times within one fault: a-1: lost the connection to another agent \(b-1\)/
    )
  })

  it("sees an error", () => {
    assert.throws(
      () => requireQuiet("a-1 | 10:38:30.235 error the fold stopped shard=0"),
      /error: a-1: the fold stopped/
    )
  })
})

const row = (seq: number, epoch: number, isKept = false): LogRowFacts => {
  return { seq, epoch, nonce: `n${seq}`, prevNonce: `n${seq - 1}`, isKept }
}
const rows = [row(1, 0, true), row(2, 1, true), row(3, 1), row(4, 2, true), row(5, 2), row(6, 2)]

describe("rowsFault", () => {
  it("takes a whole log, and one whose front was trimmed", () => {
    assert.isUndefined(rowsFault(rows))
    assert.isUndefined(rowsFault(rows.filter(({ seq, isKept }) => isKept || seq > 3)))
    assert.isUndefined(rowsFault(rows.filter(({ seq, isKept }) => isKept || seq > 5)))
  })

  it("sees a row of an epoch that was over", () => {
    assert.match(rowsFault([...rows, row(7, 1)]) ?? "", /row 7 is of epoch 1, and epoch 2 had begun/)
  })

  it("sees a gap, and a row that follows on another one", () => {
    assert.match(rowsFault([...rows, row(8, 2)]) ?? "", /row 8 follows on row 6/)
    assert.match(rowsFault(rows.filter(({ seq }) => seq !== 4)) ?? "", /row 5 follows on row 3/)
    assert.match(rowsFault([...rows, { ...row(7, 2), prevNonce: "n5" }]) ?? "", /row 7 does not name the row before/)
  })
})
