/**
 * An S3 in this process, over real HTTP: strict where real stores are, and faulty on demand (s3-faults.ts).
 *
 * Strict: signatures, region and clock (s3-signature.ts), `If-None-Match: *` (412, and 409 to whoever races with a put that
 * is being stored), checksums of bodies, lengths, ranges, the order and paging of lists, the rules of directory buckets
 * (CreateSession first, then its token; prefixes that end in "/"; no order, no StartAfter; the SDK's double slash). What it
 * does not know it refuses. A put takes effect wholly, when its body came and was checked, or not at all.
 * Nothing is random, and nothing is kept after `stop`.
 */
import { createHash } from "node:crypto"
import { type IncomingMessage, type ServerResponse, createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { type AddressInfo } from "node:net"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { crc32c } from "#core/records/crc32c.ts"
import { FaultPlan } from "./fault-plan.ts"
import { type S3FakeSettings, type S3Fault, type S3Operation } from "./s3-faults.ts"
import { checkSignature, type Signature } from "./s3-signature.ts"

export interface S3FakeOptions {
  readonly buckets: readonly string[]
  readonly region?: string
  readonly port?: number
  /** Of an Express session; an hour where nothing is said. */
  readonly sessionMs?: number
  /** Keys of one list answer, at most. */
  readonly pageKeys?: number
  /** In PEM; without it, it speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

export interface S3Fake {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly faults: FaultPlan<S3Fault>
  /** What came, in order, once its signature was found right. */
  readonly requests: Array<{ readonly operation: S3Operation; readonly key: string; readonly payload: string }>
  /** Changes how it behaves from now on. */
  readonly settings: S3FakeSettings
  /** Objects of a bucket. */
  readonly objects: (bucket: string) => Map<string, StoredObject>
  /** Made to it so far, and those that are open now. */
  readonly connections: () => number
  readonly connectionsOpen: () => number
  /** Sessions that were given out are not known any more. */
  readonly forgetSessions: () => void
  readonly stop: () => Promise<void>
}

export interface StoredObject {
  readonly bytes: Buffer
  readonly crc32c: string
}

const ACCESS_KEY_ID = "AKFAKE"
const SECRET_ACCESS_KEY = "fake-secret"
const KEY_BYTES_MAX = 1_024
const LIST_KEYS_MAX = 1_000
const DELETE_KEYS_MAX = 1_000

interface Bucket {
  readonly name: string
  readonly isExpress: boolean
  readonly objects: Map<string, StoredObject>
  /** Keys whose put is being stored. */
  readonly storing: Set<string>
}

interface State extends Pick<S3Fake, "faults" | "requests" | "settings"> {
  readonly region: string
  readonly sessionMs: number
  readonly pageKeys: number
  readonly buckets: Map<string, Bucket>
  readonly sessions: Map<string, { readonly secret: string; readonly token: string; readonly endsAtMs: number }>
  sessionsMade: number
}

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
}

interface Call {
  readonly operation: S3Operation
  readonly bucket: Bucket
  readonly key: string
  readonly query: URLSearchParams
  readonly request: IncomingMessage
  readonly signature: Signature
}

export async function startS3Fake(options: S3FakeOptions): Promise<S3Fake> {
  const state: State = {
    region: options.region ?? "us-east-1",
    sessionMs: options.sessionMs ?? 3_600_000,
    pageKeys: options.pageKeys ?? LIST_KEYS_MAX,
    buckets: new Map(options.buckets.map((name) => [name, bucketOf(name)])),
    sessions: new Map(),
    sessionsMade: 0,
    faults: new FaultPlan(),
    requests: [],
    settings: {
      isDenied: () => false,
      clockAheadMs: 0,
      ignoresConditions: false,
      listsUnordered: false,
      elsewhere: new Map()
    }
  }
  let connections = 0
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    response.setHeader("date", new Date(Date.now() + state.settings.clockAheadMs).toUTCString())
    // A client that goes away in mid-request is no failure of this server.
    serve(state, request, response).catch(() => response.destroy())
  }
  const settings = { keepAliveTimeout: 60_000, noDelay: true }
  const server =
    options.tls === undefined
      ? createServer(settings, answer)
      : createTlsServer({ ...settings, ...options.tls }, answer)
  let connectionsOpen = 0
  server.on("connection", (socket) => {
    connections++
    connectionsOpen++
    socket.once("close", () => connectionsOpen--)
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port ?? 0, "127.0.0.1", resolve)
  })
  return {
    endpoint: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accessKeyId: ACCESS_KEY_ID,
    secretAccessKey: SECRET_ACCESS_KEY,
    faults: state.faults,
    requests: state.requests,
    settings: state.settings,
    objects: (bucket) => state.buckets.get(bucket)!.objects,
    connections: () => connections,
    connectionsOpen: () => connectionsOpen,
    forgetSessions: () => state.sessions.clear(),
    stop: async () => {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    }
  }
}

function bucketOf(name: string): Bucket {
  return { name, isExpress: name.endsWith("--x-s3"), objects: new Map(), storing: new Set() }
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const call = callOf(state, request)
  if ("status" in call) return await refuse(request, response, call)
  const { operation, key } = call
  const faults = state.faults.draw(operation, key)
  state.requests.push({ operation, key, payload: call.signature.payload })
  for (const fault of faults) if (fault.kind === "delay") await sleep(fault.ms)
  const fault = faults.at(-1)
  if (fault !== undefined && (await failedBefore(fault, request, response))) return
  const body = await bodyOf(request, fault)
  const answer = await answerOf(state, call, body)
  if (fault !== undefined && (await failedAfter(fault, answer, request, response))) return
  send(response, answer)
}

/** Whom the request is for and what it wants, or why it is refused. */
function callOf(state: State, request: IncomingMessage): Call | Answer {
  const [path = "", search = ""] = (request.url ?? "").split("?", 2)
  const [, name = "", rest = ""] = /^\/([^/]*)\/?(.*)$/.exec(path) ?? []
  const query = new URLSearchParams(search)
  const isExpress = name.endsWith("--x-s3")
  const sessionToken = request.headers["x-amz-s3session-token"]
  const isSession = isExpress && request.method === "GET" && query.has("session")
  const held = state.sessions.get(/Credential=([^/]+)/.exec(request.headers.authorization ?? "")?.[1] ?? "")
  const signature = checkSignature(request, {
    region: state.region,
    service: isExpress ? "s3express" : "s3",
    nowMs: Date.now() + state.settings.clockAheadMs,
    secretOf: (id) => (isExpress && !isSession ? held?.secret : id === ACCESS_KEY_ID ? SECRET_ACCESS_KEY : undefined)
  })
  if ("status" in signature) return error(signature.status, signature.code, signature.fields)
  if (isExpress && !isSession && (held === undefined || sessionToken !== held.token)) return error(403, "InvalidToken")
  if (held !== undefined && held.endsAtMs <= Date.now()) return error(400, "ExpiredToken")
  const home = state.settings.elsewhere.get(name)
  if (home !== undefined) {
    return { ...error(301, "PermanentRedirect", { Bucket: name }), headers: { "x-amz-bucket-region": home } }
  }
  const isCreating = request.method === "PUT" && rest === "" && search === "" && !isExpress
  const bucket = state.buckets.get(name) ?? (isCreating ? bucketOf(name) : undefined)
  if (bucket === undefined) return error(404, "NoSuchBucket", { BucketName: name })
  // The SDK writes `/bucket//key` where a directory bucket has an endpoint of its own; elsewhere "/" begins the key.
  const key = decodeURIComponent(isExpress ? rest.replace(/^\//, "") : rest)
  const operation = isSession ? "session" : isCreating ? "create" : operationOf(request, key, query)
  if (operation === undefined) return error(501, "NotImplemented")
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) return error(400, "KeyTooLongError")
  if (state.settings.isDenied(operation, key)) return error(403, "AccessDenied")
  return { operation, bucket, key, query, request, signature }
}

function operationOf(request: IncomingMessage, key: string, query: URLSearchParams): S3Operation | undefined {
  // The SDK names its operation in every query.
  const asked = [...query.keys()].filter((name) => name !== "x-id")
  if (key === "") {
    if (request.method === "GET" && query.get("list-type") === "2") return "list"
    return request.method === "POST" && query.has("delete") ? "delete" : undefined
  }
  if (asked.length > 0) return undefined
  if (request.method === "PUT") return "put"
  if (request.method === "GET") return "get"
  return request.method === "HEAD" ? "head" : undefined
}

async function answerOf(state: State, call: Call, body: Buffer): Promise<Answer> {
  const { signature } = call
  if (/^[0-9a-f]{64}$/.test(signature.payload) && signature.payload !== sha256(body)) {
    return error(400, "XAmzContentSHA256Mismatch")
  }
  switch (call.operation) {
    case "put":
      return await put(state.settings, call, body)
    case "get":
    case "head":
      return get(call)
    case "list":
      return list(state, call)
    case "delete":
      return deleteMany(state, call, body)
    case "session":
      return session(state)
    case "create":
      if (state.buckets.has(call.bucket.name)) return error(409, "BucketAlreadyOwnedByYou")
      state.buckets.set(call.bucket.name, call.bucket)
      return { status: 200 }
  }
}

async function put(settings: S3FakeSettings, { bucket, key, request }: Call, body: Buffer): Promise<Answer> {
  const { headers } = request
  if (headers["transfer-encoding"] !== undefined || headers["content-encoding"] !== undefined) {
    return error(501, "NotImplemented")
  }
  if (headers["content-length"] === undefined) return error(411, "MissingContentLength")
  if (body.length !== Number(headers["content-length"])) return error(400, "IncompleteBody")
  const checksum = base64Of(body)
  const promised = headers["x-amz-checksum-crc32c"]
  if (promised !== undefined && promised !== checksum) return error(400, "BadDigest")
  const condition = headers["if-none-match"]
  if (condition !== undefined && condition !== "*") return error(501, "NotImplemented")
  if (headers["if-match"] !== undefined) return error(501, "NotImplemented")
  if (condition === "*" && !settings.ignoresConditions) {
    if (bucket.objects.has(key)) return error(412, "PreconditionFailed", { Condition: "If-None-Match" })
    if (bucket.storing.has(key)) return error(409, "ConditionalRequestConflict")
  }
  bucket.storing.add(key)
  await nextTurn()
  bucket.storing.delete(key)
  bucket.objects.set(key, { bytes: body, crc32c: checksum })
  return {
    status: 200,
    headers: { etag: etagOf(body), ...(promised === undefined ? {} : checksumHeaders(checksum)) }
  }
}

function get({ bucket, key, request }: Call): Answer {
  const object = bucket.objects.get(key)
  if (object === undefined) return error(404, "NoSuchKey", { Key: key })
  const { bytes } = object
  const headers: Record<string, string> = { etag: etagOf(bytes), "accept-ranges": "bytes" }
  const { range } = request.headers
  if (range === undefined) {
    if (request.headers["x-amz-checksum-mode"] === "ENABLED") Object.assign(headers, checksumHeaders(object.crc32c))
    return { status: 200, headers, body: bytes }
  }
  const part = partOf(range, bytes.length)
  if (part === undefined) {
    return error(416, "InvalidRange", { RangeRequested: range, ActualObjectSize: String(bytes.length) })
  }
  headers["content-range"] = `bytes ${part.from}-${part.to - 1}/${bytes.length}`
  return { status: 206, headers, body: bytes.subarray(part.from, part.to) }
}

function partOf(range: string, length: number): { readonly from: number; readonly to: number } | undefined {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? []
  if (first === "" && last === "") return { from: 0, to: length }
  if (first === "") {
    const count = Math.min(Number(last), length)
    return count === 0 ? undefined : { from: length - count, to: length }
  }
  const from = Number(first)
  return from >= length ? undefined : { from, to: last === "" ? length : Math.min(Number(last) + 1, length) }
}

function list(state: State, { bucket, query }: Call): Answer {
  const prefix = query.get("prefix") ?? ""
  const startAfter = query.get("start-after") ?? ""
  const known = ["list-type", "prefix", "start-after", "max-keys", "continuation-token", "x-id"]
  if ([...query.keys()].some((name) => !known.includes(name))) return error(501, "NotImplemented")
  if (bucket.isExpress && (startAfter !== "" || (prefix !== "" && !prefix.endsWith("/")))) {
    return error(400, "InvalidRequest")
  }
  const maxKeys = Math.min(Number(query.get("max-keys") ?? LIST_KEYS_MAX), LIST_KEYS_MAX, state.pageKeys)
  const isUnordered = bucket.isExpress || state.settings.listsUnordered
  const orderOf = (key: string): string => (isUnordered ? `${sha256(Buffer.from(key))}${key}` : key)
  const token = query.get("continuation-token")
  const from = token === null ? "" : Buffer.from(token, "base64url").toString()
  const keys = [...bucket.objects.keys()]
    .filter((key) => key.startsWith(prefix) && key > startAfter && orderOf(key) > from)
    .sort((a, b) => Buffer.compare(Buffer.from(orderOf(a)), Buffer.from(orderOf(b))))
  const page = keys.slice(0, maxKeys)
  const isTruncated = keys.length > page.length
  const contents = page.map((key) => {
    const { bytes } = bucket.objects.get(key)!
    return `<Contents><Key>${escaped(key)}</Key><Size>${bytes.length}</Size><ETag>${escaped(etagOf(bytes))}</ETag></Contents>`
  })
  const next = isTruncated && page.length > 0 ? Buffer.from(orderOf(page.at(-1)!)).toString("base64url") : undefined
  return xml(
    "ListBucketResult",
    `<Name>${bucket.name}</Name><Prefix>${escaped(prefix)}</Prefix><KeyCount>${page.length}</KeyCount>` +
      `<MaxKeys>${maxKeys}</MaxKeys><IsTruncated>${isTruncated}</IsTruncated>${contents.join("")}` +
      (next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`)
  )
}

function deleteMany(state: State, { bucket, request }: Call, body: Buffer): Answer {
  const promised = request.headers["x-amz-checksum-crc32c"]
  if (promised === undefined && request.headers["content-md5"] === undefined) return error(400, "InvalidRequest")
  if (promised !== undefined && promised !== base64Of(body)) return error(400, "BadDigest")
  const keys = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => unescaped(key))
  if (keys.length === 0 || keys.length > DELETE_KEYS_MAX) return error(400, "MalformedXML")
  const isQuiet = body.includes("<Quiet>true</Quiet>")
  const results = keys.map((key) => {
    if (state.settings.isDenied("delete", key)) {
      return `<Error><Key>${escaped(key)}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`
    }
    bucket.objects.delete(key)
    return isQuiet ? "" : `<Deleted><Key>${escaped(key)}</Key></Deleted>`
  })
  return xml("DeleteResult", results.join(""))
}

function session(state: State): Answer {
  const number = ++state.sessionsMade
  const id = `SESSION${number}`
  const endsAtMs = Date.now() + state.sessionMs
  state.sessions.set(id, { secret: `session-secret-${number}`, token: `session-token-${number}`, endsAtMs })
  return xml(
    "CreateSessionResult",
    `<Credentials><SessionToken>session-token-${number}</SessionToken><SecretAccessKey>session-secret-${number}` +
      `</SecretAccessKey><AccessKeyId>${id}</AccessKeyId><Expiration>${new Date(endsAtMs).toISOString()}</Expiration></Credentials>`
  )
}

/** Whether the request ended here, with nothing done. */
async function failedBefore(fault: S3Fault, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  switch (fault.kind) {
    case "hang":
    case "cut":
      if (fault.when === "after") return false
      await bodyOf(request, fault)
      if (fault.kind === "cut") request.socket.destroy()
      return true
    case "answer":
      if (fault.when === "after") return false
      await refuse(request, response, {
        ...error(fault.status, fault.code, fault.fields),
        headers: fault.headers ?? {}
      })
      return true
    case "answer-early":
      response.shouldKeepAlive = false
      send(response, error(fault.status, fault.code))
      response.once("finish", () => request.socket.destroySoon())
      return true
    case "page":
      await refuse(request, response, { status: fault.status, body: "<html><body>Welcome</body></html>" })
      return true
    default:
      return false
  }
}

/** Whether the request was answered here, after it took effect. */
async function failedAfter(
  fault: S3Fault,
  answer: Answer,
  request: IncomingMessage,
  response: ServerResponse
): Promise<boolean> {
  const body = Buffer.from(answer.body ?? "")
  switch (fault.kind) {
    case "hang":
      return true
    case "cut":
      request.socket.destroy()
      return true
    case "answer":
      send(response, { ...error(fault.status, fault.code, fault.fields), headers: fault.headers ?? {} })
      return true
    case "corrupt": {
      const damaged = Buffer.from(body)
      if (damaged.length > 0) damaged[fault.byteIndex % damaged.length]! ^= 0xff
      send(response, { ...answer, body: damaged })
      return true
    }
    case "truncate":
      response.writeHead(answer.status, { ...answer.headers, "content-length": String(body.length) })
      response.write(body.subarray(0, fault.bytes), () => request.socket.destroySoon())
      return true
    case "shorten":
      send(response, { ...answer, body: body.subarray(0, fault.bytes) })
      return true
    case "headers":
      send(response, { ...answer, headers: { ...answer.headers, ...(fault.headers as Record<string, string>) } })
      return true
    default:
      return false
  }
}

async function bodyOf(request: IncomingMessage, fault: S3Fault | undefined): Promise<Buffer> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    pieces.push(piece)
    length += piece.length
    if (fault?.kind === "cut-body" && length >= fault.afterBytes) {
      request.socket.destroy()
      throw new Error("cut")
    }
  }
  const body = Buffer.concat(pieces)
  if (fault?.kind === "corrupt-request" && length > 0) body[fault.byteIndex % length]! ^= 0xff
  return body
}

/** Reads the body first: who answers earlier and closes resets the connection under the client's hands. */
async function refuse(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  for await (const _ of request);
  send(response, answer)
}

function send(response: ServerResponse, { status, headers, body = "" }: Answer): void {
  const length = String(Buffer.byteLength(body))
  const all = { "x-amz-request-id": "FAKE", "content-length": length, ...headers }
  response.writeHead(status, Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
  response.end(body)
}

function error(status: number, code: string, fields: Readonly<Record<string, string>> = {}): Answer {
  const more = Object.entries(fields).map(([name, value]) => `<${name}>${escaped(value)}</${name}>`)
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>the fake says ${code}</Message>${more.join("")}<RequestId>FAKE</RequestId></Error>`
  return { status, headers: { "content-type": "application/xml" }, body }
}

function xml(root: string, body: string): Answer {
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${body}</${root}>`
  return { status: 200, headers: { "content-type": "application/xml" }, body: text }
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
}

function unescaped(text: string): string {
  return text.replaceAll("&quot;", '"').replaceAll("&gt;", ">").replaceAll("&lt;", "<").replaceAll("&amp;", "&")
}

function checksumHeaders(checksum: string): Record<string, string> {
  return { "x-amz-checksum-crc32c": checksum, "x-amz-checksum-type": "FULL_OBJECT" }
}

function base64Of(body: Buffer): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32c(body))
  return bytes.toString("base64")
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex")
}

function etagOf(bytes: Buffer): string {
  return `"${createHash("md5").update(bytes).digest("hex")}"`
}
