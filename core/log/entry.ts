/**
 * The bytes of one commit-log entry [pure]: a list of effects, versioned, with a checksum.
 *
 * Invariant: `decodeEntry(encodeEntry(effects))` equals `effects`, and bytes that are cut short, damaged or from a newer
 * program give an EntryError, never a part of the effects. What may follow from an entry is decided elsewhere: nothing
 * here judges.
 *
 *   entry      version u8 = 1 · topic ids · names · effects · crc u32 (big endian, CRC-32C of all bytes before it)
 *   topic ids  count, then 16 bytes each; effects refer to them by index
 *   names      count, then a string each: bucket sets and buckets; effects refer to them by index
 *   effects    count, then each: kind u8 and its fields
 *
 *   number  kind (never reuse a number)  fields
 *   1       genesis                      cluster id (16 bytes)
 *   2       topic-created                topic, name, partitions, created at ms, configs: count, then key and value each
 *   3       topic-deleted                topic
 *   4       partitions-created           topic, partitions
 *   5       producer-ids-allocated       first, count
 *   6       segment-committed            segment id (16 bytes), created at ms, bucket set, acked buckets: count, then name
 *                                        each, segment bytes, block offsets: count, then the distance from the one before
 *                                        each, append time ms less created at ms (signed), runs: count, then each:
 *           run    topic, partition, byte offset less the end of the run before (signed), byte length, crc u32,
 *                  flags u8 (1: timestamps of the append, 2: has excluded batches), base offset + 1,
 *                  batches: count, then each;  with flag 2 the excluded: count, then each
 *           batch  offset count, max timestamp ms less the segment's created at ms (signed), producer id + 1,
 *                  and for producer ids >= 0: epoch, base sequence
 *           excluded  index less the one before less 1, verdict u8 (verdict.ts), base offset + 1, append time ms + 1
 *   7       epoch-begun                  holder's name, session (16 bytes), region
 *   8       materialized                 through seq
 *
 * Numbers without a size are varints (entry-bytes.ts); a string is its length in bytes and UTF-8. A run of one batch takes
 * some 28 bytes. A new kind or field needs a new version where an old program would misread it: an unknown version or kind
 * stops the fold.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { crc32c } from "#core/records/crc32c.ts"
import {
  readBatches,
  readBlockOffsets,
  readConfigs,
  readExcluded,
  writeBatches,
  writeBlockOffsets,
  writeConfigs,
  writeExcluded
} from "./batch-bytes.ts"
import { type CommittedRun, type LogEffect, type SegmentCommitted, type TopicCreated } from "./effect.ts"
import { EntryError, EntryReader, EntryWriter } from "./entry-bytes.ts"

export { EntryError } from "./entry-bytes.ts"

export const ENTRY_VERSION = 1

/** Persisted: never reuse a number. */
const KINDS = {
  genesis: 1,
  "topic-created": 2,
  "topic-deleted": 3,
  "partitions-created": 4,
  "producer-ids-allocated": 5,
  "segment-committed": 6,
  "epoch-begun": 7,
  materialized: 8
} as const

const FLAG_APPEND_TIME = 1
const FLAG_EXCLUDED = 2
const FLAGS_KNOWN = FLAG_APPEND_TIME | FLAG_EXCLUDED
const CRC_BYTES = 4

/** The bytes belong to the caller. Asserts that they are at most limits.entryBytesMax. */
export const encodeEntry = (effects: ReadonlyArray<LogEffect>): Buffer => {
  const body = new EntryWriter()
  const topicIds = new Map<string, number>()
  const names = new Map<string, number>()
  body.varint(effects.length)
  for (const effect of effects) writeEffect(body, effect, topicIds, names)
  const head = new EntryWriter()
  head.u8(ENTRY_VERSION)
  head.varint(topicIds.size)
  for (const topicId of topicIds.keys()) head.uuid(topicId)
  head.varint(names.size)
  for (const name of names.keys()) head.string(name)
  const headBytes = head.written()
  const bodyBytes = body.written()
  const entry = Buffer.allocUnsafeSlow(headBytes.length + bodyBytes.length + CRC_BYTES)
  assert(
    entry.length <= limits.entryBytesMax,
    `an entry has at most ${limits.entryBytesMax} bytes, got ${entry.length}`
  )
  headBytes.copy(entry, 0)
  bodyBytes.copy(entry, headBytes.length)
  const end = entry.length - CRC_BYTES
  entry.writeUInt32BE(crc32c(entry.subarray(0, end)), end)
  return entry
}

/** Throws EntryError unless the bytes are exactly one sound entry. */
export const decodeEntry = (bytes: Uint8Array): ReadonlyArray<LogEffect> => {
  const end = bytes.length - CRC_BYTES
  if (end < 1) throw new EntryError("the entry is cut short", bytes.length)
  if (bytes[0] !== ENTRY_VERSION) throw new EntryError(`version ${bytes[0]} is unknown to this program`, 0)
  const expected = Buffer.from(bytes.buffer, bytes.byteOffset + end, CRC_BYTES).readUInt32BE(0)
  if (crc32c(bytes.subarray(0, end)) !== expected) throw new EntryError("the checksum does not match", end)
  const reader = new EntryReader(bytes, end)
  reader.u8("version")
  const topicIds: Array<Uuid> = []
  for (let left = reader.count("topic ids", 16); left > 0; left -= 1) topicIds.push(reader.uuid("topic id"))
  const names: Array<string> = []
  for (let left = reader.count("names", 1); left > 0; left -= 1) names.push(reader.string("name"))
  const effects: Array<LogEffect> = []
  for (let left = reader.count("effects", 1); left > 0; left -= 1) effects.push(readEffect(reader, topicIds, names))
  if (reader.byteOffset !== end) reader.fail("bytes are left over after the effects")
  return effects
}

type Dictionary = Map<string, number>

const indexIn = (dictionary: Dictionary, word: string): number => {
  const known = dictionary.get(word)
  if (known !== undefined) return known
  dictionary.set(word, dictionary.size)
  return dictionary.size - 1
}

const writeEffect = (writer: EntryWriter, effect: LogEffect, topicIds: Dictionary, names: Dictionary): void => {
  writer.u8(KINDS[effect.kind])
  switch (effect.kind) {
    case "genesis":
      return writer.uuid(effect.clusterId)
    case "topic-created":
      return writeTopicCreated(writer, effect, topicIds)
    case "topic-deleted":
      return writer.varint(indexIn(topicIds, effect.topicId))
    case "partitions-created":
      writer.varint(indexIn(topicIds, effect.topicId))
      return writer.varint(effect.partitions)
    case "producer-ids-allocated":
      writer.varint(effect.first)
      return writer.varint(effect.count)
    case "segment-committed":
      return writeSegment(writer, effect, topicIds, names)
    case "epoch-begun":
      writer.string(effect.holder.name)
      writer.uuid(effect.holder.session)
      return writer.string(effect.holder.region)
    case "materialized":
      return writer.varint(effect.throughSeq)
  }
}

const writeTopicCreated = (writer: EntryWriter, effect: TopicCreated, topicIds: Dictionary): void => {
  writer.varint(indexIn(topicIds, effect.topicId))
  writer.string(effect.name)
  writer.varint(effect.partitions)
  writer.varint(effect.createdAtMs)
  writeConfigs(writer, effect.configs)
}

const writeSegment = (writer: EntryWriter, effect: SegmentCommitted, topicIds: Dictionary, names: Dictionary): void => {
  writer.uuid(effect.segmentId)
  writer.varint(effect.createdAtMs)
  writer.varint(indexIn(names, effect.bucketSet))
  writer.varint(effect.ackedBuckets.length)
  for (const bucket of effect.ackedBuckets) writer.varint(indexIn(names, bucket))
  writer.varint(effect.segmentBytes)
  writeBlockOffsets(writer, effect.blockOffsets)
  writer.signed(effect.appendTimeMs - effect.createdAtMs)
  writer.varint(effect.runs.length)
  let endBefore = 0
  for (const run of effect.runs) {
    writer.varint(indexIn(topicIds, run.topicId))
    writer.varint(run.partition)
    writer.signed(run.byteOffset - endBefore)
    endBefore = run.byteOffset + run.byteLength
    writeRun(writer, run, effect.createdAtMs)
  }
}

const writeRun = (writer: EntryWriter, run: CommittedRun, createdAtMs: number): void => {
  writer.varint(run.byteLength)
  writer.u32(run.crc)
  writer.u8((run.timestampType === "append" ? FLAG_APPEND_TIME : 0) | (run.excluded.length > 0 ? FLAG_EXCLUDED : 0))
  writer.varint(run.baseOffset + 1)
  writeBatches(writer, run.batches, createdAtMs)
  if (run.excluded.length > 0) writeExcluded(writer, run.excluded)
}

const readRef = (reader: EntryReader, words: ReadonlyArray<string>, field: string): string => {
  const index = reader.varint(field)
  return words[index] ?? reader.fail(`${field} refers to word ${index} of ${words.length}`)
}

const readEffect = (reader: EntryReader, topicIds: ReadonlyArray<Uuid>, names: ReadonlyArray<string>): LogEffect => {
  const kind = reader.u8("effect kind")
  switch (kind) {
    case KINDS.genesis:
      return { kind: "genesis", clusterId: reader.uuid("cluster id") }
    case KINDS["topic-created"]:
      return readTopicCreated(reader, topicIds)
    case KINDS["topic-deleted"]:
      return { kind: "topic-deleted", topicId: readRef(reader, topicIds, "deleted topic") }
    case KINDS["partitions-created"]: {
      const topicId = readRef(reader, topicIds, "grown topic")
      return { kind: "partitions-created", topicId, partitions: reader.varint("partitions") }
    }
    case KINDS["producer-ids-allocated"]: {
      const first = reader.varint("first producer id")
      return { kind: "producer-ids-allocated", first, count: reader.varint("producer id count") }
    }
    case KINDS["segment-committed"]:
      return readSegment(reader, topicIds, names)
    case KINDS["epoch-begun"]: {
      const name = reader.string("holder's name")
      const session = reader.uuid("holder's session")
      return { kind: "epoch-begun", holder: { name, session, region: reader.string("holder's region") } }
    }
    case KINDS.materialized:
      return { kind: "materialized", throughSeq: reader.varint("materialized seq") }
    default:
      return reader.fail(`effect kind ${kind} is unknown to this program`)
  }
}

const readTopicCreated = (reader: EntryReader, topicIds: ReadonlyArray<Uuid>): TopicCreated => {
  const topicId = readRef(reader, topicIds, "created topic")
  const name = reader.string("topic name")
  const partitions = reader.varint("partitions")
  const createdAtMs = reader.varint("topic's creation time")
  return { kind: "topic-created", topicId, name, partitions, configs: readConfigs(reader), createdAtMs }
}

const readSegment = (
  reader: EntryReader,
  topicIds: ReadonlyArray<Uuid>,
  names: ReadonlyArray<string>
): SegmentCommitted => {
  const segmentId = reader.uuid("segment id")
  const createdAtMs = reader.varint("segment's creation time")
  const bucketSet = readRef(reader, names, "bucket set")
  const ackedBuckets: Array<string> = []
  for (let left = reader.count("acked buckets", 1); left > 0; left -= 1)
    ackedBuckets.push(readRef(reader, names, "acked bucket"))
  const segmentBytes = reader.varint("segment bytes")
  const blockOffsets = readBlockOffsets(reader)
  const appendTimeMs = createdAtMs + reader.signed("append time")
  const runs: Array<CommittedRun> = []
  let endBefore = 0
  for (let left = reader.count("runs", 10); left > 0; left -= 1) {
    const run = readRun(reader, topicIds, { endBefore, createdAtMs })
    endBefore = run.byteOffset + run.byteLength
    runs.push(run)
  }
  return {
    kind: "segment-committed",
    segmentId,
    createdAtMs,
    bucketSet,
    ackedBuckets,
    segmentBytes,
    blockOffsets,
    appendTimeMs,
    runs
  }
}

const readRun = (
  reader: EntryReader,
  topicIds: ReadonlyArray<Uuid>,
  before: { readonly endBefore: number; readonly createdAtMs: number }
): CommittedRun => {
  const topicId = readRef(reader, topicIds, "run's topic")
  const partition = reader.varint("run's partition")
  const byteOffset = before.endBefore + reader.signed("run's byte offset")
  if (byteOffset < 0) reader.fail("run's byte offset is below zero")
  const byteLength = reader.varint("run's byte length")
  const crc = reader.u32("run's crc")
  const flags = reader.u8("run's flags")
  if ((flags & ~FLAGS_KNOWN) !== 0) reader.fail(`run's flags ${flags} are unknown to this program`)
  const timestampType = (flags & FLAG_APPEND_TIME) === 0 ? "create" : "append"
  const baseOffset = reader.varint("run's base offset") - 1
  const batches = readBatches(reader, before.createdAtMs)
  const excluded = (flags & FLAG_EXCLUDED) === 0 ? [] : readExcluded(reader, batches.length)
  return { topicId, partition, byteOffset, byteLength, crc, timestampType, batches, baseOffset, excluded }
}
