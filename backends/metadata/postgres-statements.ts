/**
 * Every statement that the PostgreSQL adapter sends but for those that make tables (postgres-migrations.ts) and place them in
 * regions (postgres-placement.ts) [pure]: one set for PostgreSQL 15+ and CockroachDB.
 *
 * Rules, which a lint checks (test/lint/sql-subset.ts): only SQL that both know; every placeholder is cast, because
 * CockroachDB infers one type per placeholder; times are the database's own; no statement needs a transaction around it.
 *
 * The hot path is `append`: one plain row, no foreign key, no secondary index, no ON CONFLICT, nothing read.
 */
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"

export interface Statement {
  /** Also the name under which each connection prepares it. */
  readonly name: string
  readonly sql: string
  /** A read changes nothing, however it fails. */
  readonly kind: "read" | "write"
  /** False for what sets up a session: it is sent as text, together with others. */
  readonly isPrepared: boolean
}

const read = (name: string, sql: string): Statement => ({ name, sql: squeezed(sql), kind: "read", isPrepared: true })
const write = (name: string, sql: string): Statement => ({ name, sql: squeezed(sql), kind: "write", isPrepared: true })

/** Without placeholders; answers with at most one row. */
export const session = (name: string, sql: string): Statement => ({
  name,
  sql: squeezed(sql),
  kind: "read",
  isPrepared: false
})

/** On one line: for logs of the database, and for people. */
const squeezed = (sql: string): string => sql.trim().replaceAll(/\s*\n\s*/g, " ")

/** When a membership ends that is prolonged by so many milliseconds. */
const endAfter = (placeholder: string): string => `now() + ${placeholder}::INT8 * INTERVAL '1 millisecond'`

const PAGE = `topic_id AS "topicId", partition_index AS "partition", base_offset AS "baseOffset",
  next_offset AS "nextOffset", max_timestamp_ms AS "maxTimestampMs", page`

export const logStatements = {
  append: write(
    "append",
    `INSERT INTO commit_log (shard, seq, epoch, nonce, prev_nonce, is_kept, entry)
     VALUES ($1::INT4, $2::INT8, $3::INT8, $4::UUID, $5::UUID, $6::BOOL, $7::BYTEA)`
  ),
  // The running sum bounds an answer; the first row comes whatever its size.
  read: read(
    "read",
    `SELECT shard, seq, epoch, nonce, prev_nonce AS "prevNonce", is_kept AS "isKept", entry
     FROM (SELECT shard, seq, epoch, nonce, prev_nonce, is_kept, entry, sum(length(entry)) OVER (ORDER BY seq) AS bytes
       FROM (SELECT shard, seq, epoch, nonce, prev_nonce, is_kept, entry FROM commit_log
         WHERE shard = $1::INT4 AND seq > $2::INT8 ORDER BY seq LIMIT $3::INT8) AS candidates) AS counted
     WHERE bytes <= $4::INT8 OR bytes = length(entry) ORDER BY seq`
  ),
  tail: read("tail", "SELECT seq, nonce FROM commit_log WHERE shard = $1::INT4 ORDER BY seq DESC LIMIT 1"),
  /** A statement alone is its own transaction, whose beginning `now()` is. */
  now: read("now", `SELECT (extract(epoch FROM now()) * 1000)::INT8 AS "nowMs"`),
  /** Up to where `trim` may go, so that it deletes a bounded number of rows, and never the newest. */
  trimmable: read(
    "trimmable",
    `SELECT max(seq) AS last FROM (SELECT seq FROM commit_log
       WHERE shard = $1::INT4 AND seq <= $2::INT8 AND NOT is_kept ORDER BY seq LIMIT $3::INT8) AS oldest`
  ),
  trim: write("trim", "DELETE FROM commit_log WHERE shard = $1::INT4 AND seq <= $2::INT8 AND NOT is_kept")
}

export const historyStatements = {
  writeCheckpointChunk: write(
    "write-checkpoint-chunk",
    `INSERT INTO checkpoints (shard, seq, chunk, chunk_count, size, body)
     VALUES ($1::INT4, $2::INT8, $3::INT4, $4::INT4, $5::INT4, $6::BYTEA) ON CONFLICT (shard, seq, chunk) DO NOTHING`
  ),
  checkpoints: read(
    "checkpoints",
    `SELECT seq, count(*) AS "chunkCount", sum(size) AS bytes FROM checkpoints WHERE shard = $1::INT4
     GROUP BY seq HAVING count(*) = max(CASE WHEN chunk = 0 THEN chunk_count END) ORDER BY seq DESC`
  ),
  readCheckpointChunk: read(
    "read-checkpoint-chunk",
    "SELECT body FROM checkpoints WHERE shard = $1::INT4 AND seq = $2::INT8 AND chunk = $3::INT4"
  ),
  deleteCheckpointChunks: write(
    "delete-checkpoint-chunks",
    `DELETE FROM checkpoints WHERE shard = $1::INT4 AND (seq, chunk) IN
       (SELECT seq, chunk FROM checkpoints WHERE shard = $1::INT4 AND seq < $2::INT8 AND seq <> $3::INT8
        ORDER BY seq, chunk LIMIT $4::INT8)`
  ),
  // One look decides what is incomplete and what is deleted: what came after it stays.
  deleteIncompleteChunks: write(
    "delete-incomplete-chunks",
    `DELETE FROM checkpoints WHERE shard = $1::INT4 AND (seq, chunk) IN
       (SELECT seq, chunk FROM checkpoints WHERE shard = $1::INT4 AND seq < $2::INT8 AND seq <> $3::INT8 AND seq IN
          (SELECT seq FROM checkpoints WHERE shard = $1::INT4 GROUP BY seq
           HAVING count(*) <> coalesce(max(CASE WHEN chunk = 0 THEN chunk_count END), 0))
        ORDER BY seq, chunk LIMIT $4::INT8)`
  ),
  writeIndexPages: write(
    "write-index-pages",
    `INSERT INTO index_pages (topic_id, partition_index, base_offset, next_offset, max_timestamp_ms, page)
     SELECT t.topic_id, t.partition_index, t.base_offset, t.next_offset, t.max_timestamp_ms, t.page
     FROM unnest($1::UUID[], $2::INT4[], $3::INT8[], $4::INT8[], $5::INT8[], $6::BYTEA[])
       AS t (topic_id, partition_index, base_offset, next_offset, max_timestamp_ms, page)
     ON CONFLICT (topic_id, partition_index, base_offset) DO NOTHING`
  ),
  pageOfOffset: read(
    "page-of-offset",
    `SELECT ${PAGE} FROM index_pages
     WHERE topic_id = $1::UUID AND partition_index = $2::INT4 AND base_offset <= $3::INT8
     ORDER BY base_offset DESC LIMIT 1`
  ),
  // Which page it is, an index says that holds no pages; only one page is read.
  pageSince: read(
    "page-since",
    `SELECT ${PAGE} FROM index_pages
     WHERE topic_id = $1::UUID AND partition_index = $2::INT4 AND base_offset =
       (SELECT min(base_offset) FROM index_pages
        WHERE topic_id = $1::UUID AND partition_index = $2::INT4 AND max_timestamp_ms >= $3::INT8)`
  ),
  pageOfLargestTimestamp: read(
    "page-of-largest-timestamp",
    `SELECT ${PAGE} FROM index_pages WHERE topic_id = $1::UUID AND partition_index = $2::INT4
     ORDER BY max_timestamp_ms DESC, base_offset LIMIT 1`
  ),
  deleteIndexPages: write(
    "delete-index-pages",
    `DELETE FROM index_pages WHERE topic_id = $1::UUID AND (partition_index, base_offset) IN
       (SELECT partition_index, base_offset FROM index_pages WHERE topic_id = $1::UUID
        ORDER BY partition_index, base_offset LIMIT $2::INT8)`
  ),
  noteShard: write(
    "note-shard",
    `INSERT INTO shards (shard, epoch, holder, holder_region, home_region, trimmed_seq)
     VALUES ($1::INT4, $2::INT8, $3::TEXT, $4::TEXT, $5::TEXT, $6::INT8)
     ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder,
       holder_region = excluded.holder_region, home_region = excluded.home_region, trimmed_seq = excluded.trimmed_seq
     WHERE excluded.epoch > shards.epoch
       OR (excluded.epoch = shards.epoch AND excluded.trimmed_seq >= shards.trimmed_seq)`
  ),
  shardNotes: read(
    "shard-notes",
    `SELECT shard, epoch, holder, holder_region AS "holderRegion", home_region AS "homeRegion",
       trimmed_seq AS "trimmedSeq" FROM shards ORDER BY shard`
  )
}

export const memberStatements = {
  // An agent that was there before: its node id stays.
  reenter: write(
    "reenter",
    `UPDATE agents SET session = $2::UUID, region = $3::TEXT, zone = $4::TEXT, host = $5::TEXT, port = $6::INT4,
       peer_host = $7::TEXT, peer_port = $8::INT4, expires_at = ${endAfter("$9")}
     WHERE name = $1::TEXT RETURNING node_id AS "nodeId"`
  ),
  // Rows are never deleted, so an id is never given again. Of those who take the same at once, one gets it.
  enter: write(
    "enter",
    `INSERT INTO agents (node_id, name, session, region, zone, host, port, peer_host, peer_port, expires_at)
     SELECT coalesce(max(node_id), 0) + 1, $1::TEXT, $2::UUID, $3::TEXT, $4::TEXT, $5::TEXT, $6::INT4, $7::TEXT,
       $8::INT4, ${endAfter("$9")} FROM agents
     ON CONFLICT DO NOTHING RETURNING node_id AS "nodeId"`
  ),
  renew: write(
    "renew",
    `UPDATE agents SET expires_at = ${endAfter("$3")} WHERE name = $1::TEXT AND session = $2::UUID`
  ),
  leave: write(
    "leave",
    `UPDATE agents SET expires_at = now(), session = '${UUID_ZERO}'::UUID
     WHERE name = $1::TEXT AND session = $2::UUID`
  ),
  agents: read(
    "agents",
    `SELECT node_id AS "nodeId", name, session, region, zone, host, port, peer_host AS "peerHost",
       peer_port AS "peerPort" FROM agents WHERE expires_at > now() ORDER BY node_id`
  )
}

export const copyStatements = {
  recordMissingCopies: write(
    "record-missing-copies",
    `INSERT INTO missing_copies (segment_id, bucket, object_key)
     SELECT t.segment_id, t.bucket, t.object_key
     FROM unnest($1::UUID[], $2::TEXT[], $3::TEXT[]) AS t (segment_id, bucket, object_key)
     ON CONFLICT (segment_id, bucket) DO NOTHING`
  ),
  missingCopies: read(
    "missing-copies",
    `SELECT segment_id AS "segmentId", object_key AS "objectKey", bucket FROM missing_copies
     WHERE (segment_id, bucket) > ($1::UUID, $2::TEXT) ORDER BY segment_id, bucket LIMIT $3::INT8`
  ),
  forgetMissingCopies: write(
    "forget-missing-copies",
    `DELETE FROM missing_copies USING unnest($1::UUID[], $2::TEXT[]) AS t (segment_id, bucket)
     WHERE missing_copies.segment_id = t.segment_id AND missing_copies.bucket = t.bucket`
  )
}

/** About the server and the schema. `setUp…` run on each new connection, in this order. */
export const sessionStatements = {
  setUpTimeout: session("set-up-timeout", `SET statement_timeout = ${limits.postgresStatementMs}`),
  setUpMigrationTimeout: session("set-up-migration-timeout", `SET statement_timeout = ${limits.migrationStatementMs}`),
  setUpBytes: session("set-up-bytes", "SET bytea_output = 'hex'"),
  version: session("version", "SELECT version() AS version"),
  readOnly: session("read-only", "SHOW transaction_read_only"),
  identity: session("identity", `SELECT database_id AS "databaseId", cluster, placement FROM database_identity`),
  schemaVersion: session("schema-version", "SELECT coalesce(max(version), 0) AS version FROM migrations"),
  privileges: read(
    "privileges",
    `SELECT t.name AS "table", has_table_privilege(t.name, 'SELECT') AS "mayRead",
       has_table_privilege(t.name, 'INSERT') AND has_table_privilege(t.name, 'UPDATE')
         AND has_table_privilege(t.name, 'DELETE') AS "mayWrite"
     FROM unnest($1::TEXT[]) AS t (name)`
  )
}
