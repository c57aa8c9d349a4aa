/**
 * Mutations of request frames (without length prefix): what a broken, old, foreign or hostile client would send. Each
 * answers a new buffer; the frame given stays as it is.
 */
import { type FuzzRandom } from "./fuzz-random.ts"

const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff]
const INT16S = [0, -1, -2, 1, 0x7fff, -0x8000, 255, 256]
const INT32S = [0, -1, -2, 1, 0x7fffffff, -0x80000000, 1_000_000, 1_000_001, 65_536, 0x10000000]
/** As high and low half: 2^53 and its neighbours, the ends of int64, -1, and the special timestamps. */
const INT64S: ReadonlyArray<readonly [number, number]> = [
  [0, 0],
  [-1, -1],
  [-1, -2],
  [-1, -3],
  [0x7fffffff, -1],
  [-0x80000000, 0],
  [0x00200000, 0],
  [0x00200000, 1],
  [0x001fffff, -1],
  [0x00080000, 0],
  [0x00080000, 1],
  [-0x00200000, 0]
]

type Mutate = (frame: Buffer, random: FuzzRandom, other: () => Buffer) => Buffer

const copyOf = (frame: Buffer): Buffer => Buffer.from(frame)

const flipBits: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  for (let left = 1 + random.below(4); left > 0 && changed.length > 0; left--) {
    const at = random.below(changed.length)
    changed[at] = changed[at]! ^ (1 << random.below(8))
  }
  return changed
}

const setByte: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  if (changed.length > 0) changed[random.below(changed.length)] = random.pick(BYTES)
  return changed
}

/** The varint lengths of flexible versions, and the low bytes of all others. */
const stepByte: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  if (changed.length === 0) return changed
  const at = random.below(changed.length)
  changed[at] = changed[at]! + (random.oneIn(2) ? 1 : -1)
  return changed
}

const setInt: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  const width = random.pick([2, 4, 4, 8])
  if (changed.length < width) return changed
  const at = random.below(changed.length - width + 1)
  if (width === 2) changed.writeInt16BE(random.pick(INT16S), at)
  else if (width === 4) changed.writeInt32BE(random.pick(INT32S), at)
  else {
    const [high, low] = random.pick(INT64S)
    changed.writeInt32BE(high, at)
    changed.writeInt32BE(low, at + 4)
  }
  return changed
}

/** A varint of 2^7 to 2^31 and beyond, over what stood there. */
const setVarint: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  const bytes = 1 + random.below(6)
  if (changed.length < bytes) return changed
  const at = random.below(changed.length - bytes + 1)
  for (let index = 0; index < bytes - 1; index++) changed[at + index] = 0x80 | random.below(128)
  changed[at + bytes - 1] = random.below(128)
  return changed
}

const truncate: Mutate = (frame, random) => copyOf(frame.subarray(0, random.below(frame.length + 1)))

const extend: Mutate = (frame, random) => Buffer.concat([frame, random.bytes(1 + random.below(32))])

const cutOut: Mutate = (frame, random) => {
  const from = random.below(frame.length + 1)
  const to = Math.min(frame.length, from + 1 + random.below(16))
  return Buffer.concat([frame.subarray(0, from), frame.subarray(to)])
}

const repeat: Mutate = (frame, random) => {
  const from = random.below(frame.length + 1)
  const to = Math.min(frame.length, from + 1 + random.below(64))
  return Buffer.concat([frame.subarray(0, to), frame.subarray(from)])
}

const splice: Mutate = (frame, random, other) => {
  const second = other()
  return Buffer.concat([
    frame.subarray(0, random.below(frame.length + 1)),
    second.subarray(random.below(second.length + 1))
  ])
}

/** The header of one request before the body of another. */
const swapHeader: Mutate = (frame, _random, other) => {
  const changed = copyOf(frame)
  other().copy(changed, 0, 0, Math.min(4, changed.length))
  return changed
}

const setVersion: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  if (changed.length >= 4) changed.writeInt16BE(random.below(24) - 2, 2)
  return changed
}

const setKey: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  if (changed.length >= 2) changed.writeInt16BE(random.oneIn(4) ? random.next() >> 16 : random.below(100) - 2, 0)
  return changed
}

/** Bytes that are no UTF-8 and become three each where they are replaced. */
const notUtf8: Mutate = (frame, random) => {
  const changed = copyOf(frame)
  const at = random.below(changed.length + 1)
  changed.fill(0xf8, at, Math.min(changed.length, at + 1 + random.below(24)))
  return changed
}

const randomBody: Mutate = (frame, random) =>
  Buffer.concat([frame.subarray(0, Math.min(frame.length, 10)), random.bytes(random.below(200))])

const randomFrame: Mutate = (_frame, random) => random.bytes(random.below(300))

const MUTATIONS: ReadonlyArray<Mutate> = [
  flipBits,
  flipBits,
  setByte,
  setByte,
  stepByte,
  stepByte,
  setInt,
  setInt,
  setInt,
  setVarint,
  truncate,
  extend,
  cutOut,
  repeat,
  splice,
  swapHeader,
  setVersion,
  setKey,
  notUtf8,
  randomBody,
  randomFrame
]

/** One to three mutations, mostly one: the fewer, the deeper a frame gets. */
export const mutate = (frame: Buffer, random: FuzzRandom, other: () => Buffer): Buffer => {
  let changed = frame
  for (let left = random.oneIn(4) ? 1 + random.below(3) : 1; left > 0; left--) {
    changed = random.pick(MUTATIONS)(changed, random, other)
  }
  return changed
}
