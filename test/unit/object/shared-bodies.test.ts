// Goal: bodies for put threads are whole, shared by the buckets of a quorum, and their memory is used again only when the
// last of them has let go.
import { assert, describe, it } from "vitest"
import { lendBody } from "#backends/object/shared-bodies.ts"

const chunksOf = (...texts: ReadonlyArray<string>) => texts.map((text) => Buffer.from(text))

describe("lendBody", () => {
  it("gives the chunks' bytes, in order, in shared memory", () => {
    const { pieces, release } = lendBody(chunksOf("one ", "", "two"))
    assert.strictEqual(Buffer.concat(pieces).toString(), "one two")
    for (const piece of pieces) assert.instanceOf(piece.buffer, SharedArrayBuffer)
    release()
  })

  it("gives one copy to all who put the same chunks, and lends it anew only after the last has given it back", () => {
    const chunks = chunksOf("a", "b")
    const first = lendBody(chunks)
    const second = lendBody(chunks)
    assert.strictEqual(first.pieces, second.pieces)
    first.release()
    const other = lendBody(chunksOf("other"))
    assert.notStrictEqual(other.pieces[0]!.buffer, second.pieces[0]!.buffer)
    assert.strictEqual(Buffer.concat(second.pieces).toString(), "ab")
    second.release()
    const next = lendBody(chunksOf("next"))
    assert.strictEqual(next.pieces[0]!.buffer, second.pieces[0]!.buffer, "the memory is used again")
    assert.strictEqual(Buffer.concat(next.pieces).toString(), "next")
    next.release()
    other.release()
  })

  it("holds bodies of any size, however they are cut into chunks", () => {
    for (const sizes of [
      [0],
      [524_288],
      [524_289],
      [100_000, 3_000_000, 0, 1, 524_288],
      Array.from({ length: 3_000 }, () => 997)
    ]) {
      const chunks = sizes.map((size, index) => Buffer.alloc(size, index + 1))
      const { pieces, release } = lendBody(chunks)
      assert.isTrue(Buffer.concat(pieces).equals(Buffer.concat(chunks)))
      release()
    }
  })

  it("copies again what is put again after it was given back", () => {
    const chunks = chunksOf("x")
    lendBody(chunks).release()
    chunks[0]!.write("y")
    const again = lendBody(chunks)
    assert.strictEqual(Buffer.concat(again.pieces).toString(), "y")
    again.release()
    assert.throws(() => again.release(), /once by each borrower/)
  })
})
