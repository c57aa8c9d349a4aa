/**
 * Goal: topic configs are Kafka 4.3's, names, types, defaults, verdicts and messages alike.
 * Method: compare with what Kafka's own classes answered (test/goldens/config), then the parsed few that the agent uses.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { brokerConfigs } from "#core/config/broker-config.ts"
import { defaultSettings } from "#core/config/settings.ts"
import {
  CONFIG_TYPE_IDS,
  TOPIC_CONFIGS,
  effectiveTopicConfig,
  validateTopicConfig,
  validateTopicConfigs
} from "#core/config/topic-config.ts"

interface Golden {
  readonly type: string
  readonly default: string
  readonly answers: Readonly<Record<string, ReadonlyArray<string>>>
}

const goldens: Readonly<Record<string, Golden>> = JSON.parse(
  readFileSync(new URL("../../goldens/config/topic-config.json", import.meta.url), "utf8")
)

/** A broker without tiering refuses more than the classes that the goldens come from. */
const isRefusedByBrokerOnly = (name: string, value: string): boolean =>
  name === "remote.storage.enable" && value.toLowerCase() === "true"

describe("topic configs", () => {
  it("are exactly those of Kafka, with its types and defaults", () => {
    const ours = TOPIC_CONFIGS.map(({ name, type, defaultValue }) => [name, type, defaultValue])
    assert.deepStrictEqual(
      ours,
      Object.entries(goldens).map(([name, golden]) => [name, golden.type, golden.default])
    )
  })

  it("get Kafka's verdict and message on every value tried", () => {
    let compared = 0
    for (const [name, { answers }] of Object.entries(goldens)) {
      for (const [answer, values] of Object.entries(answers)) {
        for (const value of values) {
          if (isRefusedByBrokerOnly(name, value)) continue
          const expected = answer === "" ? undefined : answer.replace("{}", () => value)
          assert.strictEqual(validateTopicConfig(name, value), expected, `${name}=${JSON.stringify(value)}`)
          compared++
        }
      }
    }
    assert.isAbove(compared, 1_000)
  })

  it("refuse an unknown name and tiering in the broker's words", () => {
    assert.strictEqual(validateTopicConfig("nope", "1"), "Unknown topic config name: nope")
    assert.strictEqual(
      validateTopicConfig("remote.storage.enable", "TRUE"),
      "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )
  })

  it("refuse lags that contradict each other", () => {
    const configs = new Map([
      ["min.compaction.lag.ms", "10"],
      ["max.compaction.lag.ms", "5"]
    ])
    assert.strictEqual(
      validateTopicConfigs(configs),
      "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
    )
    assert.isUndefined(validateTopicConfigs(new Map([["min.compaction.lag.ms", "9223372036854775807"]])))
    assert.isUndefined(validateTopicConfigs(new Map()))
  })

  it("have a type id of DescribeConfigs, a doc and a valid default each", () => {
    for (const config of TOPIC_CONFIGS) {
      assert.isAbove(CONFIG_TYPE_IDS[config.type], 0)
      assert.isAbove(config.doc.length, 10, config.name)
      assert.isUndefined(validateTopicConfig(config.name, config.defaultValue), config.name)
    }
  })
})

describe("effective topic config", () => {
  it("is Kafka's defaults where nothing is set", () => {
    assert.deepStrictEqual(effectiveTopicConfig(new Map()), {
      maxMessageBytes: 1_048_588,
      isCompacted: false,
      timestampType: "create",
      timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
      timestampAfterMaxMs: 3_600_000,
      compressionType: "producer",
      retentionMs: 604_800_000,
      retentionBytes: -1
    })
  })

  it("parses what is set, however it was padded", () => {
    const settings = effectiveTopicConfig(
      new Map([
        ["cleanup.policy", " delete , compact "],
        ["max.message.bytes", " +5 "],
        ["message.timestamp.type", "LogAppendTime"],
        ["message.timestamp.after.max.ms", "9223372036854775807"],
        ["compression.type", " zstd"],
        ["retention.ms", "-1"]
      ])
    )
    assert.isTrue(settings.isCompacted)
    assert.strictEqual(settings.maxMessageBytes, 5)
    assert.strictEqual(settings.timestampType, "append")
    assert.strictEqual(settings.timestampAfterMaxMs, Number.MAX_SAFE_INTEGER)
    assert.strictEqual(settings.compressionType, "zstd")
    assert.strictEqual(settings.retentionMs, -1)
  })

  it("takes the default for a value that is not valid", () => {
    const settings = effectiveTopicConfig(
      new Map([
        ["max.message.bytes", "many"],
        ["compression.type", "brotli"]
      ])
    )
    assert.strictEqual(settings.maxMessageBytes, 1_048_588)
    assert.strictEqual(settings.compressionType, "producer")
  })

  it("is parsed once per map of configs", () => {
    const configs = new Map([["retention.ms", "1"]])
    assert.strictEqual(effectiveTopicConfig(configs), effectiveTopicConfig(configs))
  })
})

describe("broker configs", () => {
  const facts = {
    nodeId: 7,
    rack: "use1-az4",
    advertisedListeners: "PLAINTEXT://127.0.0.1:9092",
    replicationFactor: 3,
    settings: { ...defaultSettings, numPartitions: 6 }
  }
  const valueOf = (name: string) => brokerConfigs(facts).find((config) => config.name === name)

  it("show the agent's facts, its settings and the topic defaults", () => {
    assert.strictEqual(valueOf("node.id")?.value, "7")
    assert.deepInclude(valueOf("num.partitions"), { value: "6", source: "static", type: "int" })
    assert.deepInclude(valueOf("auto.create.topics.enable"), { value: "true", source: "default", type: "boolean" })
    assert.deepInclude(valueOf("message.max.bytes"), { value: "1048588", source: "default" })
    assert.deepInclude(valueOf("log.cleanup.policy"), { value: "delete", type: "list" })
  })

  it("name each config once, in order", () => {
    const names = brokerConfigs(facts).map((config) => config.name)
    assert.deepStrictEqual(names, [...new Set(names)].toSorted())
  })
})
