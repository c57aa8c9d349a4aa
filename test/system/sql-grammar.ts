/** Everything that `meridian metadata sql` prints goes through CockroachDB's own parser; each for one kind of server. */
import { strict as assert } from "node:assert"
import { run } from "../peers/child-process.ts"
import { parseByCockroachdb } from "../peers/cockroachdb-parser/cockroachdb-parser.ts"
import { build, bundle } from "./harness.ts"
import { type SystemTest } from "./system-test.ts"

/** Fewer would mean that the command has lost some. */
const statementsMin = 45

export const sqlGrammar: SystemTest = {
  name: "sql-grammar: every statement is CockroachDB's SQL",
  needs: ["cockroachdb-parser", "meridian"],
  deadlineMs: 660_000,
  run: async ({ say }) => {
    await build()
    // Those for PostgreSQL too: nearly all are the same, and whatever is not must at least be told apart knowingly.
    for (const dialect of ["cockroachdb", "postgres"]) {
      const args = [bundle, "metadata", "sql", "--dialect", dialect]
      const { stdout } = await run(process.execPath, args, { deadlineMs: 30_000 })
      const { parsed, complaints } = await parseByCockroachdb(stdout.toString())
      assert.deepEqual(complaints, [], `${dialect}: ${complaints.join("\n")}`)
      assert(parsed >= statementsMin, `${dialect}: only ${parsed} statements`)
      say(`${dialect}: ${parsed} statements parse`)
    }
    const wrong = await parseByCockroachdb("SELECT 1;\nLISTEN news;\n")
    assert.equal(wrong.parsed, 1)
    assert.equal(wrong.complaints.length, 1, "the parser refuses what CockroachDB has not")
  }
}
