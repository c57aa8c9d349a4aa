/**
 * What a fold costs an agent: memory of a partition that nothing happens in, bytes of it in a checkpoint, and how long a
 * checkpoint of 10,000 partitions keeps everything else waiting (its capture, and the longest of the slices that follow),
 * with as much in memory and remembered as the bounds allow.
 * Method: everything real but the database; each measurement in a process of its own, after a collection of garbage:
 * node test/bench/fold.bench.ts [--quick]
 */
import { fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { checkpointSlices, encodeCheckpoint, restoreFold } from "#core/log/checkpoint.ts"
import { type CommitSegment, type RunSummary } from "#core/log/command.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { judge } from "#core/log/judge.ts"
import { limits } from "#core/model/limits.ts"
import { type Figures, median, printTable, rounded } from "./benchmark.ts"

const partitionCount = 10_000
const startMs = 1_790_000_000_000
const topicId = "70".repeat(16)

/** Answers with the entry's bytes, which a fold keeps for retried commits (limits.entriesRememberedBytes, all together). */
function fold(state: Fold, commands: Parameters<typeof judge>[1], nowMs: number): number {
  const entry = encodeEntry(judge(state, commands, { nowMs }).effects)
  const nonce = randomBytes(16).toString("hex")
  applyRow(state, { shard: 0, seq: state.seq + 1, epoch: 0, nonce, prevNonce: state.nonce, isKept: false, entry })
  return entry.length
}

function createTopic(state: Fold, id: string, name: string, partitions: number): void {
  fold(state, [{ kind: "create-topic", topicId: id, name, partitions, configs: [] }], startMs)
}

/** Buffers are given back some time after the collection that found them unused: ask until nothing changes any more. */
async function usedBytes(): Promise<number> {
  const collect = (globalThis as { readonly gc?: () => void }).gc
  if (collect === undefined) throw new Error("the measurement needs --expose-gc")
  let last = Number.POSITIVE_INFINITY
  for (let unchanged = 0; unchanged < 3;) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    unchanged = Math.abs(last - heapUsed - arrayBuffers) < 2_000 ? unchanged + 1 : 0
    last = heapUsed + arrayBuffers
  }
  return last
}

/** Bytes a partition: of one topic with all of them; and what is added by 10,000 topics of one, names and all. */
async function idleMemory(): Promise<Figures> {
  createTopic(createFold(0), topicId, "warm-up", partitionCount)
  const state = createFold(0)
  const before = await usedBytes()
  createTopic(state, topicId, "orders", partitionCount)
  const one = await usedBytes()
  const checkpoint = encodeCheckpoint(state).reduce((bytes, chunk) => bytes + chunk.length, 0)
  const many = createFold(0)
  const beforeMany = await usedBytes()
  for (let n = 0; n < partitionCount; n += 1) createTopic(many, randomBytes(16).toString("hex"), `topic-${n}`, 1)
  const manyBytes = (await usedBytes()) - beforeMany
  if (state.topicById(topicId)!.partitions.length !== partitionCount) throw new Error("partitions are missing")
  if (many.topics().length !== partitionCount) throw new Error("topics are missing")
  return {
    idleBytesPerPartition: rounded((one - before) / partitionCount, 1),
    checkpointBytesPerIdlePartition: rounded(checkpoint / partitionCount, 2),
    bytesPerTopicOfOnePartition: rounded(manyBytes / partitionCount, 0)
  }
}

/** After records went through all partitions and their runs left for index pages: idle again. */
async function emptiedMemory(): Promise<Figures> {
  await fillAndEmpty(createFold(0))
  const before = await usedBytes()
  const state = createFold(0)
  const { residentBytes, entryBytes } = await fillAndEmpty(state, before)
  const { highWatermark } = state.topicById(topicId)!.partitions[0]!
  if (state.residentRuns !== 0 || highWatermark === 0) throw new Error("runs stayed in memory, or never came")
  return {
    bytesPerPartitionWith5Runs: rounded(residentBytes / partitionCount, 0),
    emptiedBytesPerPartition: rounded(((await usedBytes()) - before - entryBytes) / partitionCount, 1)
  }
}

/** Entries of commits are not a partition's state: they are counted apart. */
async function fillAndEmpty(
  state: Fold,
  before = 0
): Promise<{ readonly residentBytes: number; readonly entryBytes: number }> {
  createTopic(state, topicId, "orders", partitionCount)
  let entryBytes = 0
  for (let round = 0; round < 5; round += 1) {
    for (let at = 0; at < partitionCount; at += 1_000)
      entryBytes += fold(state, [commitOf(at, 1_000, startMs)], startMs)
  }
  const residentBytes = (await usedBytes()) - before - entryBytes
  fold(state, [{ kind: "materialized", throughSeq: state.seq }], startMs)
  return { residentBytes, entryBytes }
}

function commitOf(first: number, runs: number, nowMs: number): CommitSegment {
  return {
    kind: "commit-segment",
    segmentId: randomBytes(16).toString("hex"),
    createdAtMs: nowMs - 50,
    bucketSet: "quorum",
    ackedBuckets: ["east", "west"],
    segmentBytes: 8_388_608,
    blockOffsets: [8, 4_194_304, 8_388_608],
    runs: Array.from({ length: runs }, (_, index): RunSummary => ({
      topicId,
      partition: (first + index) % partitionCount,
      byteOffset: index * 20_000,
      byteLength: 20_000,
      crc: 0x12345678,
      timestampType: "create",
      batches: [{ offsetCount: 100, maxTimestampMs: nowMs - 60, producerId: -1, producerEpoch: -1, baseSequence: -1 }]
    }))
  }
}

/** With so many runs in memory and segments remembered. */
function checkpointTimes(runs: number, segments: number, rounds: number): Figures {
  const state = createFold(0)
  createTopic(state, topicId, "orders", partitionCount)
  const perSegment = Math.max(1, Math.floor(runs / segments))
  let nowMs = startMs
  for (let n = 0; n < segments; n += 25) {
    const size = Math.min(25, segments - n)
    fold(
      state,
      Array.from({ length: size }, (_, index) => commitOf((n + index) * perSegment, perSegment, nowMs)),
      nowMs
    )
    nowMs += Math.max(1, Math.floor((limits.orphanHorizonMs * 20) / segments))
  }
  const captures: number[] = []
  const longest: number[] = []
  const totals: number[] = []
  const restores: number[] = []
  let bytes = 0
  for (let round = 0; round < rounds; round += 1) {
    const startedMs = performance.now()
    const slices = checkpointSlices(state)
    captures.push(performance.now() - startedMs)
    const sliceMs: number[] = []
    for (;;) {
      const beforeMs = performance.now()
      const slice = slices.next()
      sliceMs.push(performance.now() - beforeMs)
      if (slice.done !== true) continue
      bytes = slice.value.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      totals.push(performance.now() - startedMs)
      const restoringMs = performance.now()
      restoreFold(createFold(0), slice.value.chunks)
      restores.push(performance.now() - restoringMs)
      break
    }
    longest.push(Math.max(...sliceMs))
  }
  return {
    residentRuns: state.residentRuns,
    remembered: state.segments.size,
    bytes,
    captureMs: rounded(median(captures)),
    longestSliceMs: rounded(median(longest)),
    longestSliceEverMs: rounded(Math.max(...longest)),
    totalMs: rounded(median(totals), 0),
    restoreMs: rounded(median(restores), 0)
  }
}

function inProcess(...args: ReadonlyArray<string>): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = fork(import.meta.filename, ["--child", ...args], { execArgv: ["--expose-gc"] })
    child.on("message", (message) => resolve(message as Figures))
    child.on("exit", (code) => reject(new Error(`the measurement ended: ${code}`)))
  })
}

export async function run(options: { readonly quick?: boolean } = {}): Promise<Figures> {
  const rounds = options.quick === true ? "3" : "15"
  const memory = { ...(await inProcess("idle")), ...(await inProcess("emptied")) }
  printTable([
    ["memory of a fold", "bytes"],
    ...Object.entries(memory).map(([name, value]) => [name, JSON.stringify(value)])
  ])
  const checkpoints = {
    idle: await inProcess("checkpoint", "10000", "100", rounds),
    busy: await inProcess("checkpoint", "200000", "10000", rounds),
    full: await inProcess("checkpoint", String(limits.residentRunsMax), String(limits.segmentsRemembered), rounds)
  }
  printTable([
    ["checkpoint of 10,000 partitions", ...Object.keys(checkpoints.idle)],
    ...Object.entries(checkpoints).map(([name, figures]) => [name, ...Object.values(figures).map(String)])
  ])
  return { memory, checkpoints }
}

const [mode, what, ...rest] = process.argv.slice(2)
if (mode === "--child") {
  const [runs = 0, segments = 0, rounds = 0] = rest.map(Number)
  if (what === "idle") process.send!(await idleMemory())
  else if (what === "emptied") process.send!(await emptiedMemory())
  else process.send!(checkpointTimes(runs, segments, rounds))
  process.disconnect()
} else if (import.meta.main) {
  await run({ quick: mode === "--quick" })
}
