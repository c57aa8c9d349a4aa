/**
 * Goal: what one codec writes it reads, nothing grows beyond the caller's bound, and bad bytes are a RecordError.
 * Method: round trips, bombs of each codec, every cut and changed byte, frames made by hand. What other clients read and
 * write is in record-cursor.test.ts and broker-verdicts.test.ts.
 */
import zlib from "node:zlib"
import { assert, describe, it } from "vitest"
import { AssertionFailed } from "#core/model/assert.ts"
import { CODEC_GZIP, CODEC_LZ4, CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD } from "#core/records/codec-id.ts"
import { compress, decompress } from "#core/records/compression.ts"
import { xxhash32 } from "#core/records/xxhash32.ts"
import { RecordError, type RecordErrorReason } from "#core/records/record-error.ts"

const CODECS = { gzip: CODEC_GZIP, snappy: CODEC_SNAPPY, lz4: CODEC_LZ4, zstd: CODEC_ZSTD }

const reasonOf = (codec: number, bytes: Buffer, bytesMax: number): RecordErrorReason | "none" => {
  try {
    assert.isAtMost(decompress(codec, bytes, bytesMax).length, bytesMax)
    return "none"
  } catch (error) {
    if (error instanceof RecordError) return error.reason
    throw error
  }
}

const text = (length: number): Buffer => {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes[at] = 97 + ((at * at) % 23) + ((at >> 8) % 3)
  return bytes
}

describe("bad compressed bytes", () => {
  for (const [name, codec] of Object.entries(CODECS)) {
    it(`of ${name} never unfold beyond the bound`, () => {
      const bomb = compress(codec, Buffer.alloc(20_000_000))
      for (const bytesMax of [0, 1, 1000, 19_999_999]) {
        assert.strictEqual(reasonOf(codec, bomb, bytesMax), "too-large", `${bytesMax}`)
      }
      assert.strictEqual(reasonOf(codec, bomb, 20_000_000), "none")
    })

    it(`of ${name} are refused wherever they are cut`, () => {
      const bytes = compress(codec, text(3000))
      for (let length = 1; length < bytes.length; length++) {
        // Cut right behind its header, snappy's framing holds no block, which is no data and no error.
        if (codec === CODEC_SNAPPY && length === 16) continue
        assert.strictEqual(
          reasonOf(codec, bytes.subarray(0, length), 10_000),
          "corrupt-compression",
          `cut to ${length}`
        )
      }
    })

    it(`of ${name} never do worse than a RecordError, whichever byte changes`, () => {
      const bytes = compress(codec, text(700))
      for (let at = 0; at < bytes.length; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const changed = Buffer.from(bytes)
          changed[at]! ^= 1 << bit
          assert.include(["none", "corrupt-compression", "too-large"], reasonOf(codec, changed, 10_000))
        }
      }
    })

    it(`that are not ${name} at all are refused`, () => {
      for (const bytes of [Buffer.from("plain text, no frame of anything"), Buffer.alloc(64, 0xff)]) {
        assert.strictEqual(reasonOf(codec, bytes, 10_000), "corrupt-compression")
      }
    })
  }

  it("of an unknown codec are refused", () => {
    for (const codec of [5, 6, 7, -1]) {
      assert.strictEqual(reasonOf(codec, Buffer.alloc(9), 100), "unsupported-codec")
      assert.throws(() => compress(codec, Buffer.alloc(9)), RecordError)
    }
  })

  it("with a bound that is no size are the caller's mistake", () => {
    for (const bytesMax of [-1, Number.NaN, Infinity]) {
      assert.throws(() => decompress(CODEC_NONE, Buffer.alloc(1), bytesMax), AssertionFailed)
    }
  })

  it("uncompressed are held to the bound too", () => {
    assert.strictEqual(reasonOf(CODEC_NONE, Buffer.alloc(11), 10), "too-large")
  })

  it("of zstd followed by other bytes are refused, followed by a frame are read on", () => {
    const frame = compress(CODEC_ZSTD, text(100))
    assert.strictEqual(reasonOf(CODEC_ZSTD, Buffer.concat([frame, Buffer.from("abcd")]), 1000), "corrupt-compression")
    const two = decompress(CODEC_ZSTD, Buffer.concat([frame, frame]), 1000)
    assert.deepEqual(two, Buffer.concat([text(100), text(100)]))
    assert.strictEqual(reasonOf(CODEC_ZSTD, Buffer.concat([frame, frame]), 199), "too-large")
  })

  it("of snappy that claim gigabytes are refused before anything is allocated", () => {
    const claim = Buffer.from("ffffffff0f", "hex")
    const padded = Buffer.concat([claim, Buffer.alloc(1_000_000)])
    assert.strictEqual(reasonOf(CODEC_SNAPPY, claim, 2 ** 40), "corrupt-compression")
    assert.strictEqual(reasonOf(CODEC_SNAPPY, padded, 2 ** 40), "corrupt-compression")
  })
})

describe("lz4 frames", () => {
  /** A frame of the given flags and blocks, its header checksum right: blocks of `[bytes, isStored]`. */
  const frame = (flags: number, blockSizeId: number, blocks: ReadonlyArray<readonly [Buffer, boolean]>): Buffer => {
    const sound = compress(CODEC_LZ4, Buffer.alloc(0))
    const header = Buffer.from([...sound.subarray(0, 4), flags, blockSizeId << 4, 0])
    header[6] = (xxhash32(header, 4, 6) >>> 8) & 0xff
    const parts: Array<Buffer> = [header]
    for (const [bytes, isStored] of blocks) {
      const size = Buffer.alloc(4)
      size.writeUInt32LE(isStored ? bytes.length + 2 ** 31 : bytes.length)
      parts.push(size, bytes)
    }
    return Buffer.concat([...parts, Buffer.alloc(4)])
  }
  /** One literal, then matches of the last byte: 255 bytes of output for each byte of input. */
  const dense = (length: number): Buffer =>
    Buffer.concat([
      Buffer.from([0x1f, 0x61, 0x01, 0x00]),
      Buffer.alloc(length, 0xff),
      Buffer.from([0x00, 0x50]),
      Buffer.alloc(5)
    ])

  it("whose blocks together are too large are refused without decompressing them", () => {
    // 100 blocks of 4 MB each in 1.6 MB.
    const blocks = Array.from({ length: 100 }, () => [dense(16_000), false] as const)
    assert.strictEqual(reasonOf(CODEC_LZ4, frame(0x60, 7, blocks), 64 * 1024 * 1024), "too-large")
  })

  const refused: ReadonlyArray<readonly [string, Buffer]> = [
    ["dependent blocks", frame(0x40, 4, [])],
    ["reserved flags", frame(0x61, 4, [])],
    ["another version", frame(0xa0, 4, [])],
    ["a block size id below 4", frame(0x60, 3, [])],
    ["a block larger than its frame allows", frame(0x60, 4, [[Buffer.alloc(65_537), true]])],
    ["a wrong header checksum", Buffer.from(frame(0x60, 4, []).map((byte, index) => (index === 6 ? byte ^ 1 : byte)))],
    ["a match before its block", frame(0x60, 4, [[Buffer.from("1061020000" + "1061", "hex"), false]])],
    ["a match at distance 0", frame(0x60, 4, [[Buffer.from("1061000000" + "1061", "hex"), false]])],
    ["a block that ends with a match", frame(0x60, 4, [[Buffer.from("10610100", "hex"), false]])],
    ["a block that unfolds beyond its size", frame(0x60, 4, [[dense(300), false]])],
    ["a wrong block checksum", frame(0x70, 4, [[Buffer.from("106100000000", "hex"), true]])],
    ["no content checksum where one is announced", frame(0x64, 4, [])],
    ["no end mark", frame(0x60, 4, []).subarray(0, -4)],
    ["a header alone", frame(0x60, 4, []).subarray(0, 7)],
    ["the legacy magic", Buffer.from("02214c1800000000", "hex")]
  ]
  for (const [name, bytes] of refused) {
    it(`with ${name} are refused, as Java does`, () =>
      assert.strictEqual(reasonOf(CODEC_LZ4, bytes, 1_000_000), "corrupt-compression"))
  }
})

describe("round trips", () => {
  for (const [name, codec] of Object.entries({ none: CODEC_NONE, ...CODECS })) {
    it(`of ${name} give the bytes back at every size around the codecs' blocks, within a bound of just that size`, () => {
      for (const length of [0, 1, 2, 100, 32_767, 32_768, 32_769, 65_536, 65_537, 300_000, 5_000_000]) {
        const bytes = text(length)
        const back = decompress(codec, compress(codec, bytes), length)
        assert.isTrue(back.equals(bytes), `${length} bytes`)
      }
    })

    it(`of ${name} give back bytes that cannot be compressed`, () => {
      const bytes = zlib.deflateSync(text(200_000))
      assert.isTrue(decompress(codec, compress(codec, bytes), bytes.length).equals(bytes))
    })
  }

  it("leave uncompressed bytes where they are", () => {
    const bytes = text(10)
    assert.strictEqual(compress(CODEC_NONE, bytes), bytes)
    assert.strictEqual(decompress(CODEC_NONE, bytes, 10), bytes)
  })

  it("read raw snappy, as clients without Java write it", () => {
    const raw = Buffer.concat([Buffer.from([5, 4 << 2]), Buffer.from("hello")])
    assert.strictEqual(decompress(CODEC_SNAPPY, raw, 5).toString(), "hello")
  })

  it("read snappy streams that were appended to each other", () => {
    const stream = compress(CODEC_SNAPPY, text(40_000))
    const back = decompress(CODEC_SNAPPY, Buffer.concat([stream, stream]), 80_000)
    assert.isTrue(back.equals(Buffer.concat([text(40_000), text(40_000)])))
    assert.strictEqual(reasonOf(CODEC_SNAPPY, Buffer.concat([stream, stream]), 79_999), "too-large")
  })

  it("read lz4 frames with content size, block and content checksums", () => {
    // Written by Java's LZ4FrameOutputStream of lz4-java 1.10.2.
    const hex = "04224d187c402300000000000000eb100000006f68656c6c6f200600055068656c6c6f7220b52800000000bd9cd674"
    const frame = Buffer.from(hex, "hex")
    assert.strictEqual(decompress(CODEC_LZ4, frame, 35).toString(), "hello hello hello hello hello hello")
    assert.strictEqual(reasonOf(CODEC_LZ4, frame, 34), "too-large")
  })
})
