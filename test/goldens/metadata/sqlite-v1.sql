-- An embedded database of schema version 1, as the program of that version made it and used it: two rows of a log, two
-- agents (one stopped cleanly), a missing copy. The statements are those of that version. Never changed: such files exist.
PRAGMA application_id = 0x4d455249;
PRAGMA journal_mode = WAL;
CREATE TABLE migrations (
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  applied_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
  CONSTRAINT migrations_pk PRIMARY KEY (version)
) STRICT;
CREATE TABLE commit_log (
  shard INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  nonce TEXT NOT NULL,
  prev_nonce TEXT NOT NULL,
  committed_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
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
  recorded_at_ms INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
  CONSTRAINT missing_copies_pk PRIMARY KEY (segment_id, bucket),
  CONSTRAINT missing_copies_segment_id_ck CHECK (length(segment_id) = 32)
) STRICT, WITHOUT ROWID;

INSERT INTO migrations (version, name, applied_at_ms) VALUES (1, 'log, agents, missing copies', 1790000000000);
INSERT INTO commit_log (shard, seq, epoch, nonce, prev_nonce, committed_at_ms, entry) VALUES
  (0, 1, 0, '00000000000000000000000000000001', '00000000000000000000000000000000', 1790000000000, x'656e7472792031'),
  (0, 2, 0, '00000000000000000000000000000002', '00000000000000000000000000000001', 1790000000001, x'656e7472792032');
INSERT INTO agents (node_id, name, session, region, zone, host, port, expires_at_ms) VALUES
  (1, 'east-1', '000000000000000000000000000000a1', 'east', 'east-a', 'east-1.example', 9092, 9007199254740991),
  (2, 'west-1', '00000000000000000000000000000000', 'west', 'west-a', 'west-1.example', 9093, 0);
INSERT INTO missing_copies (segment_id, bucket, object_key, recorded_at_ms) VALUES
  ('0000000000000000000000000000005e', 'west', 'segments/5e', 1790000000002);
