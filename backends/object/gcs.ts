/**
 * An object store in a bucket of Google Cloud Storage, or of an emulator.
 *
 * Put-if-absent is `ifGenerationMatch=0`, decided by Google; a put is one request with the CRC-32C of the body, which
 * Google checks before the object exists. Reads of whole objects are checked against the CRC-32C that Google keeps; of
 * ranges only the length can be, the segment's own checksums must do the rest. A 404 only says that the key is missing
 * where the bucket has answered lately or is asked now: JSON answers do not tell the two apart. Names are prefix + key.
 *
 * Google keeps no directories: keys below other keys are taken, unlike in file-backed stores (the port allows both).
 * Requests are made here, with credentials of Google's SDK (gcs-credentials.ts, http-exchange.ts say why).
 */
import { randomUUID } from "node:crypto"
import { type Scope, Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import {
  type ByteRange,
  type ObjectBytes,
  type ObjectHead,
  type ObjectStore,
  type ObjectStoreError
} from "#core/ports/object-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { deleteEach, inTime, listPages, prefixFault, successorOf } from "./cloud-call.ts"
import { partOf, wholeOf } from "./cloud-range.ts"
import { type CloudBucket, openCloudStore } from "./cloud-store.ts"
import { placeText } from "./failure-text.ts"
import { type Authorize, anonymous, defaultCredentials } from "./gcs-credentials.ts"
import { failureOfGcs } from "./gcs-error.ts"
import * as requests from "./gcs-requests.ts"
import { type HttpAnswer, HttpConnections, type HttpConnectionsOptions, type HttpRequest } from "./http-exchange.ts"
import { CloudFault, cloudFault, failureOfFault, HttpFault } from "./http-fault.ts"
import { type ListRequest, type ObjectOperation, invalidRequest } from "./request-check.ts"

export interface GcsLocation {
  readonly kind: "gcs"
  readonly bucket: string
  /** Empty, or ends in "/". */
  readonly prefix: string
  /** An emulator, which is asked without credentials; or one of Google's own endpoints, with them. */
  readonly endpoint?: string
}

export interface GcsStoreOptions extends Omit<HttpConnectionsOptions, "endpoint"> {
  /** The bucket's name in the topology. */
  readonly bucket: string
  readonly location: GcsLocation
  /** In place of Google's default credentials. */
  readonly authorize?: Authorize
  /** In place of limits.cloudBucketSeenMs; for tests. */
  readonly bucketSeenMs?: number
}

/**
 * Opens the bucket: finds credentials and lists one key. InvalidRequest where the location is malformed; anything else
 * (no such bucket, no credentials, no permission, no answer) may be mended while this process runs.
 */
export const make = (options: GcsStoreOptions): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  Effect.suspend(() => {
    const { bucket, location } = options
    const endpoint = endpointOf(location)
    if (typeof endpoint === "string") {
      return Effect.fail(invalidRequest({ operation: "list", bucket, key: "", fault: endpoint }))
    }
    return openCloudStore(Effect.sync(() => new GcsBucket(options, endpoint)))
  })

type Sending = Pick<HttpRequest, "method" | "path"> & Partial<HttpRequest>

class GcsBucket implements CloudBucket {
  readonly bucket: string
  readonly #location: GcsLocation
  readonly #connections: HttpConnections
  readonly #isAnonymous: boolean
  readonly #bucketSeenMs: number
  #authorize: Authorize | undefined
  /** When the bucket was last known to be there, by performance.now(). */
  #seenAtMs = Number.NEGATIVE_INFINITY

  constructor(options: GcsStoreOptions, endpoint: URL) {
    this.bucket = options.bucket
    this.#location = options.location
    this.#connections = new HttpConnections({ ...options, endpoint })
    this.#isAnonymous = !isGoogle(endpoint)
    this.#authorize = options.authorize
    this.#bucketSeenMs = options.bucketSeenMs ?? limits.cloudBucketSeenMs
  }

  close(): void {
    this.#connections.close()
  }

  async put(key: string, chunks: ReadonlyArray<Uint8Array>, signal: AbortSignal): Promise<void> {
    let crc = 0
    for (const chunk of chunks) crc = crc32c(chunk, crc)
    const boundary = randomUUID()
    const [before, after] = requests.uploadFrame({ name: this.#name(key), crc, boundary })
    const answer = await this.#send("put", key, signal, {
      method: "POST",
      path: requests.uploadPath(this.#location.bucket),
      headers: { "content-type": requests.uploadType(boundary) },
      body: [before, ...chunks, after]
    })
    const stored = requests.parseObject(answer.body)
    const bytes = bytesOf(chunks)
    if (stored?.objectBytes === bytes) return
    if (stored === undefined) throw cloudFault("Unavailable", NO_METADATA, { outcome: "indefinite" })
    // The object is there by Google's word, but not as it was sent: whoever reads it decides.
    throw cloudFault("Corrupt", `${bytes} bytes were sent, ${stored.objectBytes} stored`, { outcome: "indefinite" })
  }

  async get(key: string, range: ByteRange | undefined, signal: AbortSignal): Promise<ObjectBytes> {
    const asked = range === undefined ? 0 : "last" in range ? range.last : range.length
    const expected = Math.min(asked, limits.objectBytesMax)
    const answer = await this.#send("get", key, signal, {
      method: "GET",
      path: `${requests.objectPath(this.#location.bucket, this.#name(key))}?alt=media`,
      headers: {
        "accept-encoding": "identity",
        ...(range === undefined ? {} : { range: requests.rangeHeader(range) })
      },
      answerBytesMax: range === undefined ? limits.objectBytesMax : Math.max(expected, limits.cloudAnswerBytesMax),
      answerBytesExpected: expected
    })
    return answer.status === 206
      ? partOf(answer.body, answer.headers["content-range"], range)
      : wholeOf(checked(answer), range)
  }

  async head(key: string, signal: AbortSignal): Promise<ObjectHead> {
    const { body } = await this.#send("head", key, signal, {
      method: "GET",
      path: `${requests.objectPath(this.#location.bucket, this.#name(key))}?fields=name,size`
    })
    const object = requests.parseObject(body)
    if (object === undefined) throw cloudFault("Unavailable", NO_METADATA)
    return { key, objectBytes: object.objectBytes }
  }

  list(request: ListRequest, signal: AbortSignal): Promise<ReadonlyArray<ObjectHead>> {
    const { prefix, after } = request
    const from = after === undefined ? undefined : this.#name(successorOf(after))
    return listPages(request, (token, limit) => this.#page({ prefix: this.#name(prefix), from, limit, token }, signal))
  }

  async deleteMany(keys: ReadonlyArray<string>, signal: AbortSignal): Promise<void> {
    await deleteEach(keys, async (key) => {
      await this.#send("delete", key, signal, {
        method: "DELETE",
        path: requests.objectPath(this.#location.bucket, this.#name(key))
      })
    })
  }

  get place(): string {
    const { bucket, prefix, endpoint } = this.#location
    return placeText(`gs://${bucket}/${prefix}`, endpoint)
  }

  #name(key: string): string {
    return `${this.#location.prefix}${key}`
  }

  async #page(place: Parameters<typeof requests.listPath>[1], signal: AbortSignal): Promise<requests.ListPage> {
    const answer = await this.#send("list", "", signal, {
      method: "GET",
      path: requests.listPath(this.#location.bucket, place)
    })
    const page = requests.parseList(answer.body, this.#location.prefix)
    if (page === undefined) throw cloudFault("Unavailable", "the answer is no page of a list")
    return page
  }

  /** An answer of 2xx; anything else is thrown. */
  async #send(operation: ObjectOperation, key: string, signal: AbortSignal, sending: Sending): Promise<HttpAnswer> {
    const authorization = await inTime(this.#authorization(), signal, (why) =>
      cloudFault("Unavailable", `no access token: ${why}`)
    )
    const headers = { ...sending.headers, ...authorization }
    const answer = await this.#connections
      .send({ answerBytesMax: limits.cloudAnswerBytesMax, signal, ...sending, headers })
      .catch((error: unknown) => {
        throw error instanceof HttpFault ? new CloudFault(failureOfFault(error), key === "" ? undefined : key) : error
      })
    if (answer.status >= 200 && answer.status < 300) {
      this.#seenAtMs = performance.now()
      return answer
    }
    const { code, message } = requests.parseError(answer.body)
    const refusal = { operation, status: answer.status, code, message, bucket: this.#location.bucket }
    const failure = failureOfGcs({ ...refusal, clockSkewMs: clockSkewMs(answer) })
    const isAbsence = answer.status === 404 && operation !== "put" && operation !== "list"
    if (!isAbsence) throw new CloudFault(failure, key === "" ? undefined : key)
    await this.#requireBucket(signal)
    throw new CloudFault({ ...failure, reason: "NotFound" }, key)
  }

  /** Fails where the bucket is not there. */
  async #requireBucket(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#seenAtMs < this.#bucketSeenMs) return
    await this.#page({ prefix: this.#location.prefix, from: undefined, limit: 1, token: undefined }, signal)
  }

  /** Emulators get none. */
  async #authorization(): Promise<Readonly<Record<string, string>>> {
    this.#authorize ??= this.#isAnonymous ? anonymous : await defaultCredentials()
    return await this.#authorize()
  }
}

/** Google's endpoint or the given one; what is wrong with it otherwise. */
const endpointOf = ({ bucket, prefix, endpoint }: GcsLocation): URL | string => {
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(bucket)) {
    return `"${bucket}" is no name of a bucket: 3 to 222 of a-z, 0-9, ".", "_", "-", letters or digits at both ends`
  }
  const fault = prefixFault(prefix)
  if (fault !== undefined) return fault
  if (!URL.canParse(endpoint ?? GOOGLE)) return `"${endpoint}" is no URL: write for example http://127.0.0.1:4443`
  const url = new URL(endpoint ?? GOOGLE)
  const isHttp = url.protocol === "http:" || url.protocol === "https:"
  if (!isHttp || url.pathname !== "/" || url.username !== "") {
    return `endpoint "${url.origin}" must be http or https, a host and a port, and no more`
  }
  return url
}

const NO_METADATA = "the answer is no metadata of an object"

const GOOGLE = "https://storage.googleapis.com"

/** Google's own hosts, private endpoints among them, get credentials; over TLS only. */
const isGoogle = (url: URL): boolean =>
  url.protocol === "https:" && (url.hostname === "googleapis.com" || url.hostname.endsWith(".googleapis.com"))

const checked = ({ body, headers }: HttpAnswer): Buffer => {
  const crc = requests.crcOfHashes(headers["x-goog-hash"] as string | undefined)
  if (crc === undefined || crc === crc32c(body)) return body
  throw cloudFault("Corrupt", "the bytes do not have the CRC-32C that the store keeps of them")
}

const clockSkewMs = ({ headers }: HttpAnswer): number | undefined => {
  const atMs = Date.parse(headers.date ?? "")
  return Number.isNaN(atMs) ? undefined : Date.now() - atMs
}
