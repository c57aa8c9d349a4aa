/** Kafka's APIs as an agent serves them: the table of their handlers. */
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type Api } from "#core/protocol/schema.ts"
import { type RequestDispatcher } from "./connection.ts"
import { makeDispatcher, type ServedApi } from "./dispatcher.ts"
import { type AgentServices, type Handler } from "./handler.ts"
import { createPartitions } from "./handlers/37-create-partitions.ts"
import { createTopics } from "./handlers/19-create-topics.ts"
import { deleteTopics } from "./handlers/20-delete-topics.ts"
import { describeCluster } from "./handlers/60-describe-cluster.ts"
import { describeConfigs } from "./handlers/32-describe-configs.ts"
import { fetch } from "./handlers/01-fetch.ts"
import { findCoordinator } from "./handlers/10-find-coordinator.ts"
import { initProducerId } from "./handlers/22-init-producer-id.ts"
import { listOffsets } from "./handlers/02-list-offsets.ts"
import { metadata } from "./handlers/03-metadata.ts"
import { offsetForLeaderEpoch } from "./handlers/23-offset-for-leader-epoch.ts"
import { produce } from "./handlers/00-produce.ts"
import { apiVersions } from "./handlers/18-api-versions.ts"

export const HANDLERS = [
  produce,
  fetch,
  listOffsets,
  metadata,
  findCoordinator,
  apiVersions,
  createTopics,
  deleteTopics,
  initProducerId,
  offsetForLeaderEpoch,
  describeConfigs,
  createPartitions,
  describeCluster
] as const

/** Produce requests overlap: otherwise a client with five of them in flight would wait five times for the quorum. */
export const makeKafkaDispatcher = (services: AgentServices): RequestDispatcher => {
  const { counters, record } = services.metrics
  const served = (HANDLERS as unknown as ReadonlyArray<Handler<Api>>).map(({ api, make }): ServedApi => {
    return { api, overlaps: api.key === Produce.key, handle: make(services) as ServedApi["handle"] }
  })
  return makeDispatcher({
    served,
    counters,
    clock: services.clock,
    onAnswered: ({ key }, tookMs) => {
      if (key === Produce.key) record.produceLatencyMs(tookMs)
    }
  })
}
