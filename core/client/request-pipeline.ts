/**
 * The requests of one client connection: sent in the order of the calls, answered in that order.
 *
 * Invariants: each request is completed exactly once, with its own answer or with an error that says whether it may
 * have taken effect; what is unanswered and what waits is bounded (PipelineBounds); after the first fault (a malformed
 * or foreign answer, a timeout, the end of the connection) nothing is sent or answered any more. A caller that no longer
 * waits changes nothing: its answer is dropped when it comes.
 */
import { Deferred, Effect } from "effect"
import { assert } from "#core/model/assert.ts"
import { type Transport } from "#core/ports/network.ts"
import { decodeCorrelationId, decodeResponse, encodeRequest, LENGTH_PREFIX_BYTES } from "#core/protocol/frame.ts"
import { type Encoded } from "#core/protocol/message-codec.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { type Api } from "#core/protocol/schema.ts"
import { AnswerReader } from "./answer-reader.ts"
import { ClientError } from "./client-error.ts"

/** One request from its call to its answer. */
export interface Slot {
  readonly api: Api
  readonly version: number
  readonly correlationId: number
  readonly encoded: Encoded
  readonly answered: Deferred.Deferred<unknown, ClientError>
  readonly expects: "answer" | "nothing"
  state: "queued" | "sent" | "abandoned" | "done"
  /** Whether it may have taken effect. */
  wasSent: boolean
  /** Answers that had come on its connection when it was asked. */
  readonly answersBefore: number
}

const IGNORE = (): void => {}

export interface PipelineBounds {
  /** Requests sent and not yet answered; further ones wait. */
  readonly requestsInFlight: number
  /** Requests that wait to be sent; above it they are refused at once. */
  readonly requestsQueued: number
  /** Longest request frame that is sent; a longer one is refused at once. */
  readonly requestBytesMax: number
  /** Longest answer that is read; a longer one closes the connection. */
  readonly answerBytesMax: number
}

export class RequestPipeline {
  readonly peer: string
  readonly #bounds: PipelineBounds
  readonly #clientId: string
  readonly #transport: Transport
  readonly #reader: AnswerReader
  #queued: Array<Slot> = []
  #sent: Array<Slot> = []
  #correlationId = 0
  #isFull = false
  #fault: ClientError | undefined
  readonly #onFault = new Set<(fault: ClientError) => void>()
  /** Counts answers. */
  #answers = 0

  constructor(options: {
    readonly transport: Transport
    readonly peer: string
    readonly clientId: string
    readonly bounds: PipelineBounds
  }) {
    const { transport } = options
    this.peer = options.peer
    this.#clientId = options.clientId
    this.#bounds = options.bounds
    this.#transport = transport
    this.#reader = new AnswerReader({
      frameBytesMax: options.bounds.answerBytesMax,
      onFrame: (frame) => this.#answer(frame),
      onInvalid: (bytes) => this.fail("Malformed", `an answer announces ${bytes} bytes`)
    })
    transport.onData((chunk) => this.#reader.push(chunk))
    transport.onDrain(() => {
      this.#isFull = false
      this.#send()
    })
    transport.onClose(() => this.fail("Closed", "the connection ended"))
  }

  /** Why the connection is over, undefined while it is not. */
  get fault(): ClientError | undefined {
    return this.#fault
  }

  /** Encodes and queues a request; throws ProtocolError where its body cannot be encoded. */
  enqueue(api: Api, version: number, body: unknown, expects: Slot["expects"]): Slot | ClientError {
    if (this.#fault !== undefined) return this.#errorOf("Closed", "definite", `${api.name} v${version}`, this.#fault)
    if (this.#queued.length >= this.#bounds.requestsQueued) {
      const cause = `${this.#queued.length} requests wait already`
      return this.#errorOf("Overloaded", "definite", `${api.name} v${version}`, cause)
    }
    const correlationId = this.#correlationId
    const encoded = encodeRequest({ api, version, correlationId, clientId: this.#clientId, body: body as never })
    const frameBytes = encoded.byteLength - LENGTH_PREFIX_BYTES
    if (frameBytes > this.#bounds.requestBytesMax) {
      const problem = `a frame of ${frameBytes} bytes; at most ${this.#bounds.requestBytesMax} are sent`
      const message = `${api.name}Request`
      throw new ProtocolError({ reason: "unencodable", message, version, field: "", offset: -1, problem })
    }
    this.#correlationId = (correlationId + 1) & 0x7fffffff
    const answered = Deferred.makeUnsafe<unknown, ClientError>()
    const slot: Slot = {
      api,
      version,
      correlationId,
      encoded,
      answered,
      expects,
      state: "queued",
      wasSent: false,
      answersBefore: this.#answers
    }
    this.#queued.push(slot)
    this.#send()
    return slot
  }

  /** Nobody waits for it any more. One that was not sent is never sent. */
  abandon(slot: Slot): void {
    if (slot.state === "queued") this.#queued = this.#queued.filter((queued) => queued !== slot)
    slot.state = "abandoned"
  }

  /**
   * Whether the connection is stuck, when a request that nobody waits for any more has had no answer in its time: since it
   * was asked no answer came at all, and whoever asked before it has given up as well. Otherwise the others may still be
   * answered.
   */
  isStuckAt(slot: Slot): boolean {
    if (this.#answers !== slot.answersBefore) return false
    const at = this.#sent.indexOf(slot)
    const before = at < 0 ? this.#sent : this.#sent.slice(0, at)
    return before.every(({ state }) => state === "abandoned")
  }

  /** Calls back once with why the connection is over, at once where it is. Returns what takes the listener away. */
  onFault(listener: (fault: ClientError) => void): () => void {
    if (this.#fault !== undefined) listener(this.#fault)
    else this.#onFault.add(listener)
    return () => void this.#onFault.delete(listener)
  }

  /**
   * Ends the connection. The request whose answer was due has failed for the reason, those behind it only because the
   * connection is over. Only the first fault counts.
   */
  fail(reason: ClientError["reason"], cause: unknown): void {
    if (this.#fault !== undefined) return
    const fault = this.#errorOf(reason, "definite", "connection", cause)
    this.#fault = fault
    this.#reader.stop()
    const [sent, queued] = [this.#sent, this.#queued]
    this.#sent = []
    this.#queued = []
    this.#transport.destroy()
    const first = sent.shift()
    if (first !== undefined) {
      this.#complete(first, Effect.fail(this.#errorOf(reason, "indefinite", nameOf(first), cause)))
    }
    for (const slot of sent)
      this.#complete(slot, Effect.fail(this.#errorOf("Closed", "indefinite", nameOf(slot), fault)))
    for (const slot of queued)
      this.#complete(slot, Effect.fail(this.#errorOf("Closed", "definite", nameOf(slot), fault)))
    const listeners = [...this.#onFault]
    this.#onFault.clear()
    for (const listener of listeners) listener(fault)
  }

  #send(): void {
    while (!this.#isFull && this.#sent.length < this.#bounds.requestsInFlight && this.#queued.length > 0) {
      const slot = this.#queued.shift()!
      slot.state = "sent"
      slot.wasSent = true
      if (slot.expects === "answer") this.#sent.push(slot)
      this.#isFull = this.#transport.write(slot.encoded.chunks, IGNORE) === "full"
      if (slot.expects === "nothing") this.#complete(slot, Effect.void)
    }
  }

  #answer(frame: Buffer): void {
    const slot = this.#sent.shift()
    if (slot === undefined) return this.fail("Malformed", "an answer without a request")
    let body: unknown
    try {
      const correlationId = decodeCorrelationId(frame)
      if (correlationId !== slot.correlationId) {
        this.#sent.unshift(slot)
        return this.fail("Malformed", `an answer to request ${correlationId}, not to ${slot.correlationId}`)
      }
      body = decodeResponse({ api: slot.api, version: slot.version, frame }).body
    } catch (cause) {
      this.#sent.unshift(slot)
      return this.fail("Malformed", cause)
    }
    this.#answers++
    this.#complete(slot, Effect.succeed(body))
    this.#send()
  }

  #complete(slot: Slot, answer: Effect.Effect<unknown, ClientError>): void {
    if (slot.state === "abandoned") return
    assert(slot.state !== "done", "a request is completed once")
    slot.state = "done"
    Deferred.doneUnsafe(slot.answered, answer)
  }

  #errorOf(
    reason: ClientError["reason"],
    outcome: ClientError["outcome"],
    operation: string,
    cause: unknown
  ): ClientError {
    return new ClientError({ reason, outcome, peer: this.peer, operation, cause })
  }
}

const nameOf = ({ api, version }: Slot): string => `${api.name} v${version}`
