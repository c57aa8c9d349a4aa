/** What the metadata store in memory (memory.ts) keeps of the log's past: checkpoints, index pages, notes of shards. */
import {
  type CheckpointChunk,
  type CheckpointInfo,
  type DeleteCheckpoints,
  type IndexPage,
  type IndexPageQuery,
  type ShardNote
} from "#core/ports/metadata-store.ts"
import { limits } from "#core/model/limits.ts"
import { assertChunk, assertNote, assertPages } from "./store-check.ts"

interface Chunk {
  readonly count: number
  readonly bytes: Uint8Array
}

const isComplete = (chunks: ReadonlyMap<number, Chunk>): boolean => chunks.size === chunks.get(0)?.count

const ownBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.prototype.slice.call(bytes)

export class MemoryHistory {
  /** By shard, seq and chunk. */
  private readonly chunks = new Map<number, Map<number, Map<number, Chunk>>>()
  /** By topic and partition, ascending by base offset. */
  private readonly pages = new Map<string, Array<IndexPage>>()
  private readonly notes = new Map<number, ShardNote>()

  writeCheckpointChunk(written: CheckpointChunk): void {
    assertChunk(written)
    const { shard, seq, chunk, chunkCount, body } = written
    const ofShard = this.chunks.get(shard) ?? new Map<number, Map<number, Chunk>>()
    this.chunks.set(shard, ofShard)
    const ofSeq = ofShard.get(seq) ?? new Map<number, Chunk>()
    ofShard.set(seq, ofSeq)
    if (!ofSeq.has(chunk)) ofSeq.set(chunk, { count: chunkCount, bytes: ownBytes(body) })
  }

  checkpoints(shard: number): ReadonlyArray<CheckpointInfo> {
    return [...(this.chunks.get(shard) ?? [])]
      .filter(([, chunks]) => isComplete(chunks))
      .map(([seq, chunks]) => ({
        seq,
        chunkCount: chunks.size,
        bytes: [...chunks.values()].reduce((sum, { bytes }) => sum + bytes.length, 0)
      }))
      .sort((left, right) => right.seq - left.seq)
  }

  readCheckpointChunk(at: {
    readonly shard: number
    readonly seq: number
    readonly chunk: number
  }): Uint8Array | undefined {
    const found = this.chunks.get(at.shard)?.get(at.seq)?.get(at.chunk)
    return found === undefined ? undefined : ownBytes(found.bytes)
  }

  deleteCheckpoints({ shard, before, which, except }: DeleteCheckpoints): number {
    const ofShard = this.chunks.get(shard) ?? new Map<number, Map<number, Chunk>>()
    const meant = [...ofShard]
      .filter(([seq, chunks]) => seq < before && seq !== except && (which === "all" || !isComplete(chunks)))
      .sort(([left], [right]) => left - right)
    let deleted = 0
    for (const [seq, chunks] of meant) {
      for (const chunk of [...chunks.keys()].sort((left, right) => left - right)) {
        if (deleted === limits.checkpointChunksPerDelete) return deleted
        chunks.delete(chunk)
        deleted += 1
      }
      ofShard.delete(seq)
    }
    return deleted
  }

  writeIndexPages(pages: ReadonlyArray<IndexPage>): void {
    assertPages(pages)
    for (const page of pages) {
      const key = keyOf(page)
      const known = this.pages.get(key) ?? []
      this.pages.set(key, known)
      if (known.some(({ baseOffset }) => baseOffset === page.baseOffset)) continue
      known.push({ ...page, page: ownBytes(page.page) })
      known.sort((left, right) => left.baseOffset - right.baseOffset)
    }
  }

  findIndexPage(wanted: {
    readonly topicId: string
    readonly partition: number
    readonly query: IndexPageQuery
  }): IndexPage | undefined {
    const pages = this.pages.get(keyOf(wanted)) ?? []
    const found = chosen(pages, wanted.query)
    return found === undefined ? undefined : { ...found, page: ownBytes(found.page) }
  }

  deleteIndexPages(topicId: string): number {
    let deleted = 0
    for (const [key, pages] of this.pages) {
      if (!key.startsWith(`${topicId}/`)) continue
      deleted += pages.splice(0, limits.indexPagesPerWrite - deleted).length
      if (pages.length === 0) this.pages.delete(key)
      if (deleted === limits.indexPagesPerWrite) break
    }
    return deleted
  }

  noteShard(note: ShardNote): void {
    assertNote(note)
    const known = this.notes.get(note.shard)
    const isBehind =
      known !== undefined &&
      (note.epoch < known.epoch || (note.epoch === known.epoch && note.trimmedSeq < known.trimmedSeq))
    if (!isBehind) this.notes.set(note.shard, { ...note })
  }

  shardNotes(): ReadonlyArray<ShardNote> {
    return [...this.notes.values()].sort((left, right) => left.shard - right.shard)
  }
}

const keyOf = ({ topicId, partition }: Pick<IndexPage, "topicId" | "partition">): string => `${topicId}/${partition}`

const chosen = (pages: ReadonlyArray<IndexPage>, query: IndexPageQuery): IndexPage | undefined => {
  switch (query.kind) {
    case "offset":
      return pages.findLast(({ baseOffset }) => baseOffset <= query.offset)
    case "since":
      return pages.find(({ maxTimestampMs }) => maxTimestampMs >= query.timestampMs)
    case "largest-timestamp":
      return pages.reduce<IndexPage | undefined>(
        (largest, page) => (largest === undefined || page.maxTimestampMs > largest.maxTimestampMs ? page : largest),
        undefined
      )
  }
}
