/**
 * What gathering and sealing a segment cost, and what writing and reading it in a directory cost.
 * Method: fixed batches, some warm-up, the median of several rounds; run it alone on a quiet machine:
 * node test/bench/segment.bench.ts [directory]
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as fs from "#backends/object/fs.ts"
import { decodeFooter } from "#core/segment/segment-format.ts"
import { SegmentBuilder, type SealedSegment } from "#core/segment/segment-builder.ts"

const SEGMENT_ID = "0123456789abcdef0123456789abcdef"
const SUMMARY = { offsetCount: 10, maxTimestampMs: 1, producerId: -1, producerEpoch: -1, baseSequence: -1 }
const ROUNDS = 15

const topicIdOf = (partition: number): string => (partition % 20).toString(16).padStart(32, "0")

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const build = (options: { batches: number; partitions: number; batchBytes: number; bytes: Buffer }) => {
  const { batches, partitions, batchBytes, bytes } = options
  const builder = new SegmentBuilder()
  const startedMs = nowMs()
  for (let index = 0; index < batches; index++) {
    const partition = (index * 7) % partitions
    const at = (index * batchBytes) % (bytes.length - batchBytes)
    const batch = bytes.subarray(at, at + batchBytes)
    builder.add({ topicId: topicIdOf(partition), partition, timestampType: "create", batch, summary: SUMMARY })
  }
  const addedMs = nowMs()
  const sealed = builder.seal({ segmentId: SEGMENT_ID, createdAtMs: 1 })
  return { addMs: addedMs - startedMs, sealMs: nowMs() - addedMs, sealed }
}

const benchBuilder = (): void => {
  const bytes = Buffer.alloc(8 * 1024 * 1024, 7)
  console.log("batches  partitions  bytes/batch   ns/add   ns/add without CRC*  ms/seal  ms/decode  chunks")
  for (const [batches, partitions, batchBytes] of [
    [10, 1, 16_384],
    [10, 10, 16_384],
    [1_000, 1, 256],
    [1_000, 1_000, 256],
    [1_000, 1_000, 8_192],
    [10_000, 1, 200],
    [10_000, 1_000, 200],
    [10_000, 10_000, 200],
    [10_000, 1_000, 800]
  ] as const) {
    const runs = Array.from({ length: ROUNDS }, () => build({ batches, partitions, batchBytes, bytes }))
    const bare = Array.from({ length: ROUNDS }, () => build({ batches, partitions, batchBytes: 61, bytes }))
    const object = Buffer.concat(runs[0]!.sealed.chunks)
    const decodeMs = median(
      Array.from({ length: ROUNDS }, () => {
        const startedMs = nowMs()
        decodeFooter(object, object.length)
        return nowMs() - startedMs
      })
    )
    const perAdd = (addMs: ReadonlyArray<number>) => ((median(addMs) * 1e6) / batches).toFixed(0)
    console.log(
      String(batches).padStart(7),
      String(partitions).padStart(11),
      String(batchBytes).padStart(12),
      perAdd(runs.map((run) => run.addMs)).padStart(8),
      perAdd(bare.map((run) => run.addMs)).padStart(21),
      median(runs.map((run) => run.sealMs))
        .toFixed(3)
        .padStart(8),
      decodeMs.toFixed(3).padStart(10),
      String(runs[0]!.sealed.chunks.length).padStart(7)
    )
  }
  console.log("* with batches of 61 bytes, the least there is")
}

const putFigures = Effect.fnUntraced(function* (
  store: Effect.Success<ReturnType<typeof fs.make>>,
  sealed: Pick<SealedSegment, "chunks" | "segmentBytes">,
  name: string
) {
  const puts = 200
  const startedMs = nowMs()
  const startedCpuMs = cpuMs()
  for (let index = 0; index < puts; index++) yield* store.put(`${name}/${index}`, sealed.chunks)
  const wallMs = ((nowMs() - startedMs) / puts).toFixed(3)
  const chunks = String(sealed.chunks.length).padStart(6)
  console.log(
    `put ${name.padEnd(28)} ${chunks} chunks  ${wallMs} ms, CPU ${((cpuMs() - startedCpuMs) / puts).toFixed(3)} ms`
  )
})

const getFigures = Effect.fnUntraced(function* (store: Effect.Success<ReturnType<typeof fs.make>>, length: number) {
  const gets = 200
  const startedMs = nowMs()
  for (let index = 0; index < gets; index++) yield* store.get("large", { offset: 1_000, length })
  const wallMs = (nowMs() - startedMs) / gets
  console.log(
    `get ${String(length).padStart(8)} bytes  ${wallMs.toFixed(3)} ms, ${(length / wallMs / 1e6).toFixed(2)} GB/s`
  )
})

const benchDirectory = (parent: string) =>
  Effect.gen(function* () {
    for (const fsync of [false, true]) {
      const directory = mkdtempSync(join(parent, "meridian-bench-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
      console.log(`\n${directory}, fsync ${fsync}`)
      const store = yield* fs.make({ bucket: "bench", directory, fsync })
      const bytes = Buffer.alloc(8 * 1024 * 1024, 7)
      const one = (length: number) => ({ chunks: [bytes.subarray(0, length)], segmentBytes: length })
      yield* putFigures(store, one(1_024), "warm-up")
      yield* putFigures(store, one(1_024), "1-KiB")
      yield* putFigures(store, one(256 * 1_024), "256-KiB")
      yield* putFigures(store, one(2_000_000), "2-MB")
      const sealed = build({ batches: 10_000, partitions: 1_000, batchBytes: 200, bytes }).sealed
      yield* putFigures(store, sealed, "10000-batches-of-200-bytes")
      const views = Array.from({ length: 10_000 }, (_, index) => bytes.subarray(index, index + 200))
      yield* putFigures(store, { chunks: views, segmentBytes: 2_000_000 }, "the-same-not-gathered")
      yield* store.put("large", [bytes])
      for (const length of [4 * 1024 * 1024, 4 * 1024 * 1024, 65_536]) yield* getFigures(store, length)
    }
  }).pipe(Effect.scoped)

benchBuilder()
await Effect.runPromise(benchDirectory(process.argv[2] ?? tmpdir()))
