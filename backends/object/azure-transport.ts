/**
 * The SDK of Azure on connections of our own (http-exchange.ts): bounded, given up at once, with the body as chunks.
 *
 * The SDK builds, signs and reads requests; it takes bodies as one Buffer or as a stream. Here a body is a function, as it
 * takes for streams too, with the chunks beside it: so nothing is copied and the request has a length. An answer with
 * bytes of an object comes as a stream of one piece, for the same reason.
 *
 * Each upload has its Content-MD5, which Azure checks before the blob exists. MD5 takes 1.3 ms per MiB, so it is made in
 * slices that let others run in between; CRC-64 (x-ms-content-crc64) would take 0.6 with the WebAssembly that the SDK
 * brings for itself in a package that we do not depend on, and more than MD5 in JavaScript.
 */
import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import {
  type HttpOperationResponse,
  type HttpRequestBody,
  type IHttpClient,
  type RequestPolicyFactory,
  type WebResource
} from "@azure/storage-blob"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { type HttpAnswer, type HttpConnections } from "./http-exchange.ts"

interface Upload {
  readonly chunks: ReadonlyArray<Uint8Array>
  /** Base64. */
  readonly md5: string
}

const uploads = new WeakMap<object, Upload>()

/** A body for the SDK. */
export const uploadBody = (chunks: ReadonlyArray<Uint8Array>, md5: string): HttpRequestBody => {
  const body = () => Readable.from(chunks)
  uploads.set(body, { chunks, md5 })
  return body
}

/** Base64; in slices of a mebibyte with other work in between, at most until the signal. */
export const md5Of = async (chunks: ReadonlyArray<Uint8Array>, signal: AbortSignal): Promise<string> => {
  const hash = createHash("md5")
  let sliceBytes = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length && !signal.aborted; at += limits.cloudHashSliceBytes) {
      const slice = chunk.subarray(at, at + limits.cloudHashSliceBytes)
      hash.update(slice)
      sliceBytes += slice.length
      if (sliceBytes < limits.cloudHashSliceBytes) continue
      sliceBytes = 0
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return hash.digest("base64")
}

/** Adds the checksum to uploads, before they are signed. */
export const checksumPolicy: RequestPolicyFactory = {
  create: (next) => ({
    sendRequest: (request) => {
      const upload = uploadOf(request)
      if (upload !== undefined) request.headers.set("content-md5", upload.md5)
      return next.sendRequest(request)
    }
  })
}

/** Rejects with HttpFault. */
export const transportOver = (connections: HttpConnections): IHttpClient => ({
  sendRequest: async (request) => {
    const url = new URL(request.url)
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("x-ms-range") ?? "")
    const rangeBytes = range === null ? undefined : Number(range[2]) - Number(range[1]) + 1
    const isDownload = request.method === "GET" && (request.streamResponseStatusCodes?.size ?? 0) > 0
    const answer = await connections.send({
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: headersOf(request),
      ...bodyOf(request),
      answerBytesMax: isDownload
        ? Math.max(Math.min(rangeBytes ?? limits.objectBytesMax, limits.objectBytesMax), limits.cloudAnswerBytesMax)
        : limits.cloudAnswerBytesMax,
      answerBytesExpected: Math.min(rangeBytes ?? 0, limits.objectBytesMax),
      signal: request.abortSignal as AbortSignal
    })
    return responseOf(request, answer)
  }
})

const uploadOf = ({ body }: WebResource): Upload | undefined =>
  typeof body === "function" ? uploads.get(body as object) : undefined

/** Node sets these three itself. */
const headersOf = ({ headers }: WebResource): Readonly<Record<string, string>> => {
  const plain: Record<string, string> = {}
  for (const { name, value } of headers.headersArray()) {
    const lower = name.toLowerCase()
    if (lower !== "content-length" && lower !== "connection" && lower !== "host") plain[lower] = value
  }
  return plain
}

const bodyOf = (request: WebResource): { readonly body?: ReadonlyArray<Uint8Array> } => {
  const upload = uploadOf(request)
  if (upload !== undefined) {
    const bytes = bytesOf(upload.chunks)
    const signed = request.headers.get("content-length")
    if (signed !== String(bytes)) throw new Error(`the SDK signed a length of ${signed} for ${bytes} bytes`)
    return { body: upload.chunks }
  }
  if (request.body === undefined || request.body === null) return {}
  if (typeof request.body === "string") return { body: [Buffer.from(request.body)] }
  throw new Error(`the SDK sends a body of a kind that no call here has: ${typeof request.body}`)
}

const responseOf = (request: WebResource, { status, headers, body }: HttpAnswer): HttpOperationResponse => {
  // The SDK exports no class of headers: a copy of the request's, emptied, is one.
  const copied = request.headers.clone()
  for (const name of copied.headerNames()) copied.remove(name)
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) copied.set(name, Array.isArray(value) ? value.join(", ") : value)
  }
  const isStreamed = request.streamResponseStatusCodes?.has(status) === true
  return {
    request,
    status,
    headers: copied,
    ...(isStreamed ? { readableStreamBody: streamOf(body) } : { bodyAsText: body.toString("utf8") })
  }
}

/** Of one piece. Readable.from would take ten turns of the event loop for it. */
const streamOf = (body: Buffer): Readable => {
  const stream = new Readable({ read: () => undefined })
  if (body.length > 0) stream.push(body)
  stream.push(null)
  return stream
}
