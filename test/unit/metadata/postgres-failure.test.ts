/**
 * Goal: what is not known of a failure is never told as known, and every message names server, field and fix.
 * Method: errors as the driver and Node make them. What real servers do is tested in test/postgres.
 */
import { assert, describe, it } from "vitest"
import {
  connectFailure,
  lostFailure,
  type PostgresFailure,
  refusal,
  statementFailure
} from "#backends/metadata/postgres-failure.ts"

const SERVER = { field: "metadata.url", host: "db.example", port: 5432, database: "orders", user: "app" }

const coded = (code: string, message = "as the server says"): Error => Object.assign(new Error(message), { code })

const facts = ({ reason, outcome, scope }: PostgresFailure): string => `${reason} ${outcome} ${scope}`

describe("a failure to connect", () => {
  const cases: ReadonlyArray<readonly [code: string, expected: string, message: RegExp]> = [
    ["ECONNREFUSED", "Unavailable", /nothing listens at db\.example:5432 \(metadata\.url\): start the database/],
    ["ENOTFOUND", "Unavailable", /the host "db\.example" is not known/],
    ["EHOSTUNREACH", "Unavailable", /no way from here/],
    ["ECONNRESET", "Unavailable", /cannot connect to db\.example:5432/],
    ["28P01", "Misconfigured", /refuses user "app"/],
    ["28000", "Misconfigured", /refuses user "app"/],
    ["3D000", "Misconfigured", /the database "orders" does not exist .*CREATE DATABASE "orders"/],
    ["53300", "Unavailable", /takes no more connections/],
    ["57P03", "Unavailable", /is starting or stopping/],
    ["42501", "Misconfigured", /GRANT CONNECT ON DATABASE "orders" TO "app"/],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "Misconfigured", /is not trusted .*sslrootcert/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "Misconfigured", /is not trusted/],
    ["0A000", "Misconfigured", /refused the connection/],
    ["99999", "Unavailable", /refused the connection/]
  ]
  for (const [code, reason, message] of cases) {
    it(`with ${code} is definite, of the server, and says what to do`, () => {
      const failure = connectFailure(coded(code), SERVER)
      assert.strictEqual(facts(failure), `${reason} definite server`)
      assert.match(failure.message, message)
      assert.include(failure.message, "(metadata.url)")
    })
  }

  it("of several addresses is told by the first of its causes", () => {
    const error = Object.assign(new AggregateError([coded("ETIMEDOUT", "connect ETIMEDOUT 10.0.0.1:5432")], ""), {
      code: "ETIMEDOUT"
    })
    assert.match(connectFailure(error, SERVER).message, /connect ETIMEDOUT 10\.0\.0\.1:5432/)
  })

  it("that says already what it means stays as it is", () => {
    const failure = refusal("Misconfigured", "no TLS")
    assert.strictEqual(connectFailure(failure, SERVER), failure)
  })

  it("to an IPv6 address shows that in brackets", () => {
    assert.match(connectFailure(coded("ECONNREFUSED"), { ...SERVER, host: "::1" }).message, /at \[::1\]:5432/)
  })
})

describe("a failed statement", () => {
  const cases: ReadonlyArray<readonly [code: string, expected: string]> = [
    ["23505", "Corrupt definite statement"],
    ["40001", "Unavailable definite statement"],
    ["40P01", "Unavailable definite statement"],
    ["25006", "Unavailable definite server"],
    ["42P01", "Misconfigured definite statement"],
    ["53200", "Unavailable definite statement"],
    ["26000", "Unavailable definite connection"],
    ["40003", "Unavailable indefinite statement"],
    ["08006", "Unavailable indefinite connection"],
    ["57P01", "Unavailable indefinite connection"],
    ["57P02", "Unavailable indefinite connection"],
    ["57014", "TimedOut indefinite connection"],
    ["XX000", "Unavailable indefinite connection"],
    ["XXUUU", "Unavailable indefinite connection"],
    ["XX001", "Corrupt indefinite connection"],
    ["58030", "Unavailable indefinite statement"],
    ["99999", "Unavailable indefinite statement"]
  ]
  for (const [code, expected] of cases) {
    it(`with ${code} is ${expected}`, () => {
      assert.strictEqual(facts(statementFailure(coded(code), "append", SERVER)), expected)
    })
  }

  it("is run again only where the server has undone it and asks for that", () => {
    const asked = cases
      .map(([code]) => code)
      .filter((code) => statementFailure(coded(code), "append", SERVER).isRerunAsked)
    assert.deepStrictEqual(asked, ["40001", "40P01"])
  })

  it("whose answer cannot be understood may have happened", () => {
    const failure = statementFailure(new Error("the database says 9223372036854775807"), "read", SERVER)
    assert.strictEqual(facts(failure), "Corrupt indefinite connection")
  })

  it("whose connection is lost, or whose time is over, may have happened", () => {
    const lost = lostFailure("append", SERVER, { kind: "lost", cause: coded("ECONNRESET", "read ECONNRESET") })
    assert.strictEqual(facts(lost), "Unavailable indefinite connection")
    assert.match(lost.message, /the connection to db\.example:5432 was lost during append: read ECONNRESET/)
    const late = lostFailure("append", SERVER, { kind: "timeout", waitedMs: 10_000 })
    assert.strictEqual(facts(late), "TimedOut indefinite connection")
    assert.match(late.message, /did not answer to append within 10000 ms/)
  })
})
