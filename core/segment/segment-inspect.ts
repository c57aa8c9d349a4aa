/**
 * What is in a segment, for people [pure]: `meridian segment inspect`.
 *
 * It is asked when something is wrong, so it does not throw at damage: it tells what it finds, what does not match, and
 * goes on where that makes sense. All that its report holds of foreign bytes is safe to print (no control characters)
 * and bounded. It checks more than readers do: every CRC, and every number of the index against the batches.
 */
import { isUtf8 } from "node:buffer"
import * as batchHeader from "#core/records/batch-header.ts"
import { CODEC_BY_NAME } from "#core/records/codec-id.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { RecordError } from "#core/records/record-error.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid, uuidToBase64 } from "#core/model/uuid.ts"
import {
  SEGMENT_HEADER_BYTES,
  SegmentFormatError,
  type SegmentIndex,
  type SegmentRun,
  checkSegmentHeader,
  decodeFooter
} from "./segment-format.ts"
import { UTC_TEXT_MS_MAX, utcText } from "./utc-text.ts"

/** Bytes of a record: as text where they are printable UTF-8, else as base64; cut at limits.inspectedBytesMax. */
export interface ShownBytes {
  readonly encoding: "utf8" | "base64"
  readonly shown: string
  readonly byteLength: number
  readonly isCut: boolean
}

export interface RecordReport {
  /** Within its run, over all its batches. */
  readonly offsetInRun: number
  readonly timestampMs: number
  readonly key: ShownBytes | null
  readonly value: ShownBytes | null
  readonly headers: ReadonlyArray<{ readonly key: ShownBytes; readonly value: ShownBytes | null }>
}

export interface BatchReport {
  readonly byteOffset: number
  readonly byteLength: number
  /** Of its first record, within its run. */
  readonly offsetInRun: number
  readonly offsetCount: number
  readonly recordCount: number
  readonly codec: string
  readonly timestampType: "create" | "append"
  readonly baseTimestampMs: number
  readonly maxTimestampMs: number
  /** -1 without idempotence. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly isCrcOk: boolean
  /** Only where they were asked for. */
  readonly records?: ReadonlyArray<RecordReport>
}

export interface RunReport extends SegmentRun {
  readonly isCrcOk: boolean
  readonly batches: ReadonlyArray<BatchReport>
}

export interface SegmentReport {
  readonly objectBytes: number
  /** undefined where the footer cannot be read. */
  readonly version: number | undefined
  readonly segmentId: Uuid | undefined
  readonly createdAtMs: number | undefined
  readonly topicCount: number
  readonly batchCount: number
  readonly runs: ReadonlyArray<RunReport>
  /** Where there is no index: batches found by walking from the header; nothing says of which partitions they are. */
  readonly batchesWithoutIndex: ReadonlyArray<BatchReport>
  /** Records that were asked for and left out because there are too many. */
  readonly recordsOmitted: number
  /** One line for each thing that is wrong; empty: the segment is sound. */
  readonly problems: ReadonlyArray<string>
}

export const inspectSegment = (bytes: Buffer, options: { readonly records: boolean }): SegmentReport => {
  const inspection: Inspection = {
    bytes,
    problems: [],
    cursor: new RecordCursor(),
    showsRecords: options.records,
    recordsShown: 0,
    recordsOmitted: 0
  }
  attempt(inspection, "header", () => checkSegmentHeader(bytes))
  const index = readIndex(inspection)
  const runs = index === undefined ? [] : index.runs.map((run, number) => inspectRun(inspection, run, number))
  const batchesWithoutIndex = index === undefined ? walkBatches(inspection, WITHOUT_INDEX, bytes.length) : []
  return {
    objectBytes: bytes.length,
    version: index?.version,
    segmentId: index?.segmentId,
    createdAtMs: index?.createdAtMs,
    topicCount: new Set(runs.map((run) => run.topicId)).size,
    batchCount: runs.reduce((sum, run) => sum + run.batches.length, batchesWithoutIndex.length),
    runs,
    batchesWithoutIndex,
    recordsOmitted: inspection.recordsOmitted,
    problems: inspection.problems
  }
}

/** The report as text, a line for each run, batch and record. */
export const formatReport = (report: SegmentReport): string => {
  const lines: Array<string> = []
  if (report.segmentId === undefined) lines.push(`${report.objectBytes} bytes without a readable index`)
  else {
    lines.push(`segment ${report.segmentId}, version ${report.version}, created ${timeText(report.createdAtMs ?? -1)}`)
    const partitions = counted(report.runs.length, "partition")
    const batches = counted(report.batchCount, "batch")
    lines.push(`${report.objectBytes} bytes: ${counted(report.topicCount, "topic")}, ${partitions}, ${batches}`)
  }
  for (const run of report.runs) {
    lines.push("", runLine(run))
    for (const batch of run.batches) pushBatch(lines, batch)
  }
  for (const batch of report.batchesWithoutIndex) pushBatch(lines, batch)
  if (report.recordsOmitted > 0) lines.push("", `${counted(report.recordsOmitted, "record")} more, not shown`)
  lines.push("", report.problems.length === 0 ? "no problems found" : `${counted(report.problems.length, "problem")}:`)
  for (const problem of report.problems) lines.push(`  ${problem}`)
  return `${lines.join("\n")}\n`
}

interface Inspection {
  readonly bytes: Buffer
  readonly problems: Array<string>
  readonly cursor: RecordCursor
  readonly showsRecords: boolean
  recordsShown: number
  recordsOmitted: number
}

/** A part of the object that holds batches, and its name in problems. */
interface BatchArea {
  readonly name: string
  readonly byteOffset: number
}

const WITHOUT_INDEX: BatchArea = { name: "data without index", byteOffset: SEGMENT_HEADER_BYTES }

const addProblem = (inspection: Inspection, problem: string): void => {
  const { problems } = inspection
  if (problems.length < limits.inspectedProblemsMax) problems.push(problem)
  else if (problems.length === limits.inspectedProblemsMax) problems.push("and more problems, which are not listed")
}

/** Turns what the formats throw at bad bytes into a problem. */
const attempt = <A>(inspection: Inspection, where: string, work: () => A): A | undefined => {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof SegmentFormatError || error instanceof RecordError)) throw error
    addProblem(inspection, `${where}: ${error.message}`)
    return undefined
  }
}

const readIndex = (inspection: Inspection): SegmentIndex | undefined => {
  const { bytes } = inspection
  const result = attempt(inspection, "footer", () => decodeFooter(bytes, bytes.length))
  return result?.kind === "index" ? result.index : undefined
}

const inspectRun = (inspection: Inspection, run: SegmentRun, number: number): RunReport => {
  const name = `run ${number} (topic ${run.topicId}, partition ${run.partition})`
  const end = run.byteOffset + run.byteLength
  const crc = crc32c(inspection.bytes.subarray(run.byteOffset, end))
  if (crc !== run.crc) {
    addProblem(inspection, `${name}: its bytes have CRC-32C ${hex32(crc)}, the index says ${hex32(run.crc)}`)
  }
  const batches = walkBatches(inspection, { name, byteOffset: run.byteOffset }, end)
  const last = batches[batches.length - 1]
  const found = {
    batchCount: batches.length,
    offsetCount: last === undefined ? 0 : last.offsetInRun + last.offsetCount,
    maxTimestampMs: batches.reduce((max, batch) => Math.max(max, batch.maxTimestampMs), Number.NEGATIVE_INFINITY)
  }
  for (const field of ["batchCount", "offsetCount", "maxTimestampMs"] as const) {
    if (found[field] !== run[field]) {
      addProblem(inspection, `${name}: the index says ${field} ${run[field]}, its batches have ${found[field]}`)
    }
  }
  return { ...run, isCrcOk: crc === run.crc, batches }
}

/** Batches from the area's first byte to `end`, up to the first bytes that are none. */
const walkBatches = (inspection: Inspection, area: BatchArea, end: number): ReadonlyArray<BatchReport> => {
  const bytes = inspection.bytes.subarray(0, end)
  const batches: Array<BatchReport> = []
  let offsetInRun = 0
  let at = area.byteOffset
  while (at < end) {
    const name = `${area.name}, batch ${batches.length}`
    const byteLength = attempt(inspection, name, () => batchHeader.checkedBatchBytes(bytes, at))
    if (byteLength === undefined) break
    const batch = inspectBatch(inspection, { name, bytes, at, byteLength, offsetInRun })
    batches.push(batch)
    offsetInRun += batch.offsetCount
    at += byteLength
  }
  return batches
}

interface BatchPlace {
  readonly name: string
  readonly bytes: Buffer
  readonly at: number
  readonly byteLength: number
  readonly offsetInRun: number
}

const inspectBatch = (inspection: Inspection, place: BatchPlace): BatchReport => {
  const { name, bytes, at, byteLength, offsetInRun } = place
  const stored = batchHeader.crc(bytes, at)
  const computed = batchHeader.computeCrc(bytes, at)
  if (stored !== computed) {
    addProblem(inspection, `${name}: its bytes have CRC-32C ${hex32(computed)}, its header says ${hex32(stored)}`)
  }
  const lastOffsetDelta = batchHeader.lastOffsetDelta(bytes, at)
  if (lastOffsetDelta < 0) addProblem(inspection, `${name}: lastOffsetDelta ${lastOffsetDelta}`)
  const report: BatchReport = {
    byteOffset: at,
    byteLength,
    offsetInRun,
    offsetCount: Math.max(0, lastOffsetDelta + 1),
    recordCount: batchHeader.recordCount(bytes, at),
    codec: codecName(batchHeader.codec(bytes, at)),
    timestampType: batchHeader.timestampType(bytes, at),
    baseTimestampMs: batchHeader.baseTimestamp(bytes, at),
    maxTimestampMs: batchHeader.maxTimestamp(bytes, at),
    producerId: batchHeader.producerId(bytes, at),
    producerEpoch: batchHeader.producerEpoch(bytes, at),
    baseSequence: batchHeader.baseSequence(bytes, at),
    isTransactional: batchHeader.isTransactional(bytes, at),
    isControl: batchHeader.isControl(bytes, at),
    isCrcOk: stored === computed
  }
  return inspection.showsRecords ? { ...report, records: inspectRecords(inspection, place) } : report
}

const inspectRecords = (inspection: Inspection, place: BatchPlace): ReadonlyArray<RecordReport> => {
  const { cursor } = inspection
  const records: Array<RecordReport> = []
  attempt(inspection, place.name, () => {
    cursor.open(place.bytes, place.at)
    while (cursor.next()) {
      if (inspection.recordsShown >= limits.inspectedRecordsMax) {
        inspection.recordsOmitted++
        continue
      }
      inspection.recordsShown++
      records.push({
        offsetInRun: place.offsetInRun + cursor.offsetDelta,
        timestampMs: cursor.timestamp,
        key: shown(cursor.key()),
        value: shown(cursor.value()),
        headers: cursor.headers().map(({ key, value }) => ({ key: shown(Buffer.from(key))!, value: shown(value) }))
      })
    }
  })
  cursor.release()
  return records
}

const shown = (bytes: Buffer | null): ShownBytes | null => {
  if (bytes === null) return null
  const isCut = bytes.length > limits.inspectedBytesMax
  const cut = bytes.subarray(0, limits.inspectedBytesMax)
  const rest = { byteLength: bytes.length, isCut }
  const text = isUtf8(bytes) ? cut.toString("utf8", 0, isCut ? wholeCharacters(cut) : cut.length) : undefined
  return text !== undefined && isPrintable(text)
    ? { encoding: "utf8", shown: text, ...rest }
    : { encoding: "base64", shown: cut.toString("base64"), ...rest }
}

/** Bytes of the cut that end with a whole character: without the last character's beginning, whole or not. */
const wholeCharacters = (cut: Buffer): number => {
  let end = cut.length - 1
  while (end > 0 && (cut[end]! & 0xc0) === 0x80) end--
  return end
}

/** Neither control characters (a terminal obeys them) nor those that turn the direction of writing. */
const isPrintable = (text: string): boolean =>
  !/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(text.replace(/[\t\n\r]/g, ""))

const codecName = (codec: number): string =>
  Object.keys(CODEC_BY_NAME).find((name) => CODEC_BY_NAME[name as keyof typeof CODEC_BY_NAME] === codec) ??
  `unknown (${codec})`

const hex32 = (value: number): string => value.toString(16).padStart(8, "0")

const runLine = (run: RunReport): string =>
  [
    `topic ${uuidToBase64(run.topicId)} (${run.topicId}) partition ${run.partition}:`,
    `bytes ${run.byteOffset} to ${run.byteOffset + run.byteLength},`,
    `${counted(run.batchCount, "batch")}, ${counted(run.offsetCount, "offset")}, time of ${run.timestampType},`,
    `newest ${timeText(run.maxTimestampMs)}, CRC ${run.isCrcOk ? "ok" : "WRONG"}`
  ].join(" ")

const pushBatch = (lines: Array<string>, batch: BatchReport): void => {
  const producer =
    batch.producerId < 0
      ? "no producer id"
      : `producer ${batch.producerId} epoch ${batch.producerEpoch} sequence ${batch.baseSequence}`
  const kind = `${batch.isTransactional ? ", transactional" : ""}${batch.isControl ? ", control" : ""}`
  lines.push(
    [
      `  batch at ${batch.byteOffset}: offsets +${batch.offsetInRun} to +${batch.offsetInRun + batch.offsetCount - 1},`,
      `${counted(batch.recordCount, "record")}, ${batch.byteLength} bytes, ${batch.codec}, ${producer}${kind},`,
      `${timeText(batch.baseTimestampMs)} to ${timeText(batch.maxTimestampMs)}, CRC ${batch.isCrcOk ? "ok" : "WRONG"}`
    ].join(" ")
  )
  for (const record of batch.records ?? []) {
    const place = `+${record.offsetInRun} ${timeText(record.timestampMs)}`
    const content = `key ${shownText(record.key)} value ${shownText(record.value)}`
    const headers = record.headers.map((header) => `${shownText(header.key)}=${shownText(header.value)}`).join(", ")
    lines.push(`    ${place} ${content}${headers === "" ? "" : ` headers ${headers}`}`)
  }
}

/** JSON's quotes keep a line a line. */
const shownText = (bytes: ShownBytes | null): string => {
  if (bytes === null) return "null"
  const text = bytes.encoding === "utf8" ? JSON.stringify(bytes.shown) : `base64:${bytes.shown}`
  return bytes.isCut ? `${text}… (${bytes.byteLength} bytes)` : text
}

const timeText = (timeMs: number): string => {
  if (timeMs === -1) return "no time"
  return timeMs >= 0 && timeMs <= UTC_TEXT_MS_MAX ? utcText(timeMs) : `${timeMs} ms`
}

const counted = (count: number, noun: string): string =>
  `${count} ${count === 1 ? noun : noun.endsWith("h") ? `${noun}es` : `${noun}s`}`
