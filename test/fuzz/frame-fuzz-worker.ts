/** One thread of frames.test.ts: runs the episodes that it is given, tells how each ended. */
import { parentPort, workerData } from "node:worker_threads"
import { type FrameFuzzWork, runEpisode } from "./frame-fuzzer.ts"

const { seeds, framesPerEpisode } = workerData as FrameFuzzWork

for (const seed of seeds) parentPort!.postMessage(await runEpisode({ seed, frames: framesPerEpisode }))
