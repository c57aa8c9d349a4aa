/**
 * The server's side of one connection between agents: who is at the other end, and what its requests lead to.
 *
 * Invariant: no handler sees a request before the other agent has said who it is and was accepted. Anything else first
 * ends the connection, and so does a second hello.
 */
import { Effect } from "effect"
import { type ServedApi } from "#core/agent/dispatcher.ts"
import { type Reply, type RequestContext } from "#core/agent/handler.ts"
import { answerApiVersions } from "#core/agent/handlers/18-api-versions.ts"
import { assert } from "#core/model/assert.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type Api, type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { PeerHello } from "./api/10000-peer-hello.ts"
import { PeerSubmit } from "./api/10001-peer-submit.ts"
import { PeerEntries } from "./api/10002-peer-entries.ts"
import { PeerPing } from "./api/10003-peer-ping.ts"
import { advertisedPeerVersions } from "./peer-apis.ts"
import { identityOf, type PeerIdentity, type PeerSelf, refusalOf } from "./peer-identity.ts"

/** What handlers know of the connection that a request came on. The same object for all its requests. */
export interface PeerConnectionContext {
  readonly peer: PeerIdentity
  /** The handlers' own, begun anew with each connection. Nothing here reads it. */
  readonly state: { submitsRefused: boolean }
  /** Calls back once when the connection is over, at once where it is. Returns what takes the listener away. */
  readonly onClose: (listener: () => void) => () => void
}

/**
 * What other agents ask. Handlers of one connection are started in the order in which its requests came, each before the
 * next one: what a handler does before its first wait is done in that order. All of them overlap; answers leave in the
 * order of the requests. A connection that ends interrupts them. Byte fields of a request belong to the handler.
 */
export interface PeerHandlers {
  readonly submit: Handle<typeof PeerSubmit>
  readonly entries: Handle<typeof PeerEntries>
  readonly ping: Handle<typeof PeerPing>
}

type Handle<A extends Api> = (request: RequestOf<A>, from: PeerConnectionContext) => Effect.Effect<ResponseInput<A>>

export interface PeerSessionOptions {
  readonly self: PeerSelf
  readonly clusterId: string
  readonly handlers: PeerHandlers
  /** Address of the other end, for the log. */
  readonly address: string
}

export class PeerSession {
  readonly #options: PeerSessionOptions
  readonly #closeListeners = new Set<() => void>()
  #greeting: "awaited" | "refused" | "accepted" = "awaited"
  #context: PeerConnectionContext | undefined
  #isClosed = false

  constructor(options: PeerSessionOptions) {
    this.#options = options
  }

  /** Whether the other end is an agent of this cluster. */
  get isAccepted(): boolean {
    return this.#greeting === "accepted"
  }

  served(): ReadonlyArray<ServedApi> {
    const { submit, entries, ping } = this.#options.handlers
    const answerVersions = (request: RequestOf<typeof ApiVersions>, { apiVersion }: RequestContext) =>
      answerApiVersions(advertisedPeerVersions, request, apiVersion)
    return [
      { api: ApiVersions, overlaps: false, handle: answerVersions },
      { api: PeerHello, overlaps: false, handle: (request) => this.#greet(request) },
      this.#served(PeerSubmit, submit),
      this.#served(PeerEntries, entries),
      this.#served(PeerPing, ping)
    ]
  }

  closed(): void {
    assert(!this.#isClosed, "a connection ends once")
    this.#isClosed = true
    const listeners = [...this.#closeListeners]
    this.#closeListeners.clear()
    for (const listener of listeners) listener()
  }

  #served<A extends Api>(api: A, handle: Handle<A>): ServedApi {
    return {
      api,
      overlaps: true,
      handle: (request) => {
        if (this.#context !== undefined) return handle(request, this.#context)
        return Effect.succeed({ hangup: `${api.name} before PeerHello was accepted` })
      }
    }
  }

  #greet(hello: RequestOf<typeof PeerHello>): Effect.Effect<Reply<ResponseInput<typeof PeerHello>>> {
    if (this.#greeting !== "awaited") return Effect.succeed({ hangup: "a second PeerHello" })
    const { self, clusterId, address } = this.#options
    const refusal = refusalOf(hello, clusterId)
    const identity = identityOf(self)
    if (refusal !== undefined) {
      this.#greeting = "refused"
      const { errorCode, errorMessage } = refusal
      const event = Effect.logWarning("a connection between agents was refused", {
        peer: address,
        reason: errorMessage
      })
      return Effect.as(event, { errorCode, errorMessage, ...identity })
    }
    this.#greeting = "accepted"
    this.#context = {
      peer: identityOf(hello),
      state: { submitsRefused: false },
      onClose: (listener) => this.#onClose(listener)
    }
    return Effect.succeed({ errorCode: errorCodes.NONE, errorMessage: null, ...identity })
  }

  #onClose(listener: () => void): () => void {
    if (this.#isClosed) listener()
    else this.#closeListeners.add(listener)
    return () => void this.#closeListeners.delete(listener)
  }
}
