/**
 * The port's calls as statements: what each asks, in which order, and what its answer means.
 *
 * A call of one statement is as atomic as that. Where it takes several, each is harmless by itself and may be repeated: what is
 * put is put if absent, and what is deleted is no longer needed by anyone. Appends have connections of their own.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import {
  type AgentRecord,
  type AgentRegistration,
  type LogRow,
  type LogTail,
  MetadataStore,
  type MissingCopy
} from "#core/ports/metadata-store.ts"
import { checked, type PostgresDatabase, rowsOf, type Run } from "./postgres-database.ts"
import { PostgresFailure, refusal, UNIQUE_VIOLATION } from "./postgres-failure.ts"
import { historyOf } from "./postgres-history.ts"
import { copyStatements, logStatements, memberStatements } from "./postgres-statements.ts"
import { assertAgent, assertListLimit, assertRow } from "./store-check.ts"

type Store = MetadataStore["Service"]

export const storeOf = (database: PostgresDatabase): Store =>
  MetadataStore.of({ ...logOf(database), ...historyOf(database), ...membersOf(database), ...copiesOf(database) })

const logOf = (database: PostgresDatabase): Pick<Store, "append" | "read" | "tail" | "now" | "trim"> => ({
  append: (row) =>
    checked(
      () => assertRow(row),
      database.call({ operation: "append", kind: "write", lane: "append" }, (run) => append(run, row))
    ),
  read: ({ shard, after, limit }) =>
    checked(
      () => assertListLimit(limit, limits.logRowsPerRead),
      database.call({ operation: "read", kind: "read" }, async (run) =>
        rowsOf<LogRow>(await run(logStatements.read, shard, after, limit, limits.logBytesPerRead))
      )
    ),
  tail: (shard) => database.call({ operation: "tail", kind: "read" }, (run) => tail(run, shard)),
  now: database.call({ operation: "now", kind: "read" }, async (run) =>
    Number((await run(logStatements.now)).rows[0]?.["nowMs"])
  ),
  trim: ({ shard, through }) =>
    database.call({ operation: "trim", kind: "write" }, async (run) => {
      const newest = await tail(run, shard)
      const mayGo = Math.min(through, newest.seq - 1)
      if (mayGo < 1) return 0
      const { rows } = await run(logStatements.trimmable, shard, mayGo, limits.logRowsPerTrim)
      const last = rows[0]?.["last"]
      return typeof last === "number" ? (await run(logStatements.trim, shard, last)).count : 0
    })
})

const append = async (run: Run, row: LogRow): Promise<"appended" | "taken"> => {
  try {
    const { shard, seq, epoch, nonce, prevNonce, isKept, entry } = row
    await run(logStatements.append, shard, seq, epoch, nonce, prevNonce, isKept, entry)
    return "appended"
  } catch (error) {
    // The table has one unique constraint: its primary key.
    if (error instanceof PostgresFailure && error.code === UNIQUE_VIOLATION) return "taken"
    throw error
  }
}

const tail = async (run: Run, shard: number): Promise<LogTail> =>
  rowsOf<LogTail>(await run(logStatements.tail, shard))[0] ?? { seq: 0, nonce: UUID_ZERO }

const membersOf = (database: PostgresDatabase): Pick<Store, "register" | "renew" | "deregister" | "agents"> => ({
  register: (agent, ttlMs) =>
    checked(
      () => assertAgent(agent),
      database.call({ operation: "register", kind: "write" }, (run) => register(run, agent, ttlMs))
    ),
  renew: ({ name, session }, ttlMs) =>
    database.call({ operation: "renew", kind: "write" }, async (run) =>
      (await run(memberStatements.renew, name, session, ttlMs)).count === 1 ? "renewed" : "superseded"
    ),
  deregister: ({ name, session }) =>
    database.call({ operation: "deregister", kind: "write" }, async (run) => {
      await run(memberStatements.leave, name, session)
    }),
  agents: database.call({ operation: "agents", kind: "read" }, async (run) =>
    rowsOf<AgentRecord>(await run(memberStatements.agents))
  )
})

/**
 * A new name takes the id after the largest. Whoever else takes it at once, or enters the same name, makes the insert do
 * nothing, and one looks again; each round gives one of them its id.
 */
const register = async (run: Run, agent: AgentRegistration, ttlMs: number): Promise<number> => {
  const { name, session, region, zone, host, port, peerHost, peerPort } = agent
  const values = [name, session, region, zone, host, port, peerHost, peerPort, ttlMs]
  for (let attempt = 1; attempt <= limits.nodeIdAttemptsMax; attempt += 1) {
    for (const statement of [memberStatements.reenter, memberStatements.enter]) {
      const nodeId = (await run(statement, ...values)).rows[0]?.["nodeId"]
      if (nodeId === undefined) continue
      assert(typeof nodeId === "number" && nodeId >= 1, `the database gave a node id that is none`)
      return nodeId
    }
  }
  throw refusal("Unavailable", `no node id for ${name} after ${limits.nodeIdAttemptsMax} attempts`, "statement")
}

const copiesOf = (
  database: PostgresDatabase
): Pick<Store, "recordMissingCopies" | "missingCopies" | "forgetMissingCopies"> => ({
  recordMissingCopies: (copies) =>
    database.call({ operation: "recordMissingCopies", kind: "write" }, async (run) => {
      for (const some of inParts(copies, limits.postgresCopiesPerStatement)) {
        const columns = [some.map((c) => c.segmentId), some.map((c) => c.bucket), some.map((c) => c.objectKey)]
        await run(copyStatements.recordMissingCopies, ...columns)
      }
    }),
  missingCopies: ({ after, limit }) =>
    checked(
      () => assertListLimit(limit, limits.missingCopiesQueue),
      database.call({ operation: "missingCopies", kind: "read" }, async (run) => {
        const [segmentId, bucket] = [after?.segmentId ?? UUID_ZERO, after?.bucket ?? ""]
        return rowsOf<MissingCopy>(await run(copyStatements.missingCopies, segmentId, bucket, limit))
      })
    ),
  forgetMissingCopies: (copies) =>
    database.call({ operation: "forgetMissingCopies", kind: "write" }, async (run) => {
      for (const some of inParts(copies, limits.postgresCopiesPerStatement)) {
        const columns = [some.map((c) => c.segmentId), some.map((c) => c.bucket)]
        await run(copyStatements.forgetMissingCopies, ...columns)
      }
    })
})

function* inParts<A>(items: ReadonlyArray<A>, size: number): Generator<ReadonlyArray<A>> {
  for (let first = 0; first < items.length; first += size) yield items.slice(first, first + size)
}
