/** One thread of frames.test.ts: runs the episodes that it is given, tells how each ended. */
import { parentPort, workerData } from "node:worker_threads"
import { type FrameFuzzWork, runEpisode } from "./frame-fuzzer.ts"

/** Half of all frames end in an error whose stack nobody reads; a failing seed can be run alone to see more. */
Error.stackTraceLimit = 4

const { seeds, framesPerEpisode } = workerData as FrameFuzzWork

for (const seed of seeds) parentPort!.postMessage(await runEpisode({ seed, frames: framesPerEpisode }))
