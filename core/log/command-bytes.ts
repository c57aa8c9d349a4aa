/**
 * The bytes in which commands and their answers travel between agents [pure].
 *
 * Invariant: what is decoded equals what was encoded, and is sound: a decoded command passes `assertCommand`, a decoded
 * answer fits the command that was asked. Bytes that are cut short, damaged, from a newer program, or unsound give an
 * EntryError, never a part. Nothing here is persisted, but agents of two versions talk while a cluster is upgraded: numbers
 * are never used again.
 *
 *   command    version u8 = 1 · kind u8 · its fields · crc u32 (big endian, CRC-32C of all bytes before it)
 *
 *   number  kind                   fields of the command
 *   1       commit-segment         segment id (16 bytes), created at ms, bucket set, acked buckets: count, then a string
 *                                  each, segment bytes, block offsets, runs: count, then each:
 *             run  topic: its number among the topics so far, for a new one followed by its id (16 bytes); partition,
 *                  byte offset less the end of the run before (signed), byte length, crc u32, flags u8 (1: timestamps
 *                  of the append), batches
 *   2       create-topic           topic id, name, partitions, configs
 *   3       delete-topic           topic id, flags u8 (1: may be done)
 *   4       create-partitions      topic id, partitions, flags u8 (1: may be done)
 *   5       allocate-producer-ids
 *   6       materialized           through seq
 *
 *   answer     version u8 = 1 · kind u8 of its command · its fields (answer-bytes.ts) · crc u32
 *
 * Batches, block offsets and configs are as in entries (entry.ts, batch-bytes.ts).
 */
import { AssertionFailed, assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { readAnswer, writeAnswer } from "./answer-bytes.ts"
import {
  readBatches,
  readBlockOffsets,
  readConfigs,
  writeBatches,
  writeBlockOffsets,
  writeConfigs
} from "./batch-bytes.ts"
import { assertCommand } from "./command-check.ts"
import { type AnswerOf, type Command, type CommitSegment, type RunSummary } from "./command.ts"
import { type ByteSubject, EntryError, EntryReader, EntryWriter } from "./entry-bytes.ts"

const VERSION = 1
const CRC_BYTES = 4

/** Never use a number again. */
const KINDS: Readonly<Record<Command["kind"], number>> = {
  "commit-segment": 1,
  "create-topic": 2,
  "delete-topic": 3,
  "create-partitions": 4,
  "allocate-producer-ids": 5,
  materialized: 6
}

const FLAG_APPEND_TIME = 1
const FLAG_MAY_BE_DONE = 1

/** Asserts that the command is sound. The bytes belong to the caller; at most limits.entryBytesMax. */
export const encodeCommand = (command: Command): Buffer => {
  assertCommand(command)
  const writer = begun(command.kind)
  writeCommand(writer, command)
  return sealed(writer)
}

/** Throws EntryError unless the bytes are exactly one sound command. */
export const decodeCommand = (bytes: Uint8Array): Command => {
  const reader = openedReader(bytes, "command")
  const command = readCommand(reader, reader.u8("kind"))
  endOf(reader, bytes)
  try {
    assertCommand(command)
  } catch (error) {
    if (error instanceof AssertionFailed) reader.fail(error.message)
    throw error
  }
  return command
}

/**
 * The answer must be to this command. Throws EntryError where it does not fit it, as when a segment id was used for two
 * different commands: then the first one's answer is no answer to the second.
 */
export const encodeAnswer = (command: Command, answer: AnswerOf<Command>): Buffer => {
  const writer = begun(command.kind)
  writeAnswer(writer, command, answer)
  return sealed(writer)
}

/** Throws EntryError unless the bytes are exactly one answer that fits the command. */
export const decodeAnswer = <C extends Command>(command: C, bytes: Uint8Array): AnswerOf<C> => {
  const reader = openedReader(bytes, "answer")
  const kind = reader.u8("kind")
  if (kind !== KINDS[command.kind]) reader.fail(`kind ${kind} is no answer to ${command.kind}`)
  const answer = readAnswer(reader, command)
  endOf(reader, bytes)
  return answer
}

const begun = (kind: Command["kind"]): EntryWriter => {
  const writer = new EntryWriter()
  writer.u8(VERSION)
  writer.u8(KINDS[kind])
  return writer
}

const sealed = (writer: EntryWriter): Buffer => {
  writer.u32(crc32c(writer.written()))
  const bytes = Buffer.from(writer.written())
  assert(bytes.length <= limits.entryBytesMax, `at most ${limits.entryBytesMax} bytes, got ${bytes.length}`)
  return bytes
}

const openedReader = (bytes: Uint8Array, subject: ByteSubject): EntryReader => {
  const end = bytes.length - CRC_BYTES
  if (bytes.length > limits.entryBytesMax) throw new EntryError(`${bytes.length} bytes are too many`, 0, subject)
  if (end < 2) throw new EntryError("cut short", bytes.length, subject)
  if (bytes[0] !== VERSION) throw new EntryError(`version ${bytes[0]} is unknown to this program`, 0, subject)
  const expected = Buffer.from(bytes.buffer, bytes.byteOffset + end, CRC_BYTES).readUInt32BE(0)
  if (crc32c(bytes.subarray(0, end)) !== expected) throw new EntryError("the checksum does not match", end, subject)
  const reader = new EntryReader(bytes, end, subject)
  reader.u8("version")
  return reader
}

const endOf = (reader: EntryReader, bytes: Uint8Array): void => {
  const left = bytes.length - CRC_BYTES - reader.byteOffset
  if (left !== 0) reader.fail(`${left} bytes are left over`)
}

const writeCommand = (writer: EntryWriter, command: Command): void => {
  switch (command.kind) {
    case "commit-segment":
      return writeCommit(writer, command)
    case "create-topic":
      writer.uuid(command.topicId)
      writer.string(command.name)
      writer.varint(command.partitions)
      return writeConfigs(writer, command.configs)
    case "delete-topic":
      writer.uuid(command.topicId)
      return writer.u8(command.mayBeDone ? FLAG_MAY_BE_DONE : 0)
    case "create-partitions":
      writer.uuid(command.topicId)
      writer.varint(command.partitions)
      return writer.u8(command.mayBeDone ? FLAG_MAY_BE_DONE : 0)
    case "allocate-producer-ids":
      return
    case "materialized":
      return writer.varint(command.throughSeq)
  }
}

const writeCommit = (writer: EntryWriter, command: CommitSegment): void => {
  writer.uuid(command.segmentId)
  writer.varint(command.createdAtMs)
  writer.string(command.bucketSet)
  writer.varint(command.ackedBuckets.length)
  for (const bucket of command.ackedBuckets) writer.string(bucket)
  writer.varint(command.segmentBytes)
  writeBlockOffsets(writer, command.blockOffsets)
  writer.varint(command.runs.length)
  const topics = new Map<Uuid, number>()
  let endBefore = 0
  for (const run of command.runs) {
    const known = topics.get(run.topicId)
    writer.varint(known ?? topics.size)
    if (known === undefined) {
      writer.uuid(run.topicId)
      topics.set(run.topicId, topics.size)
    }
    writer.varint(run.partition)
    writer.signed(run.byteOffset - endBefore)
    endBefore = run.byteOffset + run.byteLength
    writer.varint(run.byteLength)
    writer.u32(run.crc)
    writer.u8(run.timestampType === "append" ? FLAG_APPEND_TIME : 0)
    writeBatches(writer, run.batches, command.createdAtMs)
  }
}

const readCommand = (reader: EntryReader, kind: number): Command => {
  switch (kind) {
    case KINDS["commit-segment"]:
      return readCommit(reader)
    case KINDS["create-topic"]: {
      const topicId = reader.uuid("topic id")
      const name = reader.string("topic name")
      const partitions = reader.varint("partitions")
      return { kind: "create-topic", topicId, name, partitions, configs: readConfigs(reader) }
    }
    case KINDS["delete-topic"]: {
      const topicId = reader.uuid("topic id")
      return { kind: "delete-topic", topicId, mayBeDone: readFlag(reader, FLAG_MAY_BE_DONE) }
    }
    case KINDS["create-partitions"]: {
      const topicId = reader.uuid("topic id")
      const partitions = reader.varint("partitions")
      return { kind: "create-partitions", topicId, partitions, mayBeDone: readFlag(reader, FLAG_MAY_BE_DONE) }
    }
    case KINDS["allocate-producer-ids"]:
      return { kind: "allocate-producer-ids" }
    case KINDS.materialized:
      return { kind: "materialized", throughSeq: reader.varint("seq") }
    default:
      return reader.fail(`kind ${kind} is unknown to this program`)
  }
}

/** The one flag that there is. */
const readFlag = (reader: EntryReader, flag: number): boolean => {
  const flags = reader.u8("flags")
  return (flags & ~flag) === 0 ? flags === flag : reader.fail(`flags ${flags} are unknown to this program`)
}

/** What a run takes at least. */
const RUN_BYTES_MIN = 13

const readCommit = (reader: EntryReader): CommitSegment => {
  const segmentId = reader.uuid("segment id")
  const createdAtMs = reader.varint("creation time")
  const bucketSet = reader.string("bucket set")
  const ackedBuckets: Array<string> = []
  for (let left = reader.count("acked buckets", 1); left > 0; left -= 1)
    ackedBuckets.push(reader.string("acked bucket"))
  const segmentBytes = reader.varint("segment bytes")
  const blockOffsets = readBlockOffsets(reader)
  const runs: Array<RunSummary> = []
  const topicIds: Array<Uuid> = []
  let endBefore = 0
  for (let left = reader.count("runs", RUN_BYTES_MIN); left > 0; left -= 1) {
    const run = readRun(reader, topicIds, { endBefore, createdAtMs })
    endBefore = run.byteOffset + run.byteLength
    runs.push(run)
  }
  return {
    kind: "commit-segment",
    segmentId,
    createdAtMs,
    bucketSet,
    ackedBuckets,
    segmentBytes,
    blockOffsets,
    runs
  }
}

const readRun = (
  reader: EntryReader,
  /** Those so far; a new one is added. */
  topicIds: Array<Uuid>,
  before: { readonly endBefore: number; readonly createdAtMs: number }
): RunSummary => {
  const topic = reader.varint("run's topic")
  if (topic > topicIds.length) reader.fail(`run's topic ${topic} is not one of ${topicIds.length}`)
  if (topic === topicIds.length) topicIds.push(reader.uuid("run's topic id"))
  const topicId = topicIds[topic]!
  const partition = reader.varint("run's partition")
  const byteOffset = before.endBefore + reader.signed("run's byte offset")
  const byteLength = reader.varint("run's byte length")
  const crc = reader.u32("run's crc")
  const timestampType = readFlag(reader, FLAG_APPEND_TIME) ? "append" : "create"
  const batches = readBatches(reader, before.createdAtMs)
  return { topicId, partition, byteOffset, byteLength, crc, timestampType, batches }
}
