/**
 * How long producers wait when the agent that sequences the log dies (kill -9) or freezes (SIGSTOP).
 *
 * A playground of three regions on SQLite, and on PostgreSQL where there is one. On SQLite nobody is frozen: whoever is, in the
 * middle of a write, keeps the file locked for all others, so that would measure when it was hit. In each region a producer that knows only
 * its region's agent sends one record every 20 ms, whatever became of the last. Each round hits the agent that sequences
 * just then; the gap is the longest time that a producer of a region that is well had no acknowledgement. Then the agent
 * comes back (the playground starts it again; SIGCONT), and the next round begins when all producers are served again.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Layer, Logger, ManagedRuntime } from "effect"
import * as entropy from "#backends/entropy.ts"
import * as postgres from "#backends/metadata/postgres.ts"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { type Holder } from "#core/log/effect.ts"
import * as foldedLog from "#core/log/folded-log.ts"
import { FoldedLog } from "#core/log/folded-log.ts"
import { parsePostgresUrl } from "#regions/postgres-url.ts"
import { PLAYGROUND_REGIONS } from "../../bin/playground-plan.ts"
import { delay, waitUntil } from "../peers/child-process.ts"
import { postgresMissing, startPostgres } from "../peers/postgres/postgres.ts"
import { startPlayground } from "../system/harness.ts"
import {
  type Benchmark,
  type BenchmarkOptions,
  type Figures,
  printTable,
  quantile,
  randomBatch,
  rounded
} from "./benchmark.ts"
import { checkProduced, produceFrame, RawConnection } from "./raw-connection.ts"

const FAULTS = { "kill -9": "SIGKILL", SIGSTOP: "SIGSTOP" } as const
type Fault = keyof typeof FAULTS
const ON_SQLITE: ReadonlyArray<Fault> = ["kill -9"]
const ON_SERVER: ReadonlyArray<Fault> = ["kill -9", "SIGSTOP"]

const topic = "takeover"
const intervalMs = 20
/** Served again: acknowledgements all this time, never so long apart. */
const steadyMs = 1_000
const steadyGapMs = 250
const roundDeadlineMs = 60_000
const followEveryMs = 100

export const takeover: Benchmark = {
  name: "takeover",
  needsKafka: false,
  run: async (options) => {
    const rows = [["gap of produce, ms", "fault", "rounds", "p50", "max", "refused"]]
    const figures: Record<string, Figures> = {}
    figures["sqlite"] = await measure(options, "sqlite", undefined, rows)
    const missing = postgresMissing()
    if (missing === undefined) {
      const server = await startPostgres({ logFile: join(options.dir, "postgresql.log") })
      try {
        figures["postgresql"] = await measure(options, "postgresql", server.url(), rows)
      } finally {
        await server.stop()
      }
    } else console.log(`  on PostgreSQL: left out: ${missing}`)
    printTable(rows)
    return figures
  }
}

async function measure(
  { dir, quick }: BenchmarkOptions,
  database: string,
  metadata: string | undefined,
  rows: Array<ReadonlyArray<string>>
): Promise<Figures> {
  const place = join(dir, database)
  const cluster = await startPlayground(place, metadata === undefined ? {} : { metadata })
  const producers: Array<Producer> = []
  const following = follow(place, metadata)
  try {
    await cluster.createTopic(topic, PLAYGROUND_REGIONS.length)
    const { tail } = await following.runPromise(FoldedLog)
    const sequencer = (): Sequencer => ({ holder: tail.fold.holder, epoch: tail.fold.epoch })
    for (const [region, address] of cluster.bootstrap.entries()) producers.push(new Producer(address, region))
    const figures: Record<string, Figures> = {}
    const rounds = quick ? 1 : 12
    for (const fault of metadata === undefined ? ON_SQLITE : ON_SERVER) {
      const gapsMs: Array<number> = []
      const refusedBefore = refusedBy(producers)
      for (let round = 0; round < rounds; round++)
        gapsMs.push(...(await hit({ dir: place, sequencer, producers, fault })))
      const refused = refusedBy(producers) - refusedBefore
      const [p50Ms, maxMs] = [rounded(quantile(gapsMs, 0.5), 0), rounded(Math.max(...gapsMs), 0)]
      figures[fault.replace(" ", "")] = { rounds, p50Ms, maxMs, refused }
      rows.push([database, fault, String(rounds), String(p50Ms), String(maxMs), String(refused)])
    }
    return figures
  } finally {
    for (const producer of producers) producer.stop()
    await following.dispose()
    await cluster.stop()
  }
}

interface Sequencer {
  readonly holder: Holder | undefined
  readonly epoch: number
}

/** The log as the database has it, whichever agents are alive. */
function follow(dir: string, metadata: string | undefined): ManagedRuntime.ManagedRuntime<FoldedLog, unknown> {
  const store =
    metadata === undefined ? sqlite.layer({ file: join(dir, "metadata.db"), fsync: false }) : server(metadata)
  const log = foldedLog.layer({ shard: 0, pollIntervalMs: followEveryMs })
  return ManagedRuntime.make(log.pipe(Layer.provide([store, entropy.layer]), Layer.provideMerge(Logger.layer([]))))
}

/** The playground has made its tables. */
function server(url: string): ReturnType<typeof postgres.layer> {
  const location = parsePostgresUrl(url, process.cwd())
  if (typeof location === "string") throw new Error(location)
  const placement = { regions: PLAYGROUND_REGIONS, home: PLAYGROUND_REGIONS[0] }
  const options = { servers: [{ field: "metadata.url", ...location }], cluster: "playground", placement }
  return postgres.layer(options, { migrate: "manual" })
}

interface Round {
  readonly dir: string
  readonly sequencer: () => Sequencer
  /** One per region. */
  readonly producers: ReadonlyArray<Producer>
  readonly fault: Fault
}

/** One round; answers with the gap of each producer whose region's agent was well. */
async function hit({ dir, sequencer, producers, fault }: Round): Promise<ReadonlyArray<number>> {
  await waitUntil("all producers are served", roundDeadlineMs, () => producers.every((each) => each.isSteady()))
  const { holder, epoch } = sequencer()
  if (holder === undefined) throw new Error("nobody sequences the log")
  const pid = Number.parseInt(readFileSync(join(dir, "agents", `${holder.name}.pid`), "utf8"), 10)
  const well = producers.filter(({ region }) => PLAYGROUND_REGIONS[region] !== holder.region)
  // Not always at the same moment after a record.
  await delay(Math.random() * intervalMs)
  const fromMs = performance.now()
  process.kill(pid, FAULTS[fault])
  for (const producer of producers) if (!well.includes(producer)) producer.forget()
  try {
    await waitUntil("another agent sequences the log, and producers are served", roundDeadlineMs, () => {
      const isOver = performance.now() - fromMs > steadyMs && sequencer().epoch > epoch
      return isOver && well.every((each) => each.isSteady())
    })
  } finally {
    if (fault === "SIGSTOP") process.kill(pid, "SIGCONT")
  }
  return well.map((each) => each.longestGapMs(fromMs))
}

function refusedBy(producers: ReadonlyArray<Producer>): number {
  return producers.reduce((sum, { refused }) => sum + refused, 0)
}

/** One record every 20 ms to one agent, connected anew when the connection is lost. */
class Producer {
  readonly region: number
  /** Answers that were an error. */
  refused = 0
  private readonly address: string
  private readonly frame: Buffer
  private readonly ackedAtMs: Array<number> = []
  private connection: RawConnection | undefined
  private isStopped = false

  constructor(address: string, region: number) {
    this.address = address
    this.region = region
    this.frame = produceFrame(topic, [{ partition: region, batch: randomBatch(1) }])
    void this.run()
  }

  stop(): void {
    this.isStopped = true
    this.connection?.close()
  }

  /** From here on it must be served anew to be steady. */
  forget(): void {
    this.ackedAtMs.length = 0
  }

  isSteady(): boolean {
    const nowMs = performance.now()
    const recent = this.ackedAtMs.filter((atMs) => atMs > nowMs - steadyMs)
    return gapMs([nowMs - steadyMs, ...recent, nowMs]) < steadyGapMs
  }

  /** Since then, from the last acknowledgement before it. */
  longestGapMs(fromMs: number): number {
    const before = this.ackedAtMs.findLast((atMs) => atMs <= fromMs) ?? fromMs
    return gapMs([before, ...this.ackedAtMs.filter((atMs) => atMs > fromMs)])
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      try {
        this.connection ??= await RawConnection.open(this.address)
        void this.send(this.connection)
      } catch {
        // Its agent is dead: the playground starts it again.
      }
      await delay(intervalMs)
    }
  }

  private async send(connection: RawConnection): Promise<void> {
    let answer: Buffer
    try {
      answer = await connection.request(this.frame)
    } catch {
      if (this.connection === connection) this.connection = undefined
      connection.close()
      return
    }
    try {
      checkProduced(answer)
      this.ackedAtMs.push(performance.now())
    } catch {
      this.refused++
    }
  }
}

function gapMs(timesMs: ReadonlyArray<number>): number {
  return Math.max(...timesMs.slice(1).map((atMs, index) => atMs - timesMs[index]!))
}
