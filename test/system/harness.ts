/**
 * Three regions on this machine: Meridian's playground, or a real Apache Kafka of three nodes that stands in for it
 * while the tests themselves are tried.
 *
 * The playground gets free ports and a folder of its own. It writes the process id of
 * each agent to `DIR/agents/NAME.pid`; by these the harness kills a region. Invariant: everything that was started is
 * ended by `stop`, by pid, whatever the test did to it.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Admin } from "@platformatic/kafka"
import { PLAYGROUND_REGIONS } from "../../bin/playground-plan.ts"
import { startKafka, type KafkaCluster } from "../peers/apache-kafka/kafka.ts"
import { type Running, run, start, stop, waitUntil } from "../peers/child-process.ts"
import { type Against } from "./requirements.ts"

export interface ClusterOptions {
  readonly agentsPerRegion?: number
  /** Whether a killed agent is started again by the playground; "never" leaves it dead. */
  readonly restart?: "always" | "never"
  /** "npm" starts by `npm start`, as a user does; "program" the bundle itself, which a kill ends at once. */
  readonly by?: "npm" | "program"
  /** URL of a database server; a file in the playground's folder where there is none. */
  readonly metadata?: string
}

export interface Cluster {
  readonly dir: string
  /** One list of addresses per region; the first region first. */
  readonly bootstrap: readonly string[]
  /** All addresses, as a client that knows every region is given them. */
  readonly bootstrapOfAll: string
  readonly httpPort: number
  /** Time from the start to the line that says "ready". */
  readonly readyMs: number
  /** The region in which an address "host:port" of a broker lies. */
  readonly regionOf: (address: string) => number
  readonly pidsOf: (region: number) => readonly number[]
  /** Ends the agents of one region at once, as a power cut would. */
  readonly killRegion: (region: number) => Promise<void>
  /** Ends every process of the cluster at once. */
  readonly killEverything: () => Promise<void>
  /** After `killEverything`: starts again on the same data and ports. */
  readonly startAgain: () => Promise<void>
  readonly createTopic: (topic: string, partitions: number) => Promise<void>
  readonly stop: () => Promise<void>
}

const regions = PLAYGROUND_REGIONS.length
const root = fileURLToPath(new URL("../..", import.meta.url))
const buildDeadlineMs = 120_000
const readyDeadlineMs = 60_000
const deathDeadlineMs = 10_000
/** Kafka ports of region r start at base + 100 r (as 9092, 9192, 9292). */
const portStride = 100
/** Agents are reached by each other so far above. */
const peerPortOffset = 50
const agentsPerRegionMax = 8

export async function startCluster(against: Against, dir: string, options: ClusterOptions = {}): Promise<Cluster> {
  return against === "meridian" ? await startPlayground(dir, options) : await startStandIn(dir)
}

/** The folder of a region's bucket. */
export function bucketDirectory(dir: string, region: number): string {
  return join(dir, "buckets", PLAYGROUND_REGIONS[region] ?? "")
}

interface Playground {
  readonly dir: string
  readonly port: number
  readonly httpPort: number
  readonly options: ClusterOptions
  running: Running
  readyMs: number
}

export async function startPlayground(dir: string, options: ClusterOptions = {}): Promise<Cluster> {
  mkdirSync(dir, { recursive: true })
  const port = await freePorts()
  const httpPort = await freePorts()
  const playground: Playground = { dir, port, httpPort, options, ...(await launch({ dir, port, httpPort, options })) }
  const agents = options.agentsPerRegion ?? 1
  const bootstrap = Array.from({ length: regions }, (_, region) => {
    const first = port + portStride * region
    return Array.from({ length: agents }, (_, index) => `127.0.0.1:${first + index}`).join(",")
  })
  return {
    dir,
    bootstrap,
    bootstrapOfAll: bootstrap.join(","),
    httpPort,
    get readyMs() {
      return playground.readyMs
    },
    regionOf: (address) => Math.floor((Number(address.split(":").at(-1)) - port) / portStride),
    pidsOf: (region) => agentPids(dir, region),
    killRegion: async (region) => {
      const pids = agentPids(dir, region)
      if (pids.length === 0) throw new Error(`no agent of region ${region + 1} is alive to be killed`)
      await killPids(pids)
    },
    killEverything: async () => {
      // The playground first, or it would start its agents again.
      playground.running.kill("SIGKILL")
      await killPids(allAgentPids(dir))
      await playground.running.exited
    },
    startAgain: async () => {
      Object.assign(playground, await launch(playground))
    },
    createTopic: async (topic, partitions) => await createTopic(bootstrap.join(","), topic, partitions, 1),
    stop: async () => {
      await stop(playground.running)
      await killPids(allAgentPids(dir))
    }
  }
}

async function launch(
  place: Pick<Playground, "dir" | "port" | "httpPort" | "options">
): Promise<Pick<Playground, "running" | "readyMs">> {
  const { options } = place
  const flags = ["--dir", place.dir, "--port-base", String(place.port), "--http-port-base", String(place.httpPort)]
  if (options.agentsPerRegion !== undefined) flags.push("--agents-per-region", String(options.agentsPerRegion))
  if (options.metadata !== undefined) flags.push("--metadata", options.metadata)
  if (options.restart === "never") flags.push("--no-restart")
  let heard = ""
  const settings = {
    logFile: join(place.dir, "playground-output.log"),
    onStdout: (text: string) => {
      heard = (heard + text).slice(-10_000)
    }
  }
  if (options.by !== "npm") await build()
  const startedAtMs = performance.now()
  const running =
    options.by === "npm"
      ? start("npm", ["start", "--", ...flags], { ...settings, cwd: root })
      : start(process.execPath, [bundle, "playground", ...flags], settings)
  await waitUntil("the playground says that it is ready", readyDeadlineMs, () => {
    if (!running.isRunning()) throw new Error(`the playground ended:\n${tailOf(settings.logFile)}`)
    return /ready in [\d.]+ s/.test(heard)
  }).catch(async (error: unknown) => {
    await stop(running)
    throw new Error(`${String(error)}\n${tailOf(settings.logFile)}`, { cause: error })
  })
  return { running, readyMs: performance.now() - startedAtMs }
}

/** The bundle, as its own program. */
export const bundle = join(root, "dist", "meridian.mjs")

/** Any call of the command builds the bundle where sources are newer; started then without wrappers. */
let built: Promise<unknown> | undefined
export async function build(): Promise<void> {
  built ??= run(process.execPath, [join(root, "bin", "meridian.mjs"), "--version"], { deadlineMs: buildDeadlineMs })
  await built
}

/** Process ids in `agents/REGION-N.pid`. */
function agentPids(dir: string, region: number): number[] {
  const folder = join(dir, "agents")
  const own = `${PLAYGROUND_REGIONS[region]}-`
  return readdirSync(folder)
    .filter((name) => name.startsWith(own) && name.endsWith(".pid"))
    .map((name) => Number.parseInt(readFileSync(join(folder, name), "utf8"), 10))
    .filter(isAgent)
}

function allAgentPids(dir: string): number[] {
  return Array.from({ length: regions }, (_, region) => agentPids(dir, region)).flat()
}

/** A pid file may outlive its process, and the number may have gone to another one: only an agent counts. */
export function isAgent(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("\0agent\0")
  } catch {
    return false
  }
}

export async function killPids(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It has ended by itself.
    }
  }
  await waitUntil("killed agents are gone", deathDeadlineMs, () => pids.every((pid) => !isAgent(pid)))
}

async function startStandIn(dir: string): Promise<Cluster> {
  const port = await freePorts()
  const startedAtMs = performance.now()
  const options = { dir, port, nodes: regions }
  let kafka: KafkaCluster = await startKafka(options)
  const readyMs = performance.now() - startedAtMs
  const gone = async (pids: readonly number[]): Promise<void> => {
    await waitUntil("killed nodes are gone", deathDeadlineMs, () => pids.every((pid) => !existsSync(`/proc/${pid}`)))
  }
  return {
    dir,
    bootstrap: kafka.bootstrap,
    bootstrapOfAll: kafka.bootstrap.join(","),
    httpPort: 0,
    readyMs,
    regionOf: (address) => Number(address.split(":").at(-1)) - port,
    pidsOf: (region) => kafka.pids.slice(region, region + 1),
    killRegion: async (region) => {
      kafka.kill(region, "SIGKILL")
      await gone(kafka.pids.slice(region, region + 1))
    },
    killEverything: async () => {
      for (let region = 0; region < regions; region++) kafka.kill(region, "SIGKILL")
      await gone(kafka.pids)
    },
    startAgain: async () => {
      kafka = await startKafka(options)
    },
    createTopic: async (topic, partitions) => await createTopic(kafka.bootstrap.join(","), topic, partitions, regions),
    stop: async () => await kafka.stop()
  }
}

async function createTopic(bootstrap: string, topic: string, partitions: number, replicas: number): Promise<void> {
  const admin = new Admin({ clientId: "system-test", bootstrapBrokers: bootstrap.split(","), timeout: 30_000 })
  try {
    await admin.createTopics({ topics: [topic], partitions, replicas })
  } finally {
    await admin.close()
  }
}

/** A base port whose playground finds all its ports free now; below the range of outgoing connections. */
export async function freePorts(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const base = nextBase()
    const wanted = Array.from({ length: regions * agentsPerRegionMax }, (_, index) => {
      return base + portStride * Math.floor(index / agentsPerRegionMax) + (index % agentsPerRegionMax)
    })
    wanted.push(...wanted.map((port) => port + peerPortOffset))
    if ((await Promise.all(wanted.map(isFree))).every(Boolean)) return base
  }
  throw new Error("no free ports between 12000 and 32000: is a test of an earlier run still there?")
}

let basesGiven = 0
function nextBase(): number {
  const slots = Math.floor((32_000 - 12_000) / (portStride * regions))
  return 12_000 + ((process.pid + basesGiven++) % slots) * portStride * regions
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
}

function tailOf(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(-30).join("\n") : "(no output)"
}
