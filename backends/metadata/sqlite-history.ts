/**
 * What the database's thread (sqlite-worker.ts) does about the log's past: trimming, checkpoints, index pages, notes of shards.
 *
 * Each operation is bounded, so that appends, which wait for the same thread, wait for none of them long. Nothing here
 * changes a row that is there, but for notes, which only go forward.
 */
import { type DatabaseSync, type StatementSync } from "node:sqlite"
import { limits } from "#core/model/limits.ts"
import type { CheckpointInfo, IndexPage, IndexPageQuery, ShardNote } from "#core/ports/metadata-store.ts"
import type { Operations } from "./sqlite-messages.ts"
import { inTransaction } from "./sqlite-open.ts"

type HistoryStatements = ReturnType<typeof prepareHistory>

type HistoryOperations = Pick<
  Operations,
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

const PAGE = `SELECT topic_id AS topicId, partition, base_offset AS baseOffset, next_offset AS nextOffset,
    max_timestamp_ms AS maxTimestampMs, page
  FROM index_pages`

export const prepareHistory = (database: DatabaseSync) => {
  const statement = (sql: string): StatementSync => database.prepare(sql)
  return {
    // A log has no gaps: the bound on seq is one on rows.
    trim: statement(
      `DELETE FROM commit_log WHERE shard = ?1 AND seq IN (
         SELECT seq FROM commit_log
         WHERE shard = ?1 AND is_kept = 0 AND seq <= min(?2, (SELECT max(seq) - 1 FROM commit_log WHERE shard = ?1))
         ORDER BY seq LIMIT ${limits.logRowsPerTrim})`
    ),
    writeCheckpointChunk: statement(
      "INSERT INTO checkpoints (shard, seq, chunk, chunk_count, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    ),
    checkpoints: statement(
      `SELECT seq, count(*) AS chunkCount, sum(length(body)) AS bytes FROM checkpoints WHERE shard = ?
       GROUP BY seq HAVING count(*) = max(CASE WHEN chunk = 0 THEN chunk_count END) ORDER BY seq DESC`
    ),
    readCheckpointChunk: statement("SELECT body FROM checkpoints WHERE shard = ? AND seq = ? AND chunk = ?"),
    deleteCheckpointChunks: statement(
      `DELETE FROM checkpoints WHERE rowid IN
         (SELECT rowid FROM checkpoints WHERE shard = ? AND seq < ? AND seq <> ?
          ORDER BY seq, chunk LIMIT ${limits.checkpointChunksPerDelete})`
    ),
    deleteIncompleteChunks: statement(
      `DELETE FROM checkpoints WHERE rowid IN
         (SELECT rowid FROM checkpoints WHERE shard = ?1 AND seq < ?2 AND seq <> ?3 AND seq IN
            (SELECT seq FROM checkpoints WHERE shard = ?1 GROUP BY seq
             HAVING count(*) IS NOT max(CASE WHEN chunk = 0 THEN chunk_count END))
          ORDER BY seq, chunk LIMIT ${limits.checkpointChunksPerDelete})`
    ),
    writeIndexPage: statement(
      `INSERT INTO index_pages (topic_id, partition, base_offset, next_offset, max_timestamp_ms, page)
       VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
    ),
    pageOfOffset: statement(
      `${PAGE} WHERE topic_id = ? AND partition = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1`
    ),
    pageSince: statement(
      `${PAGE} WHERE topic_id = ?1 AND partition = ?2 AND base_offset =
         (SELECT min(base_offset) FROM index_pages INDEXED BY index_pages_timestamp
          WHERE topic_id = ?1 AND partition = ?2 AND max_timestamp_ms >= ?3)`
    ),
    pageOfLargestTimestamp: statement(
      `${PAGE} INDEXED BY index_pages_timestamp WHERE topic_id = ? AND partition = ?
       ORDER BY max_timestamp_ms DESC, base_offset LIMIT 1`
    ),
    deleteIndexPages: statement(
      `DELETE FROM index_pages WHERE rowid IN
         (SELECT rowid FROM index_pages WHERE topic_id = ? LIMIT ${limits.indexPagesPerWrite})`
    ),
    noteShard: statement(
      `INSERT INTO shards (shard, epoch, holder, holder_region, home_region, trimmed_seq) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder,
         holder_region = excluded.holder_region, home_region = excluded.home_region, trimmed_seq = excluded.trimmed_seq
       WHERE excluded.epoch > epoch OR (excluded.epoch = epoch AND excluded.trimmed_seq >= trimmed_seq)`
    ),
    shardNotes: statement(
      `SELECT shard, epoch, holder, holder_region AS holderRegion, home_region AS homeRegion, trimmed_seq AS trimmedSeq
       FROM shards ORDER BY shard`
    )
  }
}

export const historyOperations = (database: DatabaseSync, statements: HistoryStatements): HistoryOperations => ({
  trim: ({ shard, through }) => Number(statements.trim.run(shard, through).changes),
  writeCheckpointChunk: ({ shard, seq, chunk, chunkCount, body }) => {
    statements.writeCheckpointChunk.run(shard, seq, chunk, chunkCount, body)
    return null
  },
  checkpoints: ({ shard }) =>
    statements.checkpoints.all(shard).map((row) => ({ ...row })) as unknown as Array<CheckpointInfo>,
  readCheckpointChunk: ({ shard, seq, chunk }) =>
    statements.readCheckpointChunk.get(shard, seq, chunk)?.["body"] as Uint8Array | undefined,
  deleteCheckpoints: ({ shard, before, which, except }) => {
    const some = which === "all" ? statements.deleteCheckpointChunks : statements.deleteIncompleteChunks
    return Number(some.run(shard, before, except ?? 0).changes)
  },
  writeIndexPages: ({ pages }) =>
    inTransaction(database, () => {
      for (const { topicId, partition, baseOffset, nextOffset, maxTimestampMs, page } of pages) {
        statements.writeIndexPage.run(topicId, partition, baseOffset, nextOffset, maxTimestampMs, page)
      }
    }),
  findIndexPage: ({ topicId, partition, query }) => {
    const row = findPage(statements, topicId, partition, query)
    return row === undefined ? undefined : ({ ...row } as unknown as IndexPage)
  },
  deleteIndexPages: ({ topicId }) => Number(statements.deleteIndexPages.run(topicId).changes),
  noteShard: ({ shard, epoch, holder, holderRegion, homeRegion, trimmedSeq }) => {
    statements.noteShard.run(shard, epoch, holder, holderRegion, homeRegion, trimmedSeq)
    return null
  },
  shardNotes: () => statements.shardNotes.all().map((row) => ({ ...row })) as unknown as Array<ShardNote>
})

const findPage = (statements: HistoryStatements, topicId: string, partition: number, query: IndexPageQuery) => {
  switch (query.kind) {
    case "offset":
      return statements.pageOfOffset.get(topicId, partition, query.offset)
    case "since":
      return statements.pageSince.get(topicId, partition, query.timestampMs)
    case "largest-timestamp":
      return statements.pageOfLargestTimestamp.get(topicId, partition)
  }
}
