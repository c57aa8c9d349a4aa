/**
 * Goal: the checksum of LZ4 frames is xxHash's.
 * Method: published vectors (seed 0) on both sides of its stripe of 16 bytes, at an offset into a larger buffer.
 */
import { assert, describe, it } from "vitest"
import { xxhash32 } from "#core/records/xxhash32.ts"

describe("xxhash32", () => {
  const vectors: ReadonlyArray<readonly [text: string, hash: number]> = [
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0xe2293b2f]
  ]
  for (const [text, hash] of vectors) {
    it(`of "${text}" is the published number`, () => {
      const bytes = Buffer.from(`xx${text}yy`)
      assert.strictEqual(xxhash32(bytes, 2, bytes.length - 2), hash)
    })
  }
})
