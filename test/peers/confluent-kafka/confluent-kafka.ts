/**
 * Debian's python3-confluent-kafka: runs client.py with the system's Python, for which the package is installed.
 *
 * It must not take another Python of the PATH, which would not see Debian's modules.
 */
import { fileURLToPath } from "node:url"
import { isInstalled, run } from "../child-process.ts"
import { type ConsumedRecord, type InputRecord, decodeFrames, encodeFrames } from "../record-frames.ts"

export const systemPython = "/usr/bin/python3"
export const confluentClient = fileURLToPath(new URL("client.py", import.meta.url))

export function confluentMissing(): string | undefined {
  if (isInstalled(systemPython, ["-c", "import confluent_kafka"])) return undefined
  return "python3-confluent-kafka is missing: apt-get install python3-confluent-kafka"
}

export async function confluentProduce(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly records: readonly InputRecord[]
  readonly deadlineMs: number
}): Promise<void> {
  await run(systemPython, [confluentClient, "produce", options.bootstrap, options.topic], {
    deadlineMs: options.deadlineMs,
    input: encodeFrames(options.records)
  })
}

export async function confluentConsume(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly deadlineMs: number
}): Promise<ConsumedRecord[]> {
  const args = [confluentClient, "consume", options.bootstrap, options.topic]
  return decodeFrames((await run(systemPython, args, { deadlineMs: options.deadlineMs })).stdout)
}

/** Creates, widens, asks and deletes a topic as an administrator; fails with what went wrong. */
export async function confluentAdmin(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly deadlineMs: number
}): Promise<void> {
  const args = [confluentClient, "admin", options.bootstrap, options.topic]
  await run(systemPython, args, { deadlineMs: options.deadlineMs })
}
