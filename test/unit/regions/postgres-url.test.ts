/**
 * Goal: a server's URL means what it says; a wrong one is refused with the part that is wrong and the fix, never with the
 * password. Method: one case per part of a URL, and one secret that no message may hold.
 */
import { inspect } from "node:util"
import { Redacted } from "effect"
import { assert, describe, it } from "vitest"
import { parsePostgresUrl, type PostgresLocation } from "#regions/postgres-url.ts"
import { parseMetadataUrl } from "#regions/topology-url.ts"

const DIRECTORY = "/etc/meridian"
const SECRET = "Hush4711"

const locationOf = (url: string): PostgresLocation => {
  const location = parsePostgresUrl(url, DIRECTORY)
  return typeof location === "string" ? assert.fail(location) : location
}

describe("a database server's URL", () => {
  it("has defaults for what it does not say", () => {
    assert.deepStrictEqual(locationOf("postgres://app@db.example/orders"), {
      host: "db.example",
      port: 5432,
      database: "orders",
      user: "app",
      password: undefined,
      tls: "prefer",
      authorityFile: undefined,
      certificateFile: undefined,
      keyFile: undefined,
      applicationName: "meridian"
    })
  })

  it("says all of it, in escapes where need be", () => {
    const url =
      "postgresql://app%40x:p%2Fa%3As%25@[::1]:26257/my%20db?sslmode=verify-full&sslrootcert=ca.pem" +
      "&sslcert=/etc/tls/app.pem&sslkey=keys/app.key&application_name=agents%20of%20east"
    const { password, ...rest } = locationOf(url)
    assert.strictEqual(Redacted.value(password!), "p/a:s%")
    assert.deepStrictEqual(rest, {
      host: "::1",
      port: 26_257,
      database: "my db",
      user: "app@x",
      tls: "verify-full",
      authorityFile: "/etc/meridian/ca.pem",
      certificateFile: "/etc/tls/app.pem",
      keyFile: "/etc/meridian/keys/app.key",
      applicationName: "agents of east"
    })
  })

  it("may hold a colon and an at sign in its password, and an empty one", () => {
    assert.strictEqual(Redacted.value(locationOf("postgres://app:a:b@c@db/x").password!), "a:b@c")
    assert.strictEqual(Redacted.value(locationOf("postgres://app:@db/x").password!), "")
  })

  it("does not show its password when it is printed", () => {
    const location = locationOf(`postgres://app:${SECRET}@db/x`)
    assert.notInclude(`${JSON.stringify(location)} ${inspect(location)}`, SECRET)
  })
})

describe("a wrong URL of a database server", () => {
  const cases: ReadonlyArray<readonly [what: string, url: string, problem: string]> = [
    ["without slashes", `postgres:app:${SECRET}@db/x`, "is no URL of a database server"],
    ["without a host", `postgres://app:${SECRET}@/x`, "names no host"],
    ["without a user", "postgres://db/x", "names no user"],
    ["without a database", `postgres://app:${SECRET}@db`, "names no database"],
    ["without a database's name", `postgres://app:${SECRET}@db/?sslmode=require`, "names no database"],
    [
      "with a port out of range",
      `postgres://app:${SECRET}@db:65536/x`,
      "has the port 65536: write one from 1 to 65535"
    ],
    ["with port 0", `postgres://app:${SECRET}@db:0/x`, "has the port 0"],
    ["with a slash in its password", `postgres://app:${SECRET}/more@db/x`, "% escapes"],
    ["with a question mark in its password", `postgres://app:${SECRET}?more@db/x`, "% escapes"],
    ["with more after the name", `postgres://app:${SECRET}@db/x/y`, "has more after host and port"],
    ["with a bad escape", `postgres://app:${SECRET}%@db/x`, "write %25 for a percent sign"],
    ["with an unknown parameter", `postgres://app:${SECRET}@db/x?foo=1`, 'has an unknown parameter "foo": known are'],
    ["with a misspelt parameter", `postgres://app:${SECRET}@db/x?sslmod=require`, '(did you mean "sslmode"?)'],
    ["with a parameter twice", `postgres://app:${SECRET}@db/x?sslmode=require&sslmode=disable`, "has sslmode twice"],
    ["with an empty parameter", `postgres://app:${SECRET}@db/x?sslmode=`, "has sslmode without a value"],
    ["with a wrong sslmode", `postgres://app:${SECRET}@db/x?sslmode=requir`, '(did you mean "require"?)'],
    [
      "with an authority that nobody asks",
      `postgres://app:${SECRET}@db/x?sslmode=require&sslrootcert=ca.pem`,
      "write sslmode=verify-full"
    ],
    ["with a certificate without key", `postgres://app:${SECRET}@db/x?sslcert=a.pem`, "write both, or none"]
  ]
  for (const [what, url, problem] of cases) {
    it(`${what} is refused with what is wrong, and without the password`, () => {
      const message = parsePostgresUrl(url, DIRECTORY)
      assert.isString(message)
      assert.include(message as string, problem)
      assert.notInclude(message as string, SECRET)
    })
  }

  it("with a misspelt scheme is refused without the password", () => {
    const message = parseMetadataUrl(`postgre://app:${SECRET}@db/x`, DIRECTORY)
    assert.isString(message)
    assert.include(message as string, '(did you mean "postgres"?)')
    assert.notInclude(message as string, SECRET)
  })
})
