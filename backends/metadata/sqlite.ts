/**
 * The metadata store on SQLite: the embedded default, one file that several agents of one machine may share.
 *
 * Statements run on a thread of their own (sqlite-worker.ts). This side sends it the calls of one turn of the event loop
 * together, sorts what comes back, and knows what a lost thread means: calls that it had may have taken effect. It never
 * retries a call; a crashed thread is started again by a later call, after a pause that grows while it keeps crashing.
 *
 * Where the file was removed or replaced under the thread (sqlite-file.ts), that is said once, as an error, and every later
 * call fails; no other file is ever opened in its stead.
 */
import { Worker } from "node:worker_threads"
import { Deferred, Effect, Exit, Layer, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import {
  type CheckpointChunk,
  type IndexPage,
  type LogRow,
  MetadataError,
  MetadataStore
} from "#core/ports/metadata-store.ts"
import {
  type Failure,
  type FileIdentity,
  type FromWorker,
  type Operation,
  type Operations,
  READS,
  type Request,
  type Response,
  type SqliteOptions,
  type ToWorker
} from "./sqlite-messages.ts"
import { watchThread } from "../running-threads.ts"
import { assertAgent, assertChunk, assertListLimit, assertNote, assertPages, assertRow } from "./store-check.ts"

export interface SqliteStoreOptions extends SqliteOptions {
  /** Where the thread's program is; a bundle gives its own. */
  readonly workerUrl?: URL
}

export const make = (
  options: SqliteStoreOptions
): Effect.Effect<MetadataStore["Service"], MetadataError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new SqliteConnection(options)),
    (connection) => Effect.promise(() => connection.close())
  ).pipe(Effect.tap(untilOpen), Effect.map(storeOf))

export const layer = (options: SqliteStoreOptions): Layer.Layer<MetadataStore, MetadataError> =>
  Layer.effect(MetadataStore, make(options))

const untilOpen = (connection: SqliteConnection): Effect.Effect<void, MetadataError> =>
  Effect.timeoutOrElse(Deferred.await(connection.opened), {
    duration: limits.metadataTimeoutMs,
    orElse: () => Effect.fail(timedOut("open", "definite"))
  })

const storeOf = (connection: SqliteConnection): MetadataStore["Service"] =>
  MetadataStore.of({
    ...historyOf(connection),
    append: (row) =>
      Effect.suspend(() => {
        assertRow(row)
        return connection.call("append", row)
      }),
    read: (options) =>
      Effect.suspend(() => {
        assertListLimit(options.limit, limits.logRowsPerRead)
        return connection.call("read", options)
      }),
    now: connection.call("now", null),
    tail: (shard) => connection.call("tail", { shard }),
    register: (agent, ttlMs) =>
      Effect.suspend(() => {
        assertAgent(agent)
        return connection.call("register", { agent, ttlMs })
      }),
    renew: ({ name, session }, ttlMs) => connection.call("renew", { agent: { name, session }, ttlMs }),
    deregister: ({ name, session }) => Effect.asVoid(connection.call("deregister", { agent: { name, session } })),
    agents: connection.call("agents", null),
    recordMissingCopies: (copies) => Effect.asVoid(connection.call("recordMissingCopies", { copies })),
    missingCopies: ({ after, limit }) =>
      Effect.suspend(() => {
        assertListLimit(limit, limits.missingCopiesQueue)
        return connection.call("missingCopies", { after, limit })
      }),
    forgetMissingCopies: (copies) => Effect.asVoid(connection.call("forgetMissingCopies", { copies }))
  })

type History = Pick<
  MetadataStore["Service"],
  | "trim"
  | "writeCheckpointChunk"
  | "checkpoints"
  | "readCheckpointChunk"
  | "deleteCheckpoints"
  | "writeIndexPages"
  | "findIndexPage"
  | "deleteIndexPages"
  | "noteShard"
  | "shardNotes"
>

const historyOf = (connection: SqliteConnection): History => ({
  trim: (options) => connection.call("trim", options),
  writeCheckpointChunk: (chunk) =>
    Effect.suspend(() => {
      assertChunk(chunk)
      return Effect.asVoid(connection.call("writeCheckpointChunk", chunk))
    }),
  checkpoints: (shard) => connection.call("checkpoints", { shard }),
  readCheckpointChunk: (options) => connection.call("readCheckpointChunk", options),
  deleteCheckpoints: (options) => connection.call("deleteCheckpoints", options),
  writeIndexPages: (pages) =>
    Effect.suspend(() => {
      assertPages(pages)
      return Effect.asVoid(connection.call("writeIndexPages", { pages }))
    }),
  findIndexPage: (options) => connection.call("findIndexPage", options),
  deleteIndexPages: (topicId) => connection.call("deleteIndexPages", { topicId }),
  noteShard: (note) =>
    Effect.suspend(() => {
      assertNote(note)
      return Effect.asVoid(connection.call("noteShard", note))
    }),
  shardNotes: connection.call("shardNotes", null)
})

interface Pending {
  readonly operation: Operation
  readonly resume: (exit: Exit.Exit<unknown, MetadataError>) => void
}

/** The thread and the calls that it has. */
class SqliteConnection {
  /** Ends when the first thread has the database open, or cannot open it. */
  readonly opened = Deferred.makeUnsafe<void, MetadataError>()
  private readonly options: SqliteStoreOptions
  private worker: Worker | undefined
  private readonly pending = new Map<number, Pending>()
  /** Calls that the thread has not answered, also those whose caller has gone. */
  private unanswered = 0
  private nextId = 0
  private outgoing: Array<Request> = []
  private crashes = 0
  private restartAtMs = 0
  private isClosed = false
  /** Of the file that the first thread opened: a later thread opens no other. */
  private identity: FileIdentity | undefined
  /** That file has lost its name: no call is sent any more. */
  private fileLost: Failure | undefined
  private isLossTold = false
  private exited: Promise<void> = Promise.resolve()

  constructor(options: SqliteStoreOptions) {
    this.options = options
    this.spawn()
  }

  call<O extends Operation>(
    operation: O,
    argument: Parameters<Operations[O]>[0]
  ): Effect.Effect<ReturnType<Operations[O]>, MetadataError> {
    const call = Effect.callback<ReturnType<Operations[O]>, MetadataError>((resume) => {
      const refused = this.refusal()
      if (refused !== undefined) return resume(Effect.fail(errorOf(operation, refused)))
      const id = this.nextId
      this.nextId += 1
      this.pending.set(id, { operation, resume: resume as Pending["resume"] })
      this.send({ id, operation, argument })
      return Effect.sync(() => void this.pending.delete(id))
    })
    return Effect.timeoutOrElse(call, {
      duration: limits.metadataTimeoutMs,
      orElse: () => Effect.fail(timedOut(operation, outcomeOf(operation)))
    }).pipe(Effect.tapError(() => this.tellLoss))
  }

  private readonly tellLoss: Effect.Effect<void> = Effect.suspend(() => {
    if (this.fileLost === undefined || this.isLossTold) return Effect.void
    this.isLossTold = true
    const { message } = this.fileLost
    return Effect.logError("the metadata database is lost; nothing is acknowledged any more", { error: message })
  })

  /** Answers what was sent before, then ends. */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    const { worker } = this
    if (worker === undefined) return
    this.flush()
    worker.postMessage("close" satisfies ToWorker)
    const timer = setTimeout(() => void worker.terminate(), limits.metadataTimeoutMs)
    await this.exited
    clearTimeout(timer)
  }

  /** Why a call cannot even be sent. */
  private refusal(): Failure | undefined {
    if (this.fileLost !== undefined) return this.fileLost
    const why = this.isClosed
      ? "the database is closed"
      : this.unanswered >= limits.metadataRequestsInFlight
        ? `${this.unanswered} calls wait for the database`
        : this.worker === undefined && performance.now() < this.restartAtMs
          ? "the database's thread has crashed and is not started again yet"
          : undefined
    return why === undefined ? undefined : { reason: "Unavailable", outcome: "definite", message: why }
  }

  private send(request: Request): void {
    if (this.worker === undefined) this.spawn()
    if (this.outgoing.length === 0) queueMicrotask(() => this.flush())
    this.outgoing.push(request)
    this.unanswered += 1
  }

  private flush(): void {
    if (this.outgoing.length === 0 || this.worker === undefined) return
    const movable: Array<ArrayBuffer> = []
    const requests = this.outgoing.map((request) => movableRequest(request, movable))
    this.outgoing = []
    this.worker.postMessage(requests satisfies ToWorker, movable)
  }

  private spawn(): void {
    const { file, fsync, workerUrl } = this.options
    const worker = new Worker(workerUrl ?? new URL("./sqlite-worker.ts", import.meta.url), {
      workerData: { file, fsync, expected: this.identity } satisfies SqliteOptions,
      name: "meridian-sqlite"
    })
    watchThread(worker, "database thread")
    this.worker = worker
    let cause: unknown = new Error("the database's thread has ended")
    worker.on("message", (message: FromWorker) => this.receive(message))
    worker.on("error", (error) => {
      cause = error
    })
    this.exited = new Promise((resolve) => {
      worker.once("exit", () => {
        if (this.worker === worker) this.onExit(cause)
        resolve()
      })
    })
  }

  private receive(message: FromWorker): void {
    if ("opened" in message) {
      this.identity ??= message.identity
      Deferred.doneUnsafe(this.opened, Exit.void)
    } else if ("failed" in message) {
      // It had no call yet: whatever waits was never run.
      this.noteLoss(message.failed)
      this.failAll((operation) => errorOf(operation, message.failed))
    } else {
      this.crashes = 0
      for (const response of message) this.answer(response)
    }
  }

  private noteLoss(failure: Failure): void {
    if (failure.isFileLost === true) this.fileLost ??= { ...failure, outcome: "definite" }
  }

  private answer(response: Response): void {
    this.unanswered -= 1
    if ("failure" in response) this.noteLoss(response.failure)
    const pending = this.pending.get(response.id)
    if (pending === undefined) return
    this.pending.delete(response.id)
    if ("value" in response) pending.resume(Exit.succeed(response.value))
    else pending.resume(Exit.fail(errorOf(pending.operation, response.failure)))
  }

  private onExit(cause: unknown): void {
    this.worker = undefined
    const pauseMs = Math.min(limits.sqliteRestartMaxMs, limits.sqliteRestartMs * 2 ** Math.min(this.crashes, 20))
    this.crashes += 1
    this.restartAtMs = performance.now() + pauseMs
    this.failAll(
      (operation) => new MetadataError({ reason: "Unavailable", outcome: outcomeOf(operation), operation, cause })
    )
  }

  private failAll(errorFor: (operation: Operation | "open") => MetadataError): void {
    const lost = [...this.pending.values()]
    this.pending.clear()
    this.outgoing = []
    this.unanswered = 0
    Deferred.doneUnsafe(this.opened, Exit.fail(errorFor("open")))
    for (const { operation, resume } of lost) resume(Exit.fail(errorFor(operation)))
  }
}

/** Bytes stay the caller's: a copy of one's own is moved, not the buffer around them. */
const movableRequest = (request: Request, movable: Array<ArrayBuffer>): Request => {
  const ownBytes = (bytes: Uint8Array): Uint8Array => {
    const own = new Uint8Array(bytes)
    movable.push(own.buffer)
    return own
  }
  switch (request.operation) {
    case "append": {
      const row = request.argument as LogRow
      return { ...request, argument: { ...row, entry: ownBytes(row.entry) } }
    }
    case "writeCheckpointChunk": {
      const chunk = request.argument as CheckpointChunk
      return { ...request, argument: { ...chunk, body: ownBytes(chunk.body) } }
    }
    case "writeIndexPages": {
      const { pages } = request.argument as { readonly pages: ReadonlyArray<IndexPage> }
      return { ...request, argument: { pages: pages.map((page) => ({ ...page, page: ownBytes(page.page) })) } }
    }
    default:
      return request
  }
}

const outcomeOf = (operation: Operation | "open"): "definite" | "indefinite" =>
  operation === "open" || READS.has(operation) ? "definite" : "indefinite"

const errorOf = (operation: string, { reason, outcome, message }: Failure): MetadataError =>
  new MetadataError({ reason, outcome, operation, cause: new Error(message) })

const timedOut = (operation: string, outcome: "definite" | "indefinite"): MetadataError => {
  const cause = new Error(`no answer within ${limits.metadataTimeoutMs} ms`)
  return new MetadataError({ reason: "TimedOut", outcome, operation, cause })
}
