/**
 * Goal: an agent whose database server is lost while it starts tries again and says why, and fails for nothing that trying again
 * cannot mend. Method: starts that fail as often as they are told, in layers as an agent's are, on the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { limits } from "#core/model/limits.ts"
import { CommitLogError } from "#core/log/commit-log.ts"
import { MetadataError } from "#core/ports/metadata-store.ts"
import * as Log from "#core/telemetry/log.ts"
import { parseTopology } from "#regions/topology.ts"
import { failed } from "../../../bin/command-failed.ts"
import { whileServerIsLost } from "../../../bin/metadata-database.ts"
import { topologyText } from "../../../bin/playground-plan.ts"

const topologyOf = (url?: string) => Result.getOrThrow(parseTopology(topologyText(url), "/data/topology.yaml"))
const ON_SERVER = topologyOf("postgres://app@db/orders")

class Part extends Context.Service<Part, { readonly attempt: number }>()("test/Part") {}

const lost = new MetadataError({
  reason: "Unavailable",
  outcome: "definite",
  operation: "register",
  cause: new Error("nothing listens at db:5432")
})

/** A layer that is built only at the given attempt; how often it was tried, what was told and what was logged. */
const start = (succeedsAt: number, error: MetadataError | CommitLogError, topology = ON_SERVER) => {
  const told: Array<string> = []
  const lines: Array<string> = []
  let attempts = 0
  const layer = Layer.effect(
    Part,
    Effect.suspend(() => {
      attempts += 1
      return attempts < succeedsAt ? Effect.fail(error) : Effect.succeed({ attempt: attempts })
    })
  )
  const running = Effect.scoped(Effect.map(Part, ({ attempt }) => attempt)).pipe(
    Effect.provide(layer),
    whileServerIsLost({ topology, onWaiting: (reason) => void told.push(reason) }),
    Effect.provide(Log.layer({ format: "json", fields: {}, write: (line) => void lines.push(line) }))
  )
  return { running, told, lines, attempts: () => attempts }
}

describe("a start whose database server is lost", () => {
  it.effect("is tried again, with the innermost reason told and logged, until it goes through", () =>
    Effect.gen(function* () {
      const { running, told, lines } = start(3, lost)
      const fiber = yield* Effect.forkChild(running, { startImmediately: true })
      yield* TestClock.adjust(limits.metadataOpenMaxMs * 3)
      assert.strictEqual(yield* Fiber.join(fiber), 3)
      const reason = "the metadata database cannot be used: nothing listens at db:5432"
      assert.deepStrictEqual(told, [reason, reason])
      assert.strictEqual(lines.filter((line) => line.includes("was lost while the agent started")).length, 2)
    })
  )

  it.effect("is tried again too where it is the log that cannot be read", () =>
    Effect.gen(function* () {
      const error = new CommitLogError({ reason: "Unavailable", outcome: "definite", cause: lost })
      const { running, told } = start(2, error)
      const fiber = yield* Effect.forkChild(running, { startImmediately: true })
      yield* TestClock.adjust(limits.metadataOpenMaxMs * 2)
      assert.strictEqual(yield* Fiber.join(fiber), 2)
      assert.match(told[0]!, /nothing listens at db:5432$/)
    })
  )

  it.effect("fails at once where the fold has stopped, and for anything that is not the database", () =>
    Effect.gen(function* () {
      const stopped = start(
        2,
        new CommitLogError({ reason: "FoldStopped", outcome: "definite", cause: new Error("bent") })
      )
      assert.strictEqual((yield* Effect.flip(stopped.running))._tag, "CommitLogError")
      assert.strictEqual(stopped.attempts(), 1)
      const other = Effect.fail(failed("the port is in use")).pipe(
        whileServerIsLost({ topology: ON_SERVER, onWaiting: () => assert.fail("told") })
      )
      assert.strictEqual((yield* Effect.flip(other)).message, "the port is in use")
    })
  )

  it.effect("fails at once where the database is a file", () =>
    Effect.gen(function* () {
      const { running, attempts } = start(2, lost, topologyOf())
      assert.strictEqual(yield* Effect.flip(running), lost)
      assert.strictEqual(attempts(), 1)
    })
  )
})
