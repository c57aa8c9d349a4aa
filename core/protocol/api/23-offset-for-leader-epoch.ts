/**
 * 23 OffsetForLeaderEpoch, versions 2-4, flexible from 4.
 *
 *   request  => replica_id(3+) [topics]
 *     topics => topic [partitions]
 *       partitions => partition current_leader_epoch leader_epoch
 *   response => throttle_time_ms [topics]
 *     topics => topic [partitions]
 *       partitions => error_code partition leader_epoch end_offset
 *
 * replica_id: -1 a consumer, -2 a debugging tool.
 */
import { api, array, int16, int32, int64, string } from "../schema.ts"

export const OffsetForLeaderEpoch = api({
  key: 23,
  name: "OffsetForLeaderEpoch",
  versions: "2-4",
  flexible: "4+",
  request: {
    replicaId: int32("3+", { default: -2, ignorable: true, entity: "brokerId" }),
    topics: array({
      topic: string({ entity: "topicName" }),
      partitions: array({
        partition: int32(),
        currentLeaderEpoch: int32({ default: -1, ignorable: true }),
        leaderEpoch: int32()
      })
    })
  },
  response: {
    throttleTimeMs: int32({ ignorable: true }),
    topics: array({
      topic: string({ entity: "topicName" }),
      partitions: array({
        errorCode: int16(),
        partition: int32(),
        leaderEpoch: int32({ default: -1, ignorable: true }),
        endOffset: int64({ default: -1 })
      })
    })
  }
})
