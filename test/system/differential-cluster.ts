/** Differential replay: what clients ask about the cluster as a whole, and about topics by name or id (Metadata). */
import { UUID_ZERO } from "#core/model/uuid.ts"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { DescribeCluster } from "#core/protocol/api/60-describe-cluster.ts"
import { FindCoordinator } from "#core/protocol/api/10-find-coordinator.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { kafkaRegistry } from "#core/protocol/registry.ts"
import { type Api, type ResponseOf } from "#core/protocol/schema.ts"
import { waitUntil } from "../peers/child-process.ts"
import { type Side } from "./differential-side.ts"

export const UNKNOWN_ID = "0123456789abcdef0123456789abcdef"
const coordinatorDeadlineMs = 30_000
/** What a Kafka that has just started says for a while. */
const COORDINATOR_LOAD_IN_PROGRESS = 14
const COORDINATOR_NOT_AVAILABLE = 15
/** InitProducerId v6 is not stable: neither broker offers it. */
const INIT_PRODUCER_ID_MAX = 5

export const versionsOf = (api: Api): ReadonlyArray<number> =>
  Array.from({ length: api.versionMax - api.versionMin + 1 }, (_, index) => api.versionMin + index)

export async function clusterScenario(side: Side): Promise<void> {
  await versions(side)
  await cluster(side)
  await coordinators(side)
  await producerIds(side)
  await metadata(side)
  await automaticTopics(side)
}

async function versions(side: Side): Promise<void> {
  for (const version of versionsOf(ApiVersions)) {
    const sane = version < 3 ? {} : { clientSoftwareName: "diff-1.x", clientSoftwareVersion: "1.0" }
    const answer = await side.request(ApiVersions, version, sane)
    side.answers.set(`ApiVersions v${version} ranges`, rangesOf(answer))
    side.answers.set(`ApiVersions v${version} rest`, { ...answer, apiKeys: [] })
    if (version < 3) continue
    for (const name of ["", "-x", "x-", "a b", "é", "x"]) {
      const body = { clientSoftwareName: name, clientSoftwareVersion: "1" }
      const { errorCode } = await side.request(ApiVersions, version, body)
      side.answers.set(`ApiVersions v${version} of client "${name}"`, errorCode)
    }
  }
}

/** Only of what we serve. */
const rangesOf = ({ apiKeys }: ResponseOf<typeof ApiVersions>): unknown =>
  apiKeys.filter(({ apiKey }) => kafkaRegistry.has(apiKey)).sort((a, b) => a.apiKey - b.apiKey)

async function cluster(side: Side): Promise<void> {
  for (const version of versionsOf(DescribeCluster)) {
    await side.ask("plain", DescribeCluster, version, { includeClusterAuthorizedOperations: false })
    await side.ask("operations", DescribeCluster, version, { includeClusterAuthorizedOperations: true })
    if (version < 1) continue
    for (const endpointType of [0, 2, 3, -1]) {
      const body = { includeClusterAuthorizedOperations: false, endpointType }
      await side.ask(`endpoint type ${endpointType}`, DescribeCluster, version, body)
    }
    if (version < 2) continue
    const body = { includeClusterAuthorizedOperations: false, includeFencedBrokers: true }
    await side.ask("fenced", DescribeCluster, version, body)
  }
}

async function coordinators(side: Side): Promise<void> {
  for (const keyType of [0, 1]) {
    await waitUntil(`${side.name} has coordinators of type ${keyType}`, coordinatorDeadlineMs, async () => {
      const { errorCode } = await side.request(FindCoordinator, 3, { key: "k", keyType })
      return errorCode !== COORDINATOR_NOT_AVAILABLE
    })
  }
  for (const version of versionsOf(FindCoordinator)) {
    for (const keyType of version === 0 ? [0] : [0, 1, 2, 3, -1]) {
      const type = version === 0 ? {} : { keyType }
      if (version < 4) {
        await side.ask(`type ${keyType}`, FindCoordinator, version, { key: "k", ...type })
        await side.ask(`type ${keyType}, empty`, FindCoordinator, version, { key: "", ...type })
      } else {
        const coordinatorKeys = ["k", "other", ""]
        await side.ask(`type ${keyType}`, FindCoordinator, version, { coordinatorKeys, ...type })
        await side.ask(`type ${keyType}, none`, FindCoordinator, version, { coordinatorKeys: [], ...type })
      }
    }
  }
}

async function producerIds(side: Side): Promise<void> {
  await waitUntil(`${side.name} has producer ids`, coordinatorDeadlineMs, async () => {
    const body = { transactionalId: null, transactionTimeoutMs: 60_000 }
    return (await side.request(InitProducerId, 4, body)).errorCode !== COORDINATOR_LOAD_IN_PROGRESS
  })
  for (let version = InitProducerId.versionMin; version <= INIT_PRODUCER_ID_MAX; version++) {
    const body = { transactionalId: null, transactionTimeoutMs: 60_000 }
    await side.ask("fresh", InitProducerId, version, body)
    await side.ask("timeout 0", InitProducerId, version, { ...body, transactionTimeoutMs: 0 })
    await side.ask("timeout -1", InitProducerId, version, { ...body, transactionTimeoutMs: -1 })
    await side.ask("empty transactional id", InitProducerId, version, { ...body, transactionalId: "" })
    if (version < 3) continue
    for (const [producerId, producerEpoch] of [
      [5, 0],
      [5, 32_767],
      [5, -1],
      [-1, 5],
      [-2, -2]
    ] as const) {
      const given = { ...body, producerId, producerEpoch }
      await side.ask(`id ${producerId}, epoch ${producerEpoch}`, InitProducerId, version, given)
    }
  }
}

async function metadata(side: Side): Promise<void> {
  await side.createTopic("m1", { partitions: 3 })
  await side.createTopic("m2")
  for (const version of versionsOf(Metadata)) {
    const ask = (
      what: string,
      topics: ReadonlyArray<{ readonly name: string | null; readonly topicId?: string }> | null
    ) => side.ask(what, Metadata, version, { topics, ...(version < 4 ? {} : { allowAutoTopicCreation: false }) })
    const { topics } = await side.request(Metadata, version, { topics: version === 0 ? [] : null })
    const own = topics.filter(({ name }) => name === side.topic("m1") || name === side.topic("m2")).length
    side.answers.set(`Metadata v${version} of all topics`, own)
    if (version > 0) await ask("of no topic", [])
    await ask("by name", [{ name: side.topic("m1") }, { name: side.topic("m2") }])
    await ask("twice the same", [{ name: side.topic("m2") }, { name: side.topic("m2") }])
    const invalid = ["", ".", "..", "a b", "é", "x".repeat(250)]
    for (const name of version < 4 ? [] : invalid) await ask(`of the name "${name.slice(0, 9)}"`, [{ name }])
    if (version >= 4) await ask("of an unknown name", [{ name: side.topic("absent") }, { name: side.topic("m2") }])
    if (version >= 8) {
      const all = { includeTopicAuthorizedOperations: true, allowAutoTopicCreation: false }
      const more = version <= 10 ? { includeClusterAuthorizedOperations: true } : {}
      await side.ask("operations", Metadata, version, { topics: [{ name: side.topic("m2") }], ...all, ...more })
    }
    if (version < 10) continue
    await ask("by id and name", [{ name: side.topic("m1"), topicId: side.idOf("m1") }])
    await ask("by id and another name", [{ name: side.topic("m2"), topicId: side.idOf("m1") }])
    await ask("by id", [{ name: null, topicId: side.idOf("m1") }])
    await ask("by an unknown id", [{ name: null, topicId: UNKNOWN_ID }])
    await ask("by neither", [{ name: null, topicId: UUID_ZERO }])
    await ask("by id and by name", [{ name: null, topicId: side.idOf("m1") }, { name: side.topic("m2") }])
  }
}

/** Kafka makes the topic after it answered; what comes of it is compared. */
async function automaticTopics(side: Side): Promise<void> {
  for (const version of versionsOf(Metadata)) {
    const name = `auto_${version}`
    const body = { topics: [{ name: side.topic(name) }] }
    await side.ask("of a topic to be created", Metadata, version, body)
    await side.learn(name)
    await side.ask("of the created topic", Metadata, version, body)
    for (const each of ["", ".", "a b", "x".repeat(250)]) {
      await side.ask(`of "${each.slice(-9)}", to be created`, Metadata, version, { topics: [{ name: each }] })
    }
    await side.ask("of a colliding topic", Metadata, version, { topics: [{ name: side.topic("auto.0") }] })
  }
}
