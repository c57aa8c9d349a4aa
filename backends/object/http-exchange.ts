/**
 * HTTP requests to one host, over connections of one bucket: what the adapters for Google and Azure send with.
 *
 * Why not the SDKs' own transports: Google's has no way to give up a request and no bound of sockets (a hanging store
 * would gather bodies without end), both copy a body several times on its way, and neither says whether a failed request
 * can have reached the server. Figures are in README.md.
 *
 * Invariants: at most limits.storeSocketsMax sockets and limits.cloudCallsPerBucket calls; each call ends by its
 * timeout; a call that is given up closes its socket at once and lets go of its body; a body goes out as the chunks that
 * were given, uncopied; an answer is one Buffer in memory of its own, whole or an error. No retries, no redirects.
 */
import * as http from "node:http"
import * as https from "node:https"
import { type Socket } from "node:net"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { HttpFault, type HttpFaultKind } from "./http-fault.ts"

export interface HttpRequest {
  readonly method: string
  /** Path and query, escaped. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: ReadonlyArray<Uint8Array>
  /** Bytes that the answer may have at most; and that it is expected to have, for its time. */
  readonly answerBytesMax: number
  readonly answerBytesExpected?: number
  readonly signal: AbortSignal
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** In memory of its own; the caller's. */
  readonly body: Buffer
}

export interface HttpConnectionsOptions {
  /** Only its scheme, host and port count. */
  readonly endpoint: URL
  /** In place of limits.cloudRequestMs and limits.storeConnectMs; for tests. */
  readonly requestMs?: number
  readonly connectMs?: number
}

export class HttpConnections {
  readonly host: string
  readonly #endpoint: URL
  readonly #agent: http.Agent
  readonly #requestMs: number
  readonly #connectMs: number
  #calls = 0
  /** Ends one exchange each. */
  readonly #ends = new Set<() => void>()
  #isClosed = false

  constructor({ endpoint, requestMs, connectMs }: HttpConnectionsOptions) {
    this.#endpoint = endpoint
    this.host = endpoint.host
    this.#requestMs = requestMs ?? limits.cloudRequestMs
    this.#connectMs = connectMs ?? limits.storeConnectMs
    const options: http.AgentOptions = {
      // Node's agents set TCP_NODELAY by themselves.
      keepAlive: true,
      maxSockets: limits.storeSocketsMax,
      maxFreeSockets: limits.storeSocketsMax,
      // The last used first, so that the rest can grow idle. Of a socket in use the timeout is only an event.
      scheduling: "lifo",
      timeout: limits.cloudSocketIdleMs
    }
    this.#agent = endpoint.protocol === "https:" ? new https.Agent(options) : new http.Agent(options)
  }

  /** Calls that have not ended. */
  get calls(): number {
    return this.#calls
  }

  /** Rejects with HttpFault only. An answer of any status is an answer. */
  send(request: HttpRequest): Promise<HttpAnswer> {
    const refuse = (kind: HttpFaultKind, message: string) =>
      Promise.reject(new HttpFault({ kind, isSent: false, message: `${this.host}: ${message}` }))
    if (this.#isClosed) return refuse("closed", "the store was closed")
    if (request.signal.aborted) return refuse("abandoned", "given up before it began")
    if (this.#calls >= limits.cloudCallsPerBucket) return refuse("crowded", `${this.#calls} calls are under way`)
    this.#calls++
    return this.#exchange(request).finally(() => this.#calls--)
  }

  /** Ends what is under way, and what waits for a socket. */
  close(): void {
    this.#isClosed = true
    for (const end of this.#ends) end()
    this.#agent.destroy()
  }

  #exchange(request: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const { body = [], signal } = request
      const bodyBytes = bytesOf(body)
      const sending = this.#begin(request, bodyBytes)
      let isSent = false
      const end = (): void => {
        clearTimeout(timer)
        clearTimeout(connectTimer)
        signal.removeEventListener("abort", abandon)
        this.#ends.delete(close)
      }
      const fail = (kind: HttpFaultKind, message: string, code = ""): void => {
        end()
        reject(new HttpFault({ kind, isSent, message: `${this.host}: ${message}`, code }))
        sending.destroy()
      }
      const abandon = (): void => fail("abandoned", "given up by the caller")
      const close = (): void => fail("closed", "the store was closed")
      const timeMs = this.#timeMs(bodyBytes + (request.answerBytesExpected ?? 0))
      const timer = setTimeout(() => fail("timeout", `no answer in ${timeMs} ms`), timeMs)
      let connectTimer: NodeJS.Timeout | undefined
      signal.addEventListener("abort", abandon)
      this.#ends.add(close)
      sending.on("socket", (socket) => {
        const connected = (): void => {
          isSent = true
          clearTimeout(connectTimer)
        }
        if (!socket.connecting) return connected()
        const connectMs = this.#connectMs
        connectTimer = setTimeout(() => fail("connect-timeout", `no connection in ${connectMs} ms`), connectMs)
        onceConnected(socket, connected)
      })
      sending.on("error", (error) => fail("socket", error.message, errnoOf(error)))
      sending.on("response", (answer) => {
        receive(answer, request, {
          succeed: (whole) => {
            end()
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: whole })
            // Answered before it was all sent: the connection cannot be used again.
            if (!sending.writableFinished) sending.destroy()
          },
          fail
        })
      })
      sending.cork()
      for (const chunk of body) sending.write(chunk)
      sending.uncork()
      sending.end()
    })
  }

  #begin({ method, path, headers, body }: HttpRequest, bodyBytes: number): http.ClientRequest {
    const { protocol, hostname, port } = this.#endpoint
    const options: https.RequestOptions = {
      agent: this.#agent,
      protocol,
      // A URL has the brackets of an IPv6 address, a socket must not.
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      method,
      path,
      headers: body === undefined ? headers : { ...headers, "content-length": String(bodyBytes) }
    }
    return protocol === "https:" ? https.request(options) : http.request(options)
  }

  #timeMs(bytes: number): number {
    return this.#requestMs + Math.ceil((bytes / limits.cloudRequestBytesPerSecondMin) * 1_000)
  }
}

/** With TLS bytes of the request only leave after the handshake. */
const onceConnected = (socket: Socket, connected: () => void): void => {
  socket.once("encrypted" in socket ? "secureConnect" : "connect", connected)
}

interface Receiver {
  readonly succeed: (body: Buffer) => void
  readonly fail: (kind: HttpFaultKind, message: string, code?: string) => void
}

/** Reads the answer into one Buffer: of the promised length, or where none was promised, pieces put together. */
const receive = (answer: http.IncomingMessage, request: HttpRequest, { succeed, fail }: Receiver): void => {
  const { answerBytesMax, method } = request
  const promised = method === "HEAD" ? 0 : promisedBytes(answer.headers)
  if (promised !== undefined && promised > answerBytesMax) {
    return fail("too-long", `the answer has ${promised} bytes, at most ${answerBytesMax} may be`)
  }
  const whole = promised === undefined ? undefined : Buffer.allocUnsafeSlow(promised)
  const pieces: Array<Buffer> = []
  let at = 0
  answer.on("data", (piece: Buffer) => {
    if (at + piece.length > (promised ?? answerBytesMax)) {
      fail("too-long", `the answer has more than ${promised ?? answerBytesMax} bytes`)
      return
    }
    if (whole === undefined) pieces.push(piece)
    else piece.copy(whole, at)
    at += piece.length
  })
  answer.on("end", () => {
    if (promised !== undefined && at < promised) fail("truncated", `the answer ended at ${at} of ${promised} bytes`)
    else succeed(whole ?? joined(pieces, at))
  })
  answer.on("error", (error) => {
    if (!answer.complete) fail("truncated", `the answer ended after ${at} bytes: ${error.message}`, errnoOf(error))
    else fail("socket", error.message, errnoOf(error))
  })
}

const joined = (pieces: ReadonlyArray<Buffer>, bytes: number): Buffer => {
  const whole = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const piece of pieces) at += piece.copy(whole, at)
  return whole
}

const promisedBytes = (headers: http.IncomingHttpHeaders): number | undefined => {
  const text = headers["content-length"]
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

const errnoOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""
