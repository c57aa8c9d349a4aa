// Goal: bodies for put threads are whole, shared by the buckets of a quorum, and their memory is used again only when the
// last of them has let go.
import { assert, describe, it } from "vitest"
import { lendBody } from "#backends/object/shared-bodies.ts"

const chunksOf = (...texts: ReadonlyArray<string>) => texts.map((text) => Buffer.from(text))

describe("lendBody", () => {
  it("gives the chunks' bytes, in order, in shared memory", () => {
    const { bytes, release } = lendBody(chunksOf("one ", "", "two"))
    assert.strictEqual(Buffer.from(bytes).toString(), "one two")
    assert.instanceOf(bytes.buffer, SharedArrayBuffer)
    release()
  })

  it("gives one copy to all who put the same chunks, and lends it anew only after the last has given it back", () => {
    const chunks = chunksOf("a", "b")
    const first = lendBody(chunks)
    const second = lendBody(chunks)
    assert.strictEqual(first.bytes.buffer, second.bytes.buffer)
    first.release()
    const other = lendBody(chunksOf("other"))
    assert.notStrictEqual(other.bytes.buffer, second.bytes.buffer)
    assert.strictEqual(Buffer.from(second.bytes).toString(), "ab")
    second.release()
    const next = lendBody(chunksOf("next"))
    assert.strictEqual(next.bytes.buffer, second.bytes.buffer, "the memory is used again")
    assert.strictEqual(Buffer.from(next.bytes).toString(), "next")
    next.release()
    other.release()
  })

  it("copies again what is put again after it was given back", () => {
    const chunks = chunksOf("x")
    lendBody(chunks).release()
    chunks[0]!.write("y")
    const again = lendBody(chunks)
    assert.strictEqual(Buffer.from(again.bytes).toString(), "y")
    again.release()
    assert.throws(() => again.release(), /once by each borrower/)
  })
})
