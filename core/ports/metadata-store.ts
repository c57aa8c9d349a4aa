/**
 * Port: the globally consistent SQL database.
 *
 * Contract (test/contract/metadata-store checks it on every adapter):
 * - `append` is one compare-and-set on (shard, seq): of any number of writers, in any number of processes, exactly one
 *   takes a slot. `taken` is a definite answer: this call wrote nothing (an earlier attempt of one's own may have: compare
 *   the slot's nonce).
 * - An error's `outcome` says whether the call may have taken effect. An indefinite append is settled by reading the
 *   slot's nonce back, never by guessing.
 * - What `append` acknowledged is seen by every later `read` and `tail` of anyone (linearizable).
 * - Time of membership is the database's own clock.
 */
import { Context, type Effect, Schema } from "effect"
import { type Uuid } from "#core/model/uuid.ts"

export class MetadataError extends Schema.TaggedError<MetadataError>()("MetadataError", {
  reason: Schema.Literals([
    /** Unreachable, reset, restarting, locked for too long. */
    "Unavailable",
    "TimedOut",
    /** Wrong credentials or rights, missing database, schema newer than this program: an operator must act. */
    "Misconfigured",
    /** The database or a row of it is damaged. */
    "Corrupt"
  ]),
  outcome: Schema.Literals(["definite", "indefinite"]),
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  get isRetryable(): boolean {
    return this.reason === "Unavailable" || this.reason === "TimedOut"
  }
  override get message(): string {
    return `metadata ${this.operation}: ${this.reason} (${this.outcome}): ${String(this.cause)}`
  }
}

/** One row of the commit log. */
export interface LogRow {
  readonly shard: number
  /** From 1, without gaps. */
  readonly seq: number
  readonly epoch: number
  readonly nonce: Uuid
  /** The predecessor's nonce; UUID_ZERO for seq 1. */
  readonly prevNonce: Uuid
  /** core/log/entry.ts; at most limits.entryBytesMax bytes. */
  readonly entry: Uint8Array
}

export interface LogTail {
  /** 0 where the log is empty. */
  readonly seq: number
  readonly nonce: Uuid
}

/** What an agent says of itself. */
export interface AgentRegistration {
  /** Stable over restarts; its node id follows it. */
  readonly name: string
  /** Of this process: a later session of the same name supersedes an earlier one. */
  readonly session: Uuid
  readonly region: string
  readonly zone: string
  /** Address that Kafka clients are told. */
  readonly host: string
  readonly port: number
}

export interface AgentRecord extends AgentRegistration {
  /** Kafka's broker id, >= 0. */
  readonly nodeId: number
}

/** A copy of a segment that was not confirmed in a bucket of its set: work for repair. */
export interface MissingCopy {
  readonly segmentId: Uuid
  readonly objectKey: string
  readonly bucket: string
}

export class MetadataStore extends Context.Service<
  MetadataStore,
  {
    /** INSERT of one row. */
    readonly append: (row: LogRow) => Effect.Effect<"appended" | "taken", MetadataError>
    /** Rows with seq > after, ascending, at most `limit` (<= limits.logRowsPerRead) rows and some 16 MiB of entries, at least one if there is one. */
    readonly read: (options: {
      readonly shard: number
      readonly after: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<LogRow>, MetadataError>
    /** The newest row's seq and nonce (the linearizable barrier). */
    readonly tail: (shard: number) => Effect.Effect<LogTail, MetadataError>
    /** Enters the agent or renews it under its name, for `ttlMs` from now; answers with its node id, the same for a name for ever. */
    readonly register: (agent: AgentRegistration, ttlMs: number) => Effect.Effect<number, MetadataError>
    /** Prolongs by `ttlMs`; `superseded` where another session has taken the name. */
    readonly renew: (
      agent: Pick<AgentRegistration, "name" | "session">,
      ttlMs: number
    ) => Effect.Effect<"renewed" | "superseded", MetadataError>
    /** Ends the membership at once (clean stop). Does nothing where superseded. */
    readonly deregister: (agent: Pick<AgentRegistration, "name" | "session">) => Effect.Effect<void, MetadataError>
    /** Agents whose time has not passed, by ascending node id. */
    readonly agents: Effect.Effect<ReadonlyArray<AgentRecord>, MetadataError>
    /** Idempotent. */
    readonly recordMissingCopies: (copies: ReadonlyArray<MissingCopy>) => Effect.Effect<void, MetadataError>
    /** In order of (segmentId, bucket), after the given one, at most `limit`. */
    readonly missingCopies: (options: {
      readonly after?: Pick<MissingCopy, "segmentId" | "bucket">
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<MissingCopy>, MetadataError>
    /** Idempotent. */
    readonly forgetMissingCopies: (
      copies: ReadonlyArray<Pick<MissingCopy, "segmentId" | "bucket">>
    ) => Effect.Effect<void, MetadataError>
  }
>()("meridian/core/ports/MetadataStore") {}
