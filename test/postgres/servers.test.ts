/**
 * Goal: an agent goes over to the next server when one is gone, hangs or takes no writes, comes back to the one that it prefers,
 * and never goes over to another database or an old copy of its own.
 * Method: proxies before one server stand for several of one database; a real standby that is promoted for the rest.
 */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as postgres from "#backends/metadata/postgres.ts"
import { limits } from "#core/model/limits.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { temporaryDirectory } from "../contract/metadata-store-files.ts"
import { readAll, rowOf } from "../contract/metadata-store-rows.ts"
import { startFaultProxy } from "../peers/postgres/fault-proxy.ts"
import { makeDatabase, type PostgresOptions, startPostgres } from "../peers/postgres/postgres.ts"
import { optionsOf, serverOf, serverUrl, temporaryDatabase } from "./postgres-store.ts"

const proxyTo = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(() => startFaultProxy(port)),
    (proxy) => Effect.promise(() => proxy.close())
  )

/** Until it succeeds; the test's time is the bound. */
const insist = <A>(call: Effect.Effect<A, MetadataError>) => Effect.retry(call, Schedule.spaced("50 millis"))

const until = (condition: () => boolean) => Effect.repeat(Effect.sleep(20), { until: () => condition() })

/** One database behind two servers, as it seems. */
const twoServers = Effect.gen(function* () {
  const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
  const server = serverOf(database)
  const [first, second] = [yield* proxyTo(server.port), yield* proxyTo(server.port)]
  const { store, outOfUse, prepare } = yield* postgres.open(
    optionsOf(
      { ...server, port: first.port, field: "metadata.endpoints[0].url" },
      { ...server, port: second.port, field: "metadata.endpoints[1].url" }
    )
  )
  yield* prepare({ migrate: "auto" })
  return { first, second, store, outOfUse }
})

describe("an agent with several servers", () => {
  it.live("uses the first alone while that is well", () =>
    Effect.gen(function* () {
      const { first, second, store } = yield* twoServers
      for (let seq = 1; seq <= 20; seq += 1) yield* store.append(rowOf(seq))
      assert.equal(first.seen("append"), 20)
      assert.equal(second.connections(), 0)
    })
  )

  it.live("goes over when the first is gone, at once, and comes back when it is well again", () =>
    Effect.gen(function* () {
      const { first, second, store, outOfUse } = yield* twoServers
      yield* store.append(rowOf(1))
      assert.deepEqual(outOfUse(), [])
      first.set({ kind: "refuse" })
      const startedAtMs = performance.now()
      // What waits for a connection goes over; what had been sent is its caller's to settle.
      yield* insist(store.append(rowOf(2)))
      assert.isBelow(performance.now() - startedAtMs, 4_000)
      assert.equal(second.seen("append"), 1)
      assert.match(outOfUse().join(), /metadata\.endpoints\[0\]\.url/)
      first.set({ kind: "pass" })
      yield* until(() => outOfUse().length === 0)
      for (let seq = 3; seq <= 10; seq += 1) yield* store.append(rowOf(seq))
      assert.equal(second.seen("append"), 1)
      assert.isAtLeast(first.seen("append"), 9)
      assert.equal((yield* readAll(store)).length, 10)
    })
  )

  it.live(
    "goes over from a server that hangs in the middle of calls, within seconds",
    () =>
      Effect.gen(function* () {
        const { first, second, store } = yield* twoServers
        yield* store.append(rowOf(1))
        first.set({ kind: "hang" })
        const startedAtMs = performance.now()
        const error = yield* Effect.flip(store.append(rowOf(2)))
        const tookMs = performance.now() - startedAtMs
        assert.equal(error.outcome, "indefinite")
        assert.isBelow(tookMs, limits.metadataTimeoutMs - 500, "sooner than the call's own time")
        // The hanging server never got it.
        assert.equal(yield* store.append(rowOf(2)), "appended")
        assert.equal(second.seen("append"), 1)
        first.set({ kind: "pass" })
      }),
    60_000
  )

  it.live("with a server that only looks well once stays where it is", () =>
    Effect.gen(function* () {
      const { first, second, store, outOfUse } = yield* twoServers
      first.set({ kind: "refuse" })
      yield* insist(store.append(rowOf(1)))
      const before = second.seen("append")
      first.set({ kind: "pass" })
      yield* Effect.sleep(limits.postgresProbeMs * 1.2)
      first.set({ kind: "refuse" })
      for (let seq = 2; seq <= 6; seq += 1) {
        yield* store.append(rowOf(seq))
        yield* Effect.sleep(100)
      }
      assert.equal(second.seen("append"), before + 5)
      assert.equal(outOfUse().length, 1)
    })
  )

  it.live("says of all of them why none can be used", () =>
    Effect.gen(function* () {
      const { first, second, store } = yield* twoServers
      first.set({ kind: "refuse" })
      second.set({ kind: "refuse" })
      const error = yield* Effect.flip(Effect.catch(store.tail(0), () => store.tail(0)))
      assert.equal([error.reason, error.outcome].join(), "Unavailable,definite")
      assert.match(error.message, /endpoints\[0\][^]*endpoints\[1\]/)
    })
  )

  it.live("does not go over to a server with another database", () =>
    Effect.gen(function* () {
      const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
      const other = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
      const empty = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
      yield* postgres.make(optionsOf(serverOf(other)))
      const server = serverOf(database)
      const proxy = yield* proxyTo(server.port)
      for (const wrong of [other, empty]) {
        proxy.set({ kind: "pass" })
        const store = yield* postgres.make(
          optionsOf({ ...server, port: proxy.port }, serverOf(wrong, { field: "metadata.endpoints[1].url" }))
        )
        proxy.set({ kind: "refuse" })
        const error = yield* Effect.flip(Effect.catch(store.tail(0), () => store.tail(0)))
        assert.match(error.message, /is another database than this agent works with \(metadata\.endpoints\[1\]\.url\)/)
        assert.equal(error.isRetryable, true, "the right one may come back")
      }
    })
  )
})

const server = (logName: string, options: Partial<PostgresOptions> = {}) =>
  Effect.gen(function* () {
    const logFile = join(yield* temporaryDirectory, `${logName}.log`)
    return yield* Effect.acquireRelease(
      Effect.promise(() => startPostgres({ logFile, ...options })),
      (started) => Effect.promise(() => started.stop())
    )
  })

describe("a primary and its standby", () => {
  it.live(
    "the standby is passed over until it is promoted; the old primary is then never used again",
    () =>
      Effect.gen(function* () {
        const primary = yield* server("primary", { settings: { wal_level: "replica" } })
        const database = yield* Effect.promise(() => makeDatabase(primary.url()))
        const standby = yield* server("standby", { primary })
        const name = new URL(database).pathname.slice(1)
        const endpoint = (url: string, index: number) => serverOf(url, { field: `metadata.endpoints[${index}].url` })
        const { store, outOfUse, prepare } = yield* postgres.open(
          optionsOf(endpoint(standby.url(name), 0), endpoint(primary.url(name), 1))
        )
        yield* prepare({ migrate: "auto" })
        yield* store.append(rowOf(1))
        assert.match(outOfUse().join(), /takes no writes \(metadata\.endpoints\[0\]\.url\)/)
        // A standby that lags would lose what it does not have: that is why it must be synchronous in earnest.
        yield* Effect.promise(() => primary.kill("SIGINT"))
        const away = yield* Effect.flip(Effect.catch(store.append(rowOf(2)), () => store.append(rowOf(2))))
        assert.equal(away.isRetryable, true)
        yield* Effect.promise(() => standby.promote())
        assert.equal(yield* insist(store.append(rowOf(2))), "appended")
        assert.equal((yield* readAll(store)).length, 2)

        // Back without knowing of it: preferred or not, what it holds is old.
        yield* Effect.promise(() => primary.startAgain())
        yield* Effect.promise(() => standby.kill("SIGINT"))
        const old = yield* Effect.repeat(Effect.flip(store.append(rowOf(3))), {
          schedule: Schedule.spaced("50 millis"),
          until: (error) => /was replaced by another server/.test(error.message)
        }).pipe(Effect.andThen(Effect.flip(store.append(rowOf(3)))))
        assert.match(old.message, /was replaced by another server and does not know of it/)
      }),
    120_000
  )
})
