/**
 * 1 Fetch, versions 4-18, flexible from 12.
 *
 *   request  => replica_id(-14) max_wait_ms min_bytes max_bytes isolation_level session_id(7+) session_epoch(7+)
 *               [topics] [forgotten_topics_data](7+) rack_id(11+) <cluster_id>(12+) <replica_state>(15+)
 *     topics => topic | topic_id [partitions]                                      topic_id instead of topic from 13
 *       partitions => partition current_leader_epoch(9+) fetch_offset last_fetched_epoch(12+) log_start_offset(5+)
 *                     partition_max_bytes <replica_directory_id>(17+) <high_watermark>(18+)
 *     forgotten_topics_data => topic | topic_id [partitions]
 *   response => throttle_time_ms error_code(7+) session_id(7+) [responses] <node_endpoints>(16+)
 *     responses => topic | topic_id [partitions]
 *       partitions => partition_index error_code high_watermark last_stable_offset log_start_offset(5+)
 *                     [aborted_transactions] preferred_read_replica(11+) records
 *                     <diverging_epoch> <current_leader> <snapshot_id>(12+)
 *
 * Consumers send replica_id -1; replica_state, replica_directory_id, high_watermark and snapshot_id are for brokers.
 */
import { api, array, int16, int32, int64, int8, records, string, struct, uuid } from "../schema.ts"

/** What int64's largest value rounds to; it is written as exactly that value again. */
const INT64_MAX = 2 ** 63

export const Fetch = api({
  key: 1,
  name: "Fetch",
  versions: "4-18",
  flexible: "12+",
  request: {
    clusterId: string("12+", { nullable: true, default: null, tag: 0, ignorable: true }),
    replicaId: int32("0-14", { default: -1, entity: "brokerId" }),
    replicaState: struct(
      "15+",
      { tag: 1 },
      {
        replicaId: int32({ default: -1, entity: "brokerId" }),
        replicaEpoch: int64({ default: -1 })
      }
    ),
    maxWaitMs: int32(),
    minBytes: int32(),
    maxBytes: int32({ default: 0x7fffffff, ignorable: true }),
    isolationLevel: int8({ default: 0, ignorable: true }),
    sessionId: int32("7+", { default: 0, ignorable: true }),
    sessionEpoch: int32("7+", { default: -1, ignorable: true }),
    topics: array({
      topic: string("0-12", { entity: "topicName", ignorable: true }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array({
        partition: int32(),
        currentLeaderEpoch: int32("9+", { default: -1, ignorable: true }),
        fetchOffset: int64(),
        lastFetchedEpoch: int32("12+", { default: -1 }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        partitionMaxBytes: int32(),
        replicaDirectoryId: uuid("17+", { tag: 0, ignorable: true }),
        highWatermark: int64("18+", { default: INT64_MAX, tag: 1, ignorable: true })
      })
    }),
    forgottenTopicsData: array("7+", {
      topic: string("7-12", { entity: "topicName", ignorable: true }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array(int32())
    }),
    rackId: string("11+", { default: "", ignorable: true })
  },
  response: {
    throttleTimeMs: int32({ ignorable: true }),
    errorCode: int16("7+", { ignorable: true }),
    sessionId: int32("7+", { default: 0 }),
    responses: array({
      topic: string("0-12", { ignorable: true, entity: "topicName" }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array({
        partitionIndex: int32(),
        errorCode: int16(),
        highWatermark: int64(),
        lastStableOffset: int64({ default: -1, ignorable: true }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        divergingEpoch: struct(
          "12+",
          { tag: 0 },
          {
            epoch: int32({ default: -1 }),
            endOffset: int64({ default: -1 })
          }
        ),
        currentLeader: struct(
          "12+",
          { tag: 1 },
          {
            leaderId: int32({ default: -1, entity: "brokerId" }),
            leaderEpoch: int32({ default: -1 })
          }
        ),
        snapshotId: struct(
          "12+",
          { tag: 2 },
          {
            endOffset: int64({ default: -1 }),
            epoch: int32({ default: -1 })
          }
        ),
        abortedTransactions: array(
          { nullable: true, ignorable: true },
          {
            producerId: int64({ entity: "producerId" }),
            firstOffset: int64()
          }
        ),
        preferredReadReplica: int32("11+", { default: -1, entity: "brokerId" }),
        records: records({ nullable: true })
      })
    }),
    nodeEndpoints: array(
      "16+",
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
