/**
 * A link to one agent: one connection, opened when it is first used and again whenever it is lost, while someone wants it.
 *
 * Someone wants it while requests are under way and for limits.peerLinkIdleMs after the last one. The first attempt after a good connection is made
 * at once, further ones after pauses that double, with jitter and a cap. During an attempt requests wait, in the order of
 * the calls; during a pause they fail at once with the reason of the last attempt. A retired link never connects again.
 *
 * A request is tried once: whether it may be repeated is its caller's business.
 */
import { Cause, type Clock, Effect, Exit, type Fiber, Option, Random, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Connector } from "#core/ports/connector.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type AskedPeer, type PeerConnection, type PeerRequestOptions } from "./peer-connection.ts"
import { PeerError } from "./peer-error.ts"
import { type PeerIdentity } from "./peer-identity.ts"

/** An agent and where other agents reach it; an AgentRecord of the metadata store is one. */
export interface PeerAddress extends PeerIdentity {
  readonly peerHost: string
  /** 0: nowhere. */
  readonly peerPort: number
}

export interface PeerLink {
  readonly agent: PeerAddress
  /** Connects first where it must. Its time includes that. */
  readonly request: <A extends Api>(
    api: A,
    body: RequestInput<A>,
    options: PeerRequestOptions
  ) => Effect.Effect<ResponseOf<A>, PeerError>
  /** `down` without a reason: nobody has wanted it yet, or for long. */
  readonly state: "connected" | "connecting" | "down"
  /** Why the last attempt or connection ended, until there is a connection again. */
  readonly downReason: PeerError["reason"] | undefined
  readonly downError: PeerError | undefined
  /** Calls back after each change of `state`. Listening alone connects nothing. Returns what takes the listener away. */
  readonly onChange: (listener: () => void) => () => void
}

export interface LinkContext {
  readonly clock: Clock.Clock
  readonly connect: (agent: PeerAddress) => Effect.Effect<PeerConnection, PeerError, Scope.Scope | Connector>
  readonly run: (effect: Effect.Effect<void, never, Connector>) => Fiber.Fiber<void>
}

type State = "idle" | "connecting" | "connected" | "pausing" | "retired"

/** A request that waits for the attempt to connect. */
interface Waiter {
  readonly begin: (connection: PeerConnection) => void
  readonly fail: (error: PeerError) => void
}

export class ManagedLink implements PeerLink {
  readonly agent: PeerAddress
  readonly #context: LinkContext
  readonly #waiters = new Set<Waiter>()
  readonly #listeners = new Set<() => void>()
  #state: State = "idle"
  #open: PeerConnection | undefined
  #downError: PeerError | undefined
  /** Of `#keep`, while it runs. */
  #fiber: Fiber.Fiber<void> | undefined
  #isKept = false
  #requests = 0
  #usedAtMs: number
  /** Attempts that failed, and connections that were lost soon, since the last good connection. */
  #failures = 0

  constructor(agent: PeerAddress, context: LinkContext) {
    this.agent = agent
    this.#context = context
    this.#usedAtMs = monotonicMsOf(context.clock)
  }

  get state(): PeerLink["state"] {
    return this.#state === "connected" || this.#state === "connecting" ? this.#state : "down"
  }

  get downReason(): PeerError["reason"] | undefined {
    return this.#downError?.reason
  }

  get downError(): PeerError | undefined {
    return this.#downError
  }

  get isRetired(): boolean {
    return this.#state === "retired"
  }

  get isWanted(): boolean {
    if (this.#requests > 0) return true
    return monotonicMsOf(this.#context.clock) - this.#usedAtMs < limits.peerLinkIdleMs
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  request<A extends Api>(
    api: A,
    body: RequestInput<A>,
    options: PeerRequestOptions
  ): Effect.Effect<ResponseOf<A>, PeerError> {
    return Effect.suspend(() => {
      if (this.#state === "retired" || this.#state === "pausing") return Effect.fail(this.#errorNow(api))
      this.#requests++
      const asked =
        this.#open === undefined ? this.#requestLater(api, body, options) : this.#open.request(api, body, options)
      return Effect.ensuring(
        asked,
        Effect.sync(() => {
          this.#requests--
          this.#usedAtMs = monotonicMsOf(this.#context.clock)
        })
      )
    })
  }

  /** Nobody wants it: its connection ends, until someone does again. */
  rest(): void {
    if (!this.isWanted) this.#open?.close("nobody uses it")
  }

  /** For good. */
  retire(reason: PeerError["reason"], why: string): void {
    if (this.#state === "retired") return
    const error = this.#errorOf(reason, why)
    this.#open = undefined
    this.#downError = error
    this.#enter("retired")
    this.#failWaiters(error)
    this.#fiber?.interruptUnsafe()
  }

  #requestLater<A extends Api>(
    api: A,
    body: RequestInput<A>,
    { timeoutMs }: PeerRequestOptions
  ): Effect.Effect<ResponseOf<A>, PeerError> {
    if (this.#waiters.size >= limits.peerRequestsQueued) {
      return Effect.fail(this.#errorOf("Overloaded", `${this.#waiters.size} requests wait already`, api.name))
    }
    const { clock } = this.#context
    const deadlineMs = monotonicMsOf(clock) + timeoutMs
    let asked: AskedPeer<A> | undefined
    const connected = Effect.callback<AskedPeer<A>, PeerError>((resume) => {
      const waiter: Waiter = {
        begin: (connection) => {
          const leftMs = Math.max(1, deadlineMs - monotonicMsOf(clock))
          asked = connection.ask(api, body, { timeoutMs: leftMs })
          resume(Effect.succeed(asked))
        },
        fail: (error) => resume(Effect.fail(this.#errorOf(error.reason, error.cause, api.name)))
      }
      this.#waiters.add(waiter)
      if (!this.#isKept) this.#begin()
      return Effect.sync(() => void this.#waiters.delete(waiter))
    })
    const timedOut = (): PeerError => this.#errorOf("TimedOut", `no connection within ${timeoutMs} ms`, api.name)
    return connected.pipe(
      Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.fail(timedOut()) }),
      Effect.flatMap(({ answer }) => answer),
      Effect.onInterrupt(() => Effect.sync(() => asked?.abandon()))
    )
  }

  #begin(): void {
    this.#failures = 0
    this.#isKept = true
    this.#fiber = this.#context.run(Effect.suspend(() => this.#keep()))
  }

  /** Keeps it connected while someone wants it. */
  readonly #keep = Effect.fnUntraced(function* (this: ManagedLink) {
    while (this.isWanted) {
      this.#enter("connecting")
      const ended = yield* Effect.exit(Effect.scoped(this.#connectedOnce()))
      const error = Exit.isSuccess(ended) ? ended.value : yield* this.#failed(ended.cause)
      this.#downError = error
      const pauseMs = yield* this.#pause()
      this.#failures++
      if (pauseMs === 0 || !this.isWanted) continue
      this.#enter("pausing")
      this.#failWaiters(error)
      yield* Effect.sleep(pauseMs)
    }
    this.#isKept = false
    this.#downError = undefined
    this.#enter("idle")
  })

  /** One connection from the attempt to its end; answers with why it ended. */
  readonly #connectedOnce = Effect.fnUntraced(function* (this: ManagedLink) {
    const { clock } = this.#context
    const connection = yield* this.#context.connect(this.agent)
    const connectedAtMs = monotonicMsOf(clock)
    const error = yield* Effect.callback<PeerError>((resume) => {
      connection.onClosed((closed) => {
        this.#lost(closed)
        resume(Effect.succeed(closed))
      })
      this.#connected(connection)
    })
    if (monotonicMsOf(clock) - connectedAtMs >= limits.peerSettledMs) this.#failures = 0
    if (this.isWanted) yield* this.#tell("lost the connection to another agent", error)
    return error
  })

  #connected(connection: PeerConnection): void {
    if (connection.closed || this.isRetired) return
    this.#open = connection
    this.#downError = undefined
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const waiter of waiters) waiter.begin(connection)
    // The requests themselves may have shown that it is over.
    if (!connection.closed) this.#enter("connected")
  }

  /** Told before anyone else runs: who asks from now on waits for the next connection. */
  #lost(error: PeerError): void {
    this.#open = undefined
    if (this.isRetired) return
    this.#downError = error
    this.#enter(this.isWanted ? "connecting" : "idle")
  }

  /** Nothing after a good connection; then doubling, with jitter, up to a bound. */
  #pause(): Effect.Effect<number> {
    const failures = this.#failures
    if (failures === 0) return Effect.succeed(0)
    const longestMs = Math.min(limits.peerReconnectMsMax, limits.peerReconnectMs * 2 ** (failures - 1))
    return Effect.map(Random.next, (random) => longestMs * (0.5 + random / 2))
  }

  /** An attempt to connect. Told once per outage. */
  #failed(cause: Cause.Cause<PeerError>): Effect.Effect<PeerError> {
    const failed = Option.getOrElse(Cause.findErrorOption(cause), () =>
      this.#errorOf("Unreachable", Cause.squash(cause))
    )
    const isFirst = this.#failures === 0
    // It counts before the pause, unlike a connection that was lost: there the next attempt is the first.
    this.#failures = Math.max(1, this.#failures)
    return Effect.as(isFirst ? this.#tell("cannot connect to another agent", failed) : Effect.void, failed)
  }

  #tell(event: string, { reason, cause }: PeerError): Effect.Effect<void> {
    const { name, peerHost, peerPort } = this.agent
    return Effect.logWarning(event, { other: name, address: `${peerHost}:${peerPort}`, reason, cause: String(cause) })
  }

  #failWaiters(error: PeerError): void {
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const waiter of waiters) waiter.fail(error)
  }

  #enter(state: State): void {
    // Its fiber may still be on its way out.
    if (this.isRetired) return
    const before = this.state
    this.#state = state
    if (this.state === before) return
    const listeners = [...this.#listeners]
    for (const listener of listeners) listener()
  }

  /** Of a request that is not even tried. */
  #errorNow({ name }: Api): PeerError {
    const { reason, cause } = this.#downError!
    return this.#errorOf(reason, cause, name)
  }

  #errorOf(reason: PeerError["reason"], cause: unknown, operation = "connect"): PeerError {
    const { name, peerHost, peerPort } = this.agent
    const peer = `${name} (${peerHost}:${peerPort})`
    return new PeerError({ reason, outcome: "definite", peer, operation, cause })
  }
}
