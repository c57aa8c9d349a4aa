/**
 * Encoding and decoding of message bodies [pure]: compiles a codec at its first use and keeps it.
 *
 * Codecs are bounded by the tables: one decoder and one encoder per message and version. Frames are frame.ts's concern.
 */
import { assert } from "#core/model/assert.ts"
import { messageName, messageVersion } from "./code-text.ts"
import { compileDecoder, type Decoder } from "./decoder-compiler.ts"
import { compileEncoder, type Encoder } from "./encoder-compiler.ts"
import { type EncoderScratch, makeScratch } from "./encoder-runtime.ts"
import { ProtocolError } from "./protocol-error.ts"
import { type Decoded, type Fields, type Input, isIn, type Message } from "./schema.ts"

/**
 * Bytes in order. Chunks that are records are the caller's own buffers, everything between is one new buffer's views.
 */
export interface Encoded {
  readonly chunks: ReadonlyArray<Buffer>
  readonly byteLength: number
}

interface Codecs {
  readonly decoders: Array<Decoder | undefined>
  readonly encoders: Array<Encoder | undefined>
}
const codecsByMessage = new WeakMap<Message, Codecs>()
const scratch: EncoderScratch = makeScratch()
/** Scratch space of an unusually large message is given back. */
const SCRATCH_SIZES_KEPT = 65_536

const codecsOf = (message: Message, version: number): Codecs => {
  if (!isIn(message.versions, version)) {
    const { min, max } = message.versions
    const problem = `versions ${min} to ${max} are known`
    const name = messageName(message)
    throw new ProtocolError({ reason: "unsupported-version", message: name, version, field: "", offset: -1, problem })
  }
  let codecs = codecsByMessage.get(message)
  if (codecs === undefined) {
    const slots = message.versions.max + 1
    codecs = { decoders: Array.from({ length: slots }), encoders: Array.from({ length: slots }) }
    codecsByMessage.set(message, codecs)
  }
  return codecs
}

/**
 * Decodes the body from `offset` to the end of `frame`, all of it, or throws ProtocolError. Bytes and records in the
 * answer are views of the frame: they live as long as its buffer, and what must outlive it has to be copied.
 */
export const decodeBody = <F extends Fields>(
  message: Message<F>,
  version: number,
  frame: Buffer,
  offset = 0
): Decoded<F> => {
  const { decoders } = codecsOf(message, version)
  const decoder = (decoders[version] ??= compileDecoder(messageVersion(message, version)))
  return decoder(frame, offset, frame.length) as Decoded<F>
}

/** Encodes after `headBytes` bytes that are left for the caller to fill in the first chunk. */
export const encodeBody = <F extends Fields>(
  message: Message<F>,
  version: number,
  value: Input<F>,
  headBytes = 0
): Encoded => {
  const { encoders } = codecsOf(message, version)
  const encoder = (encoders[version] ??= compileEncoder(messageVersion(message, version), scratch))
  const size = headBytes + encoder.size(value)
  const byteLength = size + scratch.recordBytes
  const bytes = Buffer.allocUnsafe(size)
  try {
    const end = encoder.write(value, bytes, headBytes)
    assert(end === size, `${messageName(message)}: ${end} bytes written, ${size} expected`)
    return { chunks: scratch.cuts.length === 0 ? [bytes] : interleave(bytes), byteLength }
  } finally {
    scratch.cuts.length = 0
    scratch.records.length = 0
    if (scratch.sizes.length > SCRATCH_SIZES_KEPT) scratch.sizes.length = 0
  }
}

/** The pieces of `bytes` with the records between them. */
const interleave = (bytes: Buffer): ReadonlyArray<Buffer> => {
  const chunks: Array<Buffer> = []
  let start = 0
  for (let index = 0; index < scratch.cuts.length; index++) {
    const cut = scratch.cuts[index]!
    if (cut > start) chunks.push(bytes.subarray(start, cut))
    start = cut
    const records = scratch.records[index]!
    if (Buffer.isBuffer(records)) chunks.push(records)
    else for (const chunk of records) if (chunk.length > 0) chunks.push(chunk)
  }
  if (start < bytes.length) chunks.push(bytes.subarray(start))
  return chunks
}
