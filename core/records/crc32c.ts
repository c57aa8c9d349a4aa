/**
 * CRC-32C (Castagnoli), the checksum of Kafka's record batches and of what Meridian stores [pure].
 *
 * Crossing into native code costs more than it saves on short inputs: those are done in JavaScript, slicing by eight,
 * which is also what remains where the native module does not load. Both ways give the same number.
 */
import { loadNativeModule } from "./native-module.ts"

interface NativeCrc {
  readonly crc32c: (bytes: Uint8Array, initialState?: number) => number
}

/** From here on the native module is faster, measured by test/bench/records.bench.ts. */
const NATIVE_BYTES_MIN = 256
const REVERSED_POLYNOMIAL = 0x82f63b78

const native = loadNativeModule<NativeCrc>("@node-rs/crc32")

/** Of the bytes, as an unsigned number. `seed` is the CRC of the bytes before them: crc32c(b, crc32c(a)) is of a + b. */
export const crc32c = (bytes: Uint8Array, seed = 0): number =>
  native !== undefined && bytes.length >= NATIVE_BYTES_MIN ? native.crc32c(bytes, seed) : crc32cSliced(bytes, seed)

/** Of the chunks as if they were one. */
export const crc32cOf = (chunks: Iterable<Uint8Array>): number => {
  let crc = 0
  for (const chunk of chunks) crc = crc32c(chunk, crc)
  return crc
}

/** The JavaScript way, for any length: eight bytes a step, then the rest one by one. */
export const crc32cSliced = (bytes: Uint8Array, seed = 0): number => {
  let crc = ~seed
  let at = 0
  const end = bytes.length
  for (const lastStep = end - 8; at <= lastStep; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc =
      TABLES[0x700 + (crc & 0xff)]! ^
      TABLES[0x600 + ((crc >>> 8) & 0xff)]! ^
      TABLES[0x500 + ((crc >>> 16) & 0xff)]! ^
      TABLES[0x400 + (crc >>> 24)]! ^
      TABLES[0x300 + bytes[at + 4]!]! ^
      TABLES[0x200 + bytes[at + 5]!]! ^
      TABLES[0x100 + bytes[at + 6]!]! ^
      TABLES[bytes[at + 7]!]!
  }
  for (; at < end; at++) crc = TABLES[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** Eight tables of 256 in one array: table k gives what a byte contributes after k further bytes. */
const buildTables = (): Int32Array => {
  const tables = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ REVERSED_POLYNOMIAL : crc >>> 1
    tables[byte] = crc
  }
  for (let index = 256; index < tables.length; index++) {
    const shorter = tables[index - 256]!
    tables[index] = tables[shorter & 0xff]! ^ (shorter >>> 8)
  }
  return tables
}

const TABLES = buildTables()
