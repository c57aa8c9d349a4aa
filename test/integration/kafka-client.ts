/** A Kafka connection for tests: promises, one request after another or pipelined, decoded by the product's own codecs. */
import * as net from "node:net"
import { decodeCorrelationId, decodeResponse, encodeRequest } from "#core/protocol/frame.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"

interface Expected {
  readonly api: Api
  readonly version: number
  readonly resolve: (body: never) => void
  readonly reject: (error: Error) => void
}

export class KafkaClient {
  readonly socket: net.Socket
  readonly #expected = new Map<number, Expected>()
  /** Correlation ids in the order of their answers. */
  readonly answered: Array<number> = []
  #correlationId = 0
  #rest = Buffer.alloc(0)

  private constructor(socket: net.Socket) {
    this.socket = socket
    socket.on("data", (chunk) => this.#read(chunk))
    socket.on("error", () => {})
    socket.on("close", () => {
      for (const { reject } of this.#expected.values()) reject(new Error("the connection was closed"))
      this.#expected.clear()
    })
  }

  static connect(port: number): Promise<KafkaClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
      socket.once("connect", () => resolve(new KafkaClient(socket)))
      socket.once("error", reject)
    })
  }

  request<A extends Api>(api: A, version: number, body: RequestInput<A>): Promise<ResponseOf<A>> {
    const correlationId = ++this.#correlationId
    const { chunks } = encodeRequest({ api, version, correlationId, clientId: "test", body })
    return new Promise<ResponseOf<A>>((resolve, reject) => {
      this.#expected.set(correlationId, { api, version, resolve: resolve as (body: never) => void, reject })
      for (const chunk of chunks) this.socket.write(chunk)
    })
  }

  /** For requests that have no answer. */
  send<A extends Api>(api: A, version: number, body: RequestInput<A>): void {
    const { chunks } = encodeRequest({ api, version, correlationId: ++this.#correlationId, clientId: "test", body })
    for (const chunk of chunks) this.socket.write(chunk)
  }

  close(): void {
    this.socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 4 && this.#rest.length >= 4 + this.#rest.readInt32BE(0)) {
      const end = 4 + this.#rest.readInt32BE(0)
      const frame = Buffer.from(this.#rest.subarray(4, end))
      this.#rest = this.#rest.subarray(end)
      const correlationId = decodeCorrelationId(frame)
      this.answered.push(correlationId)
      const expected = this.#expected.get(correlationId)
      if (expected === undefined) continue
      this.#expected.delete(correlationId)
      try {
        expected.resolve(decodeResponse({ api: expected.api, version: expected.version, frame }).body as never)
      } catch (error) {
        expected.reject(error as Error)
      }
    }
  }
}
