// Goal: any cutting of a stream into chunks gives the same frames, within the memory that was admitted.
// Method: seeded random frames and cuts, compared with the frames that went in; bounds and refusals one by one.
import { assert, describe, it } from "vitest"
import { FrameReader } from "#core/agent/frame-reader.ts"

const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

const framed = (body: Buffer) => {
  const prefix = Buffer.alloc(4)
  prefix.writeInt32BE(body.length)
  return Buffer.concat([prefix, body])
}

const collect = (options: { admit?: (bytes: number) => boolean; frameBytesMax?: number } = {}) => {
  const frames: Array<Buffer> = []
  const invalid: Array<number> = []
  const reader = new FrameReader({
    frameBytesMax: options.frameBytesMax ?? 10_000_000,
    admit: options.admit ?? (() => true),
    onFrame: (frame) => frames.push(frame),
    onInvalid: (bytes) => invalid.push(bytes)
  })
  return { reader, frames, invalid }
}

describe("FrameReader", () => {
  it("gives the frames that went in, however the stream is cut", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed)
      const bodies = Array.from({ length: 1 + Math.floor(next() * 20) }, () => {
        const body = Buffer.alloc(8 + Math.floor(next() ** 4 * 300_000))
        for (let index = 0; index < body.length; index += 97) body[index] = Math.floor(next() * 256)
        return body
      })
      const stream = Buffer.concat(bodies.map(framed))
      const { reader, frames } = collect()
      for (let at = 0; at < stream.length; ) {
        const length = 1 + Math.floor(next() ** 3 * 70_000)
        reader.push(stream.subarray(at, at + length))
        at += length
      }
      assert.strictEqual(frames.length, bodies.length, `seed ${seed}`)
      for (let index = 0; index < bodies.length; index++) {
        assert.isTrue(bodies[index]!.equals(frames[index]!), `seed ${seed} frame ${index}`)
      }
      assert.strictEqual(reader.admittedBytes, 0)
    }
  })

  it("does not copy a frame that lies in one chunk", () => {
    const { reader, frames } = collect()
    const chunk = Buffer.concat([framed(Buffer.alloc(100, 1)), framed(Buffer.alloc(50, 2))])
    reader.push(chunk)
    assert.strictEqual(frames.length, 2)
    for (const frame of frames) assert.strictEqual(frame.buffer, chunk.buffer)
  })

  it("stops at a frame whose memory is refused and goes on from there", () => {
    let allowed = 1
    const { reader, frames } = collect({ admit: () => allowed-- > 0 })
    reader.push(Buffer.concat([framed(Buffer.alloc(10, 1)), framed(Buffer.alloc(20, 2)), framed(Buffer.alloc(30, 3))]))
    assert.strictEqual(frames.length, 1)
    assert.isTrue(reader.isWaiting)
    assert.strictEqual(reader.waitingBytes, 20)
    assert.strictEqual(reader.admittedBytes, 0)
    allowed = 1
    reader.resume()
    assert.deepStrictEqual(frames.map((frame) => frame.length), [10, 20, 30])
  })

  it("allocates by what arrives, not by what is announced", () => {
    const { reader } = collect({ frameBytesMax: 100 * 1024 * 1024 })
    const prefix = Buffer.alloc(5)
    prefix.writeInt32BE(100 * 1024 * 1024)
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 50 }, () => collect({ frameBytesMax: 100 * 1024 * 1024 }).reader)
    for (const each of readers) each.push(prefix)
    const grown = process.memoryUsage().arrayBuffers - before
    assert.isBelow(grown, 50 * 3 * 1024 * 1024)
    reader.push(prefix)
    assert.strictEqual(reader.admittedBytes, 100 * 1024 * 1024)
  })

  it.each([[-1], [0], [7], [1_001], [2 ** 31 - 1], [-(2 ** 31)]])("refuses an announced length of %i", (bytes) => {
    const { reader, frames, invalid } = collect({ frameBytesMax: 1_000 })
    const prefix = Buffer.alloc(4)
    prefix.writeInt32BE(bytes)
    reader.push(prefix)
    reader.push(Buffer.alloc(2_000))
    assert.deepStrictEqual(invalid, [bytes], "once, and dead from then on")
    assert.strictEqual(frames.length, 0)
  })
})
