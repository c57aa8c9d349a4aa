/**
 * An HTTP server in this process that plays a cloud's object store: sockets, faults, and the objects themselves. What a
 * cloud's requests look like is in gcs-fake.ts and azure-fake.ts.
 *
 * Faults are data (fault-plan.ts), as in backends/object/faulty.ts, and a step lower: they break what is on the wire. Objects are put and answered in one step each, so that of racing writes
 * exactly one wins.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse
} from "node:http"
import { createServer as createTlsServer } from "node:https"
import { type AddressInfo, type Socket } from "node:net"
import { FaultPlan, type FaultRule } from "./fault-plan.ts"

export type FakeOperation = "put" | "get" | "head" | "list" | "delete"

export type WireFault =
  /** An error of the cloud's own form; `after`: the work is done all the same. */
  | { readonly kind: "status"; readonly when: "before" | "after"; readonly status: number; readonly code?: string }
  /** No answer ever. */
  | { readonly kind: "hang"; readonly when: "before" | "after" }
  /** The connection is reset: as soon as the head is read, within the request's body, or in place of the answer. */
  | { readonly kind: "cut"; readonly when: "head" | "body" | "after" }
  /** The answer's length is promised, and after so many bytes the connection ends. */
  | { readonly kind: "truncate"; readonly bytes: number }
  /** The answer is shorter than it should be and its length says so too. */
  | { readonly kind: "shorten"; readonly bytes: number }
  /** All bits of the answer's byte at `byteIndex` (modulo the length) are flipped. */
  | { readonly kind: "corrupt"; readonly byteIndex: number }
  /** All bits of one byte of the request's body are flipped before the store sees it. */
  | { readonly kind: "corrupt-request"; readonly byteIndex: number }
  /** An error of the cloud's own form as soon as the head is read, and the connection is closed on the body. */
  | { readonly kind: "early"; readonly status: number; readonly code: string }
  /** What is no answer of this cloud. */
  | { readonly kind: "nonsense"; readonly body: string }
  /** Waits, then goes on with the next rule that applies. */
  | { readonly kind: "delay"; readonly ms: number }
  /** The answer's body comes in pieces with pauses. */
  | { readonly kind: "slow"; readonly pieces: number; readonly pauseMs: number }

export type WireRule = FaultRule<WireFault, FakeOperation>

export interface FakeRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface FakeAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

/** PEM. */
export interface FakeCertificate {
  readonly key: string
  readonly cert: string
}

/** One cloud. */
export interface FakeCloud {
  readonly operationOf: (request: Omit<FakeRequest, "body">) => {
    readonly operation: FakeOperation
    readonly key: string
  }
  readonly handle: (request: FakeRequest) => FakeAnswer
  readonly error: (status: number, code: string | undefined, operation: FakeOperation) => FakeAnswer
}

export interface SeenRequest {
  readonly operation: FakeOperation
  readonly key: string
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

export class HttpFake {
  /** Every request, in the order of their heads. */
  readonly seen: Array<SeenRequest> = []
  /** Milliseconds that the clock in its Date headers is off. */
  clockSkewMs = 0
  socketsMax = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #cloud: FakeCloud
  readonly #scheme: "http" | "https"
  readonly #faults = new FaultPlan<WireFault, FakeOperation>()

  /** Over TLS where there is a certificate. */
  constructor(cloud: FakeCloud, certificate?: FakeCertificate) {
    this.#cloud = cloud
    const serve = (request: IncomingMessage, response: ServerResponse) => {
      // The date is the fake's own.
      response.sendDate = false
      void this.#serve(request, response)
    }
    this.#scheme = certificate === undefined ? "http" : "https"
    this.#server = certificate === undefined ? createServer(serve) : createTlsServer(certificate, serve)
    this.#server.on("tlsClientError", () => undefined)
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket)
      this.socketsMax = Math.max(this.socketsMax, this.#sockets.size)
      socket.on("close", () => this.#sockets.delete(socket))
      socket.on("error", () => undefined)
    })
  }

  /** Its URL, once it listens. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  get openSockets(): number {
    return this.#sockets.size
  }

  /** Adds a rule; the answer takes it away again. */
  add(rule: WireRule): () => void {
    return this.#faults.add(rule)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake")
    const head = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers
    }
    const { operation, key } = this.#cloud.operationOf(head)
    this.seen.push({ operation, key, method: head.method, path: request.url ?? "", headers: request.headers })
    const faults = this.#faults.draw(operation, key)
    const fault = faults.at(-1)
    if (fault?.kind === "cut" && fault.when === "head") return void request.socket.destroy()
    if (fault?.kind === "early") {
      response.on("finish", () => request.socket.destroySoon())
      response.setHeader("connection", "close")
      return this.#answer(response, this.#cloud.error(fault.status, fault.code, operation), undefined)
    }
    const body = await received(request, fault?.kind === "cut" && fault.when === "body")
    if (body === undefined) return
    for (const each of faults) if (each.kind === "delay") await pause(each.ms)
    if (fault?.kind === "hang" && fault.when === "before") return
    if (fault?.kind === "status" && fault.when === "before") {
      return this.#answer(response, this.#cloud.error(fault.status, fault.code, operation), fault)
    }
    if (fault?.kind === "corrupt-request" && body.length > 0) body[fault.byteIndex % body.length]! ^= 0xff
    const answer = this.#cloud.handle({ ...head, body })
    if (fault?.kind === "hang") return
    if (fault?.kind === "cut") return void request.socket.destroy()
    if (fault?.kind === "nonsense") {
      return this.#answer(response, { status: 200, body: Buffer.from(fault.body) }, undefined)
    }
    if (fault?.kind !== "status") return this.#answer(response, answer, fault)
    return this.#answer(response, this.#cloud.error(fault.status, fault.code, operation), fault)
  }

  #answer(response: ServerResponse, answer: FakeAnswer, fault: WireFault | undefined): void {
    let body = Buffer.from(answer.body ?? Buffer.alloc(0))
    if (fault?.kind === "corrupt" && body.length > 0) body[fault.byteIndex % body.length]! ^= 0xff
    if (fault?.kind === "shorten") body = body.subarray(0, fault.bytes)
    const isBodiless = answer.status === 204 || answer.status === 304
    response.writeHead(answer.status, {
      date: new Date(Date.now() + this.clockSkewMs).toUTCString(),
      ...(isBodiless ? {} : { "content-length": String(body.length) }),
      ...answer.headers
    })
    if (fault?.kind === "truncate") {
      response.write(body.subarray(0, fault.bytes), () => response.socket?.end())
      return
    }
    if (fault?.kind === "slow") return void slowly(response, body, fault)
    response.end(body)
  }
}

/** The whole body; undefined where the connection ended within it, which `isCut` makes it do. */
const received = (request: IncomingMessage, isCut: boolean): Promise<Buffer | undefined> =>
  new Promise((resolve) => {
    const pieces: Array<Buffer> = []
    request.on("data", (piece: Buffer) => {
      pieces.push(piece)
      if (isCut) request.socket.destroy()
    })
    request.on("end", () => resolve(isCut ? undefined : Buffer.concat(pieces)))
    request.on("error", () => resolve(undefined))
    request.on("close", () => resolve(undefined))
  })

const slowly = async (response: ServerResponse, body: Buffer, fault: { pieces: number; pauseMs: number }) => {
  const bytes = Math.ceil(body.length / fault.pieces)
  for (let at = 0; at < body.length; at += bytes) {
    response.write(body.subarray(at, at + bytes))
    await pause(fault.pauseMs)
  }
  response.end()
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

export interface StoredObject {
  readonly body: Buffer
  readonly generation: number
}

/** The objects of one bucket, in order of their names' bytes. */
export class FakeObjects {
  readonly #objects = new Map<string, StoredObject>()
  #generation = 1

  get(name: string): StoredObject | undefined {
    return this.#objects.get(name)
  }

  /** Undefined where the name is taken. */
  putIfAbsent(name: string, body: Buffer): StoredObject | undefined {
    if (this.#objects.has(name)) return undefined
    const object = { body, generation: this.#generation++ }
    this.#objects.set(name, object)
    return object
  }

  delete(name: string): boolean {
    return this.#objects.delete(name)
  }

  /** Names with the prefix, from the given one on. */
  names(prefix: string, from: string): ReadonlyArray<string> {
    return [...this.#objects.keys()].filter((name) => name.startsWith(prefix) && name >= from).sort()
  }
}

/** Of a Range header, inclusive; "unsatisfiable" or undefined where there is no proper one. */
export const parseRange = (
  text: string | undefined,
  objectBytes: number
): { readonly first: number; readonly last: number } | "unsatisfiable" | undefined => {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(text ?? "") ?? []
  if (from === undefined || to === undefined || (from === "" && to === "")) return undefined
  if (from === "") {
    if (objectBytes === 0 || Number(to) === 0) return "unsatisfiable"
    return { first: Math.max(0, objectBytes - Number(to)), last: objectBytes - 1 }
  }
  if (Number(from) >= objectBytes) return "unsatisfiable"
  return { first: Number(from), last: to === "" ? objectBytes - 1 : Math.min(Number(to), objectBytes - 1) }
}
