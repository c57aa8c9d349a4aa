/**
 * Records whose every byte can be checked [pure]: a value says who made it, which number it has and at which attempt it was
 * sent, and the rest follows from that.
 *
 *   producer u16 · attempt u16 · number u32 · filler: (number * 31 + producer * 7 + index) mod 256
 */
import { assert } from "#core/model/assert.ts"

export interface RecordName {
  readonly producer: number
  readonly number: number
  /** A batch that is sent again says so: each attempt may be in the log once. */
  readonly attempt: number
}

const HEAD_BYTES = 8

export const encodePayload = ({ producer, number, attempt }: RecordName, bytes: number): Buffer => {
  assert(bytes >= HEAD_BYTES, `a payload has at least ${HEAD_BYTES} bytes`)
  const value = Buffer.allocUnsafe(bytes)
  value.writeUInt16BE(producer, 0)
  value.writeUInt16BE(attempt % 65_536, 2)
  value.writeUInt32BE(number, 4)
  const first = number * 31 + producer * 7
  for (let at = HEAD_BYTES; at < bytes; at++) value[at] = (first + at) & 0xff
  return value
}

/** Undefined where one byte is wrong. */
export const decodePayload = (bytes: Buffer, start: number, end: number): RecordName | undefined => {
  if (end - start < HEAD_BYTES) return undefined
  const producer = bytes.readUInt16BE(start)
  const attempt = bytes.readUInt16BE(start + 2)
  const number = bytes.readUInt32BE(start + 4)
  const first = number * 31 + producer * 7
  for (let at = HEAD_BYTES; at < end - start; at++) {
    if (bytes[start + at] !== ((first + at) & 0xff)) return undefined
  }
  return { producer, number, attempt }
}

export const nameText = ({ producer, number, attempt }: RecordName): string => `${producer}:${number}#${attempt}`
