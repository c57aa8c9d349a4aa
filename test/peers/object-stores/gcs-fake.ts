/**
 * The part of Google Cloud Storage's JSON API that the adapter uses, in this process, and strict: what Google would refuse
 * it refuses, so that a request that only a lenient emulator takes fails here.
 *
 * Sources: cloud.google.com/storage/docs/json_api/v1; forms of errors as fake-gcs-server and Google give them.
 */
import { crc32c } from "#core/records/crc32c.ts"
import {
  type FakeAnswer,
  type FakeCertificate,
  type FakeCloud,
  FakeObjects,
  type FakeOperation,
  type FakeRequest,
  HttpFake,
  parseRange
} from "./http-fake.ts"

export interface GcsFakeOptions {
  readonly bucket: string
  /** Requests need `Authorization: Bearer` and this; none where it is left out. */
  readonly token?: string
  readonly certificate?: FakeCertificate
  /** Names that a page of a list has at most. */
  readonly pageMax?: number
}

export interface GcsFake {
  readonly http: HttpFake
  readonly url: string
  readonly objects: FakeObjects
  /** Takes the bucket away, or brings it back. */
  isBucketThere: boolean
}

export const startGcsFake = async (options: GcsFakeOptions): Promise<GcsFake> => {
  const objects = new FakeObjects()
  const fake = { isBucketThere: true, objects, http: undefined as unknown as HttpFake, url: "" }
  const cloud: FakeCloud = {
    operationOf,
    error: (status, code) => errorAnswer(status, code ?? (status >= 500 ? "backendError" : "forbidden"), "injected"),
    handle: (request) => {
      if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`) {
        return errorAnswer(401, "authError", "Invalid Credentials")
      }
      const place = placeOf(request.path)
      if (place === undefined) return errorAnswer(404, "notFound", "Not Found")
      if (!fake.isBucketThere || place.bucket !== options.bucket) {
        return errorAnswer(404, "notFound", "The specified bucket does not exist.")
      }
      return answerOf(request, { ...place, objects, pageMax: options.pageMax ?? 1_000 })
    }
  }
  fake.http = new HttpFake(cloud, options.certificate)
  fake.url = await fake.http.listen()
  return fake
}

interface Place {
  readonly isUpload: boolean
  readonly bucket: string
  readonly name: string | undefined
}

const placeOf = (path: string): Place | undefined => {
  const [, upload, bucket, name] = /^(\/upload)?\/storage\/v1\/b\/([^/]+)\/o(?:\/([^/]+))?$/.exec(path) ?? []
  if (bucket === undefined) return undefined
  return { isUpload: upload !== undefined, bucket, name: name === undefined ? undefined : decodeURIComponent(name) }
}

const operationOf = (request: Omit<FakeRequest, "body">): { operation: FakeOperation; key: string } => {
  const name = placeOf(request.path)?.name ?? ""
  if (request.method === "POST") return { operation: "put", key: "" }
  if (request.method === "DELETE") return { operation: "delete", key: name }
  if (name === "") return { operation: "list", key: request.query.get("prefix") ?? "" }
  return { operation: request.query.get("alt") === "media" ? "get" : "head", key: name }
}

const answerOf = (
  request: FakeRequest,
  place: Place & { readonly objects: FakeObjects; readonly pageMax: number }
): FakeAnswer => {
  const { isUpload, objects, name } = place
  if (isUpload) return request.method === "POST" ? upload(request, objects) : errorAnswer(405, "methodNotAllowed", "")
  if (name === undefined) return list(request.query, objects, place.pageMax)
  if (request.method === "DELETE") {
    return objects.delete(name) ? { status: 204 } : errorAnswer(404, "notFound", `No such object: ${name}`)
  }
  const object = objects.get(name)
  if (object === undefined) return errorAnswer(404, "notFound", `No such object: ${place.bucket}/${name}`)
  if (request.query.get("alt") !== "media") return json({ name, size: String(object.body.length) })
  const hash = { "x-goog-hash": `crc32c=${crcText(object.body)}`, "x-goog-generation": String(object.generation) }
  const range = request.headers.range === undefined ? undefined : parseRange(request.headers.range, object.body.length)
  if (range === "unsatisfiable") {
    const answer = errorAnswer(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    return { ...answer, headers: { ...answer.headers, "content-range": `bytes */${object.body.length}` } }
  }
  if (range === undefined) return { status: 200, headers: hash, body: object.body }
  return {
    status: 206,
    headers: { ...hash, "content-range": `bytes ${range.first}-${range.last}/${object.body.length}` },
    body: object.body.subarray(range.first, range.last + 1)
  }
}

const upload = ({ query, headers, body }: FakeRequest, objects: FakeObjects): FakeAnswer => {
  if (query.get("uploadType") !== "multipart") return errorAnswer(400, "invalid", "uploadType must be multipart")
  if (headers["content-length"] === undefined) return errorAnswer(411, "required", "Content-Length")
  const [, boundary] = /^multipart\/related; boundary=([\w-]{10,70})$/.exec(headers["content-type"] ?? "") ?? []
  const parts = boundary === undefined ? undefined : partsOf(body, boundary)
  if (parts === undefined) return errorAnswer(400, "badContent", "Malformed multipart body.")
  const metadata = JSON.parse(parts[0].toString("utf8")) as { readonly name?: string; readonly crc32c?: string }
  if (metadata.name === undefined) return errorAnswer(400, "required", "Required")
  if (metadata.crc32c !== undefined && metadata.crc32c !== crcText(parts[1])) {
    return errorAnswer(400, "invalid", "Provided CRC32C doesn't match calculated CRC32C.")
  }
  // Without the condition Google overwrites: the adapter must never ask for that.
  if (query.get("ifGenerationMatch") !== "0") return errorAnswer(400, "invalid", "this fake wants ifGenerationMatch=0")
  const object = objects.putIfAbsent(metadata.name, Buffer.from(parts[1]))
  if (object === undefined) {
    return errorAnswer(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
  }
  return json({ name: metadata.name, size: String(object.body.length), generation: String(object.generation) })
}

/** Two parts, each with headers that an empty line ends. */
const partsOf = (body: Buffer, boundary: string): readonly [Buffer, Buffer] | undefined => {
  const opening = `--${boundary}\r\n`
  const between = `\r\n--${boundary}\r\n`
  const closing = `\r\n--${boundary}--`
  const middle = body.indexOf(between)
  const end = body.indexOf(closing, middle + 1)
  if (body.indexOf(opening) !== 0 || middle < 0 || end < 0) return undefined
  const first = afterHeaders(body.subarray(opening.length, middle))
  const second = afterHeaders(body.subarray(middle + between.length, end))
  return first === undefined || second === undefined ? undefined : [first, second]
}

const afterHeaders = (part: Buffer): Buffer | undefined => {
  const at = part.indexOf("\r\n\r\n")
  return at < 0 ? undefined : part.subarray(at + 4)
}

const list = (query: URLSearchParams, objects: FakeObjects, pageMax: number): FakeAnswer => {
  const limit = Math.min(Number(query.get("maxResults") ?? 1_000), pageMax)
  if (!Number.isInteger(limit) || limit < 1) return errorAnswer(400, "invalid", "Invalid maxResults")
  const token = query.get("pageToken")
  const from = token === null ? (query.get("startOffset") ?? "") : Buffer.from(token, "base64").toString()
  const names = objects.names(query.get("prefix") ?? "", from)
  const items = names.slice(0, limit).map((name) => ({ name, size: String(objects.get(name)!.body.length) }))
  const next = names[limit]
  // Like Google: no items at all where there are none.
  return json({
    ...(items.length === 0 ? {} : { items }),
    ...(next === undefined ? {} : { nextPageToken: Buffer.from(next).toString("base64") })
  })
}

const json = (value: object): FakeAnswer => ({
  status: 200,
  headers: { "content-type": "application/json; charset=UTF-8" },
  body: Buffer.from(JSON.stringify(value))
})

const errorAnswer = (status: number, reason: string, message: string): FakeAnswer => ({
  ...json({ error: { code: status, message, errors: [{ message, domain: "global", reason }] } }),
  status
})

const crcText = (body: Buffer): string => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32c(body))
  return bytes.toString("base64")
}
