/**
 * Tables of the database, by numbered migrations that only go forward [pure]. One set for PostgreSQL and CockroachDB.
 *
 * Never change one that was released: add the next. A migration is a list of statements, each a single change that does nothing
 * where it has been made: they commit one by one, because CockroachDB does not change schemas in transactions, and any of
 * them may run again after a crash, or in two processes at once (postgres-migrator.ts).
 *
 * Invariants of the port stand here as constraints too: PRIMARY KEY (shard, seq) is what decides who owns a slot of the log,
 * and the log has no other index, nor foreign key, so that an append writes one row in one place.
 */
import { limits } from "#core/model/limits.ts"
import { type DialectName } from "./postgres-dialect.ts"
import { type Statement } from "./postgres-statements.ts"

export interface Migration {
  /** From 1, without gaps. */
  readonly version: number
  readonly name: string
  readonly statements: ReadonlyArray<string>
  /** Further statements on servers of one kind. */
  readonly only?: Partial<Readonly<Record<DialectName, ReadonlyArray<string>>>>
}

/** What migrating itself needs; made first, and again at each look. */
export const BEGINNING: ReadonlyArray<string> = [
  `CREATE TABLE IF NOT EXISTS migrations (
    version INT4 NOT NULL,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT migrations_pk PRIMARY KEY (version)
  )`,
  `CREATE TABLE IF NOT EXISTS migration_guard (
    id INT4 NOT NULL,
    holder UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT migration_guard_pk PRIMARY KEY (id),
    CONSTRAINT migration_guard_id_ck CHECK (id = 1)
  )`,
  `CREATE TABLE IF NOT EXISTS database_identity (
    id INT4 NOT NULL,
    database_id UUID NOT NULL,
    cluster TEXT NOT NULL,
    placement TEXT NOT NULL DEFAULT '',
    CONSTRAINT database_identity_pk PRIMARY KEY (id),
    CONSTRAINT database_identity_id_ck CHECK (id = 1)
  )`
]

export const MIGRATIONS: ReadonlyArray<Migration> = [
  {
    version: 1,
    name: "commit log",
    statements: [
      `CREATE TABLE IF NOT EXISTS commit_log (
        shard INT4 NOT NULL,
        seq INT8 NOT NULL,
        epoch INT8 NOT NULL,
        nonce UUID NOT NULL,
        prev_nonce UUID NOT NULL,
        is_kept BOOL NOT NULL,
        committed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        entry BYTEA NOT NULL,
        CONSTRAINT commit_log_pk PRIMARY KEY (shard, seq),
        CONSTRAINT commit_log_shard_ck CHECK (shard >= 0),
        CONSTRAINT commit_log_seq_ck CHECK (seq > 0),
        CONSTRAINT commit_log_epoch_ck CHECK (epoch >= 0),
        CONSTRAINT commit_log_nonce_ck CHECK (nonce <> prev_nonce),
        CONSTRAINT commit_log_entry_ck CHECK (length(entry) > 0)
      )`
    ],
    only: {
      // Trimmed rows would lie in the way of reads for hours.
      cockroachdb: ["ALTER TABLE commit_log CONFIGURE ZONE USING gc.ttlseconds = 600"]
    }
  },
  {
    version: 2,
    name: "checkpoints, index pages, notes of shards",
    statements: [
      `CREATE TABLE IF NOT EXISTS checkpoints (
        shard INT4 NOT NULL,
        seq INT8 NOT NULL,
        chunk INT4 NOT NULL,
        chunk_count INT4 NOT NULL,
        size INT4 NOT NULL,
        body BYTEA NOT NULL,
        CONSTRAINT checkpoints_pk PRIMARY KEY (shard, seq, chunk),
        CONSTRAINT checkpoints_seq_ck CHECK (seq > 0),
        CONSTRAINT checkpoints_chunk_ck CHECK (chunk >= 0 AND chunk < chunk_count),
        CONSTRAINT checkpoints_size_ck CHECK (size = length(body) AND size > 0)
      )`,
      // Says which checkpoints there are without reading them.
      `CREATE INDEX IF NOT EXISTS checkpoints_sizes ON checkpoints (shard, seq, chunk) INCLUDE (chunk_count, size)`,
      `CREATE TABLE IF NOT EXISTS index_pages (
        topic_id UUID NOT NULL,
        partition_index INT4 NOT NULL,
        base_offset INT8 NOT NULL,
        next_offset INT8 NOT NULL,
        max_timestamp_ms INT8 NOT NULL,
        page BYTEA NOT NULL,
        CONSTRAINT index_pages_pk PRIMARY KEY (topic_id, partition_index, base_offset),
        CONSTRAINT index_pages_offset_ck CHECK (base_offset >= 0 AND next_offset > base_offset),
        CONSTRAINT index_pages_page_ck CHECK (length(page) > 0)
      )`,
      // Answers questions for timestamps without touching pages, and in the order in which they are asked.
      `CREATE INDEX IF NOT EXISTS index_pages_timestamp
        ON index_pages (topic_id, partition_index, max_timestamp_ms DESC, base_offset)`,
      `CREATE TABLE IF NOT EXISTS shards (
        shard INT4 NOT NULL,
        epoch INT8 NOT NULL,
        holder TEXT NOT NULL,
        holder_region TEXT NOT NULL,
        home_region TEXT NOT NULL,
        trimmed_seq INT8 NOT NULL,
        CONSTRAINT shards_pk PRIMARY KEY (shard),
        CONSTRAINT shards_shard_ck CHECK (shard >= 0),
        CONSTRAINT shards_epoch_ck CHECK (epoch >= 0),
        CONSTRAINT shards_trimmed_seq_ck CHECK (trimmed_seq >= 0)
      )`
    ]
  },
  {
    version: 3,
    name: "agents, missing copies",
    statements: [
      `CREATE TABLE IF NOT EXISTS agents (
        node_id INT4 NOT NULL,
        name TEXT NOT NULL,
        session UUID NOT NULL,
        region TEXT NOT NULL,
        zone TEXT NOT NULL,
        host TEXT NOT NULL,
        port INT4 NOT NULL,
        peer_host TEXT NOT NULL,
        peer_port INT4 NOT NULL,
        expires_at TIMESTAMPTZ NOT NULL,
        CONSTRAINT agents_pk PRIMARY KEY (node_id),
        CONSTRAINT agents_name_uq UNIQUE (name),
        CONSTRAINT agents_node_id_ck CHECK (node_id >= 1),
        CONSTRAINT agents_port_ck CHECK (port BETWEEN 0 AND 65535),
        CONSTRAINT agents_peer_port_ck CHECK (peer_port BETWEEN 0 AND 65535)
      )`,
      `CREATE TABLE IF NOT EXISTS missing_copies (
        segment_id UUID NOT NULL,
        bucket TEXT NOT NULL,
        object_key TEXT NOT NULL,
        recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT missing_copies_pk PRIMARY KEY (segment_id, bucket)
      )`
    ]
  }
]

export const SCHEMA_VERSION = MIGRATIONS.length

/** What an agent reads and writes. */
export const TABLES: ReadonlyArray<string> = [
  "database_identity",
  "commit_log",
  "checkpoints",
  "index_pages",
  "shards",
  "agents",
  "missing_copies"
]

const write = (name: string, sql: string): Statement => ({
  name,
  sql: sql.trim().replaceAll(/\s*\n\s*/g, " "),
  kind: "write",
  isPrepared: true
})

/** Schema changes are not prepared: each runs once. */
export const change = (name: string, sql: string): Statement => ({ ...write(name, sql), isPrepared: false })

/** Statements of a migration on servers of that kind, in order. */
export const statementsOf = (
  { version, statements, only }: Migration,
  dialect: DialectName
): ReadonlyArray<Statement> =>
  [...statements, ...(only?.[dialect] ?? [])].map((sql, index) => change(`migration-${version}-${index + 1}`, sql))

export const beginningStatements: ReadonlyArray<Statement> = BEGINNING.map((sql, index) =>
  change(`migration-beginning-${index + 1}`, sql)
)

const GUARD_ENDS = `now() + INTERVAL '${limits.migrationGuardMs} milliseconds'`

/** The guard is one row, taken by compare-and-set: advisory locks do nothing on CockroachDB. */
export const migrationStatements = {
  makeGuard: write(
    "make-guard",
    `INSERT INTO migration_guard (id, holder, expires_at) VALUES (1, $1::UUID, now()) ON CONFLICT (id) DO NOTHING`
  ),
  takeGuard: write(
    "take-guard",
    `UPDATE migration_guard SET holder = $1::UUID, expires_at = ${GUARD_ENDS} WHERE id = 1 AND expires_at <= now()`
  ),
  keepGuard: write(
    "keep-guard",
    `UPDATE migration_guard SET expires_at = ${GUARD_ENDS} WHERE id = 1 AND holder = $1::UUID`
  ),
  leaveGuard: write("leave-guard", "UPDATE migration_guard SET expires_at = now() WHERE id = 1 AND holder = $1::UUID"),
  recordMigration: write(
    "record-migration",
    "INSERT INTO migrations (version, name) VALUES ($1::INT4, $2::TEXT) ON CONFLICT (version) DO NOTHING"
  ),
  recordIdentity: write(
    "record-identity",
    `INSERT INTO database_identity (id, database_id, cluster) VALUES (1, $1::UUID, $2::TEXT)
     ON CONFLICT (id) DO NOTHING`
  ),
  recordPlacement: write("record-placement", "UPDATE database_identity SET placement = $1::TEXT WHERE id = 1")
}
