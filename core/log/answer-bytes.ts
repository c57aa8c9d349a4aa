/**
 * The bytes of answers to commands, without their frame (command-bytes.ts) [pure].
 *
 * An answer is written for someone who has the command: what follows from the command is left out, and an answer that does
 * not fit the command is neither written nor read. A segment's answer is put together by the judge's own function, here as
 * there.
 *
 *   number  kind                   fields of the answer
 *   1       commit-segment         append time ms + 1 (0: no batch was accepted that carries it), runs: count, then each:
 *                                  base offset + 1 (0: no batch was accepted), excluded batches as in entries
 *   2       create-topic           result u8, topic id (16 bytes)
 *   3       delete-topic           result u8
 *   4       create-partitions      result u8, partitions
 *   5       allocate-producer-ids  first, count
 *   6       materialized           result u8
 */
import { assert } from "#core/model/assert.ts"
import { readExcluded, writeExcluded } from "./batch-bytes.ts"
import {
  type AnswerByKind,
  type AnswerOf,
  type BatchAnswer,
  type Command,
  type CommitSegment,
  type CommitSegmentAnswer,
  type RunSummary
} from "./command.ts"
import { type ExcludedBatch } from "./effect.ts"
import { EntryError, type EntryReader, type EntryWriter } from "./entry-bytes.ts"
import { answerOfRun } from "./judge.ts"

/** By number: never use one again. */
const RESULTS = {
  "create-topic": ["created", "exists", "collides"],
  "delete-topic": ["deleted", "unknown"],
  "create-partitions": ["created", "unknown", "not-more"],
  materialized: ["materialized", "behind"]
} as const

/** A command with its answer. */
type Answered = {
  readonly [K in keyof AnswerByKind]: {
    readonly kind: K
    readonly command: Extract<Command, { readonly kind: K }>
    readonly answer: AnswerByKind[K]
  }
}[keyof AnswerByKind]

/** Throws EntryError where the answer does not fit the command. */
export const writeAnswer = (writer: EntryWriter, command: Command, answer: AnswerOf<Command>): void => {
  const answered = { kind: command.kind, command, answer } as Answered
  const problem = problemOf(answered)
  if (problem !== undefined) throw new EntryError(problem, 0, "answer")
  switch (answered.kind) {
    case "commit-segment":
      return writeCommitAnswer(writer, answered.command, answered.answer)
    case "create-topic":
      writeResult(writer, RESULTS["create-topic"], answered.answer.result)
      return writer.uuid(answered.answer.topicId)
    case "delete-topic":
      return writeResult(writer, RESULTS["delete-topic"], answered.answer.result)
    case "create-partitions":
      writeResult(writer, RESULTS["create-partitions"], answered.answer.result)
      return writer.varint(answered.answer.partitions)
    case "allocate-producer-ids":
      writer.varint(answered.answer.first)
      return writer.varint(answered.answer.count)
    case "materialized":
      return writeResult(writer, RESULTS.materialized, answered.answer.result)
  }
}

/** Throws EntryError where the answer does not fit the command. */
export const readAnswer = <C extends Command>(reader: EntryReader, command: C): AnswerOf<C> => {
  const answer = readAnyAnswer(reader, command)
  const problem = problemOf({ kind: command.kind, command, answer } as Answered)
  return problem === undefined ? (answer as AnswerOf<C>) : reader.fail(problem)
}

const readAnyAnswer = (reader: EntryReader, command: Command): AnswerOf<Command> => {
  switch (command.kind) {
    case "commit-segment":
      return readCommitAnswer(reader, command)
    case "create-topic": {
      const result = readResult(reader, RESULTS["create-topic"])
      return { result, topicId: reader.uuid("topic id") }
    }
    case "delete-topic":
      return { result: readResult(reader, RESULTS["delete-topic"]) }
    case "create-partitions": {
      const result = readResult(reader, RESULTS["create-partitions"])
      return { result, partitions: reader.varint("partitions") }
    }
    case "allocate-producer-ids": {
      const first = reader.varint("first producer id")
      return { first, count: reader.varint("producer id count") }
    }
    case "materialized":
      return { result: readResult(reader, RESULTS.materialized) }
  }
}

const writeResult = <R extends string>(writer: EntryWriter, results: ReadonlyArray<R>, result: R): void => {
  const number = results.indexOf(result)
  assert(number >= 0, `${result} is none of ${results.join(", ")}`)
  writer.u8(number)
}

const readResult = <R extends string>(reader: EntryReader, results: ReadonlyArray<R>): R => {
  const number = reader.u8("result")
  return results[number] ?? reader.fail(`result ${number} is unknown to this program`)
}

/** Why the answer cannot be one to the command. Of segments this is seen where they are written and read. */
const problemOf = ({ kind, command, answer }: Answered): string | undefined => {
  switch (kind) {
    case "create-topic":
      return answer.result === "created" && answer.topicId !== command.topicId
        ? `topic ${answer.topicId} was created, not ${command.topicId}`
        : undefined
    case "create-partitions": {
      const { result, partitions } = answer
      const isFitting =
        result === "created"
          ? partitions === command.partitions
          : result === "unknown"
            ? partitions === 0
            : partitions >= command.partitions
      return isFitting ? undefined : `${partitions} partitions where ${command.partitions} were asked: ${result}`
    }
    case "allocate-producer-ids":
      return answer.count > 0 && Number.isSafeInteger(answer.first + answer.count)
        ? undefined
        : `${answer.count} producer ids from ${answer.first}`
    default:
      return undefined
  }
}

const misfit = (what: string): never => {
  throw new EntryError(`does not fit the command: ${what}`, 0, "answer")
}

const writeCommitAnswer = (writer: EntryWriter, command: CommitSegment, { runs }: CommitSegmentAnswer): void => {
  if (runs.length !== command.runs.length) misfit(`${runs.length} runs where ${command.runs.length} were asked`)
  const appendTimeMs = appendTimeOf(command, runs)
  writer.varint(appendTimeMs + 1)
  writer.varint(runs.length)
  for (const [index, answers] of runs.entries()) {
    const run = command.runs[index]!
    const baseOffset = answers.find(({ verdict }) => verdict === "accepted")?.baseOffset ?? -1
    const excluded = excludedOf(answers)
    const read = answerOfRun({ ...run, baseOffset, excluded }, appendTimeMs)
    const problem = areSame(read, answers) ? runProblem(run, baseOffset, excluded) : "the batches are others"
    if (problem !== undefined) misfit(`run ${index}: ${problem}`)
    writer.varint(baseOffset + 1)
    writeExcluded(writer, excluded)
  }
}

const isTimeCarried = (run: RunSummary, baseOffset: number): boolean =>
  run.timestampType === "append" && baseOffset >= 0

/** Of the first accepted batch that carries it. */
const appendTimeOf = (command: CommitSegment, runs: CommitSegmentAnswer["runs"]): number => {
  for (const [index, run] of command.runs.entries()) {
    const accepted = runs[index]!.find(({ verdict }) => verdict === "accepted")
    if (accepted === undefined || !isTimeCarried(run, accepted.baseOffset)) continue
    return accepted.appendTimeMs >= 0 ? accepted.appendTimeMs : misfit("a batch without the time of its append")
  }
  return -1
}

const excludedOf = (answers: ReadonlyArray<BatchAnswer>): ReadonlyArray<ExcludedBatch> => {
  const excluded: Array<ExcludedBatch> = []
  for (const [index, { verdict, baseOffset, appendTimeMs }] of answers.entries()) {
    if (verdict !== "accepted") excluded.push({ index, verdict, baseOffset, appendTimeMs })
  }
  return excluded
}

const areSame = (left: ReadonlyArray<BatchAnswer>, right: ReadonlyArray<BatchAnswer>): boolean =>
  left.length === right.length &&
  left.every(({ verdict, baseOffset, appendTimeMs }, index) => {
    const other = right[index]!
    return verdict === other.verdict && baseOffset === other.baseOffset && appendTimeMs === other.appendTimeMs
  })

const readCommitAnswer = (reader: EntryReader, command: CommitSegment): CommitSegmentAnswer => {
  const appendTimeMs = reader.varint("append time") - 1
  const count = reader.count("runs", 2)
  if (count !== command.runs.length) reader.fail(`${count} runs where ${command.runs.length} were asked`)
  let isCarried = false
  const runs = command.runs.map((run) => {
    const baseOffset = reader.varint("run's base offset") - 1
    const excluded = readExcluded(reader, run.batches.length)
    const problem = runProblem(run, baseOffset, excluded)
    if (problem !== undefined) reader.fail(problem)
    isCarried ||= isTimeCarried(run, baseOffset)
    return answerOfRun({ ...run, baseOffset, excluded }, appendTimeMs)
  })
  const hasTime = appendTimeMs >= 0
  if (isCarried !== hasTime) reader.fail(hasTime ? "an append time that no batch carries" : "no append time")
  return { runs }
}

/** What cannot be, of whatever run. */
const runProblem = (
  run: RunSummary,
  baseOffset: number,
  excluded: ReadonlyArray<ExcludedBatch>
): string | undefined => {
  const hasOffset = baseOffset >= 0
  const isAnyAccepted = excluded.length < run.batches.length
  if (hasOffset !== isAnyAccepted) return hasOffset ? "an offset of no batch" : "accepted batches without offsets"
  const offsetCount = run.batches.reduce((sum, batch) => sum + batch.offsetCount, 0)
  if (!Number.isSafeInteger(Math.max(baseOffset, 0) + offsetCount)) return `offsets from ${baseOffset} pass 2^53 - 1`
  // Only a duplicate has an offset: that of its first acceptance.
  const wrong = excluded.find((batch) => {
    const hasFirstOffset = batch.baseOffset >= 0
    return (batch.verdict === "duplicate") !== hasFirstOffset
  })
  return wrong === undefined ? undefined : `offset ${wrong.baseOffset} of a batch that is ${wrong.verdict}`
}
