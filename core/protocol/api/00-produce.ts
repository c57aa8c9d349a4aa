/**
 * 0 Produce, versions 3-13, flexible from 9.
 *
 *   request  => transactional_id acks timeout_ms [topic_data]                      transactional_id from 3
 *     topic_data => name | topic_id [partition_data]                               topic_id instead of name from 13
 *       partition_data => index records
 *   response => [responses] throttle_time_ms <node_endpoints>
 *     responses => name | topic_id [partition_responses]
 *       partition_responses => index error_code base_offset log_append_time_ms log_start_offset(5+)
 *                              [record_errors](8+) error_message(8+) <current_leader>(10+)
 *
 * Advertised as 0-13 (registry.ts). 12 means: the client uses the newer transaction protocol (KIP-890).
 */
import { api, array, int16, int32, int64, records, string, struct, uuid } from "../schema.ts"

export const Produce = api({
  key: 0,
  name: "Produce",
  versions: "3-13",
  flexible: "9+",
  request: {
    transactionalId: string({ nullable: true, default: null, entity: "transactionalId" }),
    acks: int16(),
    timeoutMs: int32(),
    topicData: array({
      name: string("0-12", { entity: "topicName", ignorable: true }),
      topicId: uuid("13+", { ignorable: true }),
      partitionData: array({
        index: int32(),
        records: records({ nullable: true })
      })
    })
  },
  response: {
    responses: array({
      name: string("0-12", { entity: "topicName", ignorable: true }),
      topicId: uuid("13+", { ignorable: true }),
      partitionResponses: array({
        index: int32(),
        errorCode: int16(),
        baseOffset: int64(),
        logAppendTimeMs: int64({ default: -1, ignorable: true }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        recordErrors: array(
          "8+",
          { ignorable: true },
          {
            batchIndex: int32(),
            batchIndexErrorMessage: string({ nullable: true, default: null })
          }
        ),
        errorMessage: string("8+", { nullable: true, default: null, ignorable: true }),
        currentLeader: struct(
          "10+",
          { tag: 0 },
          {
            leaderId: int32({ default: -1, entity: "brokerId" }),
            leaderEpoch: int32({ default: -1 })
          }
        )
      })
    }),
    throttleTimeMs: int32({ default: 0, ignorable: true }),
    nodeEndpoints: array(
      "10+",
      { tag: 0 },
      {
        nodeId: int32({ entity: "brokerId" }),
        host: string(),
        port: int32(),
        rack: string({ nullable: true, default: null })
      }
    )
  }
})
