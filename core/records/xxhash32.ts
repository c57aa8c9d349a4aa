/**
 * xxHash of 32 bits with seed 0 [pure]: the checksum of LZ4 frames, and of nothing else here.
 */

const PRIME_1 = 0x9e3779b1
const PRIME_2 = 0x85ebca77
const PRIME_3 = 0xc2b2ae3d
const PRIME_4 = 0x27d4eb2f
const PRIME_5 = 0x165667b1
const STRIPE_BYTES = 16

/** Of bytes[start, end), as an unsigned number. */
export const xxhash32 = (bytes: Buffer, start: number, end: number): number => {
  let at = start
  let hash = PRIME_5
  if (end - start >= STRIPE_BYTES) {
    let first = (PRIME_1 + PRIME_2) | 0
    let second = PRIME_2 | 0
    let third = 0
    let fourth = -PRIME_1 | 0
    for (; at <= end - STRIPE_BYTES; at += STRIPE_BYTES) {
      first = lane(first, word(bytes, at))
      second = lane(second, word(bytes, at + 4))
      third = lane(third, word(bytes, at + 8))
      fourth = lane(fourth, word(bytes, at + 12))
    }
    hash = rotate(first, 1) + rotate(second, 7) + rotate(third, 12) + rotate(fourth, 18)
  }
  hash = (hash + (end - start)) | 0
  for (; at <= end - 4; at += 4) {
    hash = Math.imul(rotate((hash + Math.imul(word(bytes, at), PRIME_3)) | 0, 17), PRIME_4)
  }
  for (; at < end; at++) {
    hash = Math.imul(rotate((hash + Math.imul(bytes[at]!, PRIME_5)) | 0, 11), PRIME_1)
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2)
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3)
  return (hash ^ (hash >>> 16)) >>> 0
}

const lane = (sum: number, input: number): number =>
  Math.imul(rotate((sum + Math.imul(input, PRIME_2)) | 0, 13), PRIME_1)

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits))

const word = (bytes: Buffer, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
