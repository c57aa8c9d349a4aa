/**
 * The metadata store in memory: for tests, simulation and the playground without files.
 *
 * One `make` is one database: agents of one process share it by sharing the value. It keeps the port's whole contract
 * (order, uniqueness, visibility, bounds), answers synchronously and uses no Promise, so that a simulation stays
 * deterministic. Its clock is the fiber's Clock, which tests can move. Nothing survives the process.
 */
import { Clock, Effect, Layer } from "effect"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO, type Uuid } from "#core/model/uuid.ts"
import {
  type AgentRecord,
  type AgentRegistration,
  type LogRow,
  type LogTail,
  MetadataStore,
  type MissingCopy
} from "#core/ports/metadata-store.ts"
import { MemoryHistory } from "./memory-history.ts"
import { assertAgent, assertListLimit, assertRow } from "./store-check.ts"

interface Membership {
  readonly agent: AgentRecord
  /** UUID_ZERO after a clean stop. */
  readonly session: Uuid
  readonly expiresAtMs: number
}

/** The rows of a shard, those at the front trimmed. */
interface Rows {
  trimmed: number
  /** From trimmed + 1. */
  readonly rows: Array<LogRow>
  /** By seq, up to `trimmed`: what was kept, and what was put into slots that had become free. As in SQL. */
  readonly early: Map<number, LogRow>
}

interface Tables {
  readonly commitLog: Map<number, Rows>
  /** By name. */
  readonly agents: Map<string, Membership>
  /** By segment id and bucket. */
  readonly missingCopies: Map<string, MissingCopy>
}

export const make: Effect.Effect<MetadataStore["Service"]> = Effect.sync(() => {
  const tables: Tables = { commitLog: new Map(), agents: new Map(), missingCopies: new Map() }
  const history = new MemoryHistory()
  return MetadataStore.of({
    append: (row) => Effect.sync(() => append(tables, row)),
    read: (options) => Effect.sync(() => read(tables, options)),
    now: Clock.currentTimeMillis,
    tail: (shard) => Effect.sync(() => tailOf(tables, shard)),
    trim: (options) => Effect.sync(() => trim(tables, options)),
    writeCheckpointChunk: (chunk) => Effect.sync(() => history.writeCheckpointChunk(chunk)),
    checkpoints: (shard) => Effect.sync(() => history.checkpoints(shard)),
    readCheckpointChunk: (options) => Effect.sync(() => history.readCheckpointChunk(options)),
    deleteCheckpoints: (options) => Effect.sync(() => history.deleteCheckpoints(options)),
    writeIndexPages: (pages) => Effect.sync(() => history.writeIndexPages(pages)),
    findIndexPage: (options) => Effect.sync(() => history.findIndexPage(options)),
    deleteIndexPages: (topicId) => Effect.sync(() => history.deleteIndexPages(topicId)),
    noteShard: (note) => Effect.sync(() => history.noteShard(note)),
    shardNotes: Effect.sync(() => history.shardNotes()),
    register: (agent, ttlMs) => withNow((nowMs) => register(tables, agent, nowMs + ttlMs)),
    renew: (agent, ttlMs) => withNow((nowMs) => renew(tables, agent, nowMs + ttlMs)),
    deregister: (agent) => Effect.sync(() => deregister(tables, agent)),
    agents: withNow((nowMs) => liveAgents(tables, nowMs)),
    recordMissingCopies: (copies) =>
      Effect.sync(() => {
        for (const copy of copies) {
          const key = keyOfCopy(copy)
          if (!tables.missingCopies.has(key)) tables.missingCopies.set(key, { ...copy })
        }
      }),
    missingCopies: (options) => Effect.sync(() => missingCopies(tables, options)),
    forgetMissingCopies: (copies) =>
      Effect.sync(() => {
        for (const copy of copies) tables.missingCopies.delete(keyOfCopy(copy))
      })
  })
})

export const layer: Layer.Layer<MetadataStore> = Layer.effect(MetadataStore, make)

const withNow = <A>(f: (nowMs: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, f)

const rowsOf = (tables: Tables, shard: number): Rows => {
  const known = tables.commitLog.get(shard)
  if (known !== undefined) return known
  const none: Rows = { trimmed: 0, rows: [], early: new Map() }
  tables.commitLog.set(shard, none)
  return none
}

/** A log without gaps: a row lies at index seq - 1 less those trimmed. One further on is refused, as no appender may write it. */
const append = (tables: Tables, row: LogRow): "appended" | "taken" => {
  assertRow(row)
  const { trimmed, rows, early } = rowsOf(tables, row.shard)
  const last = trimmed + rows.length
  const isTaken = row.seq > trimmed ? row.seq <= last : early.has(row.seq)
  if (isTaken) return "taken"
  if (row.seq > last + 1) throw new Error(`seq ${row.seq} would leave a gap after ${last}`)
  const own = { ...row, entry: Uint8Array.prototype.slice.call(row.entry) }
  if (row.seq > trimmed) rows.push(own)
  else early.set(row.seq, own)
  return "appended"
}

const read = (
  tables: Tables,
  options: { readonly shard: number; readonly after: number; readonly limit: number }
): ReadonlyArray<LogRow> => {
  assertListLimit(options.limit, limits.logRowsPerRead)
  const found: Array<LogRow> = []
  let bytes = 0
  const { trimmed, rows, early } = rowsOf(tables, options.shard)
  const earlier = [...early.values()].filter(({ seq }) => seq > options.after).sort((a, b) => a.seq - b.seq)
  const first = Math.max(0, options.after - trimmed) - earlier.length
  for (let index = first; index < rows.length && found.length < options.limit; index += 1) {
    const row = index - first < earlier.length ? earlier[index - first]! : rows[index]!
    bytes += row.entry.length
    if (found.length > 0 && bytes > limits.logBytesPerRead) break
    found.push({ ...row })
  }
  return found
}

const tailOf = (tables: Tables, shard: number): LogTail => {
  const last = rowsOf(tables, shard).rows.at(-1)
  return last === undefined ? { seq: 0, nonce: UUID_ZERO } : { seq: last.seq, nonce: last.nonce }
}

const trim = (tables: Tables, options: { readonly shard: number; readonly through: number }): number => {
  const log = rowsOf(tables, options.shard)
  let deleted = 0
  for (const seq of [...log.early.keys()].sort((a, b) => a - b)) {
    if (seq > options.through || deleted === limits.logRowsPerTrim || log.early.get(seq)!.isKept) continue
    log.early.delete(seq)
    deleted += 1
  }
  while (deleted < limits.logRowsPerTrim && log.rows.length > 1 && log.trimmed < options.through) {
    const row = log.rows.shift()!
    log.trimmed += 1
    if (row.isKept) log.early.set(row.seq, row)
    else deleted += 1
  }
  return deleted
}

const register = (tables: Tables, agent: AgentRegistration, expiresAtMs: number): number => {
  assertAgent(agent)
  const nodeId = tables.agents.get(agent.name)?.agent.nodeId ?? tables.agents.size + 1
  tables.agents.set(agent.name, { agent: { ...agent, nodeId }, session: agent.session, expiresAtMs })
  return nodeId
}

const renew = (
  tables: Tables,
  agent: Pick<AgentRegistration, "name" | "session">,
  expiresAtMs: number
): "renewed" | "superseded" => {
  const known = tables.agents.get(agent.name)
  if (known?.session !== agent.session) return "superseded"
  tables.agents.set(agent.name, { ...known, expiresAtMs })
  return "renewed"
}

const deregister = (tables: Tables, agent: Pick<AgentRegistration, "name" | "session">): void => {
  const known = tables.agents.get(agent.name)
  if (known?.session !== agent.session) return
  tables.agents.set(agent.name, { ...known, session: UUID_ZERO, expiresAtMs: 0 })
}

const liveAgents = (tables: Tables, nowMs: number): ReadonlyArray<AgentRecord> =>
  [...tables.agents.values()]
    .filter((membership) => membership.expiresAtMs > nowMs)
    .map((membership) => membership.agent)
    .sort((a, b) => a.nodeId - b.nodeId)

const keyOfCopy = (copy: Pick<MissingCopy, "segmentId" | "bucket">): string => `${copy.segmentId} ${copy.bucket}`

const missingCopies = (
  tables: Tables,
  options: { readonly after?: Pick<MissingCopy, "segmentId" | "bucket">; readonly limit: number }
): ReadonlyArray<MissingCopy> => {
  assertListLimit(options.limit, limits.missingCopiesQueue)
  const after = options.after === undefined ? "" : keyOfCopy(options.after)
  return [...tables.missingCopies]
    .filter(([key]) => key > after)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, options.limit)
    .map(([, copy]) => copy)
}
