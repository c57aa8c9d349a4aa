/**
 * What `meridian metadata status` says, from the metadata store's port alone: the same on every database.
 *
 * Lag is how many rows an agent reads that starts now, after the newest checkpoint.
 */
import { Effect } from "effect"
import { type AgentRecord, type MetadataError, type MetadataStore, type ShardNote } from "#core/ports/metadata-store.ts"
import { type Topology } from "#regions/topology.ts"
import { textTable } from "./text-table.ts"

type Store = MetadataStore["Service"]

export const statusText = Effect.fnUntraced(function* (
  store: Store,
  topology: Pick<Topology, "cluster" | "home">
): Effect.fn.Return<string, MetadataError> {
  const notes = yield* store.shardNotes
  // The first shard has a log before anyone notes anything of it.
  const shards = notes.some(({ shard }) => shard === 0) ? notes : [undefined, ...notes]
  const rows = yield* Effect.forEach(shards, (note) => shardRow(store, note))
  const agents = yield* store.agents
  return [
    `cluster ${topology.cluster}, home region ${topology.home}`,
    "",
    ...textTable(SHARD_COLUMNS, rows),
    "",
    ...(agents.length === 0 ? ["no agent is alive"] : textTable(AGENT_COLUMNS, agents.map(agentRow))),
    ""
  ].join("\n")
})

const SHARD_COLUMNS = [
  "shard",
  "holder",
  "region",
  "home",
  "epoch",
  "first seq",
  "last seq",
  "rows",
  "checkpoint",
  "trimmed",
  "lag"
]

const AGENT_COLUMNS = ["node", "agent", "region", "zone", "clients", "peers"]

const shardRow = Effect.fnUntraced(function* (store: Store, note: ShardNote | undefined) {
  const shard = note?.shard ?? 0
  const trimmed = note?.trimmedSeq ?? 0
  const { seq: last } = yield* store.tail(shard)
  // Rows that begin epochs stay for ever, far before the others.
  const first = (yield* store.read({ shard, after: trimmed, limit: 1 }))[0]?.seq
  const newest = (yield* store.checkpoints(shard))[0]?.seq
  return [
    String(shard),
    note?.holder ?? "-",
    note?.holderRegion ?? "-",
    note?.homeRegion ?? "-",
    note === undefined ? "-" : String(note.epoch),
    first === undefined ? "-" : String(first),
    last === 0 ? "-" : String(last),
    String(first === undefined ? 0 : last - first + 1),
    newest === undefined ? "-" : String(newest),
    String(trimmed),
    String(last - (newest ?? 0))
  ]
})

const agentRow = ({
  nodeId,
  name,
  region,
  zone,
  host,
  port,
  peerHost,
  peerPort
}: AgentRecord): ReadonlyArray<string> => [
  String(nodeId),
  name,
  region,
  zone,
  `${host}:${port}`,
  peerPort === 0 ? "-" : `${peerHost}:${peerPort}`
]
