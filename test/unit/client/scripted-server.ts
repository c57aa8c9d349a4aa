/** A Kafka server without a network: it keeps the requests it got, and the test says what it answers and when. */
import { Effect, Layer } from "effect"
import { Connector } from "#core/ports/connector.ts"
import { type Transport } from "#core/ports/network.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { decodeRequestHeader, encodeResponse, type RequestHeader } from "#core/protocol/frame.ts"
import { advertisedVersions } from "#core/protocol/registry.ts"
import { type Api, type ResponseInput } from "#core/protocol/schema.ts"

export class ScriptedServer implements Transport {
  readonly peer = "test:1"
  /** Requests that were not answered yet, in order. */
  readonly requests: Array<RequestHeader> = []
  isDestroyed = false
  /** It takes what it is given, but says that it is full until `drain`. */
  isFull = false
  #onData: (chunk: Buffer) => void = () => {}
  #onClose: () => void = () => {}
  #onDrain: () => void = () => {}

  readonly layer = Layer.succeed(Connector, Connector.of({ connect: () => Effect.succeed<Transport>(this) }))

  onData(listener: (chunk: Buffer) => void): void {
    this.#onData = listener
  }
  onClose(listener: () => void): void {
    this.#onClose = listener
  }
  onDrain(listener: () => void): void {
    this.#onDrain = listener
  }
  write(chunks: ReadonlyArray<Uint8Array>, taken: () => void): "more" | "full" {
    this.requests.push(decodeRequestHeader(Buffer.concat(chunks).subarray(4)))
    taken()
    return this.isFull ? "full" : "more"
  }
  pause(): void {}
  resume(): void {}
  destroy(): void {
    if (this.isDestroyed) return
    this.isDestroyed = true
    this.#onClose()
  }

  drain(): void {
    this.isFull = false
    this.#onDrain()
  }
  /** Bytes as they come. */
  receive(bytes: Buffer): void {
    this.#onData(bytes)
  }
  /** The bytes of an answer to the oldest request. */
  answerTo<A extends Api>(api: A, body: ResponseInput<A>, version?: number): Buffer {
    const request = this.requests.shift()!
    const { correlationId, apiVersion } = request
    return Buffer.concat(encodeResponse({ api, version: version ?? apiVersion, correlationId, body }).chunks)
  }
  answer<A extends Api>(api: A, body: ResponseInput<A>, version?: number): void {
    this.receive(this.answerTo(api, body, version))
  }
  answerVersions(): void {
    this.answer(ApiVersions, { errorCode: 0, apiKeys: advertisedVersions })
  }
}
