// Goal: a body is joined once for all puts of the same chunks that are under way, and never after they may have changed.
// Method: the bytes and their identity, seen through several borrowers.
import { assert, describe, it } from "vitest"
import { base64OfCrc, joinBody } from "#backends/object/joined-body.ts"
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
})
