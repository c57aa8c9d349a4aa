// Goal: any cutting of a stream into chunks gives the same frames, within the memory that was admitted.
// Method: seeded random frames and cuts, compared with the frames that went in; bounds and refusals one by one.
import { assert, describe, it } from "vitest"
import { FramePool } from "#core/agent/frame-pool.ts"
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
    pool: new FramePool(),
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
      for (let at = 0; at < stream.length;) {
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

  it("gives the same frames when it is read into where it says", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed)
      const bodies = Array.from({ length: 1 + Math.floor(next() * 20) }, (_, index) =>
        Buffer.alloc(8 + Math.floor(next() ** 4 * 300_000), index + 1)
      )
      const stream = Buffer.concat(bodies.map(framed))
      const { reader, frames } = collect()
      for (let at = 0; at < stream.length;) {
        const taken = stream.copy(reader.room(), 0, at, at + 1 + Math.floor(next() ** 2 * 200_000))
        reader.received(taken)
        at += taken
      }
      assert.deepStrictEqual(
        frames.map((frame) => [frame.length, frame[0], frame.at(-1)]),
        bodies.map((body) => [body.length, body[0], body.at(-1)]),
        `seed ${seed}`
      )
    }
  })

  it("copies the end of a large frame nowhere: it is read into the frame itself", () => {
    const { reader, frames } = collect()
    const body = Buffer.alloc(500_000, 7)
    reader.received(framed(body).copy(reader.room(), 0, 0, 60_000))
    const room = reader.room()
    assert.strictEqual(room.length, 500_004 - 60_000, "all that is missing, and nothing behind it")
    room.fill(7)
    reader.received(room.length)
    assert.strictEqual(frames[0]!.buffer, room.buffer)
    assert.isTrue(frames[0]!.equals(body))
  })

  it("keeps no view of memory that it shares with other readers", () => {
    const first = collect()
    const second = collect()
    first.reader.received(framed(Buffer.alloc(100, 1)).copy(first.reader.room()))
    second.reader.received(framed(Buffer.alloc(100, 2)).copy(second.reader.room()))
    assert.deepStrictEqual(first.frames[0], Buffer.alloc(100, 1))
    let isAdmitted = false
    const waiting = collect({ admit: () => isAdmitted })
    waiting.reader.received(framed(Buffer.alloc(100, 3)).copy(waiting.reader.room()))
    second.reader.received(framed(Buffer.alloc(100, 2)).copy(second.reader.room()))
    isAdmitted = true
    waiting.reader.resume()
    assert.deepStrictEqual(waiting.frames[0], Buffer.alloc(100, 3))
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
    assert.deepStrictEqual(
      frames.map((frame) => frame.length),
      [10, 20, 30]
    )
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
