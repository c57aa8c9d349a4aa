/**
 * Goal: an agent is a member while it lives and no longer, sees the others, survives the database's absence, and learns
 * when another process took its name.
 * Method: the memory store, whose clock is the test's, behind planned faults; agents come and go as scopes.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as faultyMetadata from "#backends/metadata/faulty.ts"
import * as memoryMetadata from "#backends/metadata/memory.ts"
import { limits } from "#core/model/limits.ts"
import { ClusterView } from "#core/ports/cluster-view.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { MetadataStore } from "#core/ports/metadata-store.ts"
import { Membership, make } from "#regions/membership.ts"

const TTL_MS = 3_000

let lastSession = 0
const entropy = Entropy.of({ uuid: () => (++lastSession).toString(16).padStart(32, "0") })

interface AgentOptions {
  readonly name: string
  readonly region?: string
  readonly faults?: faultyMetadata.FaultPlan
}

/** Starts an agent on the store; the answer has its two services and what stops it. */
const start = Effect.fnUntraced(function* (store: MetadataStore["Service"], options: AgentOptions) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
  const { name, region = "r1" } = options
  const agent = {
    name,
    region,
    zone: `${region}-az1`,
    host: `${name}.test`,
    port: 9092,
    peerHost: `${name}.test`,
    peerPort: 7092
  }
  const context = yield* make({ agent, ttlMs: TTL_MS }).pipe(
    Effect.provideService(MetadataStore, faultyMetadata.make(store, options.faults ?? (() => undefined))),
    Effect.provideService(Entropy, entropy),
    Scope.provide(scope)
  )
  return {
    membership: Context.get(context, Membership),
    view: Context.get(context, ClusterView),
    stop: Scope.close(scope, Exit.void)
  }
})

const hostsOf = (view: ClusterView["Service"]) => view.brokers("any").map((broker) => broker.host)
const liveNames = (store: MetadataStore["Service"]) =>
  Effect.map(Effect.orDie(store.agents), (agents) => agents.map((agent) => agent.name))

describe("membership when the database is away", () => {
  it.effect("waits for it at the start, within bounds, then fails", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      let attempts = 0
      const faults: faultyMetadata.FaultPlan = ({ operation }) => {
        if (operation !== "register") return undefined
        attempts++
        return { kind: "fail-before", reason: "Unavailable", outcome: "definite" }
      }
      const fiber = yield* Effect.forkChild(Effect.flip(start(store, { name: "a", faults })), {
        startImmediately: true
      })
      yield* TestClock.adjust(60_000)
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "Unavailable")
      assert.strictEqual(attempts, limits.membershipRegisterAttemptsMax)
    })
  )

  it.effect("does not try again where an operator must act", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const faults: faultyMetadata.FaultPlan = ({ operation }) =>
        operation === "register" ? { kind: "fail-before", reason: "Misconfigured", outcome: "definite" } : undefined
      const error = yield* Effect.flip(start(store, { name: "a", faults }))
      assert.strictEqual(error.reason, "Misconfigured")
    })
  )

  it.effect("gets through a start with lost replies as the same agent", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const faults: faultyMetadata.FaultPlan = ({ operation, index }) =>
        operation === "register" && index < 2 ? { kind: "fail-after", reason: "TimedOut" } : undefined
      const fiber = yield* Effect.forkChild(start(store, { name: "a", faults }), { startImmediately: true })
      yield* TestClock.adjust(10_000)
      const { membership } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* Effect.orDie(store.agents), [membership.self])
    })
  )

  for (const fault of [
    { kind: "fail-before", reason: "Unavailable", outcome: "definite" },
    { kind: "hang-before" }
  ] as const) {
    it.effect(`keeps the last list, itself in it, and recovers (${fault.kind})`, () =>
      Effect.gen(function* () {
        const store = yield* memoryMetadata.make
        let isAway = false
        const a = yield* start(store, {
          name: "a",
          faults: ({ operation }) => (isAway && operation !== "deregister" ? fault : undefined)
        })
        const b = yield* start(store, { name: "b" })
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(hostsOf(a.view), ["a.test", "b.test"])
        isAway = true
        yield* b.stop
        yield* TestClock.adjust(60_000)
        assert.deepStrictEqual(hostsOf(a.view), ["a.test", "b.test"])
        assert.isAtLeast(a.membership.sinceRenewedMs(), 50_000)
        assert.deepStrictEqual(yield* liveNames(store), [])
        isAway = false
        yield* TestClock.adjust(10_000)
        assert.deepStrictEqual(hostsOf(a.view), ["a.test"])
        assert.deepStrictEqual(yield* liveNames(store), ["a"])
        assert.isAtMost(a.membership.sinceRenewedMs(), TTL_MS)
      })
    )
  }
})

describe("what people are told while the database is away", () => {
  for (const [what, hits] of [
    ["altogether", (operation: string) => operation !== "deregister"],
    ["for renewals, though it gives the list", (operation: string) => operation === "renew"]
  ] as const) {
    it.effect(`is one line, and one at the end (${what})`, () => {
      const events: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ message }) => void events.push([message].flat()[0]))
      return Effect.gen(function* () {
        const store = yield* memoryMetadata.make
        let isAway = false
        yield* start(store, {
          name: "a",
          faults: ({ operation }) =>
            isAway && hits(operation) ? { kind: "fail-before", reason: "Unavailable", outcome: "definite" } : undefined
        })
        isAway = true
        yield* TestClock.adjust(60_000)
        const told = "the database does not answer: the list of agents is kept as it was"
        assert.deepStrictEqual(events, [told])
        isAway = false
        yield* TestClock.adjust(60_000)
        assert.deepStrictEqual(events, [told, "the list of agents is read again"])
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  }
})

describe("membership", () => {
  it.effect("is renewed at a third of the ttl, so it never lapses", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const renewals: Array<number> = []
      const clock = yield* Clock.Clock
      yield* start(store, {
        name: "a",
        faults: ({ operation }) => {
          if (operation === "renew") renewals.push(clock.currentTimeMillisUnsafe())
          return undefined
        }
      })
      for (let second = 0; second < 30; second++) {
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(yield* liveNames(store), ["a"])
      }
      assert.lengthOf(renewals, 30)
      assert.isTrue(renewals.every((at, index) => index === 0 || at - renewals[index - 1]! === TTL_MS / 3))
    })
  )

  it.effect("ends at once with a clean stop, and after the ttl with a crash", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const watcher = yield* start(store, { name: "w" })
      const clean = yield* start(store, { name: "clean" })
      const crashing = yield* start(store, {
        name: "crashed",
        faults: ({ operation }) => (operation === "deregister" ? { kind: "hang-before" } : undefined)
      })
      yield* TestClock.adjust(1_000)
      assert.lengthOf(hostsOf(watcher.view), 3)
      yield* clean.stop
      const stopping = yield* Effect.forkChild(crashing.stop, { startImmediately: true })
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(hostsOf(watcher.view), ["w.test", "crashed.test"])
      yield* TestClock.adjust(TTL_MS)
      assert.deepStrictEqual(hostsOf(watcher.view), ["w.test"])
      // A stop that cannot reach the database does not take longer than the ttl.
      yield* Fiber.join(stopping)
    })
  )

  it.effect("is lost, loudly and for good, to a later process of the same name", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const first = yield* start(store, { name: "a" })
      const told = yield* Effect.forkChild(first.membership.superseded, { startImmediately: true })
      yield* TestClock.adjust(5_000)
      assert.isUndefined(told.pollUnsafe())
      const second = yield* start(store, { name: "a" })
      assert.strictEqual(second.membership.self.nodeId, first.membership.self.nodeId)
      yield* TestClock.adjust(1_000)
      yield* Fiber.join(told)
      // The one that lost must not take the name away from the one that has it.
      yield* first.stop
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(yield* liveNames(store), ["a"])
    })
  )
})

describe("the view of clients", () => {
  it.effect("names the agents of the own region only, and is right from the first moment", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      yield* start(store, { name: "a1", region: "r1" })
      yield* start(store, { name: "b1", region: "r2" })
      const a2 = yield* start(store, { name: "a2", region: "r1" })
      assert.deepStrictEqual(hostsOf(a2.view), ["a1.test", "a2.test"])
      assert.lengthOf(a2.membership.agents(), 3)
      assert.strictEqual(a2.view.selfNodeId, a2.membership.self.nodeId)
      assert.strictEqual(a2.view.brokers("any")[0]!.rack, "r1-az1")
    })
  )

  it.effect("keeps its objects while nothing changes", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      yield* start(store, { name: "a" })
      const b = yield* start(store, { name: "b" })
      const before = b.view.brokers("any")
      yield* TestClock.adjust(5_000)
      assert.strictEqual(b.view.brokers("any"), before)
    })
  )

  it.effect("has the same leaders on every agent of the region", () =>
    Effect.gen(function* () {
      const store = yield* memoryMetadata.make
      const agents = []
      for (const name of ["a", "b", "c"]) agents.push(yield* start(store, { name }))
      yield* TestClock.adjust(1_000)
      for (let partition = 0; partition < 50; partition++) {
        const leaders = agents.map(({ view }) => view.leaderOf("any", "0f".repeat(16), partition).nodeId)
        assert.strictEqual(new Set(leaders).size, 1)
      }
    })
  )
})
