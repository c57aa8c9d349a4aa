/** [pure] Answers with bytes of an object: whether they are those that were asked for. */
import type { ByteRange, ObjectBytes } from "#core/ports/object-store.ts"
import { cloudFault } from "./http-fault.ts"
import { resolveRange } from "./object-range.ts"

const PAST_END = "the range begins at or after the end"

/** Of `Content-Range: bytes 5-9/10`; undefined where it is none, or makes no sense. */
export const parseContentRange = (
  text: string | undefined
): { readonly offset: number; readonly end: number; readonly objectBytes: number } | undefined => {
  const [, offset, last, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(text ?? "") ?? []
  if (offset === undefined || last === undefined || total === undefined) return undefined
  const range = { offset: Number(offset), end: Number(last) + 1, objectBytes: Number(total) }
  return range.offset < range.end && range.end <= range.objectBytes ? range : undefined
}

/** Of an answer with status 206. Throws CloudFault. */
export const partOf = (body: Buffer, contentRange: string | undefined, range: ByteRange | undefined): ObjectBytes => {
  const total = /\/(\d{1,15})$/.exec(contentRange ?? "")?.[1]
  // Azurite answers so with an empty part, `bytes 10-9/10`.
  if (body.length === 0 && total !== undefined && resolveRange(range, Number(total)) === undefined) {
    throw cloudFault("RangeNotSatisfiable", PAST_END)
  }
  const part = parseContentRange(contentRange)
  const asked = part === undefined || range === undefined ? undefined : resolveRange(range, part.objectBytes)
  if (part === undefined || asked?.offset !== part.offset || asked.offset + asked.length !== part.end) {
    throw cloudFault("Corrupt", `the answer is of another range (${contentRange ?? "none is named"})`)
  }
  if (body.length !== asked.length)
    throw cloudFault("Corrupt", `the answer has ${body.length} of ${asked.length} bytes`)
  return { bytes: body, objectBytes: part.objectBytes }
}

/** Of an answer with status 200, which stores also give where a range was asked (of an empty object, say). */
export const wholeOf = (body: Buffer, range: ByteRange | undefined): ObjectBytes => {
  const part = resolveRange(range, body.length)
  if (part === undefined) throw cloudFault("RangeNotSatisfiable", PAST_END)
  if (part.length === body.length) return { bytes: body, objectBytes: body.length }
  const bytes = Buffer.allocUnsafeSlow(part.length)
  body.copy(bytes, 0, part.offset, part.offset + part.length)
  return { bytes, objectBytes: body.length }
}
