/**
 * Goal: the tables are made once and whole, however many agents start at once, and whichever of them dies over it.
 * Method: processes; a guard whose holder is nobody; processes killed while they migrate; a golden file of the first schema.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { MIGRATIONS, SCHEMA_VERSION } from "#backends/metadata/postgres-migrations.ts"
import * as postgres from "#backends/metadata/postgres.ts"
import { limits } from "#core/model/limits.ts"
import { childOf } from "../contract/metadata-store-files.ts"
import { rowOf } from "../contract/metadata-store-rows.ts"
import { sql } from "../peers/postgres/postgres.ts"
import { optionsOf, serverOf, serverUrl, temporaryDatabase } from "./postgres-store.ts"

const newDatabase = Effect.suspend(() => temporaryDatabase(serverUrl()))
const query = (url: string, ...statements: ReadonlyArray<string>) => Effect.promise(() => sql(url, ...statements))

const program = new URL("./store-child.ts", import.meta.url)
const starter = (url: string, name: string) => childOf(program, ["open", url, name])

/** Tables, columns, indexes and constraints, as text. */
const SCHEMA = `
  SELECT string_agg(what, E'\\n' ORDER BY what) AS schema FROM (
    SELECT table_name || '.' || column_name || ' ' || udt_name || ' ' || is_nullable AS what
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace) AS parts`

const schemaOf = (url: string) => Effect.map(query(url, SCHEMA), ([row]) => String(row!["schema"]))

describe("agents that start at once on an empty database", () => {
  it.live("all start: the tables are made once, and each gets a node id of its own", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const names = Array.from({ length: 10 }, (_, n) => `agent-${n}`)
      const children = yield* Effect.forEach(names, (name) => starter(database, name))
      const codes = yield* Effect.promise(() => Promise.all(children.map(({ ended }) => ended)))
      assert.deepEqual(
        codes,
        names.map(() => 0)
      )
      const ids = children.map(({ lines }) => Number(lines[0])).toSorted((left, right) => left - right)
      assert.deepEqual(
        ids,
        names.map((_, index) => index + 1)
      )
      const migrations = yield* query(database, "SELECT version, name FROM migrations ORDER BY version")
      assert.deepEqual(
        migrations,
        MIGRATIONS.map(({ version, name }) => ({ version, name }))
      )
      assert.lengthOf(yield* query(database, "SELECT id FROM database_identity"), 1)
      const alone = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(alone)))
      assert.equal(yield* schemaOf(database), yield* schemaOf(alone))
    })
  )

  it.live("and are killed in the middle of it, leave nothing that the next does not mend", () =>
    Effect.gen(function* () {
      for (const killAfterMs of [150, 250, 350]) {
        const database = yield* newDatabase
        const children = yield* Effect.forEach(["a", "b", "c"], (name) => starter(database, name))
        yield* Effect.sleep(killAfterMs)
        for (const { process } of children) process.kill("SIGKILL")
        yield* Effect.promise(() => Promise.all(children.map(({ ended }) => ended)))
        const store = yield* postgres.make(optionsOf(serverOf(database)))
        assert.equal(yield* store.append(rowOf(1)), "appended")
        const alone = yield* newDatabase
        yield* postgres.make(optionsOf(serverOf(alone)))
        assert.equal(yield* schemaOf(database), yield* schemaOf(alone))
      }
    })
  )
})

describe("the guard of a migration", () => {
  /** A database whose last migration is not applied, with a guard that someone holds. */
  const guarded = (holdMs: number) =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(database)))
      yield* query(
        database,
        `DELETE FROM migrations WHERE version = ${SCHEMA_VERSION}`,
        `UPDATE migration_guard SET holder = gen_random_uuid(), expires_at = now() + ${holdMs} * INTERVAL '1 millisecond'`
      )
      return database
    })

  it.live("is waited for while its holder lives, and taken over when that is dead", () =>
    Effect.gen(function* () {
      const holdMs = 1_500
      const database = yield* guarded(holdMs)
      const startedAtMs = performance.now()
      yield* postgres.make(optionsOf(serverOf(database)))
      const tookMs = performance.now() - startedAtMs
      assert.isTrue(tookMs >= holdMs * 0.8 && tookMs < holdMs + 2_000, `${tookMs} ms`)
      const [row] = yield* query(database, "SELECT max(version) AS version FROM migrations")
      assert.equal(row!["version"], SCHEMA_VERSION)
    })
  )

  it.live("whose holder goes on does not stop that one's successor, nor does it any harm", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      // As if each had slept through the end of its guard: it ends all the time, and all apply everything.
      const ending = Effect.ignore(
        Effect.tryPromise(() => sql(database, "UPDATE migration_guard SET expires_at = now()"))
      )
      yield* Effect.forkScoped(Effect.forever(ending))
      const both = Array.from({ length: 4 }, () => postgres.make(optionsOf(serverOf(database))))
      const stores = yield* Effect.all(both, { concurrency: "unbounded" })
      assert.equal(yield* stores[0]!.append(rowOf(1)), "appended")
      assert.equal((yield* stores[3]!.tail(0)).seq, 1)
    })
  )

  it("lasts longer than the pauses between what keeps it", () => {
    assert.isAtLeast(limits.migrationGuardMs, 3 * limits.migrationPollMs)
  })
})

describe("a schema", () => {
  it.live("that is there needs no right to make tables", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(database)))
      const role = `reader_${new URL(database).pathname.slice(1)}`
      yield* query(
        database,
        `CREATE ROLE ${role} LOGIN PASSWORD 'x'`,
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`
      )
      const url = new URL(database)
      url.username = role
      url.password = "x"
      const store = yield* postgres.make(optionsOf(serverOf(url.href)))
      assert.equal(yield* store.append(rowOf(1)), "appended")
      yield* query(database, `DROP OWNED BY ${role}`, `DROP ROLE ${role}`)
    })
  )

  it.live("keeps its invariants itself, whoever writes", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(database)))
      const nonces = "gen_random_uuid(), gen_random_uuid()"
      const wrong = [
        `INSERT INTO commit_log VALUES (0, 0, 0, ${nonces}, false, now(), 'x')`,
        `INSERT INTO commit_log VALUES (-1, 1, 0, ${nonces}, false, now(), 'x')`,
        `INSERT INTO commit_log VALUES (0, 1, -1, ${nonces}, false, now(), 'x')`,
        `INSERT INTO commit_log VALUES (0, 1, 0, ${nonces}, false, now(), '')`,
        "INSERT INTO agents VALUES (0, 'a', gen_random_uuid(), 'r', 'z', 'h', 1, 'h', 1, now())",
        "INSERT INTO checkpoints VALUES (0, 1, 1, 1, 1, 'x')",
        "INSERT INTO checkpoints VALUES (0, 1, 0, 1, 2, 'x')",
        "INSERT INTO index_pages VALUES (gen_random_uuid(), 0, 5, 5, 0, 'x')"
      ]
      for (const statement of wrong) {
        const outcome = yield* Effect.exit(Effect.tryPromise(() => sql(database, statement)))
        assert.equal(outcome._tag, "Failure", statement)
      }
    })
  )
})
