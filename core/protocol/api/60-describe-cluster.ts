/**
 * 60 DescribeCluster, versions 0-2, flexible in all.
 *
 *   request  => include_cluster_authorized_operations endpoint_type(1+) include_fenced_brokers(2+)
 *   response => throttle_time_ms error_code error_message endpoint_type(1+) cluster_id controller_id [brokers]
 *               cluster_authorized_operations
 *     brokers => broker_id host port rack is_fenced(2+)
 *
 * Endpoint types: 1 brokers, 2 controllers.
 */
import { api, array, bool, int16, int32, int8, string } from "../schema.ts"

export const DescribeCluster = api({
  key: 60,
  name: "DescribeCluster",
  versions: "0-2",
  flexible: "0+",
  request: {
    includeClusterAuthorizedOperations: bool(),
    endpointType: int8("1+", { default: 1 }),
    includeFencedBrokers: bool("2+")
  },
  response: {
    throttleTimeMs: int32({ default: 0 }),
    errorCode: int16(),
    errorMessage: string({ nullable: true, default: null }),
    endpointType: int8("1+", { default: 1 }),
    clusterId: string(),
    controllerId: int32({ default: -1, entity: "brokerId" }),
    brokers: array({
      brokerId: int32({ entity: "brokerId" }),
      host: string(),
      port: int32(),
      rack: string({ nullable: true, default: null }),
      isFenced: bool("2+")
    }),
    clusterAuthorizedOperations: int32({ default: -2_147_483_648 })
  }
})
