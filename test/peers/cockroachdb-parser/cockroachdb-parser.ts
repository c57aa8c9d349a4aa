/** CockroachDB's own SQL parser, through the small Go program beside this file, built once into the peer cache. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { peerCache } from "../apache-kafka/installation.ts"
import { run } from "../child-process.ts"
import { goMissing } from "../go.ts"

const folder = dirname(fileURLToPath(import.meta.url))
const buildDeadlineMs = 600_000
const parseDeadlineMs = 60_000
/** As go.mod says. */
const goMinorMin = 23

export async function cockroachdbParserMissing(): Promise<string | undefined> {
  return await goMissing(goMinorMin)
}

export interface Parsed {
  readonly parsed: number
  /** A line for each statement that does not parse. */
  readonly complaints: readonly string[]
}

/** `sql`: statements, each ended by a semicolon at a line's end. */
export async function parseByCockroachdb(sql: string): Promise<Parsed> {
  const program = await build()
  const { stdout } = await run(program, [], { deadlineMs: parseDeadlineMs, input: sql, exitCodes: [0, 1] })
  const lines = stdout.toString().trimEnd().split("\n")
  const [, parsed, failed] = /^(\d+) parsed, (\d+) failed$/.exec(lines.pop() ?? "") ?? []
  if (parsed === undefined || Number(failed) !== lines.length) throw new Error(`the parser said: ${stdout.toString()}`)
  return { parsed: Number(parsed), complaints: lines }
}

/** The Go tool renames a finished program into place itself, so a half-built one is never run. */
async function build(): Promise<string> {
  const digest = createHash("sha256")
  for (const file of ["main.go", "go.mod", "go.sum"]) digest.update(readFileSync(join(folder, file)))
  const program = join(peerCache(), `cockroachdb-parser-${digest.digest("hex").slice(0, 12)}`)
  if (!existsSync(program)) {
    const env = { CGO_ENABLED: "0" }
    await run("go", ["build", "-o", program, "."], { cwd: folder, deadlineMs: buildDeadlineMs, env })
  }
  return program
}
