/**
 * Goal: a file of an older program is upgraded in place with all that it holds, and SQLite shows no checkpoint of which a
 * part is missing.
 * Method: a file made by the SQL of version 1 (test/goldens/metadata), opened by this program; rows taken away beside it.
 */
import { readFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { MIGRATIONS } from "#backends/metadata/sqlite-schema.ts"
import { child, temporaryFile } from "./metadata-store-files.ts"
import { deleteCheckpoints, nonceOf, readAll, rowOf, writeCheckpoint } from "./metadata-store-rows.ts"

const VERSION_1 = readFileSync(new URL("../goldens/metadata/sqlite-v1.sql", import.meta.url), "utf8")

const inDatabase = <A>(file: string, use: (database: DatabaseSync) => A): A => {
  const database = new DatabaseSync(file)
  try {
    return use(database)
  } finally {
    database.close()
  }
}

/** Tables, indexes and columns, as the database names them; without the texts, which tell how they came about. */
const schemaOf = (file: string): unknown =>
  inDatabase(file, (database) => {
    const tables = database.prepare("SELECT type, name FROM sqlite_schema ORDER BY name").all()
    return tables.map((table) => [
      { ...table },
      database
        .prepare(`PRAGMA table_xinfo(${table["name"] as string})`)
        .all()
        .map(({ name, type, notnull, pk }) => ({ name, type, notnull, pk }))
    ])
  })

describe("a file of schema version 1", () => {
  const oldFile = Effect.tap(temporaryFile, (file) =>
    Effect.sync(() => inDatabase(file, (database) => database.exec(VERSION_1)))
  )

  it.live("is upgraded in place, keeps what it holds, and takes everything new", () =>
    Effect.gen(function* () {
      const file = yield* oldFile
      const store = yield* sqlite.make({ file, fsync: false })
      const rows = yield* readAll(store)
      assert.deepEqual(
        rows.map((row) => ({ ...row, entry: Buffer.from(row.entry) })),
        [rowOf(1, { isKept: true }), rowOf(2)]
      )
      const east = { name: "east-1", session: nonceOf(0xa1), region: "east", zone: "east-a", host: "east-1.example" }
      const old = { ...east, port: 9_092, peerHost: "", peerPort: 0 }
      assert.deepEqual(yield* store.agents, [{ ...old, nodeId: 1 }])
      const missing = { segmentId: nonceOf(0x5e), objectKey: "segments/5e", bucket: "west" }
      assert.deepEqual(yield* store.missingCopies({ limit: 10 }), [missing])

      assert.equal(yield* store.append(rowOf(2, { nonce: nonceOf(99) })), "taken")
      assert.equal(yield* store.append(rowOf(3)), "appended")
      assert.equal(yield* store.trim({ shard: 0, through: 2 }), 1)
      const renewed = { ...old, session: nonceOf(0xa2), peerHost: "peer.example", peerPort: 7_092 }
      assert.equal(yield* store.register(renewed, 60_000), 1)
      assert.equal(yield* store.register({ ...renewed, name: "west-1" }, 60_000), 2, "known by its name")
      assert.equal(yield* store.register({ ...renewed, name: "new" }, 60_000), 3)
      assert.deepEqual((yield* store.agents)[0], { ...renewed, nodeId: 1 })
      yield* writeCheckpoint(store, { shard: 0, seq: 2, chunks: [Buffer.from("a")] })
      assert.equal((yield* store.checkpoints(0)).length, 1)
    })
  )

  it.live("gets the schema that a new file has", () =>
    Effect.gen(function* () {
      const [old, fresh] = [yield* oldFile, yield* temporaryFile]
      yield* sqlite.make({ file: old, fsync: false })
      yield* sqlite.make({ file: fresh, fsync: false })
      assert.deepEqual(schemaOf(old), schemaOf(fresh))
    })
  )

  it.live("is upgraded once, by however many processes that start at once", () =>
    Effect.gen(function* () {
      const file = yield* oldFile
      const names = ["a", "b", "c", "d"]
      const children = yield* Effect.forEach(names, (name) => child(["open", file, name]))
      const codes = yield* Effect.promise(() => Promise.all(children.map((one) => one.ended)))
      assert.deepEqual(new Set(codes), new Set([0]))
      const versions = inDatabase(file, (database) =>
        database.prepare("SELECT version FROM migrations ORDER BY version").all()
      )
      assert.deepEqual(
        versions.map(({ version }) => version),
        MIGRATIONS.map(({ version }) => version)
      )
    })
  )
})

describe("a checkpoint of which a chunk is missing", () => {
  for (const chunk of [0, 1, 2]) {
    it.live(`(chunk ${chunk} of 3) is not listed, until it is written again; and is deleted with the others`, () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const store = yield* sqlite.make({ file, fsync: false })
        const chunks = ["one", "two", "three"].map((text) => Buffer.from(text))
        yield* writeCheckpoint(store, { shard: 0, seq: 4, chunks: chunks.slice(0, 1) })
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks })
        const whole = yield* store.checkpoints(0)
        const take = () =>
          inDatabase(file, (other) => other.prepare("DELETE FROM checkpoints WHERE seq = 5 AND chunk = ?").run(chunk))
        take()
        assert.deepEqual(
          (yield* store.checkpoints(0)).map(({ seq }) => seq),
          [4]
        )
        yield* writeCheckpoint(store, { shard: 0, seq: 5, chunks })
        assert.deepEqual(yield* store.checkpoints(0), whole)
        take()
        yield* deleteCheckpoints(store, { shard: 0, before: 6 })
        const left = inDatabase(file, (other) => other.prepare("SELECT count(*) AS n FROM checkpoints").get()!["n"])
        assert.equal(left, 0)
      })
    )
  }
})
