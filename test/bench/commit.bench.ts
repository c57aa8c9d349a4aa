/**
 * What a commit takes: its latency over an emulated wide-area network, with 3, 9 and 36 agents that flush every 250 ms; and
 * without a network how many a second the sequencer does, and what each costs it.
 *
 * Method: a real PostgreSQL; a process for the sequencer's agent, one per region for the others (commit-agents.ts, the
 * product's own code), between them and before the database the delays of wan.ts. A figure counts only while no process is short of processor: so each table
 * says how busy the busiest event loop was, how late its timers were, and how idle the machine.
 *
 * node test/bench/commit.bench.ts [--quick] [--wan | --local]
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { makeDatabase, type PostgresServerProcess, postgresMissing, startPostgres } from "../peers/postgres/postgres.ts"
import { type Figures, printTable, quantile, rounded } from "./benchmark.ts"
import {
  type AgentPlace,
  type AgentsFigures,
  type AgentsOptions,
  type Database,
  type Order,
  type Report
} from "./commit-agents.ts"

const REGIONS = ["home", "west", "eu"] as const
type Region = (typeof REGIONS)[number]

const WAN = { quorumMs: 65, roundTripsMs: { "home west": 65, "home eu": 80, "west eu": 140 } }
const NO_WAN = { quorumMs: 0, roundTripsMs: {} }
const FLUSH = { kind: "flush", intervalMs: 250, runs: 50 } as const
const IN_FLIGHT = 64
const CONNECTIONS = 600
const stepDeadlineMs = 120_000

/** p50 and p99 by agents and region, of an emulation in SQL alone that was made before anything was built. */
const DESIGN: Readonly<Record<number, Readonly<Record<Region, string>>>> = {
  9: { home: "107/144", west: "188/217", eu: "172/223" },
  36: { home: "110/152", west: "171/215", eu: "187/232" }
}

/** What all processes of one round had, by the name of each. */
interface Round {
  readonly figures: ReadonlyArray<AgentsFigures>
  /** Of the machine's processors. */
  readonly machineBusy: number
}

const openPorts = async (count: number): Promise<ReadonlyArray<number>> => {
  const servers: Array<Server> = []
  const ports: Array<number> = []
  for (let index = 0; index < count; index++) {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject)
      server.listen(0, "127.0.0.1", resolve)
    })
    const address = server.address()
    if (typeof address !== "object" || address === null) throw new Error("no port")
    ports.push(address.port)
    servers.push(server)
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** So many in all, evenly over the regions; those of a region follow each other. */
const placesOf = async (count: number, regions: ReadonlyArray<string>): Promise<ReadonlyArray<AgentPlace>> => {
  const ports = await openPorts(count)
  const perRegion = count / regions.length
  return ports.map((peerPort, index) => {
    const region = regions[Math.floor(index / perRegion)]!
    return { name: `${region}-${(index % perRegion) + 1}`, region, peerPort }
  })
}

/** Busy and all time of the machine's processors so far, in ticks. */
const processorTicks = (): { readonly busy: number; readonly all: number } => {
  const fields = readFileSync("/proc/stat", "latin1").split("\n")[0]!.trim().split(/\s+/).slice(1).map(Number)
  const all = fields.slice(0, 8).reduce((sum, ticks) => sum + ticks, 0)
  return { busy: all - fields[3]! - fields[4]!, all }
}

class AgentsProcess {
  private readonly child: ChildProcess
  private readonly reports: Array<Report> = []
  private waiting: { readonly resolve: (report: Report) => void; readonly reject: (error: Error) => void } | undefined
  private ended: string | undefined

  constructor(options: AgentsOptions, logFile: string) {
    const log = openSync(logFile, "a")
    this.child = fork(join(import.meta.dirname, "commit-agents.ts"), [JSON.stringify(options)], {
      stdio: ["ignore", log, log, "ipc"],
      execArgv: ["--disable-warning=ExperimentalWarning"]
    })
    closeSync(log)
    this.child.on("message", (message) => {
      this.reports.push(message as Report)
      this.deliver()
    })
    this.child.once("exit", (code, signal) => {
      this.ended = `a process of agents ended with ${signal ?? code}: see ${logFile}`
      this.deliver()
    })
  }

  async next<K extends Report["kind"]>(kind: K): Promise<Extract<Report, { readonly kind: K }>> {
    const report = await new Promise<Report>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not "${kind}" within ${stepDeadlineMs} ms`)), stepDeadlineMs)
      this.waiting = {
        resolve: (given) => {
          clearTimeout(timer)
          resolve(given)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        }
      }
      this.deliver()
    })
    if (report.kind !== kind) throw new Error(`"${report.kind}" instead of "${kind}"`)
    return report as Extract<Report, { readonly kind: K }>
  }

  go(): void {
    this.child.send("go" satisfies Order)
  }

  async end(): Promise<void> {
    const ended = once(this.child, "exit")
    this.child.send("end" satisfies Order)
    await ended
  }

  kill(): void {
    this.child.kill("SIGKILL")
  }

  private deliver(): void {
    const { waiting } = this
    if (waiting === undefined) return
    const report = this.reports.shift()
    if (report === undefined && this.ended === undefined) return
    this.waiting = undefined
    if (report === undefined) waiting.reject(new Error(this.ended))
    else waiting.resolve(report)
  }
}

/** One process for each part of the agents; the first part's first agent begins, so the sequencer is in it. */
const runAgents = async (
  common: Omit<AgentsOptions, "here" | "load">,
  parts: ReadonlyArray<Pick<AgentsOptions, "here" | "load">>,
  logFile: string
): Promise<Round> => {
  const processes: Array<AgentsProcess> = []
  try {
    for (const part of parts) {
      const started = new AgentsProcess({ ...common, ...part }, logFile)
      processes.push(started)
      if (processes.length === 1) await started.next("up")
    }
    await Promise.all(processes.slice(1).map((each) => each.next("up")))
    await Promise.all(processes.map((each) => each.next("ready")))
    for (const each of processes) each.go()
    await new Promise((resolve) => setTimeout(resolve, common.warmUpMs))
    const before = processorTicks()
    await new Promise((resolve) => setTimeout(resolve, common.measureMs))
    const after = processorTicks()
    const figures = (await Promise.all(processes.map((each) => each.next("figures")))).map((report) => report.figures)
    await Promise.all(processes.map((each) => each.end()))
    return { figures, machineBusy: (after.busy - before.busy) / (after.all - before.all) }
  } finally {
    for (const each of processes) each.kill()
  }
}

const total = (values: ReadonlyArray<number>): number => values.reduce((sum, one) => sum + one, 0)

const checkRound = ({ figures }: Round): void => {
  if (figures[0]!.sequencer !== "here" || figures.slice(1).some(({ sequencer }) => sequencer !== "elsewhere")) {
    throw new Error("the sequencer moved while it was measured")
  }
  const failed = total(figures.map((one) => one.failed))
  if (failed > 0) throw new Error(`${failed} commits were not settled: is the machine too slow for so many agents?`)
  const refused = total(figures.map((one) => one.refused))
  if (refused > 0) throw new Error(`${refused} batches were refused`)
}

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`
const perSecond = (count: number, { elapsedMs }: AgentsFigures): number => (count * 1_000) / elapsedMs

const overWan = async (
  server: PostgresServerProcess,
  dir: string,
  agentCounts: ReadonlyArray<number>,
  times: Pick<AgentsOptions, "warmUpMs" | "measureMs">
): Promise<Figures> => {
  const rows = [
    [
      "agents",
      "flush/s",
      "commits/s",
      ...REGIONS.map((region) => `${region} p50/p99`),
      "rows/s",
      "cores",
      "CPU",
      "loop",
      "late"
    ]
  ]
  const all: Record<string, Figures> = {}
  for (const count of agentCounts) {
    const agents = await placesOf(count, REGIONS)
    const database: Database = { kind: "postgresql", url: await makeDatabase(server.url()) }
    const perRegion = count / REGIONS.length
    // The sequencer's process has no other agents, whose folding would make it late.
    const ends = [1, ...REGIONS.map((_, index) => (index + 1) * perRegion)].filter((end, index) => index < 1 || end > 1)
    const parts = ends.map((end, index) => ({ here: [ends[index - 1] ?? 0, end] as const, load: FLUSH }))
    const common = { database, homeRegion: REGIONS[0], agents, wan: WAN, ...times }
    const round = await runAgents(common, parts, join(dir, `wan-${count}.log`))
    checkRound(round)
    const { figures } = round
    const offered = total(figures.map((one) => perSecond(one.submitted, one)))
    const commits = total(figures.map((one) => perSecond(one.answered, one)))
    const logRows = perSecond(figures[0]!.rows, figures[0]!)
    const byRegion: Record<string, Figures> = {}
    const cells = REGIONS.map((region) => {
      const latenciesMs = figures.flatMap((one, index) =>
        agents[parts[index]!.here[0]]!.region === region ? one.latenciesMs : []
      )
      const [p50Ms, p99Ms] = [0.5, 0.99].map((part) => rounded(quantile(latenciesMs, part), 0)) as [number, number]
      byRegion[region] = { p50Ms, p99Ms }
      return `${p50Ms}/${p99Ms}`
    })
    all[`agents-${count}`] = {
      ...byRegion,
      offeredPerSecond: rounded(offered, 1),
      commitsPerSecond: rounded(commits, 1),
      rowsPerSecond: rounded(logRows, 1),
      machineBusy: rounded(round.machineBusy),
      load1: rounded(loadavg()[0]!)
    }
    const loop = percent(Math.max(...figures.map(({ loopBusy }) => loopBusy)))
    const late = `${Math.max(...figures.map(({ loopLateP99Ms }) => loopLateP99Ms)).toFixed(0)} ms`
    const cores = total(figures.map(({ cpuMs, elapsedMs }) => cpuMs / elapsedMs))
    const machine = [cores.toFixed(1), percent(round.machineBusy), loop, late]
    rows.push([String(count), offered.toFixed(1), commits.toFixed(1), ...cells, logRows.toFixed(1), ...machine])
    const design = DESIGN[count]
    if (design !== undefined)
      rows.push(["  design", "", "", ...REGIONS.map((region) => design[region]), "", "", "", "", ""])
  }
  printTable(rows)
  console.log(
    "  ms; cores: that the agents' processes used; CPU: the whole machine, whatever else it did, of all its cores;"
  )
  console.log("  loop, late: the busiest event loop, and how late its timers were (p99)")
  return all
}

/** Whose commands come: the sequencer's own agent's, or those of so many others. */
const SUBMITTERS = [
  ["its own", 0],
  ["3 others", 3],
  ["9 others", 9]
] as const

const atOnePlace = async (
  databases: ReadonlyArray<readonly [name: string, make: (name: string) => Promise<Database>]>,
  dir: string,
  submitters: ReadonlyArray<(typeof SUBMITTERS)[number]>,
  times: Pick<AgentsOptions, "warmUpMs" | "measureMs">
): Promise<Figures> => {
  const columns = ["commits/s", "rows/s", "p50 ms", "p99 ms", "us/commit", "us/batch", "CPU", "loop"]
  const rows = [["database", "batches", "submitter", ...columns]]
  const all: Record<string, Figures> = {}
  for (const [name, make] of databases) {
    for (const runs of [1, 50]) {
      for (const [who, others] of submitters) {
        const database = await make(`${runs}-${others}`)
        const agents = await placesOf(1 + others, ["local"])
        const load = { kind: "saturate", inFlight: IN_FLIGHT, runs } as const
        const parts: ReadonlyArray<Pick<AgentsOptions, "here" | "load">> =
          others === 0
            ? [{ here: [0, 1], load }]
            : [
                { here: [0, 1], load: { kind: "none" } },
                { here: [1, 1 + others], load }
              ]
        const common = { database, homeRegion: "local", agents, wan: NO_WAN, ...times }
        const round = await runAgents(common, parts, join(dir, `${name}-${runs}-${others}.log`))
        checkRound(round)
        const [sequencer] = round.figures as [AgentsFigures]
        const submitting = round.figures.at(-1)!
        const commits = perSecond(submitting.answered, submitting)
        const cpuUs = (sequencer.cpuMs * 1_000) / ((commits * sequencer.elapsedMs) / 1_000)
        const [p50Ms, p99Ms] = [0.5, 0.99].map((part) => rounded(quantile(submitting.latenciesMs, part), 1)) as [
          number,
          number
        ]
        const rowsPerSecond = perSecond(sequencer.rows, sequencer)
        all[`${name}-${runs}-${who.replace(" ", "-")}`] = {
          commitsPerSecond: rounded(commits, 0),
          rowsPerSecond: rounded(rowsPerSecond, 0),
          p50Ms,
          p99Ms,
          sequencerMicrosecondsPerCommit: rounded(cpuUs, 0),
          machineBusy: rounded(round.machineBusy)
        }
        const cells = [runs, who, commits.toFixed(0), rowsPerSecond.toFixed(0), p50Ms, p99Ms, cpuUs.toFixed(0)]
        const machine = [percent(round.machineBusy), percent(sequencer.loopBusy)]
        rows.push([name, ...cells, (cpuUs / runs).toFixed(1), ...machine].map(String))
      }
    }
  }
  printTable(rows)
  console.log(
    "  batches: of one commit; us: processor time of the sequencer's process, database thread and own load included"
  )
  return all
}

interface Options {
  readonly quick?: boolean
  /** An empty folder for logs and database files. */
  readonly dir: string
  /** Both, unless one is chosen. */
  readonly part?: "wan" | "local" | undefined
}

export const run = async ({ quick = false, dir, part }: Options): Promise<Figures> => {
  const missing = postgresMissing()
  const settings = { max_connections: String(CONNECTIONS) }
  const server =
    missing === undefined ? await startPostgres({ logFile: join(dir, "postgresql.log"), settings }) : undefined
  const onServer = async (running: PostgresServerProcess): Promise<Database> => {
    return { kind: "postgresql", url: await makeDatabase(running.url()) }
  }
  const onFile = async (name: string): Promise<Database> => ({ kind: "sqlite", file: join(dir, `${name}.db`) })
  const figures: Record<string, Figures> = {}
  try {
    const load = loadavg().map((each) => each.toFixed(1))
    console.log(`  load of the machine before: ${load.join(", ")}`)
    if (part !== "local") {
      const times = quick ? { warmUpMs: 500, measureMs: 1_500 } : { warmUpMs: 5_000, measureMs: 20_000 }
      if (server === undefined) console.log(`  over the wide-area network: left out: ${missing}`)
      else figures["wan"] = await overWan(server, dir, quick ? [3] : [3, 9, 36], times)
    }
    if (part !== "wan") {
      const times = quick ? { warmUpMs: 200, measureMs: 500 } : { warmUpMs: 2_000, measureMs: 5_000 }
      const databases: Array<Parameters<typeof atOnePlace>[0][number]> = [["sqlite", onFile]]
      if (server === undefined) console.log(`  on PostgreSQL: left out: ${missing}`)
      else databases.push(["postgresql", () => onServer(server)])
      figures["local"] = await atOnePlace(databases, dir, quick ? [SUBMITTERS[1]] : SUBMITTERS, times)
    }
  } finally {
    await server?.stop()
  }
  return figures
}

if (import.meta.main) {
  const isAsked = (flag: string): boolean => process.argv.includes(flag)
  const part = isAsked("--wan") ? "wan" : isAsked("--local") ? "local" : undefined
  const dir = mkdtempSync(join(tmpdir(), "meridian-bench-commit-"))
  console.log(JSON.stringify(await run({ quick: isAsked("--quick"), dir, part })))
  rmSync(dir, { recursive: true, force: true })
}
