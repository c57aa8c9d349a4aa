/**
 * What DescribeConfigs shows of a broker [pure]: what is true of an agent, under Kafka's names where Kafka has one.
 *
 * All of it is read-only: settings live in the topology file. What does not exist here (replica fetchers, log directories,
 * cleaner threads) is not shown, rather than shown with values that mean nothing.
 */
import { limits } from "#core/model/limits.ts"
import { type Settings, settingsTable } from "./settings.ts"
import { TOPIC_CONFIGS, type TopicConfigType } from "./topic-config.ts"

export interface BrokerConfig {
  readonly name: string
  /** Null where it is not set. */
  readonly value: string | null
  readonly type: TopicConfigType
  /** `static`: written by the operator or particular to this agent. */
  readonly source: "static" | "default"
  readonly doc: string
}

export interface BrokerFacts {
  readonly nodeId: number
  readonly rack: string
  /** Address that clients are told, by listener: `PLAINTEXT://host:port`. */
  readonly advertisedListeners: string
  /** As topics show it. */
  readonly replicationFactor: number
  readonly settings: Settings
}

/** By name, ascending. */
export const brokerConfigs = (facts: BrokerFacts): ReadonlyArray<BrokerConfig> => {
  const byName = new Map<string, BrokerConfig>()
  for (const config of [...topicDefaults(), ...settingConfigs(facts.settings), ...agentConfigs(facts)]) {
    byName.set(config.name, config)
  }
  return [...byName.values()].toSorted((left, right) => (left.name < right.name ? -1 : 1))
}

const agentConfigs = (facts: BrokerFacts): ReadonlyArray<BrokerConfig> => {
  const nodeId = String(facts.nodeId)
  const replicationFactor = String(facts.replicationFactor)
  return [
    fact("node.id", nodeId, "int", "The agent's id; it follows its name."),
    fact("broker.id", nodeId, "int", "The agent's id; it follows its name."),
    fact("broker.rack", facts.rack, "string", "The agent's zone."),
    fact("advertised.listeners", facts.advertisedListeners, "string", "Addresses that clients are told."),
    fact("default.replication.factor", replicationFactor, "int", "Copies that topics show."),
    constant("delete.topic.enable", "true", "boolean", "Topics can be deleted."),
    constant("authorizer.class.name", "", "string", "Nobody is refused."),
    constant(
      "producer.id.expiration.ms",
      String(limits.producerIdExpirationMs),
      "int",
      "Idle producers are remembered so long."
    ),
    constant("producer.id.block.size", String(limits.producerIdBlock), "int", "Producer ids an agent takes at a time.")
  ]
}

const topicDefaults = (): ReadonlyArray<BrokerConfig> =>
  TOPIC_CONFIGS.flatMap((config) =>
    config.brokerName === undefined
      ? []
      : [constant(config.brokerName, config.defaultValue, config.type, `Default of ${config.name}. ${config.doc}`)]
  )

const settingConfigs = (settings: Settings): ReadonlyArray<BrokerConfig> =>
  settingsTable.map((setting) => {
    const value = settings[setting.field]
    return {
      name: setting.name,
      value: String(value),
      type: setting.type === "boolean" ? "boolean" : setting.unit === "count" ? "int" : "long",
      source: value === setting.defaultValue ? "default" : "static",
      doc: setting.doc
    }
  })

const fact = (name: string, value: string, type: TopicConfigType, doc: string): BrokerConfig => ({
  name,
  value,
  type,
  source: "static",
  doc
})

const constant = (name: string, value: string, type: TopicConfigType, doc: string): BrokerConfig => ({
  name,
  value,
  type,
  source: "default",
  doc
})
