/**
 * Port: byte streams that clients open to an agent. TCP in the product (backends/network/tcp.ts), memory in simulation.
 *
 * Callbacks rather than Effects: they run for every chunk of bytes.
 */
import { Context, type Effect, Schema, type Scope } from "effect"

/** What accepted and opened connections have in common. */
interface Connected {
  /** For logs: the peer's address. */
  readonly peer: string
  /** Called once, whoever ended it; nothing is called after that. */
  readonly onClose: (listener: () => void) => void
  /** Called when what was written has left memory after `write` had answered "full". */
  readonly onDrain: (listener: () => void) => void
  /**
   * Hands over chunks that must not change until they were taken. "full": wait for `onDrain` before writing much more.
   * `taken` is called when the last byte was handed to the operating system, or the connection is gone.
   */
  readonly write: (chunks: ReadonlyArray<Uint8Array>, taken: () => void) => "more" | "full"
  /** Reads nothing until `resume`. What is already under way may still come. */
  readonly pause: () => void
  readonly resume: () => void
  /** Ends it at once; what was written and not yet sent may be lost. */
  readonly destroy: () => void
}

/** A connection that was opened here. */
export interface Transport extends Connected {
  /** Calls back with each chunk as it came; the chunk belongs to the receiver. */
  readonly onData: (listener: (chunk: Buffer) => void) => void
}

/** Where a connection's bytes go: the receiver says so before they are read, and they are copied there from the kernel. */
export interface ByteSink {
  /** Memory for the next read, never empty. Called again after each `received`. */
  readonly room: () => Buffer
  /** So many bytes were put at the start of what `room` answered last. */
  readonly received: (bytes: number) => void
}

/** A connection that was accepted. */
export interface AcceptedTransport extends Connected {
  /** Called once, right after the connection was accepted: reading begins. */
  readonly readInto: (sink: ByteSink) => void
  /** Bytes written that the operating system has not taken yet: while they become fewer the peer is reading. */
  readonly unsentBytes: () => number
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
      readonly onConnection: (transport: AcceptedTransport) => void
      /** Called for each connection that was closed at once, because `connectionsMax` are open. */
      readonly onRefused?: () => void
    }) => Effect.Effect<number, ListenError, Scope.Scope>
  }
>()("meridian/core/ports/Network") {}
