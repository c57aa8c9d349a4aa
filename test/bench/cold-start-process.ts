/** The processes of the benchmark `cold-start`: one that makes a history in a database, and ones that start over it. */
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { Effect, References, type Scope } from "effect"
import * as postgres from "#backends/metadata/postgres.ts"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { restoreFold } from "#core/log/checkpoint.ts"
import { type CommitSegment, type MarkMaterialized, type RunSummary } from "#core/log/command.ts"
import { type CommitLogError } from "#core/log/commit-log.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { decodeIndexPage } from "#core/log/index-page.ts"
import { judge } from "#core/log/judge.ts"
import { loadNewestCheckpoint } from "#core/log/load-checkpoint.ts"
import { makeMaterializer } from "#core/log/materializer.ts"
import { limits } from "#core/model/limits.ts"
import { type MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"
import { parsePostgresUrl } from "#regions/postgres-url.ts"
import { type HistoryMade, type Started } from "./cold-start.ts"

type Store = MetadataStore["Service"]

const topicId = "70".repeat(16)
const idleTopicId = "71".repeat(16)
const busyPartitions = 200
const idlePartitions = 10_000
/** Segments of one entry: group commit of several agents. */
const segmentsPerEntry = 4
const runsPerSegment = busyPartitions / segmentsPerEntry
const recordsPerBatch = 100
/** Of the emulated clock, between two entries. */
const entryMs = 70

const openStore = (database: string): Effect.Effect<Store, MetadataError, Scope.Scope> => {
  if (!database.startsWith("postgres")) return sqlite.make({ file: database, fsync: false })
  const server = parsePostgresUrl(database, process.cwd())
  if (typeof server === "string") throw new Error(server)
  return postgres.make({
    servers: [{ ...server, field: "MERIDIAN_BENCH_POSTGRES_URL" }],
    cluster: "bench",
    placement: { regions: ["east"], home: "east" }
  })
}

/** Appends the judged commands as one entry and folds it. */
const append = Effect.fnUntraced(function* (
  store: Store,
  fold: Fold,
  commands: Parameters<typeof judge>[1],
  nowMs: number
) {
  const { effects, answers } = judge(fold, commands, { nowMs })
  const isFirst = fold.seq === 0
  const row = {
    shard: 0,
    seq: fold.seq + 1,
    epoch: 0,
    nonce: randomBytes(16).toString("hex"),
    prevNonce: fold.nonce,
    isKept: isFirst,
    entry: encodeEntry(
      isFirst ? [{ kind: "genesis", clusterId: randomBytes(16).toString("hex") }, ...effects] : effects
    )
  }
  if ((yield* store.append(row)) !== "appended") throw new Error(`the database is not empty: seq ${row.seq} is taken`)
  applyRow(fold, row)
  return answers
})

const commitOf = (first: number, nowMs: number): CommitSegment => ({
  kind: "commit-segment",
  segmentId: randomBytes(16).toString("hex"),
  createdAtMs: nowMs - 50,
  bucketSet: "quorum",
  ackedBuckets: ["us-east-1", "us-west-2"],
  segmentBytes: 8_388_608,
  blockOffsets: [8, 4_194_304, 8_388_608],
  runs: Array.from({ length: runsPerSegment }, (_, index): RunSummary => ({
    topicId,
    partition: first + index,
    byteOffset: 8 + index * 20_000,
    byteLength: 20_000,
    crc: 0x12345678,
    timestampType: "create",
    batches: [
      {
        offsetCount: recordsPerBatch,
        maxTimestampMs: nowMs - 60,
        producerId: 4_000 + first + index,
        producerEpoch: 0,
        baseSequence: 0
      }
    ]
  }))
})

/** Sequences of idempotent producers go on by themselves. */
const withSequences = (command: CommitSegment, round: number): CommitSegment => ({
  ...command,
  runs: command.runs.map((run) => ({
    ...run,
    batches: run.batches.map((batch) => ({ ...batch, baseSequence: (round * recordsPerBatch) % 2 ** 31 }))
  }))
})

const make = Effect.fnUntraced(function* (database: string, batchesWanted: number) {
  const startedMs = performance.now()
  const real = yield* openStore(database)
  let pages = 0
  const store: Store = {
    ...real,
    writeIndexPages: (batch) => {
      pages += batch.length
      return real.writeIndexPages(batch)
    }
  }
  const fold = createFold(0)
  let nowMs = 1_790_000_000_000
  const topicOf = (id: string, name: string, partitions: number) =>
    ({ kind: "create-topic", topicId: id, name, partitions, configs: [] }) as const
  yield* append(
    store,
    fold,
    [topicOf(topicId, "busy", busyPartitions), topicOf(idleTopicId, "idle", idlePartitions)],
    nowMs
  )
  const materializer = makeMaterializer({
    store,
    fold: () => fold,
    shard: 0,
    submit: (command: MarkMaterialized) =>
      Effect.map(
        Effect.orDie(append(store, fold, [command], nowMs)),
        ([answer]) => answer as { result: "materialized" }
      ),
    // The emulated clock is far ahead of the real one: entries alone decide.
    options: { homeRegion: "east", keepMs: 0 }
  })
  const rounds = Math.ceil(batchesWanted / busyPartitions)
  for (let round = 0; round < rounds; round += 1) {
    nowMs += entryMs
    const commands = Array.from({ length: segmentsPerEntry }, (_, index) =>
      withSequences(commitOf(index * runsPerSegment, nowMs), round)
    )
    yield* append(store, fold, commands, nowMs)
    if (round % 100 === 0) yield* materializer.turn
    if (round % 5_000 === 0) process.stderr.write(`  ${((round * busyPartitions) / 1e6).toFixed(1)} million batches\n`)
  }
  const batches = highWatermarks(fold) / recordsPerBatch
  return { batches, seconds: (performance.now() - startedMs) / 1_000, pages, logRows: yield* countRows(store) }
})

const highWatermarks = (fold: Fold): number =>
  fold.topics().reduce((sum, topic) => topic.partitions.reduce((all, each) => all + each.highWatermark, sum), 0)

const countRows = Effect.fnUntraced(function* (store: Store) {
  let count = 0
  for (let after = 0; ;) {
    const rows = yield* store.read({ shard: 0, after, limit: limits.logRowsPerRead })
    if (rows.length === 0) return count
    count += rows.length
    after = rows.at(-1)!.seq
  }
})

const start = Effect.fnUntraced(function* (database: string) {
  const loadedMs = performance.now()
  const store = yield* openStore(database)
  const fold = createFold(0)
  const openedMs = performance.now()
  const checkpoint = yield* loadNewestCheckpoint({ store, shard: 0, after: 0 })
  if (checkpoint === undefined) throw new Error("there is no checkpoint")
  const readMs = performance.now()
  restoreFold(fold, checkpoint.chunks)
  const restoredMs = performance.now()
  let tailRows = 0
  for (;;) {
    const rows = yield* store.read({ shard: 0, after: fold.seq, limit: limits.logRowsPerRead })
    for (const row of rows) applyRow(fold, row)
    tailRows += rows.length
    if (rows.length === 0) break
  }
  const readyMs = performance.now()
  const { user, system } = process.cpuUsage()
  const phases = {
    programMs: loadedMs,
    openMs: openedMs - loadedMs,
    readCheckpointMs: readMs - openedMs,
    restoreMs: restoredMs - readMs,
    tailMs: readyMs - restoredMs
  }
  const peakMiB = Math.round(peakKiB() / 1_024)
  yield* lookAround(store, fold)
  const checkpointBytes = checkpoint.chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
  const batches = highWatermarks(fold) / recordsPerBatch
  const cpuMs = (user + system) / 1_000
  return { readyMs, cpuMs, phases, peakMiB, batches, checkpointBytes, tailRows } satisfies Started
})

const peakKiB = (): number => Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1])

/** Every hundredth of the offsets of some partitions is in a page, or in memory. */
const lookAround = Effect.fnUntraced(function* (store: Store, fold: Fold) {
  for (const partition of [0, 57, busyPartitions - 1]) {
    const state = fold.topicById(topicId)!.partitions[partition]!
    for (let part = 0; part < 100; part += 1) {
      const offset = Math.floor((state.highWatermark * part) / 100)
      if (offset >= state.residentOffset) {
        state.run(state.runIndexOf(offset))
        continue
      }
      const row = yield* store.findIndexPage({ topicId, partition, query: { kind: "offset", offset } })
      if (row === undefined || row.nextOffset <= offset)
        throw new Error(`no page of ${partition} holds offset ${offset}`)
      const page = decodeIndexPage(row)
      page.runs.run(page.runs.runIndexOf(offset))
    }
  }
})

const [what = "", database = "", batches = "0"] = process.argv.slice(2)
const program: Effect.Effect<HistoryMade | Started, MetadataError | CommitLogError, Scope.Scope> =
  what === "make" ? make(database, Number(batches)) : start(database)
const quiet = Effect.provideService(Effect.scoped(program), References.MinimumLogLevel, "Warn")
process.send!(await Effect.runPromise(quiet))
process.disconnect()
