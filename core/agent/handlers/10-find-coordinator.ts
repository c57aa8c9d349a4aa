/**
 * FindCoordinator (key 10), v0-6.
 *
 * Any agent can coordinate anything; the answer spreads keys over the agents that clients of this listener should use.
 * v4+ asks for many keys at once. v5 adds nothing on the wire, v6 share groups (key type 2: not served, INVALID_REQUEST).
 * Deliberate gap: there are no groups and no transactions yet. The coordinator is named, so that clients get the clear "API
 * not supported" from their next request instead of retrying for ever.
 */
import { Effect } from "effect"
import { FindCoordinator } from "#core/protocol/api/10-find-coordinator.ts"
import { defineHandler } from "../handler.ts"
import { KAFKA } from "../kafka-error.ts"

const KEY_TYPE_GROUP = 0
const KEY_TYPE_TRANSACTION = 1

export const findCoordinator = defineHandler(FindCoordinator, ({ cluster }) => (request, { apiVersion, listener }) => {
  const isKnownType = request.keyType === KEY_TYPE_GROUP || request.keyType === KEY_TYPE_TRANSACTION
  const locate = (key: string) => {
    if (!isKnownType) {
      return {
        key,
        nodeId: -1,
        host: "",
        port: -1,
        errorCode: KAFKA.INVALID_REQUEST,
        errorMessage: `key type ${request.keyType} is not known: use 0 (group) or 1 (transaction)`
      }
    }
    const { nodeId, host, port } = cluster.leaderOf(listener, `${request.keyType}:${key}`, 0)
    return { key, nodeId, host, port, errorCode: KAFKA.NONE, errorMessage: null }
  }
  return Effect.succeed(apiVersion >= 4 ? { coordinators: request.coordinatorKeys.map(locate) } : locate(request.key))
})
