/**
 * Which agents a client is told, and which of them leads a partition [pure].
 *
 * Clients pin connections to "leaders", so the choice must be even over partitions (load) and stable while the agents are
 * the same (no needless reconnects). Rendezvous hashing gives both without any shared state: every agent computes the same
 * answer from the same list, and when an agent comes or goes only the partitions that it leads move.
 * Any agent can serve any partition: routing is about load, never about correctness.
 */
import { assert } from "#core/model/assert.ts"
import { type AgentRecord } from "#core/ports/metadata-store.ts"
import { type Broker } from "#core/ports/cluster-view.ts"

export const brokerOf = (agent: AgentRecord): Broker => ({
  nodeId: agent.nodeId,
  host: agent.host,
  port: agent.port,
  rack: agent.zone
})

/** Agents of a region as brokers by ascending node id; `self` is always among them, by its own words. */
export const brokersOfRegion = (agents: ReadonlyArray<AgentRecord>, self: AgentRecord): ReadonlyArray<Broker> => {
  const brokers = agents
    .filter((agent) => agent.region === self.region && agent.nodeId !== self.nodeId && agent.name !== self.name)
    .map(brokerOf)
  brokers.push(brokerOf(self))
  return brokers.toSorted((left, right) => left.nodeId - right.nodeId)
}

/** The broker whose node id has the highest weight for the partition. */
export const leaderAmong = (brokers: ReadonlyArray<Broker>, topicId: string, partition: number): Broker => {
  assert(brokers.length > 0, "a region view names at least this agent")
  const seed = mix(hashText(topicId) ^ Math.imul(partition + 1, 0x9e3779b1))
  let leader = brokers[0]!
  let leaderWeight = -1
  for (const broker of brokers) {
    const weight = mix(seed ^ mix(Math.imul(broker.nodeId + 1, 0x85ebca6b)))
    // Ascending node ids: of equal weights the lowest id wins everywhere.
    if (weight > leaderWeight) {
      leader = broker
      leaderWeight = weight
    }
  }
  return leader
}

/** FNV-1a over the UTF-16 units. */
const hashText = (text: string): number => {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}

/** Spreads every input bit over all 32 output bits (two multiply-xorshift rounds). */
const mix = (value: number): number => {
  let bits = value >>> 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d)
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b)
  return (bits ^ (bits >>> 16)) >>> 0
}
