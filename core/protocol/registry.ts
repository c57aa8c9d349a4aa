/**
 * The APIs by key, and what is advertised [pure].
 *
 * Every API here must work at every advertised version. Private APIs (peer connections) have a registry of their own:
 * frame.ts takes any.
 */
import { Produce } from "./api/00-produce.ts"
import { Fetch } from "./api/01-fetch.ts"
import { ListOffsets } from "./api/02-list-offsets.ts"
import { Metadata } from "./api/03-metadata.ts"
import { FindCoordinator } from "./api/10-find-coordinator.ts"
import { ApiVersions } from "./api/18-api-versions.ts"
import { CreateTopics } from "./api/19-create-topics.ts"
import { DeleteTopics } from "./api/20-delete-topics.ts"
import { InitProducerId } from "./api/22-init-producer-id.ts"
import { OffsetForLeaderEpoch } from "./api/23-offset-for-leader-epoch.ts"
import { DescribeConfigs } from "./api/32-describe-configs.ts"
import { CreatePartitions } from "./api/37-create-partitions.ts"
import { DescribeCluster } from "./api/60-describe-cluster.ts"
import { type Api } from "./schema.ts"

/** In order of their keys. */
export const kafkaApis = [
  Produce,
  Fetch,
  ListOffsets,
  Metadata,
  FindCoordinator,
  ApiVersions,
  CreateTopics,
  DeleteTopics,
  InitProducerId,
  OffsetForLeaderEpoch,
  DescribeConfigs,
  CreatePartitions,
  DescribeCluster
] as const

export type KafkaApi = (typeof kafkaApis)[number]
export type Registry<A extends Api = Api> = ReadonlyMap<number, A>

export const registryOf = <A extends Api>(apis: ReadonlyArray<A>): Registry<A> =>
  new Map(apis.map((api) => [api.key, api]))

export const kafkaRegistry: Registry<KafkaApi> = registryOf<KafkaApi>(kafkaApis)

export const isServed = (api: Api, version: number): boolean => version >= api.versionMin && version <= api.versionMax

export interface AdvertisedVersions {
  readonly apiKey: number
  readonly minVersion: number
  readonly maxVersion: number
}

/**
 * Old librdkafka turns features off unless the advertised range contains certain old versions, for Produce even 0,
 * which nobody serves (KAFKA-18659). It never sends that.
 */
const ADVERTISED_MIN: ReadonlyMap<number, number> = new Map([[Produce.key, 0]])

export const advertise = (apis: Iterable<Api>): ReadonlyArray<AdvertisedVersions> =>
  Array.from(apis, (api) => ({
    apiKey: api.key,
    minVersion: ADVERTISED_MIN.get(api.key) ?? api.versionMin,
    maxVersion: api.versionMax
  }))

export const advertisedVersions: ReadonlyArray<AdvertisedVersions> = advertise(kafkaApis)
