/**
 * Lint of SQL: every statement of the PostgreSQL adapter keeps to what PostgreSQL and CockroachDB both know and mean alike, and
 * none is missing from the list of all (backends/metadata/postgres-catalog.ts). Part of `npm run check`.
 *
 * Statements for one kind of server alone are told apart by the list itself; only those that both get are held to the rules.
 * A rule is a pattern over the statement with its strings blanked out. What CockroachDB's own grammar says is another test
 * (test/system/sql-grammar.ts): it needs Go, and knows nothing of what means something else there.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { everyStatement } from "#backends/metadata/postgres-catalog.ts"
import { type DialectName } from "#backends/metadata/postgres-dialect.ts"

export interface Rule {
  readonly pattern: RegExp
  readonly why: string
}

const word = (words: string, why: string): Rule => ({ pattern: new RegExp(`\\b(?:${words})\\b`, "i"), why })

export const RULES: ReadonlyArray<Rule> = [
  { pattern: /\$\d+(?!\d|::[A-Z])/, why: "a placeholder without a cast: CockroachDB infers one type per placeholder" },
  { pattern: /[^:]\/[^/]/, why: "a division: CockroachDB gives decimals" },
  { pattern: /;/, why: "more than one statement" },
  { pattern: /--|\/\*/, why: "a comment" },
  { pattern: /(?:^|[^(.])\*(?=\s*(?:FROM|,))/i, why: "SELECT *: prepared statements break when a column is added" },
  word("INT|INTEGER|SMALLINT|BIGINT", "a whole number without its size: INT is 64 bits wide in CockroachDB"),
  word(
    "SERIAL\\d?|SMALLSERIAL|BIGSERIAL|IDENTITY|SEQUENCE|nextval|currval",
    "a sequence: not in order, nor small, in CockroachDB"
  ),
  word("FOREIGN|REFERENCES", "a foreign key: appends would read another table"),
  word("DEFERRABLE|CONSTRAINTS|EXCLUDE", "constraints that CockroachDB lacks"),
  word("DOMAIN|ENUM|TYPE", "types of one's own"),
  word("int4range|int8range|numrange|tsrange|tstzrange|daterange", "range types"),
  word(
    "LISTEN|NOTIFY|UNLISTEN|VACUUM|MERGE|TABLESAMPLE|RULE|TRIGGER|FUNCTION|PROCEDURE|LANGUAGE",
    "a statement that CockroachDB lacks"
  ),
  word("TEMP|TEMPORARY|UNLOGGED", "tables that CockroachDB lacks"),
  word("BRIN|SPGIST|FILLFACTOR|autovacuum\\w*", "ways to store that CockroachDB lacks"),
  word("xmin|xmax|ctid|oid", "columns of PostgreSQL's own storage"),
  word("SAVEPOINT|BEGIN|COMMIT|ROLLBACK|START", "a transaction of several statements"),
  word("TTL|ttl_expire_after|INTERLEAVE|HASH", "what only CockroachDB knows"),
  { pattern: /LOCK\s+TABLE/i, why: "a lock on a table" },
  { pattern: /pg_\w*advisory\w*/i, why: "an advisory lock: it does nothing on CockroachDB" },
  { pattern: /AS\s+OF\s+SYSTEM\s+TIME/i, why: "what only CockroachDB knows" },
  { pattern: /ON\s+CONFLICT\s+ON\s+CONSTRAINT/i, why: "a conflict named by its constraint" },
  { pattern: /CREATE\s+TABLE.*PARTITION\s+BY/is, why: "partitions" },
  { pattern: /FETCH\s+(?:FIRST|NEXT)/i, why: "FETCH: write LIMIT" },
  { pattern: /WITH\b.*\b(?:INSERT|UPDATE|DELETE)\b/is, why: "changes within a query" },
  { pattern: /^(?:CREATE|ALTER)(?!.*IF NOT EXISTS)/is, why: "a change that fails where it has been made" },
  { pattern: /CURRENT_DATE|CURRENT_TIMESTAMP|clock_timestamp|statement_timestamp/i, why: "a time that is not now()" },
  { pattern: /COLLATE/i, why: "a collation: names differ" }
]

/** A DELETE or UPDATE whose own LIMIT it is, not a query's within it. */
const limitedChange: Rule = {
  pattern: /^(?:DELETE|UPDATE)\b.*\bLIMIT\b/is,
  why: "a change with LIMIT: only CockroachDB has it"
}

/** Why a statement is not for both; empty: it is. */
export const complaintsOf = (sql: string): ReadonlyArray<string> => {
  const bare = sql.replaceAll(/'(?:[^']|'')*'/g, "''").replaceAll(/"(?:[^"]|"")*"/g, '""')
  const complaints = RULES.filter(({ pattern }) => pattern.test(bare)).map(({ why }) => why)
  return limitedChange.pattern.test(withoutParentheses(bare)) ? [...complaints, limitedChange.why] : complaints
}

const withoutParentheses = (sql: string): string => {
  let rest = sql
  for (let next = rest.replaceAll(/\([^()]*\)/g, " "); next !== rest; next = rest.replaceAll(/\([^()]*\)/g, " "))
    rest = next
  return rest
}

const OPTIONS = { database: "meridian", placement: { regions: ["east", "west", "north"], home: "east" } }

const statementsFor = (dialect: DialectName) => everyStatement({ dialect, ...OPTIONS })

/** Names of statements that only one kind of server gets. */
export const statementsOfOne = (): ReadonlyArray<string> => {
  const both = sharedSql()
  return [...statementsFor("postgres"), ...statementsFor("cockroachdb")]
    .filter(({ sql }) => !both.has(sql))
    .map(({ name }) => name)
}

const sharedSql = (): ReadonlySet<string> => {
  const cockroachdb = new Set(statementsFor("cockroachdb").map(({ sql }) => sql))
  return new Set(statementsFor("postgres").flatMap(({ sql }) => (cockroachdb.has(sql) ? [sql] : [])))
}

const folder = new URL("../../backends/metadata/", import.meta.url)

/** Statements in the adapter's sources that the list does not have, and statements that are sent past it. */
export const unlisted = (): ReadonlyArray<string> => {
  const listed = new Set([...statementsFor("postgres"), ...statementsFor("cockroachdb")].map(({ name }) => name))
  return readdirSync(folder)
    .filter((name) => /^postgres.*\.ts$/.test(name))
    .flatMap((name) => {
      const source = readFileSync(new URL(name, folder), "utf8")
      const made = [...source.matchAll(/\b(?:read|write|session|change)\(\s*"([^"]+)"/g)].map((match) => match[1] ?? "")
      const sent =
        name === "postgres-connection.ts" || !source.includes(".query(") ? [] : [`${name} calls the driver itself`]
      return [
        ...made.filter((statement) => !listed.has(statement)).map((statement) => `${name}: ${statement}`),
        ...sent
      ]
    })
}

export const lint = (): ReadonlyArray<string> => [
  ...[...sharedSql()].flatMap((sql) => complaintsOf(sql).map((why) => `${why}: ${sql}`)),
  ...unlisted().map((what) => `not in backends/metadata/postgres-catalog.ts: ${what}`)
]

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const complaints = lint()
  for (const complaint of complaints) process.stdout.write(`${complaint}\n`)
  process.stdout.write(
    `${sharedSql().size} statements for PostgreSQL and CockroachDB, ${complaints.length} complaints\n`
  )
  process.exitCode = complaints.length === 0 ? 0 : 1
}
