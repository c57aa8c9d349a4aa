/**
 * DescribeCluster (key 60), v0-2 (KIP-700).
 *
 * Names the agents that clients of this listener should use. v1 asks for an endpoint type: only brokers (1) exist; v2 adds
 * fenced brokers, of which there are none.
 */
import { Effect } from "effect"
import { DescribeCluster } from "#core/protocol/api/60-describe-cluster.ts"
import { uuidToBase64, UUID_ZERO } from "#core/model/uuid.ts"
import { AUTHORIZED_OPERATIONS_UNKNOWN, CLUSTER_OPERATIONS_ALL } from "../authorized-operations.ts"
import { defineHandler } from "../handler.ts"
import { KAFKA } from "../kafka-error.ts"

const ENDPOINT_BROKERS = 1
const ENDPOINT_CONTROLLERS = 2

export const describeCluster = defineHandler(
  DescribeCluster,
  ({ cluster, log }) =>
    (request, { apiVersion, listener }) => {
      const base = {
        throttleTimeMs: 0,
        endpointType: ENDPOINT_BROKERS,
        clusterAuthorizedOperations: AUTHORIZED_OPERATIONS_UNKNOWN
      }
      if (apiVersion >= 1 && request.endpointType !== ENDPOINT_BROKERS) {
        const isController = request.endpointType === ENDPOINT_CONTROLLERS
        return Effect.succeed({
          ...base,
          errorCode: isController ? KAFKA.MISMATCHED_ENDPOINT_TYPE : KAFKA.UNSUPPORTED_ENDPOINT_TYPE,
          errorMessage: `endpoint type ${request.endpointType} is not served here: use 1 (brokers)`,
          clusterId: "",
          controllerId: -1,
          brokers: []
        })
      }
      const brokers = cluster.brokers(listener)
      return Effect.succeed({
        ...base,
        errorCode: KAFKA.NONE,
        errorMessage: null,
        clusterId: uuidToBase64(log.fold.clusterId ?? UUID_ZERO),
        clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
          ? CLUSTER_OPERATIONS_ALL
          : AUTHORIZED_OPERATIONS_UNKNOWN,
        controllerId: cluster.leaderOf(listener, "controller", 0).nodeId,
        brokers: brokers.map(({ nodeId, host, port, rack }) => ({
          brokerId: nodeId,
          host,
          port,
          rack,
          isFenced: false
        }))
      })
    }
)
