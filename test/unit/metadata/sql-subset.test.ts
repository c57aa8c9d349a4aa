/**
 * Goal: every statement is for PostgreSQL and CockroachDB alike, and the lint that says so would say otherwise.
 * Method: the lint over the real statements, and over one bad statement per rule.
 */
import { assert, describe, it } from "vitest"
import { complaintsOf, lint, RULES, statementsOfOne } from "../../lint/sql-subset.ts"

describe("the statements of the PostgreSQL adapter", () => {
  it("are all for both kinds of server, and all listed", () => {
    assert.deepStrictEqual(lint(), [])
  })

  it("are for one kind of server only where that is meant", () => {
    const names = new Set(statementsOfOne().map((name) => name.replace(/^placement-\d+$/, "placement")))
    assert.deepStrictEqual(
      [...names].toSorted(),
      ["cluster-regions", "migration-1-2", "placement", "set-up-durability", "timeline"].toSorted()
    )
  })
})

describe("the lint of SQL complains", () => {
  const bad: ReadonlyArray<readonly [sql: string, why: RegExp]> = [
    ["SELECT seq FROM commit_log WHERE shard = $1", /placeholder/],
    ["SELECT seq FROM commit_log WHERE shard = $11 AND seq = $1::INT8", /placeholder/],
    ["SELECT seq / 2 FROM commit_log", /division/],
    ["SELECT seq FROM commit_log; SELECT 1", /more than one/],
    ["SELECT seq FROM commit_log -- all", /comment/],
    ["SELECT * FROM commit_log", /SELECT \*/],
    ["CREATE TABLE IF NOT EXISTS a (b INT NOT NULL)", /without its size/],
    ["CREATE TABLE IF NOT EXISTS a (b BIGSERIAL)", /sequence/],
    ["CREATE TABLE IF NOT EXISTS a (b INT8 REFERENCES c (d))", /foreign key/],
    ["CREATE TABLE IF NOT EXISTS a (b INT8, CONSTRAINT c UNIQUE (b) DEFERRABLE)", /constraints/],
    ["CREATE TYPE IF NOT EXISTS a AS ENUM ('b')", /types of one's own/],
    ["CREATE TABLE IF NOT EXISTS a (b int8range)", /range types/],
    ["LISTEN a", /lacks/],
    ["CREATE TEMP TABLE IF NOT EXISTS a (b INT8)", /tables that/],
    ["CREATE INDEX IF NOT EXISTS a ON b USING BRIN (c)", /ways to store/],
    ["SELECT ctid FROM commit_log", /storage/],
    ["SAVEPOINT a", /transaction/],
    ["ALTER TABLE IF EXISTS a SET (ttl_expire_after = '1 day')", /only CockroachDB/],
    ["LOCK TABLE a", /lock on a table/],
    ["SELECT pg_try_advisory_lock(1)", /advisory/],
    ["SELECT seq FROM commit_log AS OF SYSTEM TIME '-5s'", /only CockroachDB/],
    ["INSERT INTO a (b) VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING", /named by its constraint/],
    ["CREATE TABLE IF NOT EXISTS a (b INT8) PARTITION BY RANGE (b)", /partitions/],
    ["SELECT seq FROM commit_log FETCH FIRST 1 ROWS ONLY", /LIMIT/],
    ["WITH a AS (DELETE FROM b RETURNING c) SELECT c FROM a", /changes within/],
    ["CREATE TABLE a (b INT8)", /fails where it has been made/],
    ["SELECT CURRENT_TIMESTAMP", /not now/],
    ['SELECT name FROM agents ORDER BY name COLLATE "C"', /collation/],
    ["DELETE FROM a WHERE b = $1::INT8 LIMIT 5", /change with LIMIT/]
  ]
  for (const [sql, why] of bad) {
    it(`about ${sql}`, () =>
      assert.isTrue(
        complaintsOf(sql).some((complaint) => why.test(complaint)),
        sql
      ))
  }

  it("by every one of its rules in one of these", () => {
    for (const { pattern, why } of RULES) {
      assert.isTrue(
        bad.some(([sql]) => complaintsOf(sql).includes(why)),
        `${pattern} (${why})`
      )
    }
  })

  it("not about words within strings and quoted names, nor about limits of inner queries", () => {
    for (const sql of [
      "SELECT 'LISTEN; -- a / b' AS \"TYPE\" FROM a",
      "DELETE FROM a WHERE b IN (SELECT b FROM a ORDER BY b LIMIT 5)",
      "SELECT count(*) AS rows FROM a WHERE b = $1::INT8"
    ]) {
      assert.deepStrictEqual(complaintsOf(sql), [], sql)
    }
  })
})
