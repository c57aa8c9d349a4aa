/**
 * What the PostgreSQL adapter does about the log's past: checkpoints, index pages, notes of shards.
 *
 * Bytes go in statements of a bounded size, whatever a call brings. Nothing here changes a row that is there, but for notes,
 * which only go forward.
 */
import { limits } from "#core/model/limits.ts"
import {
  type CheckpointInfo,
  type IndexPage,
  type IndexPageQuery,
  type MetadataStore,
  type ShardNote
} from "#core/ports/metadata-store.ts"
import { type Answer } from "./postgres-connection.ts"
import { checked, type PostgresDatabase, rowsOf, type Run } from "./postgres-database.ts"
import { historyStatements } from "./postgres-statements.ts"
import { assertChunk, assertNote, assertPages } from "./store-check.ts"

type Store = MetadataStore["Service"]

type History = Pick<
  Store,
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

export const historyOf = (database: PostgresDatabase): History => ({
  writeCheckpointChunk: (written) =>
    checked(
      () => assertChunk(written),
      database.call({ operation: "writeCheckpointChunk", kind: "write" }, async (run) => {
        const { shard, seq, chunk, chunkCount, body } = written
        await run(historyStatements.writeCheckpointChunk, shard, seq, chunk, chunkCount, body.length, body)
      })
    ),
  checkpoints: (shard) =>
    database.call({ operation: "checkpoints", kind: "read" }, async (run) =>
      rowsOf<CheckpointInfo>(await run(historyStatements.checkpoints, shard))
    ),
  readCheckpointChunk: ({ shard, seq, chunk }) =>
    database.call({ operation: "readCheckpointChunk", kind: "read" }, async (run) => {
      const found = rowsOf<{ readonly body: Uint8Array }>(
        await run(historyStatements.readCheckpointChunk, shard, seq, chunk)
      )
      return found[0]?.body
    }),
  deleteCheckpoints: ({ shard, before, which, except }) =>
    database.call({ operation: "deleteCheckpoints", kind: "write" }, async (run) => {
      const most = limits.checkpointChunksPerDelete
      const deleted =
        which === "all"
          ? run(historyStatements.deleteCheckpointChunks, shard, before, except ?? 0, most)
          : run(historyStatements.deleteIncompleteChunks, shard, before, except ?? 0, most)
      return (await deleted).count
    }),
  ...pagesOf(database),
  noteShard: (note) =>
    checked(
      () => assertNote(note),
      database.call({ operation: "noteShard", kind: "write" }, async (run) => {
        const { shard, epoch, holder, holderRegion, homeRegion, trimmedSeq } = note
        await run(historyStatements.noteShard, shard, epoch, holder, holderRegion, homeRegion, trimmedSeq)
      })
    ),
  shardNotes: database.call({ operation: "shardNotes", kind: "read" }, async (run) =>
    rowsOf<ShardNote>(await run(historyStatements.shardNotes))
  )
})

const pagesOf = (
  database: PostgresDatabase
): Pick<Store, "writeIndexPages" | "findIndexPage" | "deleteIndexPages"> => ({
  writeIndexPages: (pages) =>
    checked(
      () => assertPages(pages),
      database.call({ operation: "writeIndexPages", kind: "write" }, async (run) => {
        for (const some of inStatements(pages)) {
          await run(
            historyStatements.writeIndexPages,
            some.map(({ topicId }) => topicId),
            some.map(({ partition }) => partition),
            some.map(({ baseOffset }) => baseOffset),
            some.map(({ nextOffset }) => nextOffset),
            some.map(({ maxTimestampMs }) => maxTimestampMs),
            some.map(({ page }) => Buffer.from(page.buffer, page.byteOffset, page.length))
          )
        }
      })
    ),
  findIndexPage: ({ topicId, partition, query }) =>
    database.call({ operation: "findIndexPage", kind: "read" }, async (run) =>
      rowsOf<IndexPage>(await findPage(run, topicId, partition, query)).at(0)
    ),
  deleteIndexPages: (topicId) =>
    database.call(
      { operation: "deleteIndexPages", kind: "write" },
      async (run) => (await run(historyStatements.deleteIndexPages, topicId, limits.indexPagesPerWrite)).count
    )
})

const findPage = (run: Run, topicId: string, partition: number, query: IndexPageQuery): Promise<Answer> => {
  switch (query.kind) {
    case "offset":
      return run(historyStatements.pageOfOffset, topicId, partition, query.offset)
    case "since":
      return run(historyStatements.pageSince, topicId, partition, query.timestampMs)
    case "largest-timestamp":
      return run(historyStatements.pageOfLargestTimestamp, topicId, partition)
  }
}

/** As many pages as fit into a statement; in arrays their bytes are written as two digits each. */
function* inStatements(pages: ReadonlyArray<IndexPage>): Generator<ReadonlyArray<IndexPage>> {
  let some: Array<IndexPage> = []
  let bytes = 0
  for (const page of pages) {
    const size = page.page.length * 2
    if (some.length > 0 && bytes + size > limits.postgresStatementBytesMax) {
      yield some
      some = []
      bytes = 0
    }
    some.push(page)
    bytes += size
  }
  if (some.length > 0) yield some
}
