/**
 * Goal: whatever is wrong with a database server is one clear message with the field of the topology and the fix, never with the
 * password; and whoever tries again later gets on without a new start.
 * Method: one wrong thing per case, on a real server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule, type Scope } from "effect"
import { type PostgresServer } from "#backends/metadata/postgres-connection.ts"
import * as postgres from "#backends/metadata/postgres.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { rowOf } from "../contract/metadata-store-rows.ts"
import { freePort, POSTGRES_PASSWORD, sql } from "../peers/postgres/postgres.ts"
import { optionsOf, serverOf, serverUrl, temporaryDatabase } from "./postgres-store.ts"

const newDatabase = Effect.suspend(() => temporaryDatabase(serverUrl()))
const query = (url: string, ...statements: ReadonlyArray<string>) => Effect.promise(() => sql(url, ...statements))

const failureOf = (
  server: PostgresServer,
  how?: postgres.PrepareOptions
): Effect.Effect<MetadataError, never, Scope.Scope> => Effect.orDie(Effect.flip(postgres.make(optionsOf(server), how)))

const assertMessage = (
  error: MetadataError,
  reason: MetadataError["reason"],
  ...parts: ReadonlyArray<RegExp>
): void => {
  assert.equal([error.reason, error.outcome].join(), `${reason},definite`, error.message)
  for (const part of parts) assert.match(error.message, part)
  assert.notInclude(error.message, POSTGRES_PASSWORD)
  assert.notInclude(error.message, "\n")
  assert.notInclude(JSON.stringify(error) + String((error.cause as Error).stack), POSTGRES_PASSWORD)
}

/** A role that may log in with the password "x", gone with the test. */
const role = (database: string, name: string, options = "") => {
  const full = `${name}_${new URL(database).pathname.slice(1)}`
  return Effect.acquireRelease(
    Effect.as(query(database, `CREATE ROLE ${full} LOGIN PASSWORD 'x' ${options}`), {
      name: full,
      server: serverOf(database, { user: full, password: Redacted.make("x") })
    }),
    () => Effect.ignore(Effect.tryPromise(() => sql(database, `DROP OWNED BY ${full}`, `DROP ROLE ${full}`)))
  )
}

describe("a server that cannot be used says so in one line:", () => {
  it.live("nobody listens", () =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      const error = yield* failureOf(serverOf(`postgres://a@127.0.0.1:${port}/x`))
      assertMessage(error, "Unavailable", new RegExp(`nothing listens at 127.0.0.1:${port} \\(metadata.url\\): start`))
    })
  )

  it.live("an unknown host", () =>
    Effect.gen(function* () {
      const error = yield* failureOf(serverOf("postgres://a@no-such-host.invalid:5432/x"))
      assertMessage(error, "Unavailable", /the host "no-such-host\.invalid" is not known \(metadata\.url\): correct/)
    })
  )

  it.live("a wrong password, and none", () =>
    Effect.gen(function* () {
      const server = serverOf(yield* newDatabase)
      const wrong = yield* failureOf({ ...server, password: Redacted.make("wrong") })
      assertMessage(wrong, "Misconfigured", /refuses user "postgres" .*\(metadata\.url\): correct user or password/)
      assert.notInclude(wrong.message, '"wrong"')
      const none = yield* failureOf({ ...server, password: undefined })
      assertMessage(none, "Misconfigured", /asks for the password of user "postgres", and there is none: .*PGPASSWORD/)
    })
  )

  it.live("a database that does not exist; made, it is used", () =>
    Effect.gen(function* () {
      const server = serverOf(yield* newDatabase)
      const name = `${server.database}_later`
      const error = yield* failureOf({ ...server, database: name })
      assertMessage(
        error,
        "Misconfigured",
        new RegExp(
          `the database "${name}" does not exist at .* \\(metadata.url\\): create it \\(CREATE DATABASE "${name}"\\)`
        )
      )
    })
  )

  it.live("no more connections; when one is free, it is used", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(database)))
      const { server, name } = yield* role(database, "limited", "CONNECTION LIMIT 0")
      yield* query(database, `GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ${name}`)
      const { store, prepare } = yield* postgres.open(optionsOf(server))
      const error = yield* Effect.flip(prepare({ migrate: "auto" }))
      assertMessage(error, "Unavailable", /takes no more connections \(metadata\.url\): raise its limit/)
      yield* query(database, `ALTER ROLE ${name} CONNECTION LIMIT 1`)
      yield* Effect.retry(prepare({ migrate: "auto" }), Schedule.spaced("50 millis"))
      // All calls of all lanes share the one that there is.
      const calls = Array.from({ length: 20 }, () => store.tail(0))
      assert.lengthOf(yield* Effect.all(calls, { concurrency: "unbounded" }), 20)
      for (const seq of [1, 2, 3]) assert.equal(yield* store.append(rowOf(seq)), "appended")
    })
  )

  it.live("a server without TLS where it is asked for", () =>
    Effect.gen(function* () {
      const server = serverOf(yield* newDatabase)
      for (const tls of ["require", "verify-full"] as const) {
        const error = yield* failureOf({ ...server, tls })
        assertMessage(
          error,
          "Misconfigured",
          new RegExp(`has no TLS, which sslmode=${tls} asks for \\(metadata.url\\)`)
        )
      }
      yield* postgres.make(optionsOf({ ...server, tls: "prefer" }))
      const file = yield* failureOf({ ...server, tls: "verify-full", authorityFile: "/nowhere/ca.pem" })
      assertMessage(
        file,
        "Misconfigured",
        /cannot read the file of sslrootcert \(metadata\.url\): .*\/nowhere\/ca\.pem/
      )
    })
  )

  it.live("no right to connect, to make tables, to write", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const name = new URL(database).pathname.slice(1)
      const { server, name: user } = yield* role(database, "poor")
      yield* query(database, `REVOKE CONNECT ON DATABASE ${name} FROM PUBLIC`)
      const connect = yield* failureOf(server)
      assertMessage(connect, "Misconfigured", /may not connect to the database .*GRANT CONNECT ON DATABASE/)
      yield* query(database, `GRANT CONNECT ON DATABASE ${name} TO ${user}`)
      const make = yield* failureOf(server)
      assertMessage(
        make,
        "Misconfigured",
        /may not make tables .*42501/,
        /GRANT CREATE ON SCHEMA public TO .*or run `meridian metadata migrate`/
      )
      yield* postgres.make(optionsOf(serverOf(database)))
      yield* query(database, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${user}`)
      const store = yield* postgres.make(optionsOf(server))
      const write = yield* Effect.flip(store.append(rowOf(1)))
      assertMessage(
        write,
        "Misconfigured",
        /lacks a right in database .*permission denied for table commit_log.*grant it/
      )
      assert.equal((yield* store.tail(0)).seq, 0)
    })
  )

  it.live("a schema that is newer than the program", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make(optionsOf(serverOf(database)))
      yield* query(database, "INSERT INTO migrations (version, name) VALUES (999, 'of tomorrow')")
      const error = yield* failureOf(serverOf(database))
      assertMessage(
        error,
        "Misconfigured",
        /schema version 999, newer than the \d+ that this program knows: run the newer/
      )
    })
  )

  it.live("no tables, where agents may not make them; made, they are used", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const { store, prepare } = yield* postgres.open(optionsOf(serverOf(database)))
      const error = yield* Effect.flip(prepare({ migrate: "manual" }))
      assertMessage(
        error,
        "Misconfigured",
        /schema version 0 of \d+: run `meridian metadata migrate`.*metadata\.migrate/
      )
      assert.lengthOf(yield* query(database, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'"), 0)
      const early = yield* Effect.flip(store.tail(0))
      assertMessage(
        early,
        "Misconfigured",
        /the tables of Meridian are not all in database .*run `meridian metadata migrate`/
      )
      yield* postgres.make(optionsOf(serverOf(database)))
      yield* prepare({ migrate: "manual" })
      assert.equal(yield* store.append(rowOf(1)), "appended")
    })
  )

  it.live("the database of another cluster, and of another program", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      yield* postgres.make({ ...optionsOf(serverOf(database)), cluster: "orders" })
      const cluster = yield* failureOf(serverOf(database))
      assertMessage(cluster, "Misconfigured", /belongs to the cluster "orders", and this topology is of "test"/)
      const foreign = yield* newDatabase
      yield* query(foreign, "CREATE TABLE migrations (id serial, done boolean)")
      const other = yield* failureOf(serverOf(foreign))
      assertMessage(other, "Misconfigured", /the tables of Meridian are not all in database/)
      assert.lengthOf(yield* query(foreign, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'"), 1)
    })
  )

  it.live("a database that takes no writes", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const name = new URL(database).pathname.slice(1)
      const store = yield* postgres.make(optionsOf(serverOf(database)))
      yield* store.append(rowOf(1))
      yield* query(database, `ALTER DATABASE ${name} SET default_transaction_read_only = on`)
      const error = yield* failureOf(serverOf(database))
      assertMessage(
        error,
        "Unavailable",
        /takes no writes \(metadata\.url\): it is a standby, .*; name the server that takes writes/
      )
      assert.equal(yield* store.append(rowOf(2)), "appended", "sessions that are there are as they were")
    })
  )
})
