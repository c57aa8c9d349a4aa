/**
 * 19 CreateTopics, versions 2-7, flexible from 5.
 *
 *   request  => [topics] timeout_ms validate_only
 *     topics => name num_partitions replication_factor [assignments] [configs]
 *       assignments => partition_index [broker_ids]
 *       configs     => name value
 *   response => throttle_time_ms [topics]
 *     topics => name topic_id(7+) error_code error_message num_partitions(5+) replication_factor(5+) [configs](5+)
 *               <topic_config_error_code>(5+)
 *       configs => name value read_only config_source is_sensitive
 *
 * From 4 on num_partitions and replication_factor may be -1: the server's defaults.
 */
import { api, array, bool, int16, int32, int8, string, uuid } from "../schema.ts"

export const CreateTopics = api({
  key: 19,
  name: "CreateTopics",
  versions: "2-7",
  flexible: "5+",
  request: {
    topics: array({
      name: string({ entity: "topicName" }),
      numPartitions: int32(),
      replicationFactor: int16(),
      assignments: array({
        partitionIndex: int32(),
        brokerIds: array({ entity: "brokerId" }, int32())
      }),
      configs: array({
        name: string(),
        value: string({ nullable: true })
      })
    }),
    timeoutMs: int32({ default: 60_000 }),
    validateOnly: bool({ default: false })
  },
  response: {
    throttleTimeMs: int32({ ignorable: true }),
    topics: array({
      name: string({ entity: "topicName" }),
      topicId: uuid("7+", { ignorable: true }),
      errorCode: int16(),
      errorMessage: string({ nullable: true, ignorable: true }),
      topicConfigErrorCode: int16("5+", { tag: 0, ignorable: true }),
      numPartitions: int32("5+", { default: -1, ignorable: true }),
      replicationFactor: int16("5+", { default: -1, ignorable: true }),
      configs: array(
        "5+",
        { nullable: true, ignorable: true },
        {
          name: string(),
          value: string({ nullable: true }),
          readOnly: bool(),
          configSource: int8({ default: -1, ignorable: true }),
          isSensitive: bool()
        }
      )
    })
  }
})
