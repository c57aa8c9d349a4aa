/**
 * 3 Metadata, versions 0-13, flexible from 9.
 *
 *   request  => [topics] allow_auto_topic_creation(4+) include_cluster_authorized_operations(8-10)
 *               include_topic_authorized_operations(8+)
 *     topics => topic_id(10+) name
 *   response => throttle_time_ms(3+) [brokers] cluster_id(2+) controller_id(1+) [topics]
 *               cluster_authorized_operations(8-10) error_code(13+)
 *     brokers => node_id host port rack(1+)
 *     topics  => error_code name topic_id(10+) is_internal(1+) [partitions] topic_authorized_operations(8+)
 *       partitions => error_code partition_index leader_id leader_epoch(7+) [replica_nodes] [isr_nodes]
 *                     [offline_replicas](5+)
 *
 * All topics: an empty array in version 0, null from 1 on. A name of null, with an id: asked from 10, answered from 12.
 * error_code of the whole answer (13+) is REBOOTSTRAP_REQUIRED or none (KIP-1102).
 */
import { api, array, bool, int16, int32, string, uuid } from "../schema.ts"

/** Authorized operations that nobody asked for. */
const OPERATIONS_UNKNOWN = -2_147_483_648

export const Metadata = api({
  key: 3,
  name: "Metadata",
  versions: "0-13",
  flexible: "9+",
  request: {
    topics: array(
      { nullable: "1+" },
      {
        topicId: uuid("10+", { ignorable: true }),
        name: string({ nullable: "10+", entity: "topicName" })
      }
    ),
    allowAutoTopicCreation: bool("4+", { default: true }),
    includeClusterAuthorizedOperations: bool("8-10"),
    includeTopicAuthorizedOperations: bool("8+")
  },
  response: {
    throttleTimeMs: int32("3+", { ignorable: true }),
    brokers: array({
      nodeId: int32({ entity: "brokerId" }),
      host: string(),
      port: int32(),
      rack: string("1+", { nullable: true, default: null, ignorable: true })
    }),
    clusterId: string("2+", { nullable: true, default: null, ignorable: true }),
    controllerId: int32("1+", { default: -1, ignorable: true, entity: "brokerId" }),
    topics: array({
      errorCode: int16(),
      name: string({ nullable: "12+", entity: "topicName" }),
      topicId: uuid("10+", { ignorable: true }),
      isInternal: bool("1+", { default: false, ignorable: true }),
      partitions: array({
        errorCode: int16(),
        partitionIndex: int32(),
        leaderId: int32({ entity: "brokerId" }),
        leaderEpoch: int32("7+", { default: -1, ignorable: true }),
        replicaNodes: array({ entity: "brokerId" }, int32()),
        isrNodes: array({ entity: "brokerId" }, int32()),
        offlineReplicas: array("5+", { ignorable: true, entity: "brokerId" }, int32())
      }),
      topicAuthorizedOperations: int32("8+", { default: OPERATIONS_UNKNOWN })
    }),
    clusterAuthorizedOperations: int32("8-10", { default: OPERATIONS_UNKNOWN }),
    errorCode: int16("13+", { ignorable: true })
  }
})
