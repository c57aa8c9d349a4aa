/**
 * Walks the records of one batch [pure]: no copy, no object per record. The only parser of records there is; validation,
 * lookups and the client go through it.
 *
 * A cursor is reused: `open` it on a batch, then `next()` until it returns false; the fields describe the record that
 * `next` came to. `bytes` is the batch's own buffer, or what its block became when it was decompressed (once, bounded);
 * both stay valid as long as the caller keeps them. Everything that a batch may lie about is checked before it is used;
 * a lie throws RecordError. The CRC is not looked at: whoever has not checked it does so before.
 *
 *   record: length varint · attributes i8 · timestampDelta varlong · offsetDelta varint · key · value · headers
 *   key, value: length varint (below 0: null) · bytes        headers: count varint · (key · value) each
 */
import { limits } from "#core/model/limits.ts"
import * as batchHeader from "./batch-header.ts"
import { decompress } from "./compression.ts"
import { RecordError } from "./record-error.ts"

export interface RecordHeader {
  readonly key: string
  /** A view into the cursor's `bytes`. */
  readonly value: Buffer | null
}

const NO_BYTES = Buffer.alloc(0)
const TWO_TO_28 = 2 ** 28
const TWO_TO_56 = 2 ** 56

export class RecordCursor {
  /** What the positions below point into. */
  bytes: Buffer = NO_BYTES
  offset = -1
  offsetDelta = -1
  /** Of a LogAppendTime batch its maxTimestamp, as in Kafka. */
  timestamp = -1
  attributes = 0
  /** Half-open; -1 where the key is null. */
  keyStart = -1
  keyEnd = -1
  /** Half-open; -1 where the value is null. */
  valueStart = -1
  valueEnd = -1
  headerCount = 0
  /** Of the batch. */
  recordCount = 0

  #recordsRead = 0
  #at = 0
  #end = 0
  #baseOffset = 0
  #baseTimestamp = 0
  #headersAt = 0
  /** NaN: the records have their own timestamps. */
  #appendTimestamp = Number.NaN

  /**
   * Opens the batch at `at`. `timestamps: "own"` takes the records' timestamps also where the batch says LogAppendTime.
   * Throws RecordError where the header is not sound or the records cannot be decompressed within `uncompressedBytesMax`.
   */
  open(
    bytes: Buffer,
    at = 0,
    options: { readonly uncompressedBytesMax?: number; readonly timestamps?: "own" | "batch" } = {}
  ): void {
    const end = at + batchHeader.checkedBatchBytes(bytes, at)
    const codec = batchHeader.codec(bytes, at)
    this.recordCount = batchHeader.recordCount(bytes, at)
    if (this.recordCount < 0) throw new RecordError("malformed", `batch states ${this.recordCount} records`)
    this.#recordsRead = 0
    this.#baseOffset = batchHeader.baseOffset(bytes, at)
    this.#baseTimestamp = batchHeader.baseTimestamp(bytes, at)
    const takesAppendTime = options.timestamps !== "own" && batchHeader.timestampType(bytes, at) === "append"
    this.#appendTimestamp = takesAppendTime ? batchHeader.maxTimestamp(bytes, at) : Number.NaN
    this.#at = at + batchHeader.BATCH_HEADER_BYTES
    this.#end = end
    this.bytes = bytes
    // A batch that compaction emptied keeps its header and may have a codec but nothing to decompress.
    if (codec !== 0 && this.recordCount > 0) {
      const bytesMax = options.uncompressedBytesMax ?? limits.batchBytesUncompressedMax
      this.bytes = decompress(codec, bytes.subarray(this.#at, end), bytesMax)
      this.#at = 0
      this.#end = this.bytes.length
    }
  }

  /** Goes to the next record; false after the last. Throws RecordError where the records are not what they claim. */
  next(): boolean {
    if (this.#recordsRead === this.recordCount) return false
    const length = this.#readVarint(this.#end)
    const start = this.#at
    if (length < 0 || length > this.#end - start) {
      throw new RecordError("truncated", `${this.#where()} states ${length} bytes, ${this.#end - start} are left`)
    }
    const end = start + length
    if (length === 0) throw this.#endsEarly()
    const bytes = this.bytes
    this.attributes = bytes[this.#at++]!
    const timestampDelta = this.#readVarlong(end)
    // NaN is the only number that differs from itself.
    const isAppendTime = this.#appendTimestamp === this.#appendTimestamp
    this.timestamp = isAppendTime ? this.#appendTimestamp : this.#baseTimestamp + timestampDelta
    this.offsetDelta = this.#readVarint(end)
    this.offset = this.#baseOffset + this.offsetDelta
    const keyLength = this.#readVarint(end)
    this.keyStart = keyLength < 0 ? -1 : this.#at
    this.#skip(keyLength, end)
    this.keyEnd = keyLength < 0 ? -1 : this.#at
    const valueLength = this.#readVarint(end)
    this.valueStart = valueLength < 0 ? -1 : this.#at
    this.#skip(valueLength, end)
    this.valueEnd = valueLength < 0 ? -1 : this.#at
    this.headerCount = this.#readVarint(end)
    this.#headersAt = this.#at
    if (this.headerCount !== 0) this.#skipHeaders(end)
    if (this.#at !== end) {
      throw new RecordError("malformed", `${this.#where()} states ${length} bytes but has ${this.#at - start}`)
    }
    this.#recordsRead += 1
    if (this.#recordsRead === this.recordCount && this.#at !== this.#end) {
      throw new RecordError("malformed", `${this.#end - this.#at} bytes are left after the batch's last record`)
    }
    return true
  }

  /** Lets go of the batch, so that a cursor kept for reuse does not keep its bytes alive. */
  release(): void {
    this.bytes = NO_BYTES
    this.recordCount = 0
    this.#recordsRead = 0
  }

  /** A view into `bytes`, or null. */
  key(): Buffer | null {
    return this.keyStart < 0 ? null : this.bytes.subarray(this.keyStart, this.keyEnd)
  }

  /** A view into `bytes`, or null. */
  value(): Buffer | null {
    return this.valueStart < 0 ? null : this.bytes.subarray(this.valueStart, this.valueEnd)
  }

  /** The record's headers in order; read anew at each call, values are views into `bytes`. */
  headers(): Array<RecordHeader> {
    const found: Array<RecordHeader> = []
    const resumeAt = this.#at
    this.#at = this.#headersAt
    for (let index = 0; index < this.headerCount; index++) {
      const keyLength = this.#readVarint(resumeAt)
      const key = this.bytes.toString("utf8", this.#at, this.#at + keyLength)
      this.#at += keyLength
      const valueLength = this.#readVarint(resumeAt)
      const value = valueLength < 0 ? null : this.bytes.subarray(this.#at, this.#at + valueLength)
      this.#at += Math.max(valueLength, 0)
      found.push({ key, value })
    }
    this.#at = resumeAt
    return found
  }

  #skipHeaders(end: number): void {
    // A header takes two bytes at least, so a count that lies ends the walk soon.
    if (this.headerCount < 0 || this.headerCount > end - this.#at) {
      throw new RecordError("malformed", `${this.#where()} states ${this.headerCount} headers`)
    }
    for (let index = 0; index < this.headerCount; index++) {
      const keyLength = this.#readVarint(end)
      if (keyLength < 0) throw new RecordError("malformed", `${this.#where()} has a header without a key`)
      this.#skip(keyLength, end)
      this.#skip(this.#readVarint(end), end)
    }
  }

  #skip(length: number, end: number): void {
    if (length <= 0) return
    if (length > end - this.#at) throw this.#endsEarly()
    this.#at += length
  }

  /** A zigzag varint of 32 bits. Bits beyond them are dropped, a sixth byte is refused: Kafka's rules. */
  #readVarint(end: number): number {
    const bytes = this.bytes
    let at = this.#at
    let raw = 0
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) throw this.#endsEarly()
      const byte = bytes[at++]!
      raw |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.#at = at
        return (raw >>> 1) ^ -(raw & 1)
      }
    }
    throw new RecordError("malformed", `${this.#where()} has a varint of more than 5 bytes`)
  }

  /** A zigzag varint of 64 bits; exact up to 2^53. Bits beyond 64 are dropped, an eleventh byte is refused. */
  #readVarlong(end: number): number {
    const bytes = this.bytes
    let at = this.#at
    let low = 0
    let middle = 0
    let high = 0
    for (let index = 0; index < 10; index++) {
      if (at >= end) throw this.#endsEarly()
      const byte = bytes[at++]!
      if (index < 4) low |= (byte & 0x7f) << (7 * index)
      else if (index < 8) middle |= (byte & 0x7f) << (7 * (index - 4))
      else high |= (byte & 0x7f) << (7 * (index - 8))
      if (byte < 0x80) {
        this.#at = at
        if (index < 4) return (low >>> 1) ^ -(low & 1)
        const half = ((high & 0xff) * TWO_TO_56 + middle * TWO_TO_28 + (low - (low & 1))) / 2
        return (low & 1) === 0 ? half : -half - 1
      }
    }
    throw new RecordError("malformed", `${this.#where()} has a varlong of more than 10 bytes`)
  }

  #endsEarly(): RecordError {
    return new RecordError("truncated", `${this.#where()} ends before its fields do`)
  }

  #where(): string {
    return `record ${this.#recordsRead} of ${this.recordCount}`
  }
}
