/** What the agent's thread and the database's thread tell each other. Plain data; large bytes are moved, not copied. */
import type {
  AgentRecord,
  AgentRegistration,
  CheckpointChunk,
  CheckpointInfo,
  DeleteCheckpoints,
  IndexPage,
  IndexPageQuery,
  LogRow,
  LogTail,
  MissingCopy,
  ShardNote
} from "#core/ports/metadata-store.ts"
import type { Uuid } from "#core/model/uuid.ts"

/** `workerData`. */
export interface SqliteOptions {
  readonly file: string
  /** False: a crash of the machine may take the last commits with it; a crash of the process takes nothing. */
  readonly fsync: boolean
  /** The file that an earlier thread had open: no other will do. */
  readonly expected?: FileIdentity | undefined
}

/** What a path named at some time. */
export interface FileIdentity {
  readonly device: bigint
  readonly inode: bigint
}

export interface Operations {
  readonly append: (row: LogRow) => "appended" | "taken"
  readonly read: (options: { readonly shard: number; readonly after: number; readonly limit: number }) => Array<LogRow>
  readonly now: (options: null) => number
  readonly tail: (options: { readonly shard: number }) => LogTail
  readonly trim: (options: { readonly shard: number; readonly through: number }) => number
  readonly writeCheckpointChunk: (chunk: CheckpointChunk) => null
  readonly checkpoints: (options: { readonly shard: number }) => Array<CheckpointInfo>
  readonly readCheckpointChunk: (options: {
    readonly shard: number
    readonly seq: number
    readonly chunk: number
  }) => Uint8Array | undefined
  readonly deleteCheckpoints: (options: DeleteCheckpoints) => number
  readonly writeIndexPages: (options: { readonly pages: ReadonlyArray<IndexPage> }) => null
  readonly findIndexPage: (options: {
    readonly topicId: Uuid
    readonly partition: number
    readonly query: IndexPageQuery
  }) => IndexPage | undefined
  readonly deleteIndexPages: (options: { readonly topicId: Uuid }) => number
  readonly noteShard: (note: ShardNote) => null
  readonly shardNotes: (options: null) => Array<ShardNote>
  readonly register: (options: { readonly agent: AgentRegistration; readonly ttlMs: number }) => number
  readonly renew: (options: {
    readonly agent: Pick<AgentRegistration, "name" | "session">
    readonly ttlMs: number
  }) => "renewed" | "superseded"
  readonly deregister: (options: { readonly agent: Pick<AgentRegistration, "name" | "session"> }) => null
  readonly agents: (options: null) => Array<AgentRecord>
  readonly recordMissingCopies: (options: { readonly copies: ReadonlyArray<MissingCopy> }) => null
  readonly missingCopies: (options: {
    readonly after: Pick<MissingCopy, "segmentId" | "bucket"> | undefined
    readonly limit: number
  }) => Array<MissingCopy>
  readonly forgetMissingCopies: (options: {
    readonly copies: ReadonlyArray<Pick<MissingCopy, "segmentId" | "bucket">>
  }) => null
}

export type Operation = keyof Operations

/** Those that change nothing, however they fail. */
export const READS: ReadonlySet<Operation> = new Set([
  "read",
  "tail",
  "now",
  "checkpoints",
  "readCheckpointChunk",
  "findIndexPage",
  "shardNotes",
  "agents",
  "missingCopies"
])

export interface Request {
  readonly id: number
  readonly operation: Operation
  readonly argument: unknown
}

/** MetadataError without its operation, as plain data. */
export interface Failure {
  readonly reason: "Unavailable" | "Misconfigured" | "Corrupt"
  readonly outcome: "definite" | "indefinite"
  readonly message: string
  /** The file was removed or replaced while it was open: every later call fails alike. */
  readonly isFileLost?: true
}

export type Response =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: Failure }

/** To the database's thread: requests of one turn of the agent's event loop, or the end. */
export type ToWorker = ReadonlyArray<Request> | "close"

/** From it: first whether the database is open, then answers. */
export type FromWorker =
  | { readonly opened: true; readonly identity?: FileIdentity }
  | { readonly failed: Failure }
  | ReadonlyArray<Response>
