/**
 * 2 ListOffsets, versions 1-11, flexible from 6.
 *
 *   request  => replica_id isolation_level(2+) [topics] timeout_ms(10+)
 *     topics => name [partitions]
 *       partitions => partition_index current_leader_epoch(4+) timestamp
 *   response => throttle_time_ms(2+) [topics]
 *     topics => name [partitions]
 *       partitions => partition_index error_code timestamp offset leader_epoch(4+)
 *
 * Special timestamps: -1 latest, -2 earliest, -3 largest timestamp (7+), -4 earliest local (8+), -5 newest tiered (9+),
 * -6 earliest pending upload (11+).
 */
import { api, array, int16, int32, int64, int8, string } from "../schema.ts"

export const ListOffsets = api({
  key: 2,
  name: "ListOffsets",
  versions: "1-11",
  flexible: "6+",
  request: {
    replicaId: int32({ entity: "brokerId" }),
    isolationLevel: int8("2+"),
    topics: array({
      name: string({ entity: "topicName" }),
      partitions: array({
        partitionIndex: int32(),
        currentLeaderEpoch: int32("4+", { default: -1, ignorable: true }),
        timestamp: int64()
      })
    }),
    timeoutMs: int32("10+", { ignorable: true })
  },
  response: {
    throttleTimeMs: int32("2+", { ignorable: true }),
    topics: array({
      name: string({ entity: "topicName" }),
      partitions: array({
        partitionIndex: int32(),
        errorCode: int16(),
        timestamp: int64({ default: -1 }),
        offset: int64({ default: -1 }),
        leaderEpoch: int32("4+", { default: -1 })
      })
    })
  }
})
