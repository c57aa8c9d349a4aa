/**
 * What a shard's log needs of the other agents: to send commands to the one that sequences, and to tell what was appended.
 *
 * core/peer stands behind it in an agent; memory in unit tests. Members are those of the database's list, as last read.
 */
import { Context, type Effect, Schema, type Scope } from "effect"
import { type Uuid } from "#core/model/uuid.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"

/** An agent, as the log knows it. */
export interface LogMember {
  readonly name: string
  readonly session: Uuid
  readonly nodeId: number
  readonly region: string
}

export class LogPeerError extends Schema.TaggedError<LogPeerError>()("LogPeerError", {
  reason: Schema.Literals([
    /** Nobody listens at its address, or another process does: this one is gone. */
    "Gone",
    /** It does not answer: dead, frozen, overloaded or cut off. */
    "Unreachable"
  ]),
  member: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `agent ${this.member} is ${this.reason === "Gone" ? "gone" : "not reached"}: ${String(this.cause)}`
  }
}

/** What the sequencer says to a command that was sent to it. */
export type SubmitReply =
  /** command-bytes.ts */
  | { readonly kind: "answer"; readonly seq: number; readonly answer: Uint8Array }
  /** It, and whatever comes behind it on this stream, is not judged. */
  | { readonly kind: "refused"; readonly why: string }
  | {
      readonly kind: "failed"
      readonly reason: "Unavailable" | "Overloaded" | "FoldStopped"
      readonly outcome: "definite" | "indefinite"
      readonly why: string
    }

/** Commands to one agent, in the order of the calls. The first failure ends the stream. */
export interface SubmitStream {
  /** `epoch`: the newest known here; who knows less of the log is not its sequencer. */
  readonly send: (command: Uint8Array, epoch: number) => Effect.Effect<SubmitReply, LogPeerError>
  /** Called once, when nothing can be sent any more. */
  readonly onClosed: (listener: () => void) => void
}

/** Rows that are settled, or word that the sequencer is there. */
export interface Tidings {
  readonly epoch: number
  /** The log reaches to here. */
  readonly tailSeq: number
  readonly rows: ReadonlyArray<LogRow>
  /** Node ids of agents to whom the receiver passes it on. */
  readonly relayTo: ReadonlyArray<number>
}

/** What an agent says of a shard when it is asked. */
export interface Pong {
  readonly epoch: number
  readonly tailSeq: number
  /** Whether it sequences in this epoch, and gets on with it. */
  readonly isActing: boolean
}

export class LogPeers extends Context.Service<
  LogPeers,
  {
    readonly self: LogMember
    /** Live agents of all regions, this one included, by ascending node id. */
    readonly members: () => ReadonlyArray<LogMember>
    /** For shards' sequencers: the region in which they prefer to be. */
    readonly homeRegion: string
    /** A connection of its own; ends with the scope. */
    readonly openStream: (member: LogMember) => Effect.Effect<SubmitStream, LogPeerError, Scope.Scope>
    /** When the list was asked for that `members` shows: who had left by then is not in it. */
    readonly membersAskedAtMs: () => number
    readonly ping: (member: LogMember) => Effect.Effect<Pong, LogPeerError>
    readonly tell: (member: LogMember, tidings: Tidings) => Effect.Effect<void, LogPeerError>
  }
>()("meridian/core/log/LogPeers") {}
