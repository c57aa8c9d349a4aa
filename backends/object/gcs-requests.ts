/**
 * The requests and answers of Google's JSON API that the adapter needs [pure].
 *
 *   put      POST /upload/storage/v1/b/BUCKET/o?uploadType=multipart&ifGenerationMatch=0   (metadata with crc32c, then bytes)
 *   get      GET  /storage/v1/b/BUCKET/o/NAME?alt=media   Range: bytes=…
 *   head     GET  /storage/v1/b/BUCKET/o/NAME?fields=name,size
 *   list     GET  /storage/v1/b/BUCKET/o?prefix&startOffset&maxResults&pageToken   (startOffset is inclusive)
 *   delete   DELETE /storage/v1/b/BUCKET/o/NAME
 *
 * Sources: cloud.google.com/storage/docs/json_api/v1. Checksums are CRC-32C, big-endian, in Base64.
 */
import type { ByteRange, ObjectHead } from "#core/ports/object-store.ts"

export const uploadPath = (bucket: string): string =>
  `/upload/storage/v1/b/${encodeURIComponent(bucket)}/o?uploadType=multipart&ifGenerationMatch=0`

/** `boundary` must be nobody's guess: a record that held it would cut its segment short, and no try could write it. */
export const uploadType = (boundary: string): string => `multipart/related; boundary=${boundary}`

/** What stands before and after the object's bytes. */
export const uploadFrame = (object: {
  readonly name: string
  readonly crc: number
  readonly boundary: string
}): readonly [before: Buffer, after: Buffer] => {
  const { name, crc, boundary } = object
  const metadata = JSON.stringify({ name, crc32c: crcText(crc), contentType: "application/octet-stream" })
  const before =
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n${metadata}\r\n` +
    `--${boundary}\r\nContent-Type: application/octet-stream\r\n\r\n`
  return [Buffer.from(before, "latin1"), Buffer.from(`\r\n--${boundary}--\r\n`, "latin1")]
}

export const objectPath = (bucket: string, name: string): string =>
  `/storage/v1/b/${encodeURIComponent(bucket)}/o/${encodeURIComponent(name)}`

export const listPath = (
  bucket: string,
  page: {
    readonly prefix: string
    /** Names from here on, this one included. */
    readonly from: string | undefined
    readonly limit: number
    readonly token: string | undefined
  }
): string => {
  const query = new URLSearchParams({
    prefix: page.prefix,
    maxResults: String(page.limit),
    fields: "nextPageToken,items(name,size)"
  })
  if (page.from !== undefined) query.set("startOffset", page.from)
  if (page.token !== undefined) query.set("pageToken", page.token)
  return `/storage/v1/b/${encodeURIComponent(bucket)}/o?${query.toString()}`
}

/** The header of a range. An end that is no exact number is left out: it is past any object's. */
export const rangeHeader = (range: ByteRange): string => {
  if ("last" in range) return `bytes=-${range.last}`
  const last = range.offset + range.length - 1
  return Number.isSafeInteger(last) ? `bytes=${range.offset}-${last}` : `bytes=${range.offset}-`
}

/** Of `x-goog-hash: crc32c=…,md5=…`; undefined where there is none. */
export const crcOfHashes = (text: string | undefined): number | undefined => {
  const [, encoded] = /(?:^|,)\s*crc32c=([A-Za-z0-9+/]{6}==)/.exec(text ?? "") ?? []
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64").readUInt32BE(0)
}

export const crcText = (crc: number): string => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(crc >>> 0, 0)
  return bytes.toString("base64")
}

/** The size in an object's metadata; undefined where the answer makes no sense. */
export const parseObject = (body: Buffer): { readonly name: string; readonly objectBytes: number } | undefined =>
  objectOf(parseJson(body))

export interface ListPage {
  readonly heads: ReadonlyArray<ObjectHead>
  readonly token: string | undefined
}

/** Names have the bucket's prefix taken off; undefined where the answer makes no sense. */
export const parseList = (body: Buffer, prefix: string): ListPage | undefined => {
  const page = parseJson(body)
  if (!isRecord(page)) return undefined
  const items = page["items"] ?? []
  const token = page["nextPageToken"]
  if (!Array.isArray(items) || (token !== undefined && typeof token !== "string")) return undefined
  const heads: Array<ObjectHead> = []
  for (const item of items) {
    const object = objectOf(item)
    if (object === undefined || !object.name.startsWith(prefix)) return undefined
    heads.push({ key: object.name.slice(prefix.length), objectBytes: object.objectBytes })
  }
  return { heads, token: token === "" ? undefined : token }
}

/** Code and text of an error's answer, as far as it has them. */
export const parseError = (body: Buffer): { readonly code: string; readonly message: string } => {
  const answer = parseJson(body)
  const error = isRecord(answer) ? answer["error"] : undefined
  if (!isRecord(error)) return { code: "", message: body.toString("utf8", 0, 1_000) }
  const errors = error["errors"]
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined
  const code = isRecord(first) && typeof first["reason"] === "string" ? first["reason"] : ""
  return { code, message: typeof error["message"] === "string" ? error["message"] : "" }
}

const objectOf = (value: unknown): { readonly name: string; readonly objectBytes: number } | undefined => {
  if (!isRecord(value) || typeof value["name"] !== "string") return undefined
  // Sizes are 64-bit numbers and so strings in Google's JSON.
  const objectBytes = Number(value["size"])
  return Number.isSafeInteger(objectBytes) && objectBytes >= 0 ? { name: value["name"], objectBytes } : undefined
}

const parseJson = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString("utf8"))
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null
