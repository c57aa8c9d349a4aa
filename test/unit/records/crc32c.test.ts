/**
 * Goal: one CRC-32C, whatever way it is computed.
 * Method: published vectors (RFC 3720, B.4), and the JavaScript and native ways against each other at all short lengths.
 */
import { assert, describe, it } from "vitest"
import { crc32c, crc32cOf, crc32cSliced } from "#core/records/crc32c.ts"

const noise = (length: number): Buffer => {
  const bytes = Buffer.alloc(length)
  let state = 12345
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[at] = state >>> 16
  }
  return bytes
}

describe("crc32c", () => {
  const vectors: ReadonlyArray<readonly [name: string, bytes: Buffer, crc: number]> = [
    ["no bytes", Buffer.alloc(0), 0],
    ["123456789", Buffer.from("123456789"), 0xe3069283],
    ["32 zeroes", Buffer.alloc(32), 0x8a9136aa],
    ["32 ones", Buffer.alloc(32, 0xff), 0x62a8ab43],
    ["ascending", Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e],
    ["descending", Buffer.from(Array.from({ length: 32 }, (_, index) => 31 - index)), 0x113fdb5c]
  ]
  for (const [name, bytes, crc] of vectors) {
    it(`of ${name} is the published number`, () => {
      assert.strictEqual(crc32c(bytes), crc)
      assert.strictEqual(crc32cSliced(bytes), crc)
    })
  }

  it("is the same native and sliced, at every length and alignment", () => {
    const bytes = noise(1400)
    for (let length = 0; length <= 700; length++) {
      const view = bytes.subarray(length % 13, (length % 13) + length)
      assert.strictEqual(crc32c(view), crc32cSliced(view), `${length} bytes`)
    }
  })

  it("goes on from a seed, wherever the bytes are split", () => {
    const bytes = noise(600)
    const whole = crc32c(bytes)
    for (let split = 0; split <= bytes.length; split++) {
      const first = bytes.subarray(0, split)
      const second = bytes.subarray(split)
      assert.strictEqual(crc32c(second, crc32c(first)), whole)
      assert.strictEqual(crc32cSliced(second, crc32cSliced(first)), whole)
      assert.strictEqual(crc32cOf([first, second]), whole)
    }
  })

  it("is an unsigned number", () => assert.isAtLeast(crc32c(Buffer.from("123456789")), 2 ** 31))
})
