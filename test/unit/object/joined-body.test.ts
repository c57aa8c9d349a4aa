// Goal: a body is joined once for all puts of the same chunks that are under way, and never after they may have changed.
// Method: the bytes and their identity, seen through several borrowers.
import { assert, describe, it } from "vitest"
import { base64OfCrc, joinBody } from "#backends/object/joined-body.ts"
import { limits } from "#core/model/limits.ts"
import { crc32cOf } from "#core/records/crc32c.ts"

const chunks = () => [Buffer.from("abc"), new Uint8Array([100]), Buffer.alloc(0), Buffer.from("ef")]

describe("a joined body", () => {
  it("holds the chunks in order, with the checksum as S3 writes it", () => {
    const body = joinBody(chunks())
    assert.strictEqual(body.bytes.toString(), "abcdef")
    assert.strictEqual(body.crc32c, base64OfCrc(crc32cOf([Buffer.from("abcdef")])))
    // RFC 3720, B.4: 32 bytes of zeros.
    assert.strictEqual(joinBody([Buffer.alloc(16), Buffer.alloc(16)]).crc32c, "ipE2qg==")
  })

  it("is one for all that borrow it at once", () => {
    const shared = chunks()
    const [first, second] = [joinBody(shared), joinBody(shared)]
    assert.strictEqual(first.bytes, second.bytes)
    first.release()
    assert.strictEqual(joinBody(shared).bytes, second.bytes)
  })

  it("is made anew when nobody borrows the old one: the chunks may have changed", () => {
    const shared = chunks()
    joinBody(shared).release()
    shared[0]!.fill(120)
    assert.strictEqual(joinBody(shared).bytes.toString(), "xxxdef")
  })

  it("of one chunk is that chunk, of none is empty", () => {
    const only = Buffer.from("xabc").subarray(1)
    assert.strictEqual(joinBody([only]).bytes.buffer, only.buffer)
    assert.strictEqual(joinBody([only]).bytes.toString(), "abc")
    assert.strictEqual(joinBody([]).bytes.length, 0)
  })

  it("of a large one is joined in memory that an earlier one gave back, but never in one that is still borrowed", () => {
    const large = (fill: number) => Array.from({ length: 16 }, () => Buffer.alloc(65_536, fill))
    const first = joinBody(large(1))
    const second = joinBody(large(2))
    assert.notStrictEqual(first.bytes.buffer, second.bytes.buffer)
    first.release()
    const third = joinBody(large(3))
    assert.strictEqual(third.bytes.buffer, first.bytes.buffer)
    assert.isTrue(second.bytes.every((byte) => byte === 2))
    assert.isTrue(third.bytes.every((byte) => byte === 3))
    const fourth = joinBody(large(4))
    assert.notInclude([second.bytes.buffer, third.bytes.buffer], fourth.bytes.buffer)
  })

  it("keeps bounded memory", () => {
    const one = Buffer.alloc(1024 * 1024)
    const bodies = Array.from({ length: 40 }, () => joinBody([one, one, one, one]))
    const memory = new Set(bodies.map((body) => body.bytes.buffer))
    for (const body of bodies) body.release()
    const again = Array.from({ length: 40 }, () => joinBody([one, one, one, one]))
    const kept = again.filter((body) => memory.has(body.bytes.buffer))
    assert.isAbove(kept.length, 0)
    assert.isAtMost(
      kept.reduce((bytes, body) => bytes + body.bytes.buffer.byteLength, 0),
      limits.joinedBytesKept
    )
    for (const body of again) body.release()
  })
})
