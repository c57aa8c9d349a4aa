/**
 * Goal: of an append it is known in the end whether it was made, whatever happened to the connection, the backend or the server:
 * the chain has no gap, nothing acknowledged is missing, and nothing in the log is unknown to its writer.
 * Method: processes that race for slots and settle what is ambiguous, while backends are ended many times a second, connections
 * are reset around appends, and the whole server is killed with -9 and started again.
 */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as postgres from "#backends/metadata/postgres.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { type Child, childOf, temporaryDirectory } from "../contract/metadata-store-files.ts"
import { type Store } from "../contract/metadata-store-rows.ts"
import { type FaultProxy, startFaultProxy } from "../peers/postgres/fault-proxy.ts"
import { makeDatabase, sql, startPostgres } from "../peers/postgres/postgres.ts"
import { optionsOf, serverOf, serverUrl, temporaryDatabase } from "./postgres-store.ts"

const WRITERS = 3
const program = new URL("./store-child.ts", import.meta.url)

const writers = (url: string, count = WRITERS) =>
  Effect.forEach(Array.from({ length: count }), () => childOf(program, ["race", url, ""]))

const finished = (children: ReadonlyArray<Child>) =>
  Effect.promise(async () => {
    for (const { process } of children) process.stdin!.end()
    return await Promise.all(children.map(({ ended }) => ended))
  })

const allRows = Effect.fnUntraced(function* (store: Store) {
  const rows: Array<LogRow> = []
  for (;;) {
    const page = yield* store.read({ shard: 0, after: rows.at(-1)?.seq ?? 0, limit: 500 })
    if (page.length === 0) return rows
    rows.push(...page)
  }
})

/** Every row follows on its predecessor; what writers say they have and what the log has is the same. */
const judge = (rows: ReadonlyArray<LogRow>, children: ReadonlyArray<Child>): void => {
  let previous = UUID_ZERO
  for (const [index, row] of rows.entries()) {
    assert.equal(row.seq, index + 1)
    assert.equal(row.prevNonce, previous, `the chain breaks at seq ${row.seq}`)
    previous = row.nonce
  }
  const acknowledged = children.flatMap(({ lines }) => lines)
  const inLog = new Set(rows.map(({ seq, nonce }) => `${seq} ${nonce}`))
  assert.deepEqual(
    acknowledged.filter((line) => !inLog.has(line)),
    [],
    "acknowledged and missing"
  )
  const known = new Set(acknowledged)
  assert.deepEqual(
    [...inLog].filter((line) => !known.has(line)),
    [],
    "in the log and never acknowledged"
  )
}

describe("appends of several writers", () => {
  it.live(
    "are settled while backends are ended many times a second",
    () =>
      Effect.gen(function* () {
        const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
        const store = yield* postgres.make(optionsOf(serverOf(database)))
        const children = yield* writers(database)
        let ended = 0
        const end = `SELECT count(pg_terminate_backend(pid))::int AS ended FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5`
        const untilMs = performance.now() + 6_000
        while (performance.now() < untilMs) {
          const [row] = yield* Effect.promise(() => sql(database, end))
          ended += Number(row!["ended"])
          yield* Effect.sleep(50)
        }
        assert.deepEqual(
          yield* finished(children),
          children.map(() => 0)
        )
        const rows = yield* Effect.retry(allRows(store), Schedule.spaced("50 millis"))
        judge(rows, children)
        assert.isAbove(ended, 20, "backends were ended")
        assert.isAbove(rows.length, 100, "and rows appended all the same")
      }),
    60_000
  )

  it.live(
    "are settled while connections are reset before and after they reach the server",
    () =>
      Effect.gen(function* () {
        const database = yield* Effect.suspend(() => temporaryDatabase(serverUrl()))
        const store = yield* postgres.make(optionsOf(serverOf(database)))
        const proxies: Array<FaultProxy> = []
        const children: Array<Child> = []
        for (let writer = 0; writer < WRITERS; writer += 1) {
          const proxy = yield* Effect.acquireRelease(
            Effect.promise(() => startFaultProxy(serverOf(database).port)),
            (started) => Effect.promise(() => started.close())
          )
          proxies.push(proxy)
          const url = new URL(database)
          url.port = String(proxy.port)
          children.push(...(yield* writers(url.href, 1)))
        }
        const untilMs = performance.now() + 5_000
        for (let round = 0; performance.now() < untilMs; round += 1) {
          const when = round % 2 === 0 ? "before" : "after"
          for (const proxy of proxies) proxy.set({ kind: "reset", statement: "append", when })
          yield* Effect.sleep(60)
        }
        for (const proxy of proxies) proxy.set({ kind: "pass" })
        assert.deepEqual(
          yield* finished(children),
          children.map(() => 0)
        )
        const rows = yield* allRows(store)
        judge(rows, children)
        assert.isAbove(rows.length, 50)
      }),
    60_000
  )

  it.live(
    "are settled over kill -9 of the server and its restart, and nothing acknowledged is lost",
    () =>
      Effect.gen(function* () {
        const logFile = join(yield* temporaryDirectory, "killed.log")
        const server = yield* Effect.acquireRelease(
          Effect.promise(() => startPostgres({ logFile })),
          (started) => Effect.promise(() => started.stop())
        )
        const database = yield* Effect.promise(() => makeDatabase(server.url()))
        const store = yield* postgres.make(optionsOf(serverOf(database)))
        const children = yield* writers(database)
        const more = (count: number) => {
          const before = children.flatMap(({ lines }) => lines).length
          return Effect.repeat(Effect.sleep(20), {
            until: () => children.flatMap(({ lines }) => lines).length >= before + count
          })
        }
        for (let round = 0; round < 3; round += 1) {
          yield* more(50)
          yield* Effect.promise(() => server.kill("SIGKILL"))
          yield* Effect.promise(() => server.startAgain())
        }
        yield* more(20)
        assert.deepEqual(
          yield* finished(children),
          children.map(() => 0)
        )
        judge(yield* Effect.retry(allRows(store), Schedule.spaced("50 millis")), children)
      }),
    120_000
  )
})
