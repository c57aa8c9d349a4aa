/**
 * Port: the globally consistent SQL database.
 *
 * Contract (test/contract/metadata-store checks it on every adapter):
 * - `append` is one compare-and-set on (shard, seq): of any number of writers, in any number of processes, exactly one
 *   takes a slot. `taken` is a definite answer: this call wrote nothing (an earlier attempt of one's own may have: compare
 *   the slot's nonce).
 * - Nothing is promised of a slot whose row was trimmed: it may be free again for who slept through that. Rows that are
 *   kept (`isKept`) stay, and so do their slots; core/log/sequencer.ts says why that is enough. That rows are appended
 *   without gaps is the caller's business.
 * - An error's `outcome` says whether the call may have taken effect. An indefinite append is settled by reading the
 *   slot's nonce back, never by guessing.
 * - What `append` acknowledged is seen by every later `read` and `tail` of anyone (linearizable).
 * - Time is the database's own clock: of memberships, and what `now` says.
 * - Checkpoints, index pages and notes are written by whoever sequences, by one who only believes to as well: all of it is
 *   put-if-absent of what is a function of the log, or moves forward only.
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
  /** Never trimmed: the row begins the log or an epoch. */
  readonly isKept: boolean
  /** core/log/entry.ts; at most limits.entryBytesMax bytes. */
  readonly entry: Uint8Array
}

export interface LogTail {
  /** 0 where the log is empty. */
  readonly seq: number
  readonly nonce: Uuid
}

/**
 * A page of one partition's index: where the records of a stretch of offsets are, for what the fold no longer holds in
 * memory. A page is a function of the log alone, so whoever writes it writes the same.
 */
export interface IndexPage {
  readonly topicId: Uuid
  readonly partition: number
  /** Offset of its first record. Pages of a partition neither overlap nor leave gaps. */
  readonly baseOffset: number
  /** Offset after its last record. */
  readonly nextOffset: number
  /** Largest of its records. */
  readonly maxTimestampMs: number
  /** core/log/index-page.ts; at most limits.indexPageBytesMax bytes. */
  readonly page: Uint8Array
}

/** Which page of a partition is wanted. */
export type IndexPageQuery =
  /** The one with the greatest base offset that is at most this (so the one that holds the offset, if any does). */
  | { readonly kind: "offset"; readonly offset: number }
  /** The first, by offset, that holds a timestamp at or after this. */
  | { readonly kind: "since"; readonly timestampMs: number }
  /** The one with the largest timestamp; of equals the first by offset. */
  | { readonly kind: "largest-timestamp" }

/** A checkpoint of which all chunks are there. */
export interface CheckpointInfo {
  /** The fold's seq that it holds. */
  readonly seq: number
  readonly chunkCount: number
  readonly bytes: number
}

/** A part of a checkpoint, which needs several rows. */
export interface CheckpointChunk {
  readonly shard: number
  /** From 1. */
  readonly seq: number
  /** From 0. */
  readonly chunk: number
  /** Of the whole checkpoint; 1 to limits.checkpointChunksMax. */
  readonly chunkCount: number
  /** 1 to limits.checkpointChunkBytesMax. */
  readonly body: Uint8Array
}

export interface DeleteCheckpoints {
  readonly shard: number
  readonly before: number
  readonly which: "all" | "incomplete"
  /** Of the one that is left alone. */
  readonly except?: number
}

/** What the database says of a shard beside its log: for people and for those who look for a sequencer. Never authority. */
export interface ShardNote {
  readonly shard: number
  readonly epoch: number
  /** Name and region of the agent that sequences in this epoch. */
  readonly holder: string
  readonly holderRegion: string
  readonly homeRegion: string
  /** Rows up to this seq may have been deleted. */
  readonly trimmedSeq: number
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
  /** Address at which other agents reach it. */
  readonly peerHost: string
  /** 0: it has none. */
  readonly peerPort: number
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
    /** The database's own clock: milliseconds since 1970. */
    readonly now: Effect.Effect<number, MetadataError>
    /**
     * Deletes the oldest rows with seq <= through, at most limits.logRowsPerTrim of them; answers with how many. Idempotent.
     * Rows that are kept are never deleted, nor is the newest row of a shard, whatever `through` says: the tail must stay
     * readable.
     */
    readonly trim: (options: {
      readonly shard: number
      readonly through: number
    }) => Effect.Effect<number, MetadataError>
    /**
     * Put-if-absent of one chunk; idempotent, because a checkpoint is a function of the log and its seq. A call brings one
     * statement's bytes, so that a large checkpoint gets through a slow network: whoever writes it goes on where it was
     * stopped, for as long as it takes. In any order; the checkpoint is complete with the last that was missing.
     */
    readonly writeCheckpointChunk: (chunk: CheckpointChunk) => Effect.Effect<void, MetadataError>
    /** Complete ones only, the newest first. */
    readonly checkpoints: (shard: number) => Effect.Effect<ReadonlyArray<CheckpointInfo>, MetadataError>
    /** One chunk, from 0; undefined where it is not there (any more). */
    readonly readCheckpointChunk: (options: {
      readonly shard: number
      readonly seq: number
      readonly chunk: number
    }) => Effect.Effect<Uint8Array | undefined, MetadataError>
    /**
     * Deletes chunks of checkpoints with a seq below this, the oldest first, at most limits.checkpointChunksPerDelete;
     * answers with how many. Idempotent. `incomplete`: only of those that are not complete when the statement looks, so never
     * of one that anyone could have read back before; and not of the one with the seq `except`, which is being written. One
     * that is completed at that very moment may go: its writer must not rest on the newest alone.
     */
    readonly deleteCheckpoints: (options: DeleteCheckpoints) => Effect.Effect<number, MetadataError>
    /** Put-if-absent by (topic id, partition, base offset), at most limits.indexPagesPerWrite. Idempotent. */
    readonly writeIndexPages: (pages: ReadonlyArray<IndexPage>) => Effect.Effect<void, MetadataError>
    readonly findIndexPage: (options: {
      readonly topicId: Uuid
      readonly partition: number
      readonly query: IndexPageQuery
    }) => Effect.Effect<IndexPage | undefined, MetadataError>
    /** Deletes pages of a topic, at most limits.indexPagesPerWrite; answers with how many. For deleted topics. */
    readonly deleteIndexPages: (topicId: Uuid) => Effect.Effect<number, MetadataError>
    /** Only forward: a note of a lower epoch, or of the same epoch with a lower trimmedSeq, changes nothing. */
    readonly noteShard: (note: ShardNote) => Effect.Effect<void, MetadataError>
    /** By ascending shard. */
    readonly shardNotes: Effect.Effect<ReadonlyArray<ShardNote>, MetadataError>
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
