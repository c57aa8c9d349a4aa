/**
 * Goal: whatever frames come to the Kafka port, the agent answers or closes the connection with one log event; it
 * never falls, hangs, answers out of order, or keeps memory. Method: a million frames and more, good and mutated ones
 * mixed, on pipelined connections cut into pieces of any size, against a whole agent over memory stores
 * (frame-fuzzer.ts); each connection's fate is compared with what its bytes deserve (connection-script.ts).
 *
 * The seed is printed. The same one gives the same bytes: MERIDIAN_FUZZ_SEED=… npm test -- test/fuzz/frames.test.ts.
 * MERIDIAN_FUZZ_FRAMES sets how many frames.
 */
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "vitest"
import { type EpisodeResult, type FrameFuzzWork } from "./frame-fuzzer.ts"
import { fuzzSeed } from "./fuzz-random.ts"

const FRAMES = Number(process.env["MERIDIAN_FUZZ_FRAMES"] ?? 1_000_000)
/** An agent lives for so many frames. */
const FRAMES_PER_EPISODE = 25_000
const THREADS = 2
/** A thread that needs more falls: its agent, all that its stores keep, and the checks. */
const HEAP_MEGABYTES_MAX = 512
/** JavaScript objects and buffers together, under garbage collection: a leak of a kilobyte a frame is beyond it. */
const MEMORY_BYTES_MAX = 640 * 1_048_576
/** Generous: two busy cores take a minute for the million. */
const TIMEOUT_MS = 60_000 + (FRAMES / 1_000_000) * 240_000

const runThread = (work: FrameFuzzWork): Promise<ReadonlyArray<EpisodeResult>> =>
  new Promise((resolve, reject) => {
    const results: Array<EpisodeResult> = []
    const worker = new Worker(new URL("frame-fuzz-worker.ts", import.meta.url), {
      workerData: work,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES_MAX }
    })
    worker.on("message", (result: EpisodeResult) => results.push(result))
    worker.once("error", reject)
    worker.once("exit", (code) => (code === 0 ? resolve(results) : reject(new Error(`the thread ended with ${code}`))))
  })

describe("hostile frames", () => {
  it(
    "are answered in order or close their connection with one log event, and leave nothing behind",
    async () => {
      const seed = fuzzSeed()
      process.stdout.write(`frames.test.ts: MERIDIAN_FUZZ_SEED=${seed} MERIDIAN_FUZZ_FRAMES=${FRAMES}\n`)
      const episodes = Math.max(1, Math.ceil(FRAMES / FRAMES_PER_EPISODE))
      const seeds = Array.from({ length: episodes }, (_, index) => seed + index)
      const threads = Array.from({ length: Math.min(THREADS, episodes) }, (_, thread) =>
        runThread({
          seeds: seeds.filter((_seed, index) => index % THREADS === thread),
          framesPerEpisode: Math.min(FRAMES_PER_EPISODE, FRAMES)
        })
      )
      const results = (await Promise.all(threads)).flat()
      const total = (field: keyof EpisodeResult) => results.reduce((sum, result) => sum + result[field], 0)
      assert.strictEqual(results.length, episodes, "every episode came to its end")
      assert.isAtLeast(total("frames"), FRAMES)
      assert.isAtLeast(total("answers"), FRAMES / 4, "a good part gets behind the decoder")
      assert.isAtLeast(total("connections"), FRAMES / 10, "a good part closes its connection")
      for (const { memoryBytes } of results) assert.isBelow(memoryBytes, MEMORY_BYTES_MAX)
    },
    TIMEOUT_MS
  )
})
