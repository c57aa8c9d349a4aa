/**
 * What readers are told, against the log and against what was told before.
 *
 * Fetched records are the log's at their offsets, whoever reads them from whichever agent. A high watermark never goes back on
 * one agent, and is never ahead of the log. A linearizable answer is at least what was acknowledged, and what an earlier
 * linearizable answer said, before it was asked for.
 */
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { decodePayload, nameText } from "../workload/payload.ts"
import { type PartitionTruth } from "./truth.ts"

/** What must not be undercut by the answer to a question that is asked now. */
export interface ReadTicket {
  readonly agentHighWatermark: number
  readonly linearizable: number
}

interface Known {
  /** The largest offset after a record that was acknowledged, or that a linearizable answer gave. */
  linearizable: number
  /** By agent. */
  readonly highWatermarks: Map<string, number>
}

export class Reads {
  readonly #known = new Map<PartitionTruth, Known>()
  readonly #cursor = new RecordCursor()
  recordsChecked = 0

  /** To be taken before the question is sent. */
  ticket(partition: PartitionTruth, agent: string): ReadTicket {
    const known = this.#knownOf(partition)
    return { agentHighWatermark: known.highWatermarks.get(agent) ?? 0, linearizable: known.linearizable }
  }

  acknowledged(partition: PartitionTruth, nextOffset: number): void {
    const known = this.#knownOf(partition)
    known.linearizable = Math.max(known.linearizable, nextOffset)
  }

  /** Answer to a question for the latest offset. */
  latest(partition: PartitionTruth, agent: string, ticket: ReadTicket, offset: number): void {
    const facts = { partition: partition.name, agent, offset, ...ticket, logEnd: partition.records.length }
    if (offset > partition.records.length)
      throw new CheckFailed("high-watermark", "a latest offset is ahead of the log", facts)
    if (offset < ticket.linearizable) {
      throw new CheckFailed("visible-at-once", "a latest offset is behind what was acknowledged or told before", facts)
    }
    this.acknowledged(partition, offset)
    this.highWatermark(partition, agent, ticket, offset)
  }

  highWatermark(partition: PartitionTruth, agent: string, ticket: ReadTicket, highWatermark: number): void {
    const facts = { partition: partition.name, agent, highWatermark, ...ticket, logEnd: partition.records.length }
    if (highWatermark > partition.records.length) {
      throw new CheckFailed("high-watermark", "a high watermark is ahead of the log", facts)
    }
    if (highWatermark < ticket.agentHighWatermark) {
      throw new CheckFailed("high-watermark", "a high watermark has gone back", facts)
    }
    const { highWatermarks } = this.#knownOf(partition)
    highWatermarks.set(agent, Math.max(highWatermarks.get(agent) ?? 0, highWatermark))
  }

  /** Checks every byte of fetched batches; answers with the offset after the last one. */
  fetched(
    partition: PartitionTruth,
    agent: string,
    answer: { readonly fetchOffset: number; readonly highWatermark: number; readonly records: Buffer }
  ): number {
    const { fetchOffset, highWatermark, records } = answer
    let nextOffset = fetchOffset
    batchHeader.walkBatches(records, (at) => {
      nextOffset = this.#batch(partition, records, at, { agent, nextOffset, fetchOffset })
    })
    if (nextOffset > highWatermark) {
      throw new CheckFailed("high-watermark", "records behind the high watermark are served", {
        partition: partition.name,
        agent,
        nextOffset,
        highWatermark
      })
    }
    return nextOffset
  }

  #batch(
    partition: PartitionTruth,
    bytes: Buffer,
    at: number,
    where: { readonly agent: string; readonly nextOffset: number; readonly fetchOffset: number }
  ): number {
    const base = batchHeader.baseOffset(bytes, at)
    const facts = { partition: partition.name, base, ...where }
    if (batchHeader.computeCrc(bytes, at) !== batchHeader.crc(bytes, at)) {
      throw new CheckFailed("content", "a fetched batch has a wrong CRC", facts)
    }
    // The first batch may begin before the offset that was asked for.
    const isFirst = where.nextOffset === where.fetchOffset
    if (isFirst ? base > where.nextOffset : base !== where.nextOffset) {
      throw new CheckFailed("offsets", "fetched batches have a gap or overlap", facts)
    }
    const appendTimeMs = partition.appendTimes.get(base)
    if (appendTimeMs !== undefined && batchHeader.maxTimestamp(bytes, at) !== appendTimeMs) {
      throw new CheckFailed("content", "a batch has another append time than its entry", { ...facts, appendTimeMs })
    }
    const cursor = this.#cursor
    cursor.open(bytes, at)
    let expected = base
    while (cursor.next()) {
      const found = cursor.valueStart < 0 ? undefined : decodePayload(cursor.bytes, cursor.valueStart, cursor.valueEnd)
      const truth = partition.records[cursor.offset]
      if (cursor.offset !== expected) throw new CheckFailed("offsets", "a fetched batch has a gap", facts)
      if (found === undefined || truth === undefined || nameText(found) !== nameText(truth)) {
        throw new CheckFailed("content", "a fetched record is not what the log has at its offset", {
          ...facts,
          offset: cursor.offset,
          found: found === undefined ? "damaged" : nameText(found),
          log: truth === undefined ? "nothing" : nameText(truth)
        })
      }
      expected++
      this.recordsChecked++
    }
    if (expected <= where.fetchOffset && isFirst) {
      throw new CheckFailed("offsets", "a fetched batch ends before the offset that was asked for", facts)
    }
    return expected
  }

  #knownOf(partition: PartitionTruth): Known {
    const known = this.#known.get(partition)
    if (known !== undefined) return known
    const first: Known = { linearizable: 0, highWatermarks: new Map() }
    this.#known.set(partition, first)
    return first
  }
}
