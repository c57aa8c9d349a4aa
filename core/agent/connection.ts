/**
 * One client connection: frames in, answers out, in order.
 *
 * Kafka promises that the requests of a connection are processed and answered in their order. Here a request starts when
 * everything before it is answered, except that some kinds overlap (produce requests, whose order is kept by the segment
 * buffer; the agents' own among themselves). Requests always start, and answers always leave, in order.
 *
 * Nothing grows without bound: a frame is read only when its bytes fit into the budget shared by all connections, at most
 * `requestsInFlightMax` requests are held, and while the peer does not take an answer nothing new is started.
 *
 * It knows no API: `RequestDispatcher` turns a frame into an effect that yields an answer.
 */
import { type Effect, Exit, type Fiber } from "effect"
import { type AcceptedTransport } from "#core/ports/network.ts"
import { limits } from "#core/model/limits.ts"
import { FrameLease, type FramePool } from "./frame-pool.ts"
import { FrameReader } from "./frame-reader.ts"
import { type RequestBudget } from "./request-budget.ts"
import { RequestTurn } from "./request-turn.ts"

export interface Answer {
  /** With length prefix. Empty: nothing is sent (acks=0). */
  readonly chunks: ReadonlyArray<Buffer>
}

/** Ends the connection after the answers before it have been written: what Kafka does where a request has no answer. */
export interface Hangup {
  readonly hangup: string
}

export interface RequestDispatcher {
  /** Whether requests of this kind may run while earlier ones of the same kind do. Total: the frame may be garbage. */
  readonly overlaps: (frame: Buffer) => boolean
  /** Malformed requests are a Hangup, never a failure or defect. */
  readonly dispatch: (
    frame: Buffer,
    connection: ConnectionInfo,
    request: RequestHandles
  ) => Effect.Effect<Answer | Hangup>
}

/** Takes what gives a request's memory back: called once, when its answer was taken by the socket or never will be. */
export type Hold = (release: () => void) => void

/** What a request has of its connection. */
export interface RequestHandles {
  readonly hold: Hold
  /** Its frame. */
  readonly lease: FrameLease
  /** Among the requests that overlap. */
  readonly turn: RequestTurn
  /**
   * Takes over the request's share of the budget, which otherwise ends with its answer or its connection; to be called at
   * most once. Who takes it must call what it answers, once.
   */
  readonly takeBudget: () => () => void
}

export interface ConnectionInfo {
  readonly peer: string
  readonly listener: string
}

export interface ConnectionContext {
  readonly dispatcher: RequestDispatcher
  readonly requestBudget: RequestBudget
  readonly framePool: FramePool
  /** Read anew for each frame. */
  readonly frameBytesMax: number
  /** Requests that may be held before the socket is paused. */
  readonly requestsInFlightMax: number
  readonly run: (effect: Effect.Effect<Answer | Hangup>) => Fiber.Fiber<Answer | Hangup>
  /** Called each time that the socket is paused because a bound was reached. */
  readonly onPaused: () => void
  /** Called once with why it ended; `orderly` is the everyday end by the peer. */
  readonly onEnd: (connection: Connection, reason: string, manner: "orderly" | "fault") => void
}

interface Slot {
  readonly frameBytes: number
  readonly lease: FrameLease
  readonly turn: RequestTurn
  /** The handler has taken over the share of the budget. */
  isBudgetTaken: boolean
  answer: Answer | Hangup | undefined
  fiber: Fiber.Fiber<Answer | Hangup> | undefined
  /** What the request holds until its answer is taken. */
  readonly held: Array<() => void>
}

export class Connection {
  readonly info: ConnectionInfo
  readonly #transport: AcceptedTransport
  readonly #context: ConnectionContext
  readonly #reader: FrameReader
  /** Frames that have not started, in order. */
  readonly #frames: Array<Buffer> = []
  /** Started requests, in order, until their answers are written. */
  readonly #slots: Array<Slot> = []
  #startedOverlap = false
  #answersUntaken = 0
  #outputFull = false
  /** A request will end the connection, once those before it are answered: nothing behind it is started any more. */
  #hangsUp = false
  #giveUpReservation: (() => void) | undefined
  #queueFull = false
  /** Nothing is read until a bound allows it. */
  #isPaused = false
  /** Why the connection ends once the requests that came before are answered. */
  #lastWords: string | undefined
  #ended = false
  /** For the sweep: changes whenever bytes came, or an answer left. */
  #received = 0
  #taken = 0
  #seen = {
    received: -1,
    receivedAtMs: 0,
    taken: -1,
    unsentBytes: -1,
    takenAtMs: 0,
    frame: -1,
    gatheredBytes: 0,
    atMs: 0
  }

  constructor(transport: AcceptedTransport, listener: string, context: ConnectionContext) {
    this.info = { peer: transport.peer, listener }
    this.#transport = transport
    this.#context = context
    this.#reader = new FrameReader({
      get frameBytesMax() {
        return context.frameBytesMax
      },
      pool: context.framePool,
      admit: (bytes) => this.#admit(bytes),
      onFrame: (frame) => this.#onFrame(frame),
      onInvalid: (bytes) =>
        this.#endAfterAnswers(`a frame of ${bytes} bytes was announced; at most ${context.frameBytesMax} are allowed`)
    })
    transport.onDrain(() => {
      this.#outputFull = false
      this.#start()
    })
    transport.onClose(() => this.end("closed by the peer", "orderly"))
    transport.readInto({
      room: () => this.#reader.room(),
      received: (bytes) => {
        this.#received++
        this.#reader.received(bytes)
      }
    })
  }

  get isEnded(): boolean {
    return this.#ended
  }

  /** Ends what has stalled or idled for too long. Called every few seconds with the present time. */
  sweep(nowMs: number, bounds: { readonly idleMs: number; readonly stalledMs: number }): void {
    const seen = this.#seen
    // Who runs a request, or waits for memory, is not idle.
    if (seen.received !== this.#received || this.#slots.length > 0 || this.#reader.isWaiting) {
      seen.received = this.#received
      seen.receivedAtMs = nowMs
    }
    const unsentBytes = this.#transport.unsentBytes()
    if (seen.taken !== this.#taken || this.#answersUntaken === 0 || seen.unsentBytes !== unsentBytes) {
      seen.taken = this.#taken
      seen.unsentBytes = unsentBytes
      seen.takenAtMs = nowMs
    }
    if (nowMs - seen.takenAtMs > bounds.stalledMs) this.end("the peer does not take its answers", "fault")
    else if (this.#reader.admittedBytes > 0 && nowMs - seen.receivedAtMs > bounds.stalledMs) {
      this.end("the peer stopped in the middle of a request", "fault")
    } else if (nowMs - seen.receivedAtMs > bounds.idleMs) this.end("idle", "orderly")
    else if (this.#isDawdling(nowMs))
      this.end("the peer sends its request too slowly while others wait for memory", "fault")
  }

  /** A request that is begun holds memory for all of it. Nobody may hold what others wait for without sending. */
  #isDawdling(nowMs: number): boolean {
    const seen = this.#seen
    const { frameNumber, gatheredBytes, admittedBytes } = this.#reader
    const isSameFrame = admittedBytes > 0 && seen.frame === frameNumber
    const expectedBytes = ((nowMs - seen.atMs) * limits.requestBytesPerSecondMin) / 1_000
    const isSlow = isSameFrame && gatheredBytes - seen.gatheredBytes < expectedBytes
    seen.frame = admittedBytes > 0 ? frameNumber : -1
    seen.gatheredBytes = gatheredBytes
    seen.atMs = nowMs
    return isSlow && this.#context.requestBudget.isWaitedFor(admittedBytes)
  }

  end(reason: string, manner: "orderly" | "fault"): void {
    if (this.#ended) return
    this.#ended = true
    this.#giveUpReservation?.()
    const { requestBudget } = this.#context
    if (this.#reader.admittedBytes > 0) requestBudget.release(this.#reader.admittedBytes)
    for (const frame of this.#frames.splice(0)) requestBudget.release(frame.length)
    for (const slot of this.#slots.splice(0)) {
      if (!slot.isBudgetTaken) requestBudget.release(slot.frameBytes)
      slot.fiber?.interruptUnsafe()
      releaseAll(slot.held)
    }
    this.#transport.destroy()
    this.#context.onEnd(this, reason, manner)
  }

  #admit(bytes: number): boolean {
    // The request in front of it in the same chunk may have ended the connection: nobody would give the memory back.
    if (this.#ended) return false
    if (this.#frames.length + this.#slots.length >= this.#context.requestsInFlightMax) {
      this.#queueFull = true
      this.#pause()
      return false
    }
    return this.#reserve(bytes)
  }

  #endAfterAnswers(reason: string): void {
    if (this.#frames.length + this.#slots.length === 0) return this.end(reason, "fault")
    this.#lastWords = reason
    this.#transport.pause()
  }

  #reserve(bytes: number): boolean {
    if (this.#context.requestBudget.tryReserve(bytes)) return true
    this.#pause()
    this.#giveUpReservation = this.#context.requestBudget.reserve(bytes, () => {
      this.#giveUpReservation = undefined
      this.#continueReading()
    })
    return false
  }

  /** Once, also where one bound is reached after another. */
  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#transport.pause()
    this.#context.onPaused()
  }

  #continueReading(): void {
    this.#reader.resume()
    if (this.#reader.isWaiting || this.#ended) return
    this.#isPaused = false
    this.#transport.resume()
  }

  #onFrame(frame: Buffer): void {
    if (this.#ended) return this.#context.requestBudget.release(frame.length)
    this.#frames.push(frame)
    this.#start()
  }

  /** Starts what may start now. */
  #start(): void {
    while (!this.#ended && !this.#outputFull && !this.#hangsUp && this.#frames.length > 0) {
      const frame = this.#frames[0]!
      const overlaps = this.#context.dispatcher.overlaps(frame)
      if (this.#slots.length > 0 && !(overlaps && this.#startedOverlap)) return
      this.#frames.shift()
      this.#startedOverlap = overlaps
      const lease = new FrameLease(this.#context.framePool, frame)
      const slot: Slot = {
        frameBytes: frame.length,
        lease,
        turn: new RequestTurn(this.#slots.at(-1)?.turn),
        isBudgetTaken: false,
        answer: undefined,
        fiber: undefined,
        held: []
      }
      this.#slots.push(slot)
      this.#run(slot, frame)
    }
  }

  #run(slot: Slot, frame: Buffer): void {
    const hold: Hold = (release) => {
      if (this.#ended) release()
      else slot.held.push(release)
    }
    const takeBudget = (): (() => void) => {
      if (this.#ended || slot.isBudgetTaken) return () => {}
      slot.isBudgetTaken = true
      return () => this.#context.requestBudget.release(slot.frameBytes)
    }
    const { lease, turn } = slot
    const fiber = this.#context.run(
      this.#context.dispatcher.dispatch(frame, this.info, { hold, lease, turn, takeBudget })
    )
    slot.fiber = fiber
    fiber.addObserver((exit) => {
      turn.pass()
      if (this.#ended) return
      slot.answer = Exit.isSuccess(exit) ? exit.value : { hangup: `a request failed: ${String(exit.cause)}` }
      slot.fiber = undefined
      if ("hangup" in slot.answer) this.#hangsUp = true
      this.#flush()
    })
  }

  /** Writes the answers at the head of the line, together. */
  #flush(): void {
    let chunks: ReadonlyArray<Buffer> | Array<Buffer> = []
    const held: Array<() => void> = []
    let hangup: string | undefined
    let done = 0
    for (; done < this.#slots.length && hangup === undefined; done++) {
      const slot = this.#slots[done]!
      if (slot.answer === undefined) break
      if ("hangup" in slot.answer) hangup = slot.answer.hangup
      else {
        chunks = chunks.length === 0 ? slot.answer.chunks : [...chunks, ...slot.answer.chunks]
      }
      held.push(...slot.held)
    }
    if (done === 0) return
    // Answers hold nothing of their requests' frames: strings are copied, numbers are numbers.
    for (const slot of this.#slots.splice(0, done)) {
      slot.lease.giveUp()
      if (!slot.isBudgetTaken) this.#context.requestBudget.release(slot.frameBytes)
    }
    if (chunks.length > 0) this.#write(chunks, held)
    else releaseAll(held)
    if (hangup !== undefined) return this.end(hangup, "fault")
    if (this.#queueFull && !this.#ended) this.#leaveFullQueue()
    this.#start()
    if (this.#lastWords !== undefined && this.#frames.length + this.#slots.length === 0)
      this.end(this.#lastWords, "fault")
  }

  #leaveFullQueue(): void {
    this.#queueFull = false
    const bytes = this.#reader.waitingBytes
    if (bytes >= 0 && this.#reserve(bytes)) this.#continueReading()
  }

  #write(chunks: ReadonlyArray<Buffer>, held: ReadonlyArray<() => void>): void {
    this.#answersUntaken++
    const state = this.#transport.write(chunks, () => {
      this.#answersUntaken--
      this.#taken++
      releaseAll(held)
    })
    if (state === "full") this.#outputFull = true
  }
}

const releaseAll = (held: ReadonlyArray<() => void>): void => {
  for (const release of held) release()
}
