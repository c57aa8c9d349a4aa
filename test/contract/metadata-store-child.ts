/**
 * A process of its own for metadata-store-sqlite.test.ts: node metadata-store-child.ts open|race|write FILE ARGUMENT.
 *
 * open: opens the database, registers the agent ARGUMENT, prints its node id, and ends.
 * race: appends ARGUMENT rows by compare-and-set, printing "seq nonce" of each that it won.
 * write: appends rows without end (ARGUMENT `fsync` or not), printing "seq nonce" after each; it waits to be killed.
 */
import { randomBytes } from "node:crypto"
import { writeSync } from "node:fs"
import { Effect } from "effect"
import * as sqlite from "#backends/metadata/sqlite.ts"

const [mode, file, argument] = process.argv.slice(2) as [string, string, string]

const open = Effect.gen(function* () {
  const store = yield* sqlite.make({ file, fsync: true })
  const session = randomBytes(16).toString("hex")
  const agent = { name: argument, session, region: "r", zone: "z", host: "h", port: 1, peerHost: "h", peerPort: 2 }
  writeSync(1, `${yield* store.register(agent, 60_000)}\n`)
})

const append = (count: number, fsync: boolean) =>
  Effect.gen(function* () {
    const store = yield* sqlite.make({ file, fsync })
    for (let won = 0; won < count;) {
      const tail = yield* store.tail(0)
      const row = {
        shard: 0,
        seq: tail.seq + 1,
        epoch: 0,
        nonce: randomBytes(16).toString("hex"),
        isKept: false,
        prevNonce: tail.nonce
      }
      const entry = Buffer.alloc(1 + (row.seq % 5_000), row.seq)
      if ((yield* store.append({ ...row, entry })) === "taken") continue
      won += 1
      writeSync(1, `${row.seq} ${row.nonce}\n`)
    }
  })

const program = mode === "open" ? open : append(mode === "race" ? Number(argument) : Infinity, argument === "fsync")
await Effect.runPromise(Effect.scoped(program))
