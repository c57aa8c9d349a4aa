/**
 * A process of its own for the tests of this folder: node store-child.ts open|race URL ARGUMENT.
 *
 * open: makes the tables where they are missing, registers the agent ARGUMENT, prints its node id, and ends.
 * race: takes slot after slot until its standard input ends, as an appender does: an append of which it does not know the outcome
 *       is settled by reading its slot. Prints "seq nonce" of each that it has, after it is settled.
 */
import { randomBytes } from "node:crypto"
import { writeSync } from "node:fs"
import { Effect, Logger, Schedule } from "effect"
import * as postgres from "#backends/metadata/postgres.ts"
import { type LogRow, type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { optionsOf, serverOf } from "./postgres-store.ts"

const [mode, url, argument] = process.argv.slice(2) as [string, string, string]

const open = Effect.gen(function* () {
  const store = yield* postgres.make(optionsOf(serverOf(url)))
  const session = randomBytes(16).toString("hex")
  const agent = { name: argument, session, region: "r", zone: "z", host: "h", port: 1, peerHost: "h", peerPort: 2 }
  writeSync(1, `${yield* store.register(agent, 60_000)}\n`)
})

let isOver = false

/** Reads go on until they succeed. */
const insist = <A>(call: Effect.Effect<A, MetadataError>) => Effect.retry(call, Schedule.spaced("20 millis"))

const race = Effect.gen(function* () {
  process.stdin.on("end", () => (isOver = true)).resume()
  const { store } = yield* postgres.open(optionsOf(serverOf(url)))
  while (!isOver) {
    const tail = yield* insist(store.tail(0))
    const row: LogRow = {
      shard: 0,
      seq: tail.seq + 1,
      epoch: 0,
      nonce: randomBytes(16).toString("hex"),
      prevNonce: tail.nonce,
      isKept: false,
      entry: randomBytes(200)
    }
    if (yield* settled(store, row)) writeSync(1, `${row.seq} ${row.nonce}\n`)
  }
})

/** Whether the row has its slot: known only when the slot is seen to be taken. */
const settled = Effect.fnUntraced(function* (store: MetadataStore["Service"], row: LogRow) {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = yield* Effect.result(store.append(row))
    if (outcome._tag === "Success" && outcome.success === "appended") return true
    // Only a first attempt's definite failure says that there is no earlier one that may have gone through.
    if (outcome._tag === "Failure" && outcome.failure.outcome === "definite" && attempt === 1) return false
    const [found] = yield* insist(store.read({ shard: 0, after: row.seq - 1, limit: 1 }))
    if (found !== undefined) return found.nonce === row.nonce
    yield* Effect.sleep(20)
  }
})

await Effect.runPromise((mode === "open" ? open : race).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))
