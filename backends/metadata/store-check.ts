/**
 * What every adapter asserts of its arguments, before a database sees them. The same invariants stand as constraints in the
 * database; here they end the call of whoever broke them as a programmer's error, with the field's name.
 */
import { assert, assertCount } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { isUuid } from "#core/model/uuid.ts"
import { type AgentRegistration, type LogRow } from "#core/ports/metadata-store.ts"

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
}
