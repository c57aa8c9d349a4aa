/**
 * What the commit log costs: commits a second on SQLite, alone and with three processes on one file, with and without
 * fsync; judging, encoding and folding per batch; bytes of a run in an entry; memory of a run in the fold.
 * Method: everything real but the segments, which nothing reads; run it alone on a quiet machine:
 * node test/bench/log.bench.ts [--quick]
 */
import { type ChildProcess, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, References } from "effect"
import * as entropy from "#backends/entropy.ts"
import * as sqlite from "#backends/metadata/sqlite.ts"
import * as foldedLog from "#core/log/folded-log.ts"
import * as peeredLog from "#core/peer/peered-log.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import * as membership from "#regions/membership.ts"
import * as tcp from "#backends/network/tcp.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { freePort } from "../integration/free-port.ts"
import { type CommitSegment } from "#core/log/command.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { judge } from "#core/log/judge.ts"
import { type Figures, printTable, quantile, rounded } from "./benchmark.ts"
import { commitOf, createTopic, PARTITIONS, RECORDS_PER_BATCH, TOPIC } from "./commit-commands.ts"

/** `sequence`: of its idempotent producers; negative without idempotence. */
const commitOfRuns = (runs: number, sequence = -1): CommitSegment =>
  commitOf(
    Array.from({ length: runs }, (_, index) => {
      const partition = (index * 7) % PARTITIONS
      if (sequence < 0) return { partition, producerId: -1, baseSequence: -1 }
      return { partition, producerId: partition + 4_000, baseSequence: sequence * RECORDS_PER_BATCH }
    })
  )

interface Throughput {
  readonly commits: number
  readonly rows: number
  readonly elapsedMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly cpuMicrosecondsPerCommit: number
}

/** Submits for some time with so many commands under way at once. */
const commitFor = (options: { file: string; fsync: boolean; durationMs: number; concurrency: number }) =>
  Effect.gen(function* () {
    const log = yield* CommitLog
    yield* log.submit(createTopic)
    yield* Effect.promise(ready)
    let rows = 0
    log.onFolded(() => (rows += 1))
    const latencies: Array<number> = []
    const cpuBefore = process.cpuUsage()
    const startedMs = performance.now()
    const submitter = Effect.gen(function* () {
      while (performance.now() - startedMs < options.durationMs) {
        const beforeMs = performance.now()
        yield* log.submit(commitOfRuns(1))
        latencies.push(performance.now() - beforeMs)
      }
    })
    yield* Effect.all(
      Array.from({ length: options.concurrency }, () => submitter),
      { concurrency: "unbounded" }
    )
    const cpu = process.cpuUsage(cpuBefore)
    return {
      commits: latencies.length,
      rows,
      elapsedMs: performance.now() - startedMs,
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
      maxMs: Math.max(...latencies),
      cpuMicrosecondsPerCommit: (cpu.user + cpu.system) / latencies.length
    } satisfies Throughput
  }).pipe(Effect.provide(agentLog(options)), Effect.provideService(References.MinimumLogLevel, "Error"))

/** The log as an agent has it, with a port for the others. */
const agentLog = ({ file, fsync }: { readonly file: string; readonly fsync: boolean }) =>
  Layer.unwrap(
    Effect.map(freePort, (peerPort) => {
      const place = { region: "local", zone: "local", host: "127.0.0.1", peerHost: "127.0.0.1" }
      return peeredLog
        .layer({ shard: 0, homeRegion: place.region, host: place.host, port: peerPort })
        .pipe(
          Layer.provide(
            membership.layer({ agent: { name: `bench-${process.pid}`, ...place, port: 0, peerPort }, ttlMs: 3_000 })
          ),
          Layer.provide(foldedLog.layer({ shard: 0 })),
          Layer.provide(
            Layer.mergeAll(
              sqlite.layer({ file, fsync }),
              entropy.layer,
              tcp.layer,
              tcpConnector.layer,
              Metrics.layerNoop
            )
          )
        )
    })
  )

/** In a child: all begin together, when the parent says so. */
const ready = (): Promise<void> =>
  new Promise((resolve) => {
    process.once("message", () => resolve())
    process.send!("ready")
  })

type CommitOptions = Parameters<typeof commitFor>[0]

/** The same in so many processes on one file at once. */
const commitInProcesses = async (count: number, options: CommitOptions): Promise<ReadonlyArray<Throughput>> => {
  const children = Array.from({ length: count }, () => fork(import.meta.filename, ["--child", JSON.stringify(options)]))
  const messageOf = <A>(child: ChildProcess): Promise<A> =>
    new Promise((resolve, reject) => {
      child.once("message", (message) => resolve(message as A))
      child.once("exit", (code) => reject(new Error(`a writer ended: ${code}`)))
    })
  await Promise.all(children.map((child) => messageOf<string>(child)))
  for (const child of children) child.send("go")
  return Promise.all(children.map((child) => messageOf<Throughput>(child)))
}

const throughput = async (dir: string, durationMs: number): Promise<Figures> => {
  const rows = [
    ["appenders", "fsync", "in flight", "commits/s", "rows/s", "each", "p50 ms", "p99 ms", "max ms", "CPU us"]
  ]
  const figures: Record<string, Figures> = {}
  for (const [processes, fsync, concurrency] of [
    [1, false, 1],
    [1, false, 64],
    [1, true, 1],
    [1, true, 64],
    [3, false, 1],
    [3, true, 1],
    [3, true, 16]
  ] as const) {
    const name = `${processes}-process${fsync ? "-fsync" : ""}-${concurrency}`
    const file = join(dir, `${name}.db`)
    const all = await commitInProcesses(processes, { file, fsync, durationMs, concurrency })
    const perSecond = all.map((one) => (one.commits / one.elapsedMs) * 1_000)
    const total = perSecond.reduce((sum, one) => sum + one, 0)
    const rowsPerSecond = Math.max(...all.map((one) => (one.rows / one.elapsedMs) * 1_000))
    const [p50Ms, p99Ms, maxMs] = (["p50Ms", "p99Ms", "maxMs"] as const).map((key) =>
      rounded(Math.max(...all.map((one) => one[key])))
    ) as [number, number, number]
    const cpuUs = all.reduce((sum, one) => sum + one.cpuMicrosecondsPerCommit, 0) / all.length
    const each = perSecond.map((one) => one.toFixed(0)).join("/")
    figures[name] = {
      commitsPerSecond: rounded(total, 0),
      slowest: rounded(Math.min(...perSecond), 0),
      p50Ms,
      p99Ms,
      maxMs
    }
    const cells = [processes, fsync ? "yes" : "no", concurrency, total.toFixed(0), rowsPerSecond.toFixed(0), each]
    rows.push([...cells, p50Ms, p99Ms, maxMs, cpuUs.toFixed(0)].map(String))
  }
  printTable(rows)
  return figures
}

const newFold = (): Fold => {
  const fold = createFold(0)
  applyRow(fold, rowAfter(fold, encodeEntry(judge(fold, [createTopic], { nowMs: Date.now() }).effects)))
  return fold
}

const rowAfter = (fold: Fold, entry: Uint8Array) => ({
  shard: 0,
  seq: fold.seq + 1,
  epoch: 0,
  isKept: false,
  nonce: randomBytes(16).toString("hex"),
  prevNonce: fold.nonce,
  entry
})

/** Microseconds per batch, and bytes per run, of segments with so many runs. */
const pureCosts = (runs: number, rounds: number): Figures => {
  const fold = newFold()
  const spent = { judge: 0, encode: 0, fold: 0 }
  let bytes = 0
  for (let round = 0; round < rounds; round += 1) {
    const command = commitOfRuns(runs, runs <= PARTITIONS ? round : -1)
    const startedMs = performance.now()
    const { effects } = judge(fold, [command], { nowMs: Date.now() })
    const judgedMs = performance.now()
    const entry = encodeEntry(effects)
    const encodedMs = performance.now()
    applyRow(fold, rowAfter(fold, entry))
    const foldedMs = performance.now()
    bytes += entry.length
    if (round < rounds / 10) continue
    spent.judge += judgedMs - startedMs
    spent.encode += encodedMs - judgedMs
    spent.fold += foldedMs - encodedMs
  }
  const batches = runs * rounds * 0.9
  const perBatch = (spentMs: number): number => rounded((spentMs * 1_000) / batches, 3)
  return {
    judgeMicroseconds: perBatch(spent.judge),
    encodeMicroseconds: perBatch(spent.encode),
    foldMicroseconds: perBatch(spent.fold),
    bytesPerRun: rounded(bytes / (runs * rounds), 1)
  }
}

/** Bytes of heap and buffers per run of a fold with many. */
const memoryPerRun = (segments: number): Figures => {
  const collect = (globalThis as { readonly gc?: () => void }).gc
  collect?.()
  const before = process.memoryUsage()
  const fold = newFold()
  for (let segment = 0; segment < segments; segment += 1) {
    applyRow(fold, rowAfter(fold, encodeEntry(judge(fold, [commitOfRuns(PARTITIONS)], { nowMs: Date.now() }).effects)))
  }
  collect?.()
  const after = process.memoryUsage()
  const runs = segments * PARTITIONS
  if (fold.topicById(TOPIC)!.partitions[0]!.runCount !== segments) throw new Error("the fold lost runs")
  return {
    runs,
    heapBytesPerRun: rounded((after.heapUsed - before.heapUsed) / runs, 1),
    bufferBytesPerRun: rounded((after.arrayBuffers - before.arrayBuffers) / runs, 1),
    measuredAfterCollection: collect === undefined ? 0 : 1
  }
}

const memoryInProcess = (segments: number): Promise<Figures> =>
  new Promise((resolve, reject) => {
    const child = fork(import.meta.filename, ["--memory", String(segments)], { execArgv: ["--expose-gc"] })
    child.on("message", (message) => resolve(message as Figures))
    child.on("exit", (code) => reject(new Error(`the measurement ended: ${code}`)))
  })

export const run = async (options: { readonly quick?: boolean } = {}): Promise<Figures> => {
  const dir = mkdtempSync(join(tmpdir(), "meridian-bench-log-"))
  try {
    const pure: Record<string, Figures> = {}
    const rows = [["runs/segment", "judge us/batch", "encode us/batch", "fold us/batch", "bytes/run"]]
    for (const runs of [1, 20, 200]) {
      const costs = pureCosts(runs, Math.ceil((options.quick === true ? 20_000 : 200_000) / runs))
      pure[`runs-${runs}`] = costs
      rows.push([String(runs), ...Object.values(costs).map(String)])
    }
    printTable(rows)
    const memory = await memoryInProcess(options.quick === true ? 500 : 5_000)
    printTable([Object.keys(memory), Object.values(memory).map(String)])
    return { pure, memory, commits: await throughput(dir, options.quick === true ? 1_000 : 5_000) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const [mode, argument] = process.argv.slice(2)
if (mode === "--child") {
  process.send!(await Effect.runPromise(commitFor(JSON.parse(argument!) as CommitOptions)))
  process.disconnect()
} else if (mode === "--memory") {
  process.send!(memoryPerRun(Number(argument)))
  process.disconnect()
} else if (import.meta.main) {
  await run({ quick: mode === "--quick" })
}
