/**
 * Goal: the pure parts of the PostgreSQL adapter: which servers it takes, how values are read, what is said about regions.
 * Method: text as servers send it.
 */
import { assert, describe, it } from "vitest"
import { dialectOf } from "#backends/metadata/postgres-dialect.ts"
import { MIGRATIONS, TABLES } from "#backends/metadata/postgres-migrations.ts"
import { placementStatements, placementText } from "#backends/metadata/postgres-placement.ts"
import { parserOf } from "#backends/metadata/postgres-types.ts"

describe("a server's version", () => {
  it("tells PostgreSQL from CockroachDB", () => {
    const nameOf = (version: string): string => {
      const dialect = dialectOf(version)
      return typeof dialect === "string" ? dialect : dialect.name
    }
    assert.strictEqual(nameOf("PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu"), "postgres")
    assert.strictEqual(nameOf("PostgreSQL 18beta2 on aarch64"), "postgres")
    assert.strictEqual(nameOf("CockroachDB CCL v25.2.0 (x86_64-pc-linux-gnu, built 2025/05/05)"), "cockroachdb")
    assert.strictEqual(nameOf("CockroachDB OSS v23.1.30 (x86_64)"), "cockroachdb")
    assert.match(nameOf("PostgreSQL 14.9 on x86_64"), /needs PostgreSQL 15 or newer/)
    assert.match(nameOf("CockroachDB CCL v22.2.19 (x86_64)"), /needs CockroachDB 23 or newer/)
    assert.match(nameOf("MySQL 8"), /neither PostgreSQL nor CockroachDB/)
  })
})

describe("a value", () => {
  it("that is a whole number is read exactly, or not at all", () => {
    const int8 = parserOf(20)
    assert.strictEqual(int8("9007199254740991"), Number.MAX_SAFE_INTEGER)
    assert.strictEqual(int8("-5"), -5)
    assert.strictEqual(parserOf(1700)("12"), 12)
    for (const text of ["9007199254740992", "1.5", "NaN", "x"]) assert.throws(() => int8(text), /no number/)
  })

  it("that is bytes comes in hexadecimal, also none", () => {
    const bytea = parserOf(17)
    assert.deepStrictEqual(bytea("\\x00ff10"), Buffer.from([0, 255, 16]))
    assert.deepStrictEqual(bytea("\\x"), Buffer.alloc(0))
    assert.throws(() => bytea("\\000\\377"), /hexadecimal/)
  })

  it("that is a UUID loses its dashes", () => {
    assert.strictEqual(parserOf(2950)("0001e240-0000-4000-8000-00000000abcd"), "0001e24000004000800000000000abcd")
    assert.strictEqual(parserOf(16)("t"), true)
    assert.strictEqual(parserOf(16)("f"), false)
    assert.strictEqual(parserOf(25)("text"), "text")
  })
})

describe("migrations", () => {
  it("are numbered from 1 without gaps", () => {
    assert.deepStrictEqual(
      MIGRATIONS.map(({ version }) => version),
      MIGRATIONS.map((_, index) => index + 1)
    )
  })
})

describe("what CockroachDB is told of regions", () => {
  const three = { regions: ["east", "west", "north"], home: "west" }
  const sqlOf = (...args: Parameters<typeof placementStatements>): ReadonlyArray<string> =>
    placementStatements(...args).map(({ sql }) => sql)

  it("begins with the home region, and survives the loss of one of three", () => {
    assert.deepStrictEqual(sqlOf("my db", three, "none").slice(0, 4), [
      'ALTER DATABASE "my db" PRIMARY REGION "west"',
      'ALTER DATABASE "my db" ADD REGION IF NOT EXISTS "east"',
      'ALTER DATABASE "my db" ADD REGION IF NOT EXISTS "north"',
      'ALTER DATABASE "my db" SURVIVE REGION FAILURE'
    ])
  })

  it("makes a region the home only after it was added, where there are regions", () => {
    const sql = sqlOf("db", three, "some")
    assert.isBelow(
      sql.indexOf('ALTER DATABASE "db" ADD REGION IF NOT EXISTS "west"'),
      sql.indexOf('ALTER DATABASE "db" PRIMARY REGION "west"')
    )
  })

  it("does not ask of two regions what only three can do", () => {
    const sql = sqlOf("db", { regions: ["east", "west"], home: "east" }, "none")
    assert.isFalse(sql.some((statement) => statement.includes("SURVIVE")))
  })

  it("places every table", () => {
    const placed = sqlOf("db", three, "none").flatMap((sql) => /ALTER TABLE (\w+) SET LOCALITY/.exec(sql)?.[1] ?? [])
    for (const table of TABLES) assert.include(placed, table)
  })

  it("names cannot leave their quotes", () => {
    assert.include(
      sqlOf('a"b', { regions: ['x"; DROP'], home: 'x"; DROP' }, "none")[0]!,
      '"a""b" PRIMARY REGION "x""; DROP"'
    )
  })

  it("is noted in words that change with what was said", () => {
    assert.notStrictEqual(placementText(three), placementText({ ...three, home: "east" }))
    assert.notStrictEqual(placementText(three), placementText({ ...three, regions: ["east", "west"] }))
  })
})
