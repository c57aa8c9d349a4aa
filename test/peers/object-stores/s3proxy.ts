/**
 * A real S3 server: S3Proxy, one jar from Maven Central, which keeps objects as files.
 *
 * It checks signatures and checksums, and its conditional writes have one winner. A server that is stopped keeps its data
 * in its folder: starting it there again goes on.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cached, javaMissing } from "../apache-kafka/installation.ts"
import { run, type Running, start, stop, waitUntil } from "../child-process.ts"
import { freePort } from "../postgres/postgres.ts"

const version = "4.1.0"
const artifact = `org.gaul:s3proxy:${version}:jar:jar-with-dependencies`
/** Named in full: what Maven 3.8 takes by itself is older. */
const copyArtifact = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
const installDeadlineMs = 300_000
const startDeadlineMs = 60_000
const heapMiB = 384

export interface S3Proxy {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly kill: (signal: NodeJS.Signals) => void
  readonly stop: () => Promise<void>
}

/** Why it cannot be used on this machine, in one sentence; undefined when it can. */
export async function s3ProxyMissing(): Promise<string | undefined> {
  return await javaMissing("java")
}

/** Fetches it the first time. */
export async function startS3Proxy(options: { readonly dir: string; readonly port?: number }): Promise<S3Proxy> {
  const jar = await install()
  const port = options.port ?? (await freePort())
  const accessKeyId = "AKTEST"
  const secretAccessKey = "secret-of-the-test"
  const data = join(options.dir, "data")
  mkdirSync(data, { recursive: true })
  const properties = {
    "s3proxy.endpoint": `http://127.0.0.1:${port}`,
    "s3proxy.authorization": "aws-v2-or-v4",
    "s3proxy.identity": accessKeyId,
    "s3proxy.credential": secretAccessKey,
    // Of the provider behind it, which is a folder and asks for none.
    "jclouds.identity": "none",
    "jclouds.credential": "none",
    "jclouds.provider": "filesystem-nio2",
    "jclouds.filesystem.basedir": data
  }
  const file = join(options.dir, "s3proxy.conf")
  writeFileSync(
    file,
    Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join("")
  )
  const logFile = join(options.dir, "s3proxy.log")
  const running = start("java", [`-Xmx${heapMiB}m`, "-XX:+UseSerialGC", "-jar", jar, "--properties", file], { logFile })
  try {
    await waitUntil(`S3Proxy answers (see ${logFile})`, startDeadlineMs, () => answers(port, running, logFile))
  } catch (error) {
    await stop(running)
    throw error
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    accessKeyId,
    secretAccessKey,
    kill: running.kill,
    stop: () => stop(running)
  }
}

async function answers(port: number, running: Running, logFile: string): Promise<boolean> {
  if (!running.isRunning()) throw new Error(`S3Proxy ended:\n${readFileSync(logFile, "utf8").slice(-2_000)}`)
  try {
    // Any answer will do: without a signature it is a refusal.
    await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer()
    return true
  } catch {
    return false
  }
}

async function install(): Promise<string> {
  const folder = await cached(`s3proxy-${version}`, async (target) => {
    const args = ["-q", "-B", copyArtifact, `-Dartifact=${artifact}`, `-DoutputDirectory=${target}`]
    await run("mvn", args, { deadlineMs: installDeadlineMs })
  })
  const jar = readdirSync(folder).find((name) => name.endsWith(".jar"))
  if (jar === undefined) throw new Error(`${folder} holds no jar: delete it`)
  return join(folder, jar)
}
