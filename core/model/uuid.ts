/**
 * UUIDs as the product holds them [pure]: 32 lower-case hex digits, no dashes. One representation everywhere inside
 * (map keys, log entries, object keys); only the wire has 16 raw bytes, and only what people see has Kafka's base64url.
 */
import { assert } from "./assert.ts"

export type Uuid = string

/** Kafka's "no topic id" on the wire. */
export const UUID_ZERO: Uuid = "00000000000000000000000000000000"

const PATTERN = /^[0-9a-f]{32}$/

export const isUuid = (value: string): value is Uuid => PATTERN.test(value)

/** A version 4 UUID (RFC 9562) of 16 random bytes, which are changed in place. */
export const uuidFromRandom = (bytes: Buffer): Uuid => {
  assert(bytes.length === 16, "a UUID has 16 bytes")
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString("hex")
}

/** As Kafka prints it: base64url without padding, 22 characters. */
export const uuidToBase64 = (uuid: Uuid): string => Buffer.from(uuid, "hex").toString("base64url")
