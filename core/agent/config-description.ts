/** Configs as DescribeConfigs and CreateTopics show them [pure]: every config of the resource, with where its value is from. */
import { type BrokerConfig } from "#core/config/broker-config.ts"
import { CONFIG_TYPE_IDS, TOPIC_CONFIGS } from "#core/config/topic-config.ts"

export interface ConfigDescription {
  readonly name: string
  readonly value: string | null
  readonly readOnly: boolean
  readonly configSource: number
  readonly isSensitive: boolean
  readonly synonyms: ReadonlyArray<{ readonly name: string; readonly value: string | null; readonly source: number }>
  readonly configType: number
  readonly documentation: string
}

/** Kafka's ids of sources. */
const SOURCE_TOPIC = 1
const SOURCE_STATIC_BROKER = 4
const SOURCE_DEFAULT = 5

/** All configs of a topic; `names` null for all, else only those. */
export const describeTopicConfigs = (
  configs: ReadonlyMap<string, string>,
  names: ReadonlyArray<string> | null
): ReadonlyArray<ConfigDescription> =>
  TOPIC_CONFIGS.filter(({ name }) => names === null || names.includes(name)).map((config) => {
    const { name, type, defaultValue, brokerName, doc } = config
    const own = configs.get(name)
    const byDefault =
      brokerName === undefined ? [] : [{ name: brokerName, value: defaultValue, source: SOURCE_DEFAULT }]
    return {
      name,
      value: own ?? defaultValue,
      readOnly: false,
      configSource: own === undefined ? SOURCE_DEFAULT : SOURCE_TOPIC,
      isSensitive: false,
      synonyms: own === undefined ? byDefault : [{ name, value: own, source: SOURCE_TOPIC }, ...byDefault],
      configType: CONFIG_TYPE_IDS[type],
      documentation: doc
    }
  })

/** All configs of an agent: it reads them when it starts, so they are read only. */
export const describeBrokerConfigs = (
  configs: ReadonlyArray<BrokerConfig>,
  names: ReadonlyArray<string> | null
): ReadonlyArray<ConfigDescription> =>
  configs
    .filter(({ name }) => names === null || names.includes(name))
    .map(({ name, value, type, source, doc }) => {
      const configSource = source === "static" ? SOURCE_STATIC_BROKER : SOURCE_DEFAULT
      return {
        name,
        value,
        readOnly: true,
        configSource,
        isSensitive: false,
        synonyms: [{ name, value, source: configSource }],
        configType: CONFIG_TYPE_IDS[type],
        documentation: doc
      }
    })
