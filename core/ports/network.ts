/**
 * Port: byte streams that clients open to an agent. TCP in the product (backends/network/tcp.ts), memory in simulation.
 *
 * Callbacks rather than Effects: they run for every chunk of bytes.
 */
import { Context, type Effect, Schema, type Scope } from "effect"

/** One accepted connection. */
export interface Transport {
  /** For logs: the peer's address. */
  readonly peer: string
  /** Calls back with each chunk as it came; the chunk belongs to the receiver. */
  readonly onData: (listener: (chunk: Buffer) => void) => void
  /** Called once, whoever ended it; nothing is called after that. */
  readonly onClose: (listener: () => void) => void
  /** Called when what was written has left memory after `write` had answered "full". */
  readonly onDrain: (listener: () => void) => void
  /**
   * Hands over chunks that must not change until they were taken. "full": wait for `onDrain` before writing much more.
   * `taken` is called when the last byte was handed to the operating system, or the connection is gone.
   */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, taken: () => void) => "more" | "full"
  /** No `onData` until `resume`. A chunk that is already under way may still come. */
  readonly pause: () => void
  readonly resume: () => void
  /** Ends it at once; what was written and not yet sent may be lost. */
  readonly destroy: () => void
}

export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  reason: Schema.Literals(["AddressInUse", "AddressNotAvailable", "AccessDenied", "Other"]),
  host: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `cannot listen on ${this.host}:${this.port}: ${this.reason}`
  }
}

export class Network extends Context.Service<
  Network,
  {
    /** Listens until the scope ends; then all its connections are destroyed. Port 0 takes a free one. Answers with the port. */
    readonly listen: (options: {
      readonly host: string
      readonly port: number
      readonly connectionsMax: number
      readonly onConnection: (transport: Transport) => void
    }) => Effect.Effect<number, ListenError, Scope.Scope>
  }
>()("meridian/core/ports/Network") {}
