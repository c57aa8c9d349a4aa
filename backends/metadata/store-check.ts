/**
 * What every adapter asserts of its arguments, before a database sees them. The same invariants stand as constraints in the
 * database; here they end the call of whoever broke them as a programmer's error, with the field's name.
 */
import { assert, assertCount } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { isUuid } from "#core/model/uuid.ts"
import {
  type AgentRegistration,
  type CheckpointChunk,
  type IndexPage,
  type LogRow,
  type ShardNote
} from "#core/ports/metadata-store.ts"

const PORT_MAX = 65_535

export const assertRow = (row: LogRow): void => {
  assertCount(row.shard, "shard")
  assertCount(row.epoch, "epoch")
  assert(Number.isSafeInteger(row.seq) && row.seq >= 1, `seq begins at 1, got ${row.seq}`)
  assert(isUuid(row.nonce) && isUuid(row.prevNonce), "nonce and prevNonce must be UUIDs")
  const { length } = row.entry
  assert(length > 0 && length <= limits.entryBytesMax, `an entry has 1 to ${limits.entryBytesMax} bytes, got ${length}`)
}

export const assertListLimit = (limit: number, max: number): void =>
  assert(Number.isSafeInteger(limit) && limit >= 1 && limit <= max, `limit must be 1 to ${max}, got ${limit}`)

export const assertAgent = (agent: AgentRegistration): void => {
  assert(agent.name.length >= 1 && agent.name.length <= limits.agentNameLengthMax, "an agent needs a name")
  assert(isUuid(agent.session), "session must be a UUID")
  assertCount(agent.port, "port")
  assert(agent.port <= PORT_MAX, `port must be 0 to ${PORT_MAX}, got ${agent.port}`)
  assertCount(agent.peerPort, "peerPort")
  assert(agent.peerPort <= PORT_MAX, `peerPort must be 0 to ${PORT_MAX}, got ${agent.peerPort}`)
}

export const assertChunk = ({ shard, seq, chunk, chunkCount, body }: CheckpointChunk): void => {
  assertCount(shard, "shard")
  assert(Number.isSafeInteger(seq) && seq >= 1, `a checkpoint's seq begins at 1, got ${seq}`)
  assertCount(chunk, "chunk")
  assert(chunkCount >= 1 && chunkCount <= limits.checkpointChunksMax, `${chunkCount} chunks of a checkpoint`)
  assert(chunk < chunkCount, `chunk ${chunk} of ${chunkCount}`)
  const { length } = body
  assert(length >= 1 && length <= limits.checkpointChunkBytesMax, `a chunk of a checkpoint has ${length} bytes`)
}

export const assertPages = (pages: ReadonlyArray<IndexPage>): void => {
  assert(pages.length <= limits.indexPagesPerWrite, `${pages.length} index pages in one call`)
  for (const page of pages) {
    assert(isUuid(page.topicId), "topicId must be a UUID")
    assertCount(page.partition, "partition")
    assertCount(page.baseOffset, "baseOffset")
    assert(page.nextOffset > page.baseOffset, "an index page holds offsets")
    const { length } = page.page
    assert(length >= 1 && length <= limits.indexPageBytesMax, `an index page has ${length} bytes`)
  }
}

export const assertNote = (note: ShardNote): void => {
  assertCount(note.shard, "shard")
  assertCount(note.epoch, "epoch")
  assertCount(note.trimmedSeq, "trimmedSeq")
}
