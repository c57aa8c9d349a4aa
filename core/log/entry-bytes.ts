/**
 * Cursors over the bytes of a log entry, a command, an answer, an index page or a checkpoint [pure]: varints, strings and
 * ids, written and read in one pass.
 *
 * The reader trusts nothing: it never reads past its end, and says what it was reading and where. It must not return part
 * of a field. Numbers are unsigned LEB128 varints up to 2^53 - 1; `signed` keeps the sign in the lowest bit.
 */
import { isUtf8 } from "node:buffer"
import { assert } from "#core/model/assert.ts"
import { type Uuid } from "#core/model/uuid.ts"

/** What the bytes should be, for people. */
export type ByteSubject = "log entry" | "command" | "answer" | "index page" | "checkpoint"

/** The bytes are not what this program can understand: cut short, damaged, or written by a newer program. */
export class EntryError extends Error {
  override readonly name = "EntryError"
  readonly subject: ByteSubject
  /** Of the subject's bytes, where reading stopped. */
  readonly byteOffset: number

  constructor(what: string, byteOffset: number, subject: ByteSubject = "log entry") {
    super(`${subject}: ${what} at byte ${byteOffset}`)
    this.subject = subject
    this.byteOffset = byteOffset
  }
}

const VARINT_BYTES_MAX = 8
const UUID_BYTES = 16

export class EntryWriter {
  private bytes: Buffer = Buffer.allocUnsafeSlow(512)
  private length = 0

  get byteLength(): number {
    return this.length
  }

  /** A view of what was written; valid until the next write. */
  written(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  u8(value: number): void {
    this.reserve(1)
    this.bytes[this.length] = value
    this.length += 1
  }

  u32(value: number): void {
    assert(value >>> 0 === value, "an unsigned 32-bit number")
    this.reserve(4)
    this.length = this.bytes.writeUInt32BE(value, this.length)
  }

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `a varint is a whole number >= 0, got ${value}`)
    this.reserve(VARINT_BYTES_MAX)
    let rest = value
    while (rest > 0x7fffffff) {
      this.bytes[this.length] = (rest % 128) | 0x80
      this.length += 1
      rest = Math.floor(rest / 128)
    }
    while (rest > 0x7f) {
      this.bytes[this.length] = (rest & 0x7f) | 0x80
      this.length += 1
      rest >>>= 7
    }
    this.bytes[this.length] = rest
    this.length += 1
  }

  /** At most 2^52 either way. */
  signed(value: number): void {
    this.varint(value < 0 ? -value * 2 - 1 : value * 2)
  }

  uuid(value: Uuid): void {
    this.reserve(UUID_BYTES)
    assert(this.bytes.write(value, this.length, UUID_BYTES, "hex") === UUID_BYTES, "a UUID has 32 hex digits")
    this.length += UUID_BYTES
  }

  string(value: string): void {
    const byteLength = Buffer.byteLength(value)
    this.varint(byteLength)
    this.reserve(byteLength)
    this.bytes.write(value, this.length, "utf8")
    this.length += byteLength
  }

  private reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }
}

export class EntryReader {
  private readonly bytes: Buffer
  private readonly end: number
  private readonly subject: ByteSubject
  private at = 0

  /** Reads the first `end` bytes. */
  constructor(bytes: Uint8Array, end: number, subject: ByteSubject = "log entry") {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.end = end
    this.subject = subject
  }

  get byteOffset(): number {
    return this.at
  }

  fail(what: string): never {
    throw new EntryError(what, this.at, this.subject)
  }

  u8(field: string): number {
    this.need(1, field)
    const value = this.bytes[this.at]!
    this.at += 1
    return value
  }

  u32(field: string): number {
    this.need(4, field)
    const value = this.bytes.readUInt32BE(this.at)
    this.at += 4
    return value
  }

  varint(field: string): number {
    const first = this.at < this.end ? this.bytes[this.at]! : this.fail(`${field} is cut short`)
    this.at += 1
    if (first < 0x80) return first
    let value = first & 0x7f
    let scale = 128
    for (let count = 1; count < VARINT_BYTES_MAX; count += 1) {
      if (this.at >= this.end) this.fail(`${field} is cut short`)
      const byte = this.bytes[this.at]!
      this.at += 1
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : this.fail(`${field} is above 2^53 - 1`)
      scale *= 128
    }
    return this.fail(`${field} is longer than ${VARINT_BYTES_MAX} bytes`)
  }

  signed(field: string): number {
    const value = this.varint(field)
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  uuid(field: string): Uuid {
    this.need(UUID_BYTES, field)
    const value = this.bytes.toString("hex", this.at, this.at + UUID_BYTES)
    this.at += UUID_BYTES
    return value
  }

  string(field: string): string {
    const byteLength = this.varint(field)
    this.need(byteLength, field)
    if (!isUtf8(this.bytes.subarray(this.at, this.at + byteLength))) this.fail(`${field} is not UTF-8`)
    const value = this.bytes.toString("utf8", this.at, this.at + byteLength)
    this.at += byteLength
    return value
  }

  /** A count of things that take at least `bytesEach` each: a false one fails here, before anything is reserved for it. */
  count(field: string, bytesEach: number): number {
    const count = this.varint(field)
    if (count * bytesEach > this.end - this.at) this.fail(`${field} of ${count} does not fit into the ${this.subject}`)
    return count
  }

  private need(count: number, field: string): void {
    if (this.at + count > this.end) this.fail(`${field} is cut short`)
  }
}
