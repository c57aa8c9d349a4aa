/**
 * A playground of three regions on a PostgreSQL server of its own, and what tests of the sequencer need of it: who sequences
 * now, signals to single agents, what they answer over HTTP, the log's rows, and a proxy between agents and server.
 *
 * Invariant: the server ends with the test, whatever became of it; agents are signalled by the pids that the harness knows.
 */
import { strict as assert } from "node:assert"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { PLAYGROUND_REGIONS } from "../../bin/playground-plan.ts"
import { waitUntil } from "../peers/child-process.ts"
import { type FaultProxy, startFaultProxy } from "../peers/postgres/fault-proxy.ts"
import { type PostgresServerProcess, sql, startPostgres } from "../peers/postgres/postgres.ts"
import { type Cluster } from "./harness.ts"
import { type Context } from "./system-test.ts"

const databaseLog = "postgresql.log"
const actingDeadlineMs = 30_000
const readyDeadlineMs = 30_000
const httpDeadlineMs = 1_000

export interface Agent {
  readonly name: string
  readonly region: number
  /** As its connections to the database call themselves. */
  readonly application: string
  readonly pid: () => number
  readonly signal: (signal: NodeJS.Signals) => void
  /** Of /metrics, by name and labels as they stand there; undefined where it does not answer. */
  readonly metrics: () => Promise<Metrics | undefined>
  /** Status 0 where it does not answer. */
  readonly http: (path: "/live" | "/ready") => Promise<{ readonly status: number; readonly text: string }>
  /** Resident memory. */
  readonly rssMiB: () => number
}

export interface Metrics {
  /** Of all series of the name, summed; of those only that have the label, written `operation="append"`. */
  readonly sum: (name: string, label?: string) => number
}

export interface Sequencer {
  readonly agent: Agent
  readonly epoch: number
}

export interface DatabaseCluster {
  readonly server: PostgresServerProcess
  readonly proxy: FaultProxy
  readonly cluster: Cluster
  readonly agents: readonly Agent[]
  /** The agent that sequences in the newest epoch, as soon as one of them says so; of an epoch above `after`. */
  readonly sequencer: (after?: number, among?: readonly Agent[]) => Promise<Sequencer>
  readonly allReady: () => Promise<void>
  /** Appends of the agent that the server refused because another's row has the slot. */
  readonly refusals: (agent: Agent) => number
  /** What the agents' supervisor wrote: everything that they log. */
  readonly log: () => string
}

/** A PostgreSQL server for the test, and its URL. */
export async function startDatabase(context: Context): Promise<PostgresServerProcess> {
  const server = await startPostgres({
    logFile: join(context.dir, databaseLog),
    // Who each line is about: agents call themselves by their names.
    settings: { log_line_prefix: "%m [%p] <%a> " }
  })
  context.onEnd(() => server.stop())
  return server
}

export async function startDatabaseCluster(context: Context): Promise<DatabaseCluster> {
  const server = await startDatabase(context)
  const proxy = await startFaultProxy(server.port)
  context.onEnd(() => proxy.close())
  const url = server.url().replace(`:${server.port}/`, `:${proxy.port}/`)
  const cluster = await context.startCluster({ metadata: url })
  const agents = PLAYGROUND_REGIONS.map((name, region) => agentOf(cluster, `${name}-1`, region))
  return {
    server,
    proxy,
    cluster,
    agents,
    sequencer: async (after = 0, among = agents) => await sequencerAmong(among, after),
    allReady: async () => {
      for (const agent of agents) {
        await waitUntil(
          `${agent.name} is ready`,
          readyDeadlineMs,
          async () => (await agent.http("/ready")).status === 200
        )
      }
    },
    refusals: ({ application }) => {
      const text = readFileSync(join(context.dir, databaseLog), "utf8")
      return (
        text.split(`<${application}> ERROR:  duplicate key value violates unique constraint "commit_log_pk"`).length - 1
      )
    },
    log: () => readFileSync(join(cluster.dir, "playground-output.log"), "utf8")
  }
}

/**
 * What is wrong with the log's rows; undefined: each row follows on the last, and none of an earlier epoch lies behind one of
 * a later (invariant 3: who was deposed got nothing in). Rows may have been trimmed
 * off the front, where only those are left that are kept for ever.
 */
export function rowsFault(rows: ReadonlyArray<LogRowFacts>): string | undefined {
  let last: LogRowFacts = { seq: 0, epoch: 0, nonce: "", prevNonce: "", isKept: true }
  let isTrimmed = true
  for (const row of rows) {
    const isNext = row.seq === last.seq + 1
    isTrimmed &&= last.isKept
    if (!isNext && (row.seq <= last.seq || !isTrimmed)) return `row ${row.seq} follows on row ${last.seq}`
    if (row.epoch < last.epoch) return `row ${row.seq} is of epoch ${row.epoch}, and epoch ${last.epoch} had begun`
    if (isNext && last.seq > 0 && row.prevNonce !== last.nonce) return `row ${row.seq} does not name the row before it`
    last = row
  }
  return undefined
}

export interface LogRowFacts {
  readonly seq: number
  readonly epoch: number
  readonly nonce: string
  readonly prevNonce: string
  readonly isKept: boolean
}

/** The rows of the log, asked of the server itself. */
export async function logRows(server: PostgresServerProcess): Promise<ReadonlyArray<LogRowFacts>> {
  const text = "SELECT seq, epoch, nonce, prev_nonce, is_kept FROM commit_log WHERE shard = 0 ORDER BY seq"
  const rows = await sql(server.url(), text)
  return rows.map((row) => ({
    seq: Number(row["seq"]),
    epoch: Number(row["epoch"]),
    nonce: String(row["nonce"]),
    prevNonce: String(row["prev_nonce"]),
    isKept: row["is_kept"] === true
  }))
}

function agentOf(cluster: Cluster, name: string, region: number): Agent {
  const portStride = 100
  const get = async (path: string): Promise<{ readonly status: number; readonly text: string }> => {
    try {
      const url = `http://127.0.0.1:${cluster.httpPort + portStride * region}${path}`
      const answer = await fetch(url, { signal: AbortSignal.timeout(httpDeadlineMs) })
      return { status: answer.status, text: await answer.text() }
    } catch {
      return { status: 0, text: "" }
    }
  }
  const pid = (): number => {
    const [found] = cluster.pidsOf(region)
    if (found === undefined) throw new Error(`${name} is not running`)
    return found
  }
  return {
    name,
    region,
    application: `meridian ${name}`,
    pid,
    signal: (signal) => void process.kill(pid(), signal),
    metrics: async () => {
      const { status, text } = await get("/metrics")
      return status === 200 ? metricsOf(text) : undefined
    },
    http: get,
    rssMiB: () => {
      const kib = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid()}/status`, "latin1"))?.[1])
      assert(kib > 0, `the memory of ${name} is not known`)
      return Math.round(kib / 1024)
    }
  }
}

function metricsOf(text: string): Metrics {
  const lines = text.split("\n")
  return {
    sum: (name, label = "") => {
      const series = lines.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      assert(series.length > 0, `no metric ${name}`)
      const values = series.filter((line) => line.includes(label)).map((line) => Number(line.split(" ").at(-1)))
      assert(values.every(Number.isFinite), `${name} has a value that is no number`)
      return values.reduce((sum, value) => sum + value, 0)
    }
  }
}

async function sequencerAmong(agents: readonly Agent[], after: number): Promise<Sequencer> {
  let found: Sequencer | undefined
  await waitUntil(`an agent sequences in an epoch after ${after}`, actingDeadlineMs, async () => {
    const answers = await Promise.all(agents.map(async (agent) => ({ agent, metrics: await agent.metrics() })))
    const acting = answers.flatMap(({ agent, metrics }): Sequencer[] =>
      metrics === undefined || metrics.sum("meridian_sequencer_acting") === 0
        ? []
        : [{ agent, epoch: metrics.sum("meridian_sequencer_epoch") }]
    )
    // One that was cut off may still believe that it is.
    found = acting.filter(({ epoch }) => epoch > after).toSorted((a, b) => b.epoch - a.epoch)[0]
    return found !== undefined
  })
  assert(found !== undefined)
  return found
}
