/**
 * Kafka's console producer and console consumer, the latter by partition and offset.
 *
 * Both know lines and separators only. The producer ends a record at a line feed, so a record that holds one is refused
 * here; the consumer is given control characters as separators.
 */
import { type ConsumedRecord, type InputRecord } from "../record-frames.ts"
import { kafkaTool } from "./kafka.ts"

const keySeparator = "\u001f"
const recordSeparator = "\u001e"

export async function consoleProduce(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly records: readonly InputRecord[]
  readonly deadlineMs: number
}): Promise<void> {
  const parts: Buffer[] = []
  for (const { key, value } of options.records) {
    if (key.includes(0x0a) || value.includes(0x0a)) throw new Error("the console producer cannot send a line feed")
    parts.push(key, Buffer.from(keySeparator), value, Buffer.from("\n"))
  }
  const args = ["--bootstrap-server", options.bootstrap, "--topic", options.topic]
  args.push("--reader-property", "parse.key=true", "--reader-property", `key.separator=${keySeparator}`)
  args.push("--command-property", "enable.idempotence=true", "--command-property", "acks=all")
  const input = Buffer.concat(parts)
  const { stderr } = await kafkaTool("console-producer", args, { deadlineMs: options.deadlineMs, input })
  // The tool ends with 0 even when records failed, and says so only here.
  if (stderr.includes("ERROR")) throw new Error(`console-producer: ${stderr.slice(0, 1_000)}`)
}

/** The records of one partition, as many as are asked for. */
export async function consoleConsume(options: {
  readonly bootstrap: string
  readonly topic: string
  readonly partition: number
  readonly count: number
  readonly deadlineMs: number
}): Promise<ConsumedRecord[]> {
  const args = ["--bootstrap-server", options.bootstrap, "--topic", options.topic]
  args.push("--partition", String(options.partition), "--offset", "earliest", "--max-messages", String(options.count))
  args.push("--timeout-ms", String(Math.min(options.deadlineMs, 30_000)))
  for (const property of [
    "print.partition=true",
    "print.offset=true",
    "print.key=true",
    `key.separator=${keySeparator}`,
    `line.separator=${recordSeparator}`
  ]) {
    args.push("--formatter-property", property)
  }
  const { stdout } = await kafkaTool("console-consumer", args, { deadlineMs: options.deadlineMs })
  return split(stdout, recordSeparator).map((record) => {
    const [partition, offset, key, value] = split(record, keySeparator)
    if (key === undefined || value === undefined) throw new Error(`console-consumer: ${record.toString()}`)
    return { partition: fieldNumber(partition), offset: fieldNumber(offset), key, value }
  })
}

function fieldNumber(field: Buffer | undefined): number {
  return Number(/^(?:Partition|Offset):(\d+)$/.exec(field?.toString() ?? "")?.[1] ?? Number.NaN)
}

function split(bytes: Buffer, separator: string): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (let at = bytes.indexOf(separator); at >= 0; at = bytes.indexOf(separator, from)) {
    pieces.push(bytes.subarray(from, at))
    from = at + separator.length
  }
  if (from < bytes.length) pieces.push(bytes.subarray(from))
  return pieces
}
