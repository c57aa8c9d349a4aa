/** franz-go, through the small program beside this file, built once into the peer cache. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { peerCache } from "../apache-kafka/installation.ts"
import { run } from "../child-process.ts"
import { goMissing } from "../go.ts"
import { type ConsumedRecord, type InputRecord, decodeFrames, encodeFrames } from "../record-frames.ts"

const folder = dirname(fileURLToPath(import.meta.url))
const buildDeadlineMs = 300_000
/** As go.mod says. */
const goMinorMin = 26

export async function franzGoMissing(): Promise<string | undefined> {
  return await goMissing(goMinorMin)
}

export async function franzGoProduce(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly records: readonly InputRecord[]
  readonly deadlineMs: number
}): Promise<void> {
  const input = encodeFrames(options.records)
  const program = await installFranzGo()
  await run(program, ["produce", options.bootstrap, options.topic], { deadlineMs: options.deadlineMs, input })
}

export async function franzGoConsume(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly deadlineMs: number
}): Promise<ConsumedRecord[]> {
  const args = ["consume", options.bootstrap, options.topic]
  return decodeFrames((await run(await installFranzGo(), args, { deadlineMs: options.deadlineMs })).stdout)
}

/** The Go tool renames a finished program into place itself, so a half-built one is never run. */
async function installFranzGo(): Promise<string> {
  const digest = createHash("sha256")
  for (const file of ["main.go", "go.mod", "go.sum"]) digest.update(readFileSync(join(folder, file)))
  const program = join(peerCache(), `franz-go-${digest.digest("hex").slice(0, 12)}`)
  if (!existsSync(program)) {
    await run("go", ["build", "-o", program, "."], {
      cwd: folder,
      deadlineMs: buildDeadlineMs,
      env: { CGO_ENABLED: "0" }
    })
  }
  return program
}
