/**
 * Azurite, Microsoft's emulator of Azure Storage: from npm, in a folder of its own in the peer cache (245 MB), not in the
 * project's node_modules. Started on a free port with its data in memory: a SIGKILL loses them.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { cached, peerCache } from "../apache-kafka/installation.ts"
import { isInstalled, run, type Running, start, stop, waitUntil } from "../child-process.ts"
import { freePort } from "../postgres/postgres.ts"

const VERSION = "3.37.0"
const installDeadlineMs = 300_000
const startDeadlineMs = 60_000

export const AZURITE_ACCOUNT = "devstoreaccount1"
/** Published: the same in every Azurite. */
export const AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

const FOLDER = `azurite-${VERSION}`

export function azuriteMissing(): string | undefined {
  if (existsSync(join(peerCache(), FOLDER))) return undefined
  return isInstalled("npm") ? undefined : "npm is missing: install Node.js with npm"
}

export interface AzureEmulator {
  /** Of the account's blob service. */
  readonly endpoint: string
  readonly running: Running
  readonly stop: () => Promise<void>
}

export async function startAzurite(options: { readonly folder: string }): Promise<AzureEmulator> {
  const installed = await cached(FOLDER, install)
  const port = await freePort()
  const args = [join(installed, "node_modules/azurite/dist/src/blob/main.js"), "--silent", "--inMemoryPersistence"]
  // The SDK is newer than Azurite and says so in each request.
  args.push("--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", String(port))
  const running = start(process.execPath, args, { logFile: join(options.folder, "azurite.log"), cwd: options.folder })
  const endpoint = `http://127.0.0.1:${port}/${AZURITE_ACCOUNT}`
  try {
    await waitUntil("Azurite answers", startDeadlineMs, async () => {
      if (!running.isRunning()) throw new Error("Azurite ended: see its log")
      return (await fetch(endpoint).catch(() => undefined)) !== undefined
    })
  } catch (error) {
    await stop(running)
    throw error
  }
  return { endpoint, running, stop: () => stop(running) }
}

async function install(folder: string): Promise<void> {
  const args = ["install", "--prefix", folder, "--loglevel", "error", "--no-update-notifier", "--no-audit", "--no-fund"]
  await run("npm", [...args, `azurite@${VERSION}`], { deadlineMs: installDeadlineMs, cwd: folder })
}
