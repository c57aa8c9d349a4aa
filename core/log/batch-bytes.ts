/**
 * The bytes of what a log entry and a command have in common [pure]: batches, excluded batches, block offsets, configs.
 *
 * Persisted as parts of entries (the grammar stands in entry.ts): what is written here must never change.
 */
import { type BatchSummary } from "./command.ts"
import { type ExcludedBatch } from "./effect.ts"
import { type EntryReader, type EntryWriter } from "./entry-bytes.ts"
import { VERDICT_BY_ID, VERDICTS } from "./verdict.ts"

export const writeBatches = (
  writer: EntryWriter,
  batches: ReadonlyArray<BatchSummary>,
  /** Of their segment. */
  createdAtMs: number
): void => {
  writer.varint(batches.length)
  for (const batch of batches) {
    writer.varint(batch.offsetCount)
    writer.signed(batch.maxTimestampMs - createdAtMs)
    writer.varint(batch.producerId + 1)
    if (batch.producerId < 0) continue
    writer.varint(batch.producerEpoch)
    writer.varint(batch.baseSequence)
  }
}

export const readBatches = (reader: EntryReader, createdAtMs: number): ReadonlyArray<BatchSummary> => {
  const batches: Array<BatchSummary> = []
  for (let left = reader.count("batches", 3); left > 0; left -= 1) batches.push(readBatch(reader, createdAtMs))
  return batches
}

const readBatch = (reader: EntryReader, createdAtMs: number): BatchSummary => {
  const offsetCount = reader.varint("batch's offset count")
  const maxTimestampMs = createdAtMs + reader.signed("batch's max timestamp")
  const producerId = reader.varint("batch's producer id") - 1
  if (producerId < 0) return { offsetCount, maxTimestampMs, producerId: -1, producerEpoch: -1, baseSequence: -1 }
  const producerEpoch = reader.varint("batch's producer epoch")
  const baseSequence = reader.varint("batch's base sequence")
  return { offsetCount, maxTimestampMs, producerId, producerEpoch, baseSequence }
}

export const writeExcluded = (writer: EntryWriter, excludedBatches: ReadonlyArray<ExcludedBatch>): void => {
  writer.varint(excludedBatches.length)
  let indexBefore = -1
  for (const { index, verdict, baseOffset, appendTimeMs } of excludedBatches) {
    writer.varint(index - indexBefore - 1)
    writer.u8(VERDICTS[verdict])
    writer.varint(baseOffset + 1)
    writer.varint(appendTimeMs + 1)
    indexBefore = index
  }
}

export const readExcluded = (reader: EntryReader, batchCount: number): ReadonlyArray<ExcludedBatch> => {
  const excluded: Array<ExcludedBatch> = []
  let indexBefore = -1
  for (let left = reader.count("excluded batches", 4); left > 0; left -= 1) {
    const index = indexBefore + 1 + reader.varint("excluded batch's index")
    if (index >= batchCount) reader.fail(`excluded batch ${index} is not one of ${batchCount}`)
    const verdict = VERDICT_BY_ID[reader.u8("excluded batch's verdict")]
    if (verdict === undefined || verdict === "accepted") return reader.fail("excluded batch's verdict is unknown")
    const baseOffset = reader.varint("excluded batch's base offset") - 1
    const appendTimeMs = reader.varint("excluded batch's append time") - 1
    excluded.push({ index, verdict, baseOffset, appendTimeMs })
    indexBefore = index
  }
  return excluded
}

export const writeBlockOffsets = (writer: EntryWriter, blockOffsets: ReadonlyArray<number>): void => {
  writer.varint(blockOffsets.length)
  let blockBefore = 0
  for (const blockOffset of blockOffsets) {
    writer.varint(blockOffset - blockBefore)
    blockBefore = blockOffset
  }
}

export const readBlockOffsets = (reader: EntryReader): ReadonlyArray<number> => {
  const blockOffsets: Array<number> = []
  let blockBefore = 0
  for (let left = reader.count("block offsets", 1); left > 0; left -= 1) {
    blockBefore += reader.varint("block offset")
    blockOffsets.push(blockBefore)
  }
  return blockOffsets
}

type Configs = ReadonlyArray<readonly [key: string, value: string]>

export const writeConfigs = (writer: EntryWriter, configs: Configs): void => {
  writer.varint(configs.length)
  for (const [key, value] of configs) {
    writer.string(key)
    writer.string(value)
  }
}

export const readConfigs = (reader: EntryReader): Configs => {
  const configs: Array<readonly [string, string]> = []
  for (let left = reader.count("configs", 2); left > 0; left -= 1) {
    const key = reader.string("config key")
    configs.push([key, reader.string("config value")])
  }
  return configs
}
