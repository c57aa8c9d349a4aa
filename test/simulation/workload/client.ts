/**
 * A Kafka client's connections, on core/client: one connection at a time, to the first agent of its list that answers, and to
 * the next one where it breaks. It retries nothing: that is its actor's business.
 *
 * Every actor runs in a process of its own, on a host of its own, in a region.
 */
import { Effect, Exit, type Layer, Scope, Semaphore } from "effect"
import { type ClientError } from "#core/client/client-error.ts"
import { connect, type Connection } from "#core/client/connection.ts"
import { type Connector } from "#core/ports/connector.ts"
import { type Network } from "#core/ports/network.ts"
import { type Api, type RequestInput, type ResponseOf } from "#core/protocol/schema.ts"
import { CLIENT_PORT } from "../cluster/agent.ts"
import { type Process } from "../engine/process.ts"

export interface ClientOptions {
  readonly process: Process
  readonly network: Layer.Layer<Network | Connector>
  /** Names of agents' hosts, the preferred first. */
  readonly agents: ReadonlyArray<string>
  readonly requestTimeoutMs: number
}

/** A connection in use. */
export interface Session {
  readonly agent: string
  readonly connection: Connection
}

interface OpenSession extends Session {
  readonly scope: Scope.Closeable
}

export class SimClient {
  readonly process: Process
  readonly network: Layer.Layer<Network | Connector>
  readonly #options: ClientOptions
  readonly #oneAtATime = Semaphore.makeUnsafe(1)
  #session: OpenSession | undefined = undefined
  #agentIndex = 0

  constructor(options: ClientOptions) {
    this.process = options.process
    this.network = options.network
    this.#options = options
  }

  /** The connection that there is, or a new one: to the next agent where the last one failed. */
  readonly session: Effect.Effect<Session, ClientError> = Effect.suspend(() => {
    if (this.#session !== undefined) return Effect.succeed<Session>(this.#session)
    return this.#oneAtATime.withPermits(1)(
      Effect.suspend(() => (this.#session === undefined ? this.#open : Effect.succeed<Session>(this.#session)))
    )
  })

  /** The connection is broken, or its agent does not do what it should: the next one goes to another agent. */
  leave(session: Session): Effect.Effect<void> {
    return Effect.suspend(() => {
      const open = this.#session
      if (open === undefined || open.connection !== session.connection) return Effect.void
      this.#session = undefined
      this.#agentIndex++
      return Scope.close(open.scope, Exit.void)
    })
  }

  request<A extends Api>(
    session: Session,
    api: A,
    version: number,
    body: RequestInput<A>
  ): Effect.Effect<ResponseOf<A>, ClientError> {
    return Effect.tapError(session.connection.request(api, version, body), () => this.leave(session))
  }

  /** What is never answered. */
  send<A extends Api>(
    session: Session,
    api: A,
    version: number,
    body: RequestInput<A>
  ): Effect.Effect<void, ClientError> {
    return Effect.tapError(session.connection.send(api, version, body), () => this.leave(session))
  }

  /** One request on whatever connection there is. */
  ask<A extends Api>(
    api: A,
    version: number,
    body: RequestInput<A>
  ): Effect.Effect<{ readonly agent: string; readonly answer: ResponseOf<A> }, ClientError> {
    return Effect.flatMap(this.session, (session) =>
      Effect.map(this.request(session, api, version, body), (answer) => ({ agent: session.agent, answer }))
    )
  }

  readonly #open: Effect.Effect<Session, ClientError> = Effect.suspend(() => {
    const { agents, network, process, requestTimeoutMs } = this.#options
    const agent = agents[this.#agentIndex % agents.length]!
    const scope = Scope.makeUnsafe()
    return connect({ host: agent, port: CLIENT_PORT, clientId: process.name, requestTimeoutMs }).pipe(
      Effect.provide(network),
      Effect.provideService(Scope.Scope, scope),
      Effect.map((connection): Session => {
        this.#session = { agent, connection, scope }
        return this.#session
      }),
      Effect.tapError(() => {
        this.#agentIndex++
        return Scope.close(scope, Exit.void)
      })
    )
  })
}
