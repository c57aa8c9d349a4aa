/**
 * Debian's kcat (librdkafka 2.0) as a producer, a consumer without a group, and a reader of metadata.
 *
 * kcat frames its input with delimiters only. They are two control characters; input that holds one is refused here
 * rather than cut in two there.
 */
import { run } from "./child-process.ts"
import { type ConsumedRecord, type InputRecord, decodeFrames } from "./record-frames.ts"

export interface KcatMetadata {
  readonly brokers: ReadonlyArray<{ readonly id: number; readonly name: string }>
  readonly topics: ReadonlyArray<{
    readonly topic: string
    readonly partitions: ReadonlyArray<{ readonly partition: number; readonly leader: number }>
  }>
}

export type KcatCompression = "none" | "gzip" | "snappy" | "lz4" | "zstd"

const keyDelimiter = 0x1f
const recordDelimiter = 0x1e

export async function kcatMetadata(bootstrap: string, topic?: string): Promise<KcatMetadata> {
  const args = ["-b", bootstrap, "-L", "-J", ...(topic === undefined ? [] : ["-t", topic])]
  const { stdout } = await run("kcat", args, { deadlineMs: 30_000 })
  return JSON.parse(stdout.toString()) as KcatMetadata
}

export async function kcatProduce(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly records: readonly InputRecord[]
  readonly compression: KcatCompression
  readonly deadlineMs: number
}): Promise<void> {
  const parts: Buffer[] = []
  for (const { key, value } of options.records) {
    for (const part of [key, value]) {
      if (part.includes(keyDelimiter) || part.includes(recordDelimiter)) {
        throw new Error("a record holds a delimiter of kcat: send it by another client")
      }
    }
    parts.push(key, Buffer.of(keyDelimiter), value, Buffer.of(recordDelimiter))
  }
  const args = ["-P", "-b", options.bootstrap, "-t", options.topic, "-K", "\\x1f", "-D", "\\x1e"]
  args.push("-z", options.compression, "-X", "acks=all", "-X", "enable.idempotence=true", "-X", "linger.ms=20")
  await run("kcat", args, { deadlineMs: options.deadlineMs, input: Buffer.concat(parts) })
}

/** All records of a topic, or of one partition, from the first to the present end. */
export async function kcatConsume(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly deadlineMs: number
  readonly partition?: number
}): Promise<ConsumedRecord[]> {
  const args = ["-C", "-q", "-e", "-b", options.bootstrap, "-t", options.topic, "-o", "beginning"]
  if (options.partition !== undefined) args.push("-p", String(options.partition))
  args.push("-X", "check.crcs=true", "-f", "%p %o %K %S\\n%k%s\\n")
  const { stdout } = await run("kcat", args, { deadlineMs: options.deadlineMs })
  return decodeFrames(stdout)
}
