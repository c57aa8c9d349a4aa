/** `meridian metadata …`, as an operator runs it. */
import { strict as assert } from "node:assert"
import { run } from "../peers/child-process.ts"
import { POSTGRES_PASSWORD } from "../peers/postgres/postgres.ts"
import { bundle } from "./harness.ts"

/** Gives what it says. */
export async function metadata(
  args: readonly string[],
  exitCodes: readonly number[] = [0]
): Promise<{ readonly code: number | null; readonly text: string }> {
  const { code, stdout, stderr } = await run(process.execPath, [bundle, "metadata", ...args], {
    deadlineMs: 60_000,
    exitCodes
  })
  const text = stdout.toString() + stderr
  assert(!text.includes(POSTGRES_PASSWORD), "a password is shown")
  return { code, text }
}
