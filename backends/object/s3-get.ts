/**
 * Reads of S3: whole objects, ranges, and sizes.
 *
 * A size is asked by a read of one byte, not by HEAD: answers to HEAD have no body, so a missing key, a missing bucket,
 * a wrong region and a wrong secret would look alike, and absence must only be believed of a bucket that is there. It
 * costs the same and needs the same permission.
 *
 * What came must be what was asked: the range and size that the store names are checked against the request, the bytes
 * against both, and a whole object against the CRC-32C that the store keeps with it. A connection that ends in mid-body is
 * no corruption, but an error of the network.
 */
import { type Readable } from "node:stream"
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from "@aws-sdk/client-s3"
import { limits } from "#core/model/limits.ts"
import { type ByteRange, type ObjectBytes } from "#core/ports/object-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { base64OfCrc } from "./joined-body.ts"
import { resolveRange } from "./object-range.ts"
import { S3Fault } from "./s3-client.ts"

export interface ReadObject {
  readonly client: S3Client
  readonly bucket: string
  /** Prefix included. */
  readonly key: string
  readonly signal: AbortSignal
}

export const getObject = async (read: ReadObject, range: ByteRange | undefined): Promise<ObjectBytes> => {
  const answer = await send(read, range)
  const stream = answer.Body as Readable
  try {
    return await readAnswer(answer, stream, range)
  } finally {
    // Where all of it was read this does nothing; else the connection cannot be used again.
    stream.destroy()
  }
}

/** Bytes of the object. */
export const getSize = async (read: ReadObject): Promise<number> => {
  try {
    return (await getObject(read, { offset: 0, length: 1 })).objectBytes
  } catch (error) {
    // Only an empty object has no first byte.
    if (isEmpty(error)) return 0
    throw error
  }
}

const isEmpty = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === "InvalidRange" ||
    (error as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata?.httpStatusCode === 416 ||
    (error instanceof S3Fault && error.code === "InvalidRange"))

const send = async (read: ReadObject, range: ByteRange | undefined): Promise<GetObjectCommandOutput> =>
  await read.client.send(
    new GetObjectCommand({
      Bucket: read.bucket,
      Key: read.key,
      ...(range === undefined ? {} : { Range: rangeHeader(range) })
    }),
    { abortSignal: read.signal }
  )

const rangeHeader = (range: ByteRange): string => {
  if ("last" in range) return `bytes=-${range.last}`
  // Beyond 2^53 the sum would be rounded; the store cuts at the object's end anyway.
  return `bytes=${range.offset}-${Math.min(range.offset + range.length - 1, Number.MAX_SAFE_INTEGER)}`
}

const CONTENT_RANGE = /^bytes (\d+)-(\d+)\/(\d+)$/

const readAnswer = async (
  answer: GetObjectCommandOutput,
  stream: Readable,
  range: ByteRange | undefined
): Promise<ObjectBytes> => {
  const named = CONTENT_RANGE.exec(answer.ContentRange ?? "")
  if (named === null || range === undefined) return await readWhole(answer, stream, range)
  const [first, last, objectBytes] = [Number(named[1]), Number(named[2]), Number(named[3])]
  const part = resolveRange(range, objectBytes)
  if (part === undefined || first !== part.offset || last !== part.offset + part.length - 1) {
    throw new S3Fault("Truncated", `the store answered "${answer.ContentRange}" to the range ${rangeHeader(range)}`)
  }
  if (part.length > limits.objectBytesMax) throw tooLarge(part.length)
  return { bytes: await readBody(stream, part.length, answer.ContentLength), objectBytes }
}

/** Also where a store does not know ranges, or ignores one that covers all. */
const readWhole = async (
  answer: GetObjectCommandOutput,
  stream: Readable,
  range: ByteRange | undefined
): Promise<ObjectBytes> => {
  const objectBytes = answer.ContentLength
  if (objectBytes === undefined) throw new S3Fault("Truncated", "the store did not say how long the object is")
  const part = resolveRange(range, objectBytes)
  if (part === undefined) throw new S3Fault("InvalidRange", `the object has ${objectBytes} bytes`)
  if (objectBytes > limits.objectBytesMax) throw tooLarge(objectBytes)
  const bytes = await readBody(stream, objectBytes, objectBytes)
  checkSum(answer, bytes)
  if (part.length === objectBytes) return { bytes, objectBytes }
  // Of its own, so that it does not keep the whole alive.
  const slice = Buffer.allocUnsafeSlow(part.length)
  bytes.copy(slice, 0, part.offset, part.offset + part.length)
  return { bytes: slice, objectBytes }
}

const tooLarge = (bytes: number): S3Fault =>
  new S3Fault("TooLarge", `the answer would have ${bytes} bytes, at most ${limits.objectBytesMax} are read at once`)

/** Into memory of its own: each piece is copied once, where the socket's memory becomes the caller's. */
const readBody = async (stream: Readable, length: number, promised: number | undefined): Promise<Buffer> => {
  if (promised !== undefined && promised !== length) {
    throw new S3Fault("Truncated", `the store promised ${promised} bytes where there must be ${length}`)
  }
  return await new Promise((resolve, reject) => {
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    stream.on("data", (piece: Buffer) => {
      if (at + piece.length > length) {
        reject(new S3Fault("Truncated", `the store sent more than the ${length} bytes that it promised`))
        return
      }
      bytes.set(piece, at)
      at += piece.length
    })
    stream.on("error", reject)
    stream.on("close", () =>
      reject(Object.assign(new Error("the connection ended in mid-body"), { code: "ECONNRESET" }))
    )
    stream.on("end", () => {
      if (at === length) resolve(bytes)
      else reject(new S3Fault("Truncated", `the store sent ${at} of ${length} bytes`))
    })
  })
}

/** Objects of several parts have a checksum of checksums, which says nothing of their bytes. */
const checkSum = (answer: GetObjectCommandOutput, bytes: Buffer): void => {
  const kept = answer.ChecksumCRC32C
  if (kept === undefined || answer.ChecksumType === "COMPOSITE" || kept.includes("-")) return
  const found = base64OfCrc(crc32c(bytes))
  if (found !== kept) throw new S3Fault("ChecksumMismatch", `CRC-32C of what came is ${found}, the store keeps ${kept}`)
}
