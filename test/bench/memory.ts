/**
 * The most memory that an agent ever held under full load, against the 512 MiB that it is meant to run in.
 *
 * 64 producers and 64 consumers on one agent, and a consumer that asks for much and never reads its socket: answers for
 * it must not pile up. Peak resident memory is what the kernel says (VmHWM), of the loaded agent and of the others.
 */
import { readFileSync } from "node:fs"
import { startPlayground } from "../system/harness.ts"
import { type Benchmark, type Figures, printTable, randomBatch, rounded } from "./benchmark.ts"
import { RawConnection, checkProduced, fetchFrame, fetched, produceFrame } from "./raw-connection.ts"

const limitMiB = 512
const producers = 64
const consumers = 64
const recordsPerBatch = 128
const requestsInFlight = 2
const fetchBytesMax = 8 * 1024 * 1024
const unreadFetches = 60

export const memory: Benchmark = {
  name: "memory",
  needsKafka: false,
  run: async ({ dir, quick }) => {
    const cluster = await startPlayground(dir)
    try {
      await cluster.createTopic("memory", producers)
      const address = cluster.bootstrap[0] ?? ""
      const idleMiB = peakMiB(cluster.pidsOf(0))
      const endMs = performance.now() + (quick ? 3_000 : 30_000)
      const load = await Promise.all([
        ...Array.from({ length: producers }, (_, partition) => produce(address, partition, endMs)),
        ...Array.from({ length: consumers }, (_, partition) => consume(address, partition, endMs)),
        neverRead(address, endMs)
      ])
      const producedBytes = load.slice(0, producers).reduce((sum, bytes) => sum + bytes, 0)
      const consumedBytes = load.slice(producers).reduce((sum, bytes) => sum + bytes, 0)
      const rows = [["peak resident memory", "MiB", `of ${limitMiB} MiB`]]
      const figures: Record<string, number | Figures> = {
        idleMiB: rounded(idleMiB, 0),
        producedMB: rounded(producedBytes / 1e6, 0),
        consumedMB: rounded(consumedBytes / 1e6, 0)
      }
      rows.push(["loaded agent, before the load", idleMiB.toFixed(0), share(idleMiB)])
      for (const region of cluster.bootstrap.keys()) {
        const peak = peakMiB(cluster.pidsOf(region))
        figures[`region${region + 1}MiB`] = rounded(peak, 0)
        rows.push([`${region === 0 ? "loaded agent" : "agent"} of region ${region + 1}`, peak.toFixed(0), share(peak)])
      }
      printTable(rows)
      console.log(`  ${(producedBytes / 1e6).toFixed(0)} MB in, ${(consumedBytes / 1e6).toFixed(0)} MB out`)
      return figures
    } finally {
      await cluster.stop()
    }
  }
}

async function produce(address: string, partition: number, endMs: number): Promise<number> {
  const connection = await RawConnection.open(address)
  const frame = produceFrame("memory", [{ partition, batch: randomBatch(recordsPerBatch) }])
  let bytes = 0
  const loop = async (): Promise<void> => {
    while (performance.now() < endMs) {
      checkProduced(await connection.request(frame))
      bytes += frame.length
    }
  }
  await Promise.all(Array.from({ length: requestsInFlight }, loop))
  connection.close()
  return bytes
}

async function consume(address: string, partition: number, endMs: number): Promise<number> {
  const connection = await RawConnection.open(address)
  let offset = 0
  let bytes = 0
  while (performance.now() < endMs) {
    const request = fetchFrame({ topic: "memory", partition, offset, bytesMax: fetchBytesMax, waitMs: 100 })
    const answer = fetched(await connection.request(request))
    bytes += answer.bytes
    if (answer.next >= 0) offset = answer.next
  }
  connection.close()
  return bytes
}

/** Asks for everything there is, again and again, and takes none of it. */
async function neverRead(address: string, endMs: number): Promise<number> {
  const connection = await RawConnection.open(address)
  connection.stopReading()
  while (performance.now() < endMs) {
    for (let index = 0; index < unreadFetches; index++) {
      const partition = index % producers
      connection.send(fetchFrame({ topic: "memory", partition, offset: 0, bytesMax: fetchBytesMax, waitMs: 0 }))
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
  connection.close()
  return 0
}

function peakMiB(pids: readonly number[]): number {
  let kibibytes = 0
  for (const pid of pids) {
    const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
    kibibytes = Math.max(kibibytes, Number(peak))
  }
  if (kibibytes === 0) throw new Error("no agent to look at: has it died under the load?")
  return kibibytes / 1024
}

function share(peak: number): string {
  return `${((100 * peak) / limitMiB).toFixed(0)} %`
}
