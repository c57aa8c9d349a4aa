/**
 * Goal: whatever happens to a statement, its call says truthfully whether it may have taken effect, in time.
 * Method: a real server behind a proxy that resets and hangs around one statement; a trigger that fails with any SQLSTATE; locks
 * of other sessions; killed backends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import * as postgres from "#backends/metadata/postgres.ts"
import { limits } from "#core/model/limits.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { nonceOf, readAll, rowOf, type Store, writeCheckpoint } from "../contract/metadata-store-rows.ts"
import { startFaultProxy } from "../peers/postgres/fault-proxy.ts"
import { sql } from "../peers/postgres/postgres.ts"
import { optionsOf, serverOf, serverUrl, storeOn, temporaryDatabase } from "./postgres-store.ts"

const proxied = Effect.gen(function* () {
  const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
  const server = serverOf(database)
  const proxy = yield* Effect.acquireRelease(
    Effect.promise(() => startFaultProxy(server.port)),
    (started) => Effect.promise(() => started.close())
  )
  const store = yield* postgres.make(optionsOf({ ...server, port: proxy.port }))
  return { store, proxy, database }
})

const withDatabase = Effect.gen(function* () {
  const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
  return { database, store: yield* postgres.make(optionsOf(serverOf(database))) }
})

const facts = ({ reason, outcome }: MetadataError): string => `${reason} ${outcome}`

const seqsOf = (store: Store) => Effect.map(readAll(store), (rows) => rows.map(({ seq }) => seq))

/** Until it succeeds, as whoever settles a row does; the test's time is the bound. */
const insist = <A>(call: Effect.Effect<A, MetadataError>) => Effect.retry(call, Schedule.spaced("50 millis"))

describe("a connection that is reset around an append", () => {
  it.live("before the server has it: it may have happened, and did not", () =>
    Effect.gen(function* () {
      const { store, proxy } = yield* proxied
      yield* store.append(rowOf(1))
      proxy.set({ kind: "reset", statement: "append", when: "before" })
      assert.equal(facts(yield* Effect.flip(store.append(rowOf(2)))), "Unavailable indefinite")
      assert.deepEqual(yield* seqsOf(store), [1])
      assert.equal(yield* store.append(rowOf(2)), "appended")
    })
  )

  it.live("after the server answered: it may have happened, and did", () =>
    Effect.gen(function* () {
      const { store, proxy } = yield* proxied
      yield* store.append(rowOf(1))
      proxy.set({ kind: "reset", statement: "append", when: "after" })
      assert.equal(facts(yield* Effect.flip(store.append(rowOf(2)))), "Unavailable indefinite")
      assert.deepEqual(yield* seqsOf(store), [1, 2])
      assert.equal(yield* store.append(rowOf(2)), "taken")
      assert.equal((yield* store.tail(0)).nonce, nonceOf(2))
    })
  )

  it.live("leaves reads definite, and what was not sent too", () =>
    Effect.gen(function* () {
      const { store, proxy } = yield* proxied
      yield* store.tail(0)
      for (const when of ["before", "after"] as const) {
        proxy.set({ kind: "reset", statement: "tail", when })
        assert.equal(facts(yield* Effect.flip(store.tail(0))), "Unavailable definite")
      }
      proxy.set({ kind: "refuse" })
      const refused = yield* Effect.flip(insistOnFailure(store.append(rowOf(1))))
      assert.equal(facts(refused), "Unavailable definite")
      proxy.set({ kind: "pass" })
      assert.equal(yield* insist(store.append(rowOf(1))), "appended")
    })
  )
})

/** The first call may still find its connection gone; the next has none to send on. */
const insistOnFailure = <A>(call: Effect.Effect<A, MetadataError>) => Effect.catch(call, () => call)

describe("a checkpoint that was cut off while it was written", () => {
  it.live("is not seen, and is gone on with; a chunk that is there already does not hurt", () =>
    Effect.gen(function* () {
      const { store, proxy } = yield* proxied
      const name = "write-checkpoint-chunk"
      const chunks = Array.from({ length: 6 }, (_, chunk) => Buffer.from([chunk]))
      const put = (chunk: number) =>
        store.writeCheckpointChunk({ shard: 0, seq: 5, chunk, chunkCount: 6, body: chunks[chunk]! })
      yield* writeCheckpoint(store, { shard: 0, seq: 4, chunks: chunks.slice(0, 1) })
      // Its first chunk is there, though whoever wrote it does not know.
      proxy.set({ kind: "reset", statement: name, when: "after" })
      assert.equal(facts(yield* Effect.flip(put(0))), "Unavailable indefinite")
      assert.deepEqual(
        (yield* store.checkpoints(0)).map(({ seq }) => seq),
        [4]
      )
      for (const chunk of chunks.keys()) yield* put(chunk)
      assert.deepEqual((yield* store.checkpoints(0))[0], { seq: 5, chunkCount: 6, bytes: 6 })
    })
  )
})

describe("a server that does not answer", () => {
  it.live(
    "costs a call no more than its time: an append is indefinite, a read definite",
    () =>
      Effect.gen(function* () {
        const { store, proxy } = yield* proxied
        yield* store.append(rowOf(1))
        proxy.set({ kind: "hang" })
        const startedAtMs = performance.now()
        const [append, read] = yield* Effect.all([Effect.flip(store.append(rowOf(2))), Effect.flip(store.tail(0))], {
          concurrency: "unbounded"
        })
        assert.isBelow(performance.now() - startedAtMs, limits.metadataTimeoutMs + 1_000)
        assert.equal(append.outcome, "indefinite")
        assert.equal(read.outcome, "definite")
        const later = yield* Effect.flip(store.append(rowOf(2)))
        assert.equal(later.outcome, "definite", "nothing is sent to a server that is known to be silent")
        proxy.set({ kind: "pass" })
        const settled = yield* insist(store.append(rowOf(2)))
        assert.isTrue(settled === "appended" || (yield* store.tail(0)).nonce === nonceOf(2))
      }),
    60_000
  )

  it.live("is given up by a connection that waits to be opened, with an answer in time", () =>
    Effect.gen(function* () {
      const { proxy, database } = yield* proxied
      proxy.set({ kind: "hang" })
      const { store } = yield* postgres.open(optionsOf({ ...serverOf(database), port: proxy.port }))
      const startedAtMs = performance.now()
      const error = yield* Effect.flip(store.append(rowOf(1)))
      assert.equal(facts(error), "Unavailable definite")
      assert.match(error.message, /did not answer within \d+ ms \(metadata\.url\): is it reachable from here/)
      assert.isBelow(performance.now() - startedAtMs, limits.postgresConnectMs + 1_000)
    })
  )
})

/** Makes inserts into the log fail with a code, as often as it says. */
const failingWith = (code: string, times: number): ReadonlyArray<string> => [
  "CREATE SEQUENCE IF NOT EXISTS failures",
  `CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN
     IF nextval('failures') <= ${times} THEN RAISE EXCEPTION 'planned' USING ERRCODE = '${code}'; END IF;
     RETURN NEW;
   END $$`,
  "SELECT setval('failures', 1, false)",
  "DROP TRIGGER IF EXISTS fails ON commit_log",
  "CREATE TRIGGER fails BEFORE INSERT ON commit_log FOR EACH ROW EXECUTE FUNCTION fail()"
]

describe("an error that the server tells about an append", () => {
  const cases: ReadonlyArray<readonly [code: string, expected: string]> = [
    ["40003", "Unavailable indefinite"],
    ["08006", "Unavailable indefinite"],
    ["XX000", "Unavailable indefinite"],
    ["57014", "TimedOut indefinite"],
    ["58030", "Unavailable indefinite"],
    ["40001", "Unavailable definite"],
    ["40P01", "Unavailable definite"],
    ["53100", "Unavailable definite"],
    ["53200", "Unavailable definite"],
    ["55P03", "Unavailable definite"],
    ["42501", "Misconfigured definite"],
    ["42703", "Misconfigured definite"],
    ["22001", "Corrupt definite"],
    ["23514", "Corrupt definite"],
    ["XX001", "Corrupt indefinite"]
  ]

  it.live("is sorted by its code, and harms no later call", () =>
    Effect.gen(function* () {
      const { database, store } = yield* withDatabase
      let seq = 1
      for (const [code, expected] of cases) {
        const times = code === "40001" || code === "40P01" ? limits.postgresRerunsMax + 1 : 1
        yield* Effect.promise(() => sql(database, ...failingWith(code, times)))
        const error = yield* Effect.flip(store.append(rowOf(seq)))
        assert.equal(`${code} ${facts(error)}`, `${code} ${expected}`)
        assert.equal(yield* store.append(rowOf(seq)), "appended")
        seq += 1
      }
      assert.equal((yield* store.tail(0)).seq, cases.length)
    })
  )

  it.live("and asks for it again is obeyed, a bounded number of times", () =>
    Effect.gen(function* () {
      const { database, store } = yield* withDatabase
      for (const [seq, code] of ["40001", "40P01"].entries()) {
        yield* Effect.promise(() => sql(database, ...failingWith(code, 5)))
        assert.equal(yield* store.append(rowOf(seq + 1)), "appended")
        const [row] = yield* Effect.promise(() => sql(database, "SELECT last_value::int AS tries FROM failures"))
        assert.equal(row!["tries"], 6)
      }
    })
  )
})

describe("a row that another session holds", () => {
  const held = (database: string, statement: string) =>
    Effect.gen(function* () {
      const { Client } = (yield* Effect.promise(() => import("pg"))).default
      const other = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Client({ connectionString: database })
          client.on("error", () => undefined)
          await client.connect()
          await client.query("BEGIN")
          await client.query(statement)
          return client
        }),
        (client) => Effect.promise(() => client.end().catch(() => undefined))
      )
      return { release: Effect.promise(() => other.query("ROLLBACK")) }
    })

  const SLOT = `INSERT INTO commit_log (shard, seq, epoch, nonce, prev_nonce, is_kept, entry)
    VALUES (0, 1, 0, gen_random_uuid(), gen_random_uuid(), false, 'x')`

  it.live(
    "makes an append wait until the server ends it: indefinite; afterwards it goes through",
    () =>
      Effect.gen(function* () {
        const { database, store } = yield* withDatabase
        const { release } = yield* held(database, SLOT)
        const startedAtMs = performance.now()
        const error = yield* Effect.flip(store.append(rowOf(1)))
        const tookMs = performance.now() - startedAtMs
        assert.equal(facts(error), "TimedOut indefinite")
        assert.match(error.message, /57014/, "the server's own timeout, not the adapter's")
        assert.isAtLeast(tookMs, limits.postgresStatementMs - 500)
        yield* release
        assert.equal(yield* store.append(rowOf(1)), "appended")
      }),
    60_000
  )

  it.live("and whose backend is ended meanwhile, leaves an append indefinite at once", () =>
    Effect.gen(function* () {
      const { database, store } = yield* withDatabase
      yield* held(database, SLOT)
      const append = yield* Effect.forkChild(Effect.flip(store.append(rowOf(1))), { startImmediately: true })
      const end = `SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
        WHERE query LIKE 'INSERT INTO commit_log%' AND wait_event_type = 'Lock' AND datname = current_database()`
      yield* Effect.repeat(
        Effect.promise(() => sql(database, end)),
        { until: (rows) => rows.length > 0 }
      )
      assert.equal(facts(yield* Fiber.join(append)), "Unavailable indefinite")
    })
  )

  it.live("keeps appends waiting behind nothing else, however many calls it holds up", () =>
    Effect.gen(function* () {
      const { database, store } = yield* withDatabase
      const { release } = yield* held(database, "LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
      const reads = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 40 }), () => store.agents, { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      const startedAtMs = performance.now()
      for (let seq = 1; seq <= 5; seq += 1) assert.equal(yield* store.append(rowOf(seq)), "appended")
      assert.isBelow(performance.now() - startedAtMs, 5_000)
      yield* release
      assert.equal((yield* Fiber.join(reads)).length, 40)
    })
  )
})

describe("calls of a caller who is gone", () => {
  it.live("do not hold connections, nor the next call", () =>
    Effect.gen(function* () {
      const store = yield* Effect.suspend(() => storeOn(serverUrl()))
      const interrupted = Array.from({ length: 50 }, (_, index) =>
        Effect.flatMap(
          Effect.forkChild(store.read({ shard: 0, after: index, limit: 10 }), { startImmediately: true }),
          Fiber.interrupt
        )
      )
      yield* Effect.all(interrupted, { concurrency: "unbounded" })
      assert.equal(yield* store.append(rowOf(1)), "appended")
      assert.equal((yield* store.tail(0)).seq, 1)
    })
  )
})
