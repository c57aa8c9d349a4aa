/**
 * FindCoordinator (key 10), v0-6.
 *
 * Any agent can coordinate anything; the answer spreads keys over the agents that clients of this listener should use.
 * v4+ asks for many keys at once. v5 adds nothing on the wire, v6 share groups (key type 2: not served, INVALID_REQUEST).
 * Deliberate gap: there are no groups and no transactions yet. A group's coordinator is named, so that clients get the clear
 * "API not supported" from their next request. For transactions they have that request (InitProducerId), and librdkafka tries
 * it again and again; so they are refused here, by the one error that clients take as final.
 */
import { Effect } from "effect"
import { FindCoordinator } from "#core/protocol/api/10-find-coordinator.ts"
import { defineHandler } from "../handler.ts"
import { KAFKA } from "../kafka-error.ts"

const KEY_TYPE_GROUP = 0
const KEY_TYPE_TRANSACTION = 1

export const findCoordinator = defineHandler(FindCoordinator, ({ cluster }) => (request, { apiVersion, listener }) => {
  const { keyType } = request
  const locate = (key: string) => {
    if (keyType === KEY_TYPE_GROUP) {
      const { nodeId, host, port } = cluster.leaderOf(listener, `${keyType}:${key}`, 0)
      return { key, nodeId, host, port, errorCode: KAFKA.NONE, errorMessage: null }
    }
    return keyType === KEY_TYPE_TRANSACTION
      ? refused(key, KAFKA.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not supported yet")
      : refused(key, KAFKA.INVALID_REQUEST, `key type ${keyType} is not known: use 0 (group) or 1 (transaction)`)
  }
  return Effect.succeed(apiVersion >= 4 ? { coordinators: request.coordinatorKeys.map(locate) } : locate(request.key))
})

const refused = (key: string, errorCode: number, errorMessage: string) => ({
  key,
  nodeId: -1,
  host: "",
  port: -1,
  errorCode,
  errorMessage
})
