/**
 * Goal: a playground's buckets and log stay together: its directory remembers its database, and a flag that says otherwise is
 * refused with what to do, never with a password. Method: topology texts and flags.
 */
import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { parseTopology } from "#regions/topology.ts"
import { conflictProblem, flagProblem } from "../../../bin/playground-database.ts"
import { topologyText } from "../../../bin/playground-plan.ts"

const SECRET = "Hush4711"
const URL_KEPT = `postgres://app:${SECRET}@db:5432/orders`
const FILE = "/data/topology.yaml"

const topologyOf = (url?: string) => Result.getOrThrow(parseTopology(topologyText(url), FILE))

describe("--metadata", () => {
  it("stands in the playground's topology as it was given", () => {
    const { metadata } = topologyOf(`${URL_KEPT}?application_name=a%20"b"`)
    if (metadata.kind !== "postgres") return assert.fail(metadata.kind)
    const [endpoint] = metadata.endpoints
    assert.deepInclude(endpoint, { host: "db", port: 5432, database: "orders", applicationName: 'a "b"' })
    assert.deepInclude(endpoint, { field: "metadata.url" })
  })

  it("that is no server's URL is refused", () => {
    assert.match(flagProblem("sqlite:///x.db")!, /--metadata: is no URL of a database server/)
    assert.match(flagProblem("postgres://db/x")!, /--metadata: names no user/)
    assert.isUndefined(flagProblem(URL_KEPT))
  })

  it("that says what the directory remembers is no conflict", () => {
    assert.isUndefined(conflictProblem(topologyOf(URL_KEPT), URL_KEPT, FILE))
    assert.isUndefined(conflictProblem(topologyOf(URL_KEPT), URL_KEPT.replace("postgres:", "postgresql:"), FILE))
  })

  const conflicts: ReadonlyArray<readonly [what: string, kept: string | undefined, asked: string, message: RegExp]> = [
    [
      "another database",
      URL_KEPT,
      URL_KEPT.replace("orders", "other"),
      /keeps its metadata in .*db:5432\/orders .*not in .*db:5432\/other/
    ],
    ["another server", URL_KEPT, URL_KEPT.replace("db:", "db2:"), /not in postgres:\/\/app@db2:5432/],
    ["another password", URL_KEPT, URL_KEPT.replace(SECRET, "other"), /with another password or other parameters/],
    ["a server instead of a file", undefined, URL_KEPT, /keeps its metadata in \/data\/metadata\.db/]
  ]
  for (const [what, kept, asked, message] of conflicts) {
    it(`that names ${what} is refused with both and the fix`, () => {
      const problem = conflictProblem(topologyOf(kept), asked, FILE)
      assert.match(problem!, message)
      assert.match(problem!, /leave --metadata out .* or give another directory with --dir/)
      assert.notInclude(problem!, SECRET)
    })
  }
})
