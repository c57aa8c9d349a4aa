/**
 * What generated encoders call [pure]: writing of strings, uuids and wide integers, and the scratch space between the
 * size pass and the write pass.
 */
import { messageName, type MessageVersion } from "./code-text.ts"
import { ProtocolError } from "./protocol-error.ts"

export interface EncoderScratch {
  /** Sizes that the size pass found, in the order of the write pass. */
  readonly sizes: Array<number>
  recordBytes: number
  /** Where each records value belongs, and the value. */
  readonly cuts: Array<number>
  readonly records: Array<Buffer | ReadonlyArray<Buffer>>
}

export const makeScratch = (): EncoderScratch => ({ sizes: [], recordBytes: 0, cuts: [], records: [] })

const STRING_BYTES_MAX = 32_767
/** Below this length a loop over the characters beats the call into the runtime. */
const SHORT_STRING = 32
const TWO_TO_32 = 4_294_967_296
const INT64_END = 9_223_372_036_854_775_808
const UUID_DIGITS = 32

/** Value of a hex digit by its character code, 255 where it is none. */
const HEX_VALUES = new Uint8Array(128).fill(255)
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16)
  HEX_VALUES[digit.charCodeAt(0)] = value
  HEX_VALUES[digit.toUpperCase().charCodeAt(0)] = value
}

const uvarint = (bytes: Buffer, offset: number, value: number): number => {
  let position = offset
  let rest = value
  while (rest > 127) {
    bytes[position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[position++] = rest
  return position
}

/** `length` is what utf8Length said: equal to the string's own only where each character takes one byte. */
const string = (bytes: Buffer, offset: number, value: string, length: number): number => {
  if (length === value.length && length <= SHORT_STRING) {
    for (let index = 0; index < length; index++) bytes[offset + index] = value.charCodeAt(index)
  } else bytes.write(value, offset, length, "utf8")
  return offset + length
}

const writeInt32 = (bytes: Buffer, offset: number, value: number): void => {
  bytes[offset] = value >>> 24
  bytes[offset + 1] = value >>> 16
  bytes[offset + 2] = value >>> 8
  bytes[offset + 3] = value
}

export const encoderHelpers = (at: MessageVersion, scratch: EncoderScratch) => {
  const fail = (field: string, problem: string): never => {
    const message = messageName(at.message)
    throw new ProtocolError({ reason: "unencodable", message, version: at.version, field, offset: -1, problem })
  }

  const lacks = (field: string): never => fail(field, "this version cannot carry it")

  const utf8Length = (value: unknown, field: string): number => {
    if (typeof value !== "string") return fail(field, `it must be a string, not ${typeof value}`)
    let length = value.length
    if (length <= SHORT_STRING) {
      let index = 0
      while (index < length && value.charCodeAt(index) < 128) index++
      if (index < length) length = Buffer.byteLength(value)
    } else length = Buffer.byteLength(value)
    if (length > STRING_BYTES_MAX) return fail(field, `a string takes at most ${STRING_BYTES_MAX} bytes, not ${length}`)
    return length
  }

  const recordsLength = (value: unknown, field: string): number => {
    if (Buffer.isBuffer(value)) return value.length
    if (!Array.isArray(value)) return fail(field, "it must be a Buffer or an array of Buffers")
    let length = 0
    for (const chunk of value) {
      if (!Buffer.isBuffer(chunk)) return fail(field, "it must be a Buffer or an array of Buffers")
      length += chunk.length
    }
    return length
  }

  /** Clamped to what 64 bits hold. */
  const int64 = (bytes: Buffer, offset: number, value: number, field: string): void => {
    if ((value | 0) === value) {
      writeInt32(bytes, offset, value < 0 ? -1 : 0)
      writeInt32(bytes, offset + 4, value)
      return
    }
    if (typeof value !== "number" || Math.floor(value) !== value) {
      return fail(field, `it must be a whole number, not ${String(value)}`)
    }
    const high = Math.floor(value / TWO_TO_32)
    if (value >= INT64_END) {
      writeInt32(bytes, offset, 0x7fffffff)
      writeInt32(bytes, offset + 4, -1)
    } else if (value < -INT64_END) {
      writeInt32(bytes, offset, 0x80000000)
      writeInt32(bytes, offset + 4, 0)
    } else {
      writeInt32(bytes, offset, high)
      writeInt32(bytes, offset + 4, value - high * TWO_TO_32)
    }
  }

  const uuid = (bytes: Buffer, offset: number, value: unknown, field: string): void => {
    if (typeof value !== "string" || value.length !== UUID_DIGITS) return fail(field, "it must be 32 hex digits")
    let seen = 0
    for (let index = 0; index < 16; index++) {
      const high = HEX_VALUES[value.charCodeAt(2 * index)] ?? 255
      const low = HEX_VALUES[value.charCodeAt(2 * index + 1)] ?? 255
      seen |= high | low
      bytes[offset + index] = (high << 4) | low
    }
    if (seen > 15) fail(field, "it must be 32 hex digits")
  }

  const EMPTY = Buffer.alloc(0)
  const EMPTY_ARRAY: ReadonlyArray<never> = Object.freeze([])
  return { fail, lacks, utf8Length, recordsLength, uvarint, int64, uuid, string, EMPTY, EMPTY_ARRAY, scratch }
}
