/**
 * Frames: header and body of requests and answers, both sides of a connection [pure].
 *
 * A frame here is what follows the 4-byte length prefix; what is encoded has the prefix. Header versions follow from
 * the API: request header 2 and response header 1 where the API's version is flexible, else 1 and 0; an ApiVersions
 * answer always has response header 0, for a client must be able to read it before it knows the server's versions.
 *
 *   request header  1 => api_key int16, api_version int16, correlation_id int32, client_id nullable string
 *   request header  2 => the same (also the client id's int16 length), then tags
 *   response header 0 => correlation_id int32
 *   response header 1 => the same, then tags
 */
import { assert } from "#core/model/assert.ts"
import { errorCodes } from "./error-codes.ts"
import { decodeBody, type Encoded, encodeBody } from "./message-codec.ts"
import { ProtocolError, type ProtocolErrorReason } from "./protocol-error.ts"
import { isServed, type KafkaApi, kafkaRegistry, type Registry } from "./registry.ts"
import { type Api, isIn, type RequestInput, type RequestOf, type ResponseInput, type ResponseOf } from "./schema.ts"

export const LENGTH_PREFIX_BYTES = 4
const API_VERSIONS_KEY = 18
const FIXED_HEADER_BYTES = 8
const STRING_BYTES_MAX = 32_767
const FRAME_BYTES_MAX = 0x7fffffff

export interface RequestHeader<K extends number = number> {
  readonly apiKey: K
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
  /** Where the body begins in the frame. */
  readonly bodyOffset: number
}

/** A request of one of the APIs: `apiKey` says which, and so what `body` is. */
export type Request<A extends Api = KafkaApi> = A extends Api
  ? RequestHeader<A["key"]> & { readonly api: A; readonly body: RequestOf<A> }
  : never

/**
 * The header of a request. Throws ProtocolError `unknown-api` or `unsupported-version` where the body could not be
 * decoded (Kafka closes the connection then), with one exception: an ApiVersions request of a version that is not
 * served has a header, for it must be answered (version 0, error UNSUPPORTED_VERSION). `isServed` tells.
 */
export const decodeRequestHeader = (frame: Buffer, registry: Registry = kafkaRegistry): RequestHeader => {
  const length = frame.length
  if (length < FIXED_HEADER_BYTES) return fail("truncated", "", length, "a request header takes 8 bytes at least")
  const apiKey = frame.readInt16BE(0)
  const apiVersion = frame.readInt16BE(2)
  const correlationId = frame.readInt32BE(4)
  const api = registry.get(apiKey)
  if (api === undefined) return fail("unknown-api", "requestApiKey", 0, `no API has the key ${apiKey}`)
  const served = isServed(api, apiVersion)
  if (!served && apiKey !== API_VERSIONS_KEY) {
    const problem = `${api.name} is served in versions ${api.versionMin} to ${api.versionMax}, not ${apiVersion}`
    return fail("unsupported-version", "requestApiVersion", 2, problem)
  }
  if (length < FIXED_HEADER_BYTES + 2) return fail("truncated", "clientId", length, "the client id is missing")
  const clientIdBytes = frame.readInt16BE(FIXED_HEADER_BYTES)
  const clientIdOffset = FIXED_HEADER_BYTES + 2
  if (clientIdBytes < -1) return fail("malformed", "clientId", FIXED_HEADER_BYTES, `its length is ${clientIdBytes}`)
  if (clientIdBytes > length - clientIdOffset) {
    const problem = `${clientIdBytes} bytes are promised, ${length - clientIdOffset} left`
    return fail("truncated", "clientId", clientIdOffset, problem)
  }
  const clientId = clientIdBytes < 0 ? null : frame.toString("utf8", clientIdOffset, clientIdOffset + clientIdBytes)
  const headerEnd = clientIdOffset + Math.max(clientIdBytes, 0)
  const hasTags = served && isIn(api.request.flexible, apiVersion)
  return { apiKey, apiVersion, correlationId, clientId, bodyOffset: hasTags ? skipTags(frame, headerEnd) : headerEnd }
}

/** Decodes the body of a request whose header says that it is one of `api`. Buffers in it are views of the frame. */
export const decodeRequestBody = <A extends Api>(api: A, header: RequestHeader, frame: Buffer): RequestOf<A> => {
  assert(header.apiKey === api.key, `${api.name} has another key than ${header.apiKey}`)
  if (!isServed(api, header.apiVersion)) {
    const problem = `${api.name} is served in versions ${api.versionMin} to ${api.versionMax}`
    return fail("unsupported-version", "requestApiVersion", 2, problem, header.apiVersion)
  }
  return decodeBody(api.request, header.apiVersion, frame, header.bodyOffset) as RequestOf<A>
}

/** Header and body. Throws ProtocolError also for an ApiVersions request of a version that is not served. */
export const decodeRequest = <A extends Api = KafkaApi>(
  frame: Buffer,
  registry: Registry<A> = kafkaRegistry as unknown as Registry<A>
): Request<A> => {
  const header = decodeRequestHeader(frame, registry)
  const api = registry.get(header.apiKey)!
  return { ...header, api, body: decodeRequestBody(api, header, frame) } as unknown as Request<A>
}

/** An answer with its length prefix. Records in it are the caller's own buffers, to be written with one writev. */
export const encodeResponse = <A extends Api>(answer: {
  readonly api: A
  readonly version: number
  readonly correlationId: number
  readonly body: ResponseInput<A>
}): Encoded => {
  const { api, version } = answer
  const hasTags = hasResponseTags(api, version)
  const headBytes = LENGTH_PREFIX_BYTES + 4 + (hasTags ? 1 : 0)
  const encoded = encodeBody(api.response, version, answer.body, headBytes)
  const head = encoded.chunks[0]!
  writeLength(head, encoded.byteLength, api)
  head.writeInt32BE(answer.correlationId, LENGTH_PREFIX_BYTES)
  if (hasTags) head[LENGTH_PREFIX_BYTES + 4] = 0
  return encoded
}

/** A request with its length prefix: the client's side. */
export const encodeRequest = <A extends Api>(request: {
  readonly api: A
  readonly version: number
  readonly correlationId: number
  readonly clientId: string | null
  readonly body: RequestInput<A>
}): Encoded => {
  const { api, version, clientId } = request
  const hasTags = isIn(api.request.flexible, version)
  const clientIdBytes = clientId === null ? 0 : Buffer.byteLength(clientId)
  if (clientIdBytes > STRING_BYTES_MAX) fail("unencodable", "clientId", -1, `it takes ${clientIdBytes} bytes`, version)
  const headBytes = LENGTH_PREFIX_BYTES + FIXED_HEADER_BYTES + 2 + clientIdBytes + (hasTags ? 1 : 0)
  const encoded = encodeBody(api.request, version, request.body, headBytes)
  const head = encoded.chunks[0]!
  writeLength(head, encoded.byteLength, api)
  head.writeInt16BE(api.key, LENGTH_PREFIX_BYTES)
  head.writeInt16BE(version, LENGTH_PREFIX_BYTES + 2)
  head.writeInt32BE(request.correlationId, LENGTH_PREFIX_BYTES + 4)
  head.writeInt16BE(clientId === null ? -1 : clientIdBytes, LENGTH_PREFIX_BYTES + FIXED_HEADER_BYTES)
  if (clientId !== null) head.write(clientId, LENGTH_PREFIX_BYTES + FIXED_HEADER_BYTES + 2, "utf8")
  if (hasTags) head[headBytes - 1] = 0
  return encoded
}

/** Which request a frame answers: all that can be known of it before one knows what was asked. */
export const decodeCorrelationId = (frame: Buffer): number =>
  frame.length < 4 ? fail("truncated", "correlationId", 0, "an answer takes 4 bytes at least") : frame.readInt32BE(0)

/** An answer to a request of `api` and `version`: the client's side. Buffers in it are views of the frame. */
export const decodeResponse = <A extends Api>(answer: {
  readonly api: A
  readonly version: number
  readonly frame: Buffer
}): { readonly correlationId: number; readonly body: ResponseOf<A> } => {
  const { api, frame } = answer
  const correlationId = decodeCorrelationId(frame)
  const version = isRefusedApiVersions(api, frame) ? 0 : answer.version
  const bodyOffset = hasResponseTags(api, version) ? skipTags(frame, 4) : 4
  return { correlationId, body: decodeBody(api.response, version, frame, bodyOffset) as ResponseOf<A> }
}

/** An ApiVersions request of a version that the server does not know is answered in version 0 (KIP-511). */
const isRefusedApiVersions = (api: Api, frame: Buffer): boolean =>
  api.key === API_VERSIONS_KEY && frame.length >= 6 && frame.readInt16BE(4) === errorCodes.UNSUPPORTED_VERSION

const hasResponseTags = (api: Api, version: number): boolean =>
  api.key !== API_VERSIONS_KEY && isIn(api.response.flexible, version)

const writeLength = (head: Buffer, byteLength: number, api: Api): void => {
  if (byteLength > FRAME_BYTES_MAX) fail("unencodable", "", -1, `a frame of ${byteLength} bytes`)
  assert(head.length >= LENGTH_PREFIX_BYTES, `${api.name}: the first chunk holds the header`)
  head.writeInt32BE(byteLength - LENGTH_PREFIX_BYTES, 0)
}

/** Skips the tags of a header: Kafka defines none. */
const skipTags = (frame: Buffer, offset: number): number => {
  let position = offset
  const uvarint = (): number => {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      if (position >= frame.length) return fail("truncated", "<tags>", position, "a varint ends in the middle")
      const byte = frame[position++]!
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 128) return value
    }
    return fail("malformed", "<tags>", position, "a varint of more than five bytes")
  }
  for (let left = uvarint(); left > 0; left--) {
    uvarint()
    const length = uvarint()
    if (length > frame.length - position) {
      return fail(
        "truncated",
        "<tags>",
        position,
        `a tag promises ${length} bytes, ${frame.length - position} are left`
      )
    }
    position += length
  }
  return position
}

const fail = (reason: ProtocolErrorReason, field: string, offset: number, problem: string, version = -1): never => {
  throw new ProtocolError({ reason, message: "header", version, field, offset, problem })
}
