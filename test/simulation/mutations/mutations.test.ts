/**
 * Goal: the checkers bite, and go on biting when the product changes.
 * Method: every mutation's text is looked up in the product as it is now; some mutations are run here, all of them by
 * `npm run simulate -- --mutations`.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { CHECKS, type CheckName } from "../engine/check-failed.ts"
import { MUTATIONS } from "./mutations.ts"
import { tryMutation } from "./run-mutations.ts"

const ROOT = fileURLToPath(new URL("../../..", import.meta.url))
const RUN_HERE = ["answer-before-settled", "quorum-of-one", "barrier-from-memory"]
/** What only a mistake of the simulation's own can break. */
const NOT_MUTATED: ReadonlyArray<CheckName> = ["simulator"]

describe("mutations of the product", () => {
  for (const { name, edits } of MUTATIONS) {
    it(`${name} still has its place`, () => {
      for (const { file, find } of edits) {
        const count = readFileSync(join(ROOT, file), "utf8").split(find).length - 1
        assert.strictEqual(count, 1, `the text to change occurs ${count} times in ${file}: ${find}`)
      }
    })
  }

  it("break each promise that is checked", () => {
    const caught = new Set(MUTATIONS.flatMap(({ caughtBy }) => caughtBy))
    const never = (Object.keys(CHECKS) as ReadonlyArray<CheckName>).filter(
      (check) => !caught.has(check) && !NOT_MUTATED.includes(check)
    )
    assert.deepEqual(never, [])
  })

  for (const name of RUN_HERE) {
    it(`${name} is noticed`, { timeout: 300_000 }, async () => {
      const mutation = MUTATIONS.find((each) => each.name === name)!
      const { outcome, found } = await tryMutation(mutation, { jobs: 1, seeds: 100 })
      assert.strictEqual(outcome, "caught", found)
    })
  }
})
