/**
 * Tables of the embedded database, by numbered migrations that only go forward.
 *
 * Never change one that was released: add the next. Invariants of the port stand here as constraints too: PRIMARY KEY
 * (shard, seq) is what decides who owns a slot of the log. Times are milliseconds since 1970 by the database's own clock.
 */

export interface Migration {
  /** From 1, without gaps. */
  readonly version: number
  readonly name: string
  readonly sql: string
}

/** Marks the file as Meridian's in SQLite's header ("MERI"). */
export const APPLICATION_ID = 0x4d455249

/** The database's clock, in SQL. */
export const NOW_MS = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

export const MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL DEFAULT (${NOW_MS}),
    CONSTRAINT migrations_pk PRIMARY KEY (version)
  ) STRICT`

export const MIGRATIONS: ReadonlyArray<Migration> = [
  {
    version: 1,
    name: "log, agents, missing copies",
    // Rows of the log are only ever added at the end: WITHOUT ROWID keeps them in one tree, so that an append writes one
    // page and not two.
    sql: `
      CREATE TABLE commit_log (
        shard INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        nonce TEXT NOT NULL,
        prev_nonce TEXT NOT NULL,
        committed_at_ms INTEGER NOT NULL DEFAULT (${NOW_MS}),
        entry BLOB NOT NULL,
        CONSTRAINT commit_log_pk PRIMARY KEY (shard, seq),
        CONSTRAINT commit_log_shard_ck CHECK (shard >= 0),
        CONSTRAINT commit_log_seq_ck CHECK (seq > 0),
        CONSTRAINT commit_log_epoch_ck CHECK (epoch >= 0),
        CONSTRAINT commit_log_nonce_ck CHECK (length(nonce) = 32 AND length(prev_nonce) = 32 AND nonce <> prev_nonce),
        CONSTRAINT commit_log_entry_ck CHECK (length(entry) > 0)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE agents (
        node_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        session TEXT NOT NULL,
        region TEXT NOT NULL,
        zone TEXT NOT NULL,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        CONSTRAINT agents_pk PRIMARY KEY (node_id),
        CONSTRAINT agents_name_uq UNIQUE (name),
        CONSTRAINT agents_node_id_ck CHECK (node_id >= 1),
        CONSTRAINT agents_session_ck CHECK (length(session) = 32),
        CONSTRAINT agents_port_ck CHECK (port BETWEEN 0 AND 65535)
      ) STRICT;
      CREATE TABLE missing_copies (
        segment_id TEXT NOT NULL,
        bucket TEXT NOT NULL,
        object_key TEXT NOT NULL,
        recorded_at_ms INTEGER NOT NULL DEFAULT (${NOW_MS}),
        CONSTRAINT missing_copies_pk PRIMARY KEY (segment_id, bucket),
        CONSTRAINT missing_copies_segment_id_ck CHECK (length(segment_id) = 32)
      ) STRICT, WITHOUT ROWID;`
  },
  {
    version: 2,
    name: "checkpoints, index pages, shards, peer addresses",
    // Ordinary tables, because rows are large: a tree WITHOUT ROWID would hold a part of every value also in its inner pages.
    // The second index of the pages answers questions for timestamps without touching the pages.
    sql: `
      ALTER TABLE commit_log ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0
        CONSTRAINT commit_log_is_kept_ck CHECK (is_kept IN (0, 1));
      UPDATE commit_log SET is_kept = 1 WHERE seq = 1;
      ALTER TABLE agents ADD COLUMN peer_host TEXT NOT NULL DEFAULT '';
      ALTER TABLE agents ADD COLUMN peer_port INTEGER NOT NULL DEFAULT 0
        CONSTRAINT agents_peer_port_ck CHECK (peer_port BETWEEN 0 AND 65535);
      CREATE TABLE checkpoints (
        shard INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        chunk INTEGER NOT NULL,
        chunk_count INTEGER NOT NULL,
        body BLOB NOT NULL,
        CONSTRAINT checkpoints_pk PRIMARY KEY (shard, seq, chunk),
        CONSTRAINT checkpoints_shard_ck CHECK (shard >= 0),
        CONSTRAINT checkpoints_seq_ck CHECK (seq > 0),
        CONSTRAINT checkpoints_chunk_ck CHECK (chunk >= 0 AND chunk < chunk_count),
        CONSTRAINT checkpoints_body_ck CHECK (length(body) > 0)
      ) STRICT;
      CREATE TABLE index_pages (
        topic_id TEXT NOT NULL,
        partition INTEGER NOT NULL,
        base_offset INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        max_timestamp_ms INTEGER NOT NULL,
        page BLOB NOT NULL,
        CONSTRAINT index_pages_pk PRIMARY KEY (topic_id, partition, base_offset),
        CONSTRAINT index_pages_topic_id_ck CHECK (length(topic_id) = 32),
        CONSTRAINT index_pages_partition_ck CHECK (partition >= 0),
        CONSTRAINT index_pages_offsets_ck CHECK (base_offset >= 0 AND next_offset > base_offset),
        CONSTRAINT index_pages_page_ck CHECK (length(page) > 0)
      ) STRICT;
      CREATE INDEX index_pages_timestamp ON index_pages (topic_id, partition, max_timestamp_ms DESC, base_offset);
      CREATE TABLE shards (
        shard INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        holder TEXT NOT NULL,
        holder_region TEXT NOT NULL,
        home_region TEXT NOT NULL,
        trimmed_seq INTEGER NOT NULL,
        CONSTRAINT shards_pk PRIMARY KEY (shard),
        CONSTRAINT shards_shard_ck CHECK (shard >= 0),
        CONSTRAINT shards_epoch_ck CHECK (epoch >= 0),
        CONSTRAINT shards_trimmed_seq_ck CHECK (trimmed_seq >= 0)
      ) STRICT;`
  }
]
