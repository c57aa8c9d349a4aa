/**
 * fake-gcs-server, an emulator of Google Cloud Storage in Go (github.com/fsouza/fake-gcs-server, BSD): built once into the
 * peer cache, which takes one to two minutes, and started on a port and in a folder of its own.
 *
 * On files, not in memory: so it survives a SIGKILL. There it refuses keys below other keys, and parts of more than 255
 * bytes, as file systems do.
 */
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { peerCache } from "../apache-kafka/installation.ts"
import { run, type Running, start, stop, waitUntil } from "../child-process.ts"
import { goMissing } from "../go.ts"
import { freePort } from "../postgres/postgres.ts"

const MODULE = "github.com/fsouza/fake-gcs-server"
const VERSION = "1.56.1"
const buildDeadlineMs = 600_000
const startDeadlineMs = 30_000
/** As its go.mod says. */
const goMinorMin = 26

export async function fakeGcsServerMissing(): Promise<string | undefined> {
  return existsSync(program()) ? undefined : await goMissing(goMinorMin)
}

export interface GcsEmulator {
  readonly endpoint: string
  readonly running: Running
  readonly stop: () => Promise<void>
}

/** With one empty bucket. */
export async function startFakeGcsServer(options: {
  readonly folder: string
  readonly bucket: string
}): Promise<GcsEmulator> {
  const { folder, bucket } = options
  await install()
  const data = join(folder, "gcs-data")
  mkdirSync(join(data, bucket), { recursive: true })
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  const args = ["-backend", "filesystem", "-filesystem-root", data, "-scheme", "http", "-host", "127.0.0.1"]
  args.push("-port", String(port), "-public-host", host, "-external-url", `http://${host}`, "-log-level", "warn")
  const running = start(program(), args, { logFile: join(folder, "fake-gcs-server.log") })
  const endpoint = `http://${host}`
  try {
    await waitUntil("fake-gcs-server answers", startDeadlineMs, async () => {
      if (!running.isRunning()) throw new Error("fake-gcs-server ended: see its log")
      const answer = await fetch(`${endpoint}/storage/v1/b/${bucket}`).catch(() => undefined)
      return answer?.status === 200
    })
  } catch (error) {
    await stop(running)
    throw error
  }
  return { endpoint, running, stop: () => stop(running) }
}

/** The Go tool renames a finished program into place itself, so a half-built one is never run. */
async function install(): Promise<void> {
  if (existsSync(program())) return
  await run("go", ["install", `${MODULE}@v${VERSION}`], {
    deadlineMs: buildDeadlineMs,
    env: { CGO_ENABLED: "0", GOBIN: folderOf() }
  })
}

const folderOf = (): string => join(peerCache(), `fake-gcs-server-${VERSION}`)
const program = (): string => join(folderOf(), "fake-gcs-server")
