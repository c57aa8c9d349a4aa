/**
 * The database's thread: runs statements one after the other, so that neither an fsync nor a wait for another process's
 * lock blocks the agent's event loop. Started by sqlite.ts, from sources or as a bundle of its own.
 *
 * It holds no state but the database: whenever it dies, another can take over. Each statement commits by itself; what takes
 * more than one is a transaction that takes the write lock first, so that it never fails half way for a lock.
 *
 * It must not load Effect, which would cost each start a third of a second: types are imported with `import type`, because
 * an import whose names alone are marked as types is still loaded.
 */
import { type DatabaseSync, type StatementSync } from "node:sqlite"
import { parentPort, workerData } from "node:worker_threads"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import type { AgentRecord, IndexPage, LogRow, LogTail, MissingCopy } from "#core/ports/metadata-store.ts"
import type { FromWorker, Operations, Request, Response, SqliteOptions, ToWorker } from "./sqlite-messages.ts"
import { identityBeforeOpening, OpenedFile } from "./sqlite-file.ts"
import { historyOperations, prepareHistory } from "./sqlite-history.ts"
import { READS } from "./sqlite-messages.ts"
import { failureOf, inTransaction, openDatabase, whileBusy } from "./sqlite-open.ts"
import { NOW_MS } from "./sqlite-schema.ts"

type Statements = ReturnType<typeof prepare>

const prepare = (database: DatabaseSync) => {
  const statement = (sql: string): StatementSync => database.prepare(sql)
  return {
    append: statement(
      `INSERT INTO commit_log (shard, seq, epoch, nonce, prev_nonce, is_kept, entry) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (shard, seq) DO NOTHING`
    ),
    read: statement(
      `SELECT shard, seq, epoch, nonce, prev_nonce AS prevNonce, is_kept AS isKept, entry FROM commit_log
       WHERE shard = ? AND seq > ? ORDER BY seq LIMIT ?`
    ),
    now: statement(`SELECT ${NOW_MS} AS nowMs`),
    tail: statement("SELECT seq, nonce FROM commit_log WHERE shard = ? ORDER BY seq DESC LIMIT 1"),
    register: statement(
      `INSERT INTO agents (node_id, name, session, region, zone, host, port, peer_host, peer_port, expires_at_ms)
       VALUES ((SELECT coalesce(max(node_id), 0) + 1 FROM agents), ?, ?, ?, ?, ?, ?, ?, ?, ${NOW_MS} + ?)
       ON CONFLICT (name) DO UPDATE SET session = excluded.session, region = excluded.region, zone = excluded.zone,
         host = excluded.host, port = excluded.port, peer_host = excluded.peer_host, peer_port = excluded.peer_port,
         expires_at_ms = excluded.expires_at_ms
       RETURNING node_id AS nodeId`
    ),
    renew: statement(`UPDATE agents SET expires_at_ms = ${NOW_MS} + ? WHERE name = ? AND session = ?`),
    deregister: statement(
      `UPDATE agents SET expires_at_ms = 0, session = '${UUID_ZERO}' WHERE name = ? AND session = ?`
    ),
    agents: statement(
      `SELECT node_id AS nodeId, name, session, region, zone, host, port, peer_host AS peerHost, peer_port AS peerPort
       FROM agents
       WHERE expires_at_ms > ${NOW_MS} ORDER BY node_id`
    ),
    recordMissingCopy: statement(
      "INSERT INTO missing_copies (segment_id, bucket, object_key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    ),
    missingCopies: statement(
      `SELECT segment_id AS segmentId, object_key AS objectKey, bucket FROM missing_copies
       WHERE (segment_id, bucket) > (?, ?) ORDER BY segment_id, bucket LIMIT ?`
    ),
    forgetMissingCopy: statement("DELETE FROM missing_copies WHERE segment_id = ? AND bucket = ?")
  }
}

const operationsOf = (database: DatabaseSync, statements: Statements): Operations => ({
  ...historyOperations(database, prepareHistory(database)),
  append: (row) => {
    const { shard, seq, epoch, nonce, prevNonce, isKept, entry } = row
    const { changes } = statements.append.run(shard, seq, epoch, nonce, prevNonce, isKept ? 1 : 0, entry)
    return changes === 1 ? "appended" : "taken"
  },
  read: (options) => read(statements, options),
  tail: ({ shard }) => {
    const row = statements.tail.get(shard) as unknown as LogTail | undefined
    return row === undefined ? { seq: 0, nonce: UUID_ZERO } : { seq: row.seq, nonce: row.nonce }
  },
  now: () => Number(statements.now.get()!["nowMs"]),
  register: ({ agent, ttlMs }) => {
    const { name, session, region, zone, host, port, peerHost, peerPort } = agent
    const address = [host, port, peerHost, peerPort]
    return Number(statements.register.get(name, session, region, zone, ...address, ttlMs)!["nodeId"])
  },
  renew: ({ agent, ttlMs }) =>
    statements.renew.run(ttlMs, agent.name, agent.session).changes === 1 ? "renewed" : "superseded",
  deregister: ({ agent }) => {
    statements.deregister.run(agent.name, agent.session)
    return null
  },
  agents: () => statements.agents.all().map((row) => ({ ...row })) as unknown as Array<AgentRecord>,
  recordMissingCopies: ({ copies }) =>
    inTransaction(database, () => {
      for (const copy of copies) statements.recordMissingCopy.run(copy.segmentId, copy.bucket, copy.objectKey)
    }),
  missingCopies: ({ after, limit }) =>
    statements.missingCopies
      .all(after?.segmentId ?? "", after?.bucket ?? "", limit)
      .map((row) => ({ ...row })) as unknown as Array<MissingCopy>,
  forgetMissingCopies: ({ copies }) =>
    inTransaction(database, () => {
      for (const copy of copies) statements.forgetMissingCopy.run(copy.segmentId, copy.bucket)
    })
})

const read = (
  statements: Statements,
  options: { readonly shard: number; readonly after: number; readonly limit: number }
): Array<LogRow> => {
  const rows: Array<LogRow> = []
  let bytes = 0
  for (const found of statements.read.iterate(options.shard, options.after, options.limit)) {
    const row = { ...found, isKept: found["isKept"] === 1 } as unknown as LogRow
    bytes += row.entry.length
    if (rows.length > 0 && bytes > limits.logBytesPerRead) break
    rows.push(row)
  }
  return rows
}

const answer = (operations: Operations, { id, operation, argument }: Request): Response => {
  try {
    // Whole operations are tried again: one that finds the lock taken has changed nothing.
    return { id, value: whileBusy(() => operations[operation](argument as never)) }
  } catch (error) {
    return { id, failure: failureOf(error, READS.has(operation) ? "read" : "write") }
  }
}

/**
 * Nothing is run on a file that has lost its name, and nothing acknowledged that may have been written to one: the second
 * look is taken after the commit, so what was acknowledged was in the file that the path named.
 */
const answerAll = (
  file: OpenedFile,
  operations: Operations,
  requests: ReadonlyArray<Request>
): ReadonlyArray<Response> => {
  const mustLook = requests.some(({ operation }) => operation === "append")
  const before = file.problem(mustLook)
  if (before !== undefined) return requests.map(({ id }) => ({ id, failure: before }))
  const responses = requests.map((request) => answer(operations, request))
  const after = mustLook ? file.problem(true) : undefined
  if (after === undefined) return responses
  return requests.map(({ id, operation }) => ({
    id,
    failure: { ...after, outcome: READS.has(operation) ? "definite" : "indefinite" }
  }))
}

/** Large bytes were made for these answers alone: they move to the agent's thread. */
const movableOf = (responses: ReadonlyArray<Response>): Array<ArrayBuffer> => {
  const buffers: Array<ArrayBuffer> = []
  for (const response of responses) {
    const value = "value" in response ? response.value : undefined
    if (typeof value !== "object" || value === null) continue
    for (const part of Array.isArray(value) ? (value as ReadonlyArray<object>) : [value]) {
      const bytes = largeBytesOf(part)
      if (bytes !== undefined) buffers.push(bytes.buffer as ArrayBuffer)
    }
  }
  return buffers
}

/** A row of the log, an index page, a chunk. */
const largeBytesOf = (part: object): Uint8Array | undefined =>
  part instanceof Uint8Array ? part : ((part as Partial<LogRow>).entry ?? (part as Partial<IndexPage>).page)

const serve = (): void => {
  const port = parentPort
  assert(port !== null, "the database's thread is started by the agent")
  const post = (message: FromWorker, movable: Array<ArrayBuffer> = []): void => port.postMessage(message, movable)
  let database: DatabaseSync
  let operations: Operations
  let file: OpenedFile
  try {
    const options = workerData as SqliteOptions
    const before = identityBeforeOpening(options)
    database = openDatabase(options)
    operations = whileBusy(() => operationsOf(database, prepare(database)))
    file = new OpenedFile(options.file, before)
  } catch (error) {
    post({ failed: failureOf(error, "read") })
    return port.close()
  }
  port.on("message", (message: ToWorker) => {
    if (message === "close") {
      database.close()
      return port.close()
    }
    const responses = answerAll(file, operations, message)
    post(responses, movableOf(responses))
  })
  post({ opened: true, identity: file.identity })
}

serve()
