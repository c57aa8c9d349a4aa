/** Stores on real servers for the tests of this folder: each on a database of its own, which goes with the test. */
import { Effect } from "effect"
import { type PostgresServer } from "#backends/metadata/postgres-connection.ts"
import * as postgres from "#backends/metadata/postgres.ts"
import { parsePostgresUrl } from "#regions/postgres-url.ts"
import { dropDatabase, makeDatabase } from "../peers/postgres/postgres.ts"

/** Of the server that whoever runs these tests has started; see test/vitest.postgres.config.ts. */
export const POSTGRES_URL = process.env["MERIDIAN_TEST_POSTGRES_URL"]

export const serverUrl = (): string => {
  if (POSTGRES_URL === undefined) throw new Error("MERIDIAN_TEST_POSTGRES_URL names no server: run the system test")
  return POSTGRES_URL
}

/** Not encrypted where the URL does not say. */
export const serverOf = (url: string, change: Partial<PostgresServer> = {}): PostgresServer => {
  const location = parsePostgresUrl(url, process.cwd())
  if (typeof location === "string") throw new Error(location)
  const tls = url.includes("sslmode=") ? location.tls : "disable"
  return { ...location, tls, field: "metadata.url", applicationName: "meridian-test", ...change }
}

export const optionsOf = (...servers: ReadonlyArray<PostgresServer>): postgres.PostgresOptions => ({
  servers,
  cluster: "test",
  placement: { regions: ["east", "west", "north"], home: "east" }
})

/** A new database on the server; `statements` are run on it first, with DATABASE_NAME for its name. */
export const temporaryDatabase = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => makeDatabase(url, ...statements)),
    (made) => Effect.promise(() => dropDatabase(url, made).catch(() => undefined))
  )

/** A store on a new database. */
export const storeOn = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.flatMap(temporaryDatabase(url, ...statements), (database) => postgres.make(optionsOf(serverOf(database))))
