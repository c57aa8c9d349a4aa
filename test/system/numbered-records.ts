/**
 * A foreign idempotent producer that sends numbers through faults, and the verdict over what was read afterwards.
 *
 * The producer says which numbers were acknowledged, where and when. The verdict: nothing acknowledged is missing or
 * elsewhere, nothing is there twice, each partition holds its numbers in rising order without a hole in the offsets.
 * A number that was never acknowledged may be there or not: its producer was told nothing.
 */
import { join } from "node:path"
import { installProgram, javaArguments } from "../peers/apache-kafka/installation.ts"
import { type Running, start, waitUntil } from "../peers/child-process.ts"
import { confluentClient, systemPython } from "../peers/confluent-kafka/confluent-kafka.ts"
import { type ConsumedRecord } from "../peers/record-frames.ts"

export interface Acknowledgement {
  readonly number: number
  readonly partition: number
  readonly offset: number
  readonly atMs: number
}

export type ProducerKind = "java" | "confluent-kafka"

export interface NumberedProducerOptions {
  readonly kind: ProducerKind
  readonly bootstrap: string
  readonly topic: string
  readonly partitions: number
  /** The first number, so that several producers may share a topic. */
  readonly first: number
  readonly recordsPerSecond: number
  readonly dir: string
}

const endDeadlineMs = 200_000

export class NumberedProducer {
  readonly acknowledged: Acknowledgement[] = []
  readonly failed: string[] = []
  /** The address of the leader that the producer first saw for partition 0. */
  leader: string | undefined
  private sent: number | undefined
  private rest = ""
  private readonly running: Running
  private readonly logFile: string

  private constructor(command: string, args: readonly string[], logFile: string) {
    this.logFile = logFile
    this.running = start(command, args, { logFile, stdin: "pipe", onStdout: (text) => this.hear(text) })
  }

  static async start(options: NumberedProducerOptions): Promise<NumberedProducer> {
    const { bootstrap, topic, partitions, first, recordsPerSecond } = options
    const args = [bootstrap, topic, String(partitions), String(first), String(recordsPerSecond)]
    const logFile = join(options.dir, `producer-${options.kind}-${topic}-${first}.log`)
    if (options.kind === "confluent-kafka") {
      return new NumberedProducer(systemPython, [confluentClient, "numbered", ...args], logFile)
    }
    const java = [...javaArguments(await installProgram("NumberedProducer"), 256), "NumberedProducer", ...args]
    return new NumberedProducer("java", java, logFile)
  }

  /** Waits for so many acknowledgements more than there are now. */
  async acknowledgesMore(count: number, deadlineMs: number): Promise<void> {
    const due = this.acknowledged.length + count
    await waitUntil(`${count} more acknowledgements (see ${this.logFile})`, deadlineMs, () => {
      if (!this.running.isRunning()) throw new Error(`the producer ended, see ${this.logFile}`)
      return this.acknowledged.length >= due
    })
  }

  /** Sends no new record, waits for the answers to all that were sent, and gives their number. */
  async end(): Promise<number> {
    this.running.child.stdin?.end()
    await waitUntil(`the producer gets its last answers (see ${this.logFile})`, endDeadlineMs, () => {
      return this.sent !== undefined || !this.running.isRunning()
    })
    if (this.sent === undefined) throw new Error(`the producer ended without its last line, see ${this.logFile}`)
    await this.running.exited
    return this.sent
  }

  private hear(text: string): void {
    const lines = (this.rest + text).split("\n")
    this.rest = lines.pop() ?? ""
    for (const line of lines) {
      const [word, ...fields] = line.split(" ")
      const [number, partition, offset, atMs] = fields.map(Number)
      if (word === "LEADER") this.leader = fields[0]
      else if (word === "END") this.sent = number
      else if (word === "FAIL") this.failed.push(fields.join(" "))
      else if (word === "ACK" && number !== undefined && partition !== undefined && offset !== undefined) {
        this.acknowledged.push({ number, partition, offset, atMs: atMs ?? 0 })
      }
    }
  }
}

/** The longest time between two acknowledgements that follow each other; of those pauses only that end after `fromMs`. */
export function longestPauseMs(acknowledged: readonly Acknowledgement[], fromMs = 0): number {
  const times = acknowledged.map(({ atMs }) => atMs).toSorted((a, b) => a - b)
  let longest = 0
  for (let index = 1; index < times.length; index++) {
    const at = times[index] ?? 0
    if (at >= fromMs) longest = Math.max(longest, at - (times[index - 1] ?? 0))
  }
  return longest
}

/** What is wrong with a topic of numbered records; undefined when it is as it must be. */
export function numberedFault(
  acknowledged: readonly Acknowledgement[],
  read: readonly ConsumedRecord[]
): string | undefined {
  const places = new Map<number, ConsumedRecord>()
  const ends = new Map<number, { readonly offset: number; readonly number: number }>()
  for (const record of read) {
    const number = Number(record.value.toString())
    const end = ends.get(record.partition) ?? { offset: -1, number: -1 }
    const twin = places.get(number)
    if (twin !== undefined) {
      const there = `${twin.partition}/${twin.offset} and ${record.partition}/${record.offset}`
      return `number ${number} is there twice, at ${there}`
    }
    if (record.offset !== end.offset + 1) {
      return `partition ${record.partition}: offset ${record.offset} follows ${end.offset}`
    }
    if (number <= end.number) return `partition ${record.partition}: number ${number} follows ${end.number}`
    places.set(number, record)
    ends.set(record.partition, { offset: record.offset, number })
  }
  for (const { number, partition, offset } of acknowledged) {
    const place = places.get(number)
    if (place === undefined) return `number ${number} was acknowledged at ${partition}/${offset} and is lost`
    // A client whose answer got lost knows only that the record is there (offset -1, or not a number): that is checked.
    if (place.partition !== partition || (offset >= 0 && place.offset !== offset)) {
      return `number ${number} was acknowledged at ${partition}/${offset}, and is at ${place.partition}/${place.offset}`
    }
  }
  return undefined
}
