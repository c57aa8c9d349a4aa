/**
 * Every topic config of Kafka 4.3 [pure]: types, defaults, checks in Kafka's words, and what the agent makes of them.
 *
 * Configs are stored as the client wrote them and answered as they are stored, so tools that read, change and write them
 * back work. What a log on object storage has no use for (flush.ms, index.interval.bytes, …) is kept and changes nothing.
 * Messages are the real broker's: clients and their suites look at them. `internal.segment.bytes` is left out on purpose:
 * it exists for Kafka's own tests.
 */
import { limits } from "#core/model/limits.ts"

export type TopicConfigType = "boolean" | "string" | "int" | "long" | "double" | "list"

/** Ids of the types in DescribeConfigs 3 and later. */
export const CONFIG_TYPE_IDS: Readonly<Record<TopicConfigType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  long: 5,
  double: 6,
  list: 7
}

export interface TopicConfig {
  readonly name: string
  readonly type: TopicConfigType
  readonly defaultValue: string
  /** The broker config that gives the default; undefined where none does. */
  readonly brokerName?: string
  readonly doc: string
  /** What is wrong with a value of the right type, without the name; undefined where nothing is. */
  readonly check?: Check
}

/** `parsed` is the value as Kafka shows it. */
type Check = (parsed: string, name: string) => string | undefined

export interface TopicSettings {
  readonly maxMessageBytes: number
  readonly isCompacted: boolean
  readonly timestampType: "create" | "append"
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly compressionType: "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd"
  /** -1: for ever. */
  readonly retentionMs: number
  /** -1: without limit. */
  readonly retentionBytes: number
}

/** What is wrong with the value, in Kafka's words; undefined where it is valid. */
export const validateTopicConfig = (name: string, value: string): string | undefined => {
  const config = topicConfigByName.get(name)
  if (config === undefined) return `Unknown topic config name: ${name}`
  const parsed = PARSERS[config.type](value)
  if (parsed.problem !== undefined) return `Invalid value ${value} for configuration ${name}: ${parsed.problem}`
  return config.check?.(parsed.shown, name)
}

/** What is wrong between valid values; undefined where nothing is. */
export const validateTopicConfigs = (configs: ReadonlyMap<string, string>): string | undefined => {
  const valueOf = (name: string) => (configs.get(name) ?? topicConfigByName.get(name)!.defaultValue).trim()
  const minLag = valueOf("min.compaction.lag.ms")
  const maxLag = valueOf("max.compaction.lag.ms")
  return BigInt(minLag) > BigInt(maxLag)
    ? `conflict topic config setting min.compaction.lag.ms (${minLag}) > max.compaction.lag.ms (${maxLag})`
    : undefined
}

const effective = new WeakMap<ReadonlyMap<string, string>, TopicSettings>()

/**
 * What the agent uses of a topic's configs, parsed once per map: a map of configs must never be changed in place. A value
 * that is not valid (written by another version) counts as not set.
 */
export const effectiveTopicConfig = (configs: ReadonlyMap<string, string>): TopicSettings => {
  const known = effective.get(configs)
  if (known !== undefined) return known
  const settings = parseEffective(configs)
  effective.set(configs, settings)
  return settings
}

const parseEffective = (configs: ReadonlyMap<string, string>): TopicSettings => {
  const textOf = (name: string): string => {
    const value = configs.get(name)
    const isUsable = value !== undefined && validateTopicConfig(name, value) === undefined
    return (isUsable ? value : topicConfigByName.get(name)!.defaultValue).trim()
  }
  // Kafka's "no limit" is Long.MAX_VALUE; here it is the largest number that a double holds exactly.
  const numberOf = (name: string): number => Math.min(Number(textOf(name)), Number.MAX_SAFE_INTEGER)
  return {
    maxMessageBytes: numberOf("max.message.bytes"),
    isCompacted: listItems(textOf("cleanup.policy")).includes("compact"),
    timestampType: textOf("message.timestamp.type") === "LogAppendTime" ? "append" : "create",
    timestampBeforeMaxMs: numberOf("message.timestamp.before.max.ms"),
    timestampAfterMaxMs: numberOf("message.timestamp.after.max.ms"),
    compressionType: textOf("compression.type") as TopicSettings["compressionType"],
    retentionMs: numberOf("retention.ms"),
    retentionBytes: numberOf("retention.bytes")
  }
}

const LONG_MAX = "9223372036854775807"
const DAY_MS = "86400000"
const WEEK_MS = "604800000"

const invalid = (name: string, shown: string, rule: string): string =>
  `Invalid value ${shown} for configuration ${name}: ${rule}`

const atLeast =
  (min: number): Check =>
  (parsed, name) =>
    Number(parsed) < min ? invalid(name, parsed, `Value must be at least ${min}`) : undefined

const between =
  (min: number, max: number): Check =>
  (parsed, name) =>
    Number(parsed) > max ? invalid(name, parsed, `Value must be no more than ${max}`) : atLeast(min)(parsed, name)

const oneOf =
  (...known: ReadonlyArray<string>): Check =>
  (parsed, name) =>
    known.includes(parsed) ? undefined : invalid(name, parsed, `String must be one of: ${known.join(", ")}`)

const eachOneOf =
  (...known: ReadonlyArray<string>): Check =>
  (parsed, name) => {
    const items = listItems(parsed)
    if (items.includes("")) return `Configuration '${name}' values must not be empty.`
    for (const item of items) {
      const problem = oneOf(...known)(item, name)
      if (problem !== undefined) return problem
    }
    return undefined
  }

const gzipLevel: Check = (parsed, name) => {
  const level = Number(parsed)
  const isLevel = level === -1 || (level >= 1 && level <= 9)
  return isLevel ? undefined : invalid(name, parsed, "Value must be between 1 and 9 or equal to -1")
}

const throttledReplicas: Check = (parsed, name) => {
  const items = listItems(parsed)
  if (parsed === "*" || items.every((item) => /^\d+:\d+$/.test(item))) return undefined
  const format = "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
  const rule = `${name} must be the literal '*' or a list of replicas in the following format: ${format}`
  return invalid(name, `[${items.join(", ")}]`, rule)
}

/** There is no tier below object storage to move segments to. */
const noTieredStorage: Check = (parsed) =>
  parsed.toLowerCase() === "true"
    ? "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    : undefined

/** By name, as Kafka lists them. */
export const TOPIC_CONFIGS: ReadonlyArray<TopicConfig> = [
  {
    name: "cleanup.policy",
    type: "list",
    defaultValue: "delete",
    brokerName: "log.cleanup.policy",
    check: eachOneOf("compact", "delete"),
    doc: "What becomes of old records: delete, compact, or both."
  },
  {
    name: "compression.gzip.level",
    type: "int",
    defaultValue: "-1",
    brokerName: "compression.gzip.level",
    check: gzipLevel,
    doc: "Level of gzip where the broker compresses."
  },
  {
    name: "compression.lz4.level",
    type: "int",
    defaultValue: "9",
    brokerName: "compression.lz4.level",
    check: between(1, 17),
    doc: "Level of LZ4 where the broker compresses."
  },
  {
    name: "compression.type",
    type: "string",
    defaultValue: "producer",
    brokerName: "compression.type",
    check: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    doc: "Codec of stored batches; producer keeps the client's."
  },
  {
    name: "compression.zstd.level",
    type: "int",
    defaultValue: "3",
    brokerName: "compression.zstd.level",
    check: between(-131_072, 22),
    doc: "Level of zstd where the broker compresses."
  },
  {
    name: "delete.retention.ms",
    type: "long",
    defaultValue: DAY_MS,
    brokerName: "log.cleaner.delete.retention.ms",
    check: atLeast(0),
    doc: "How long tombstones stay in a compacted topic."
  },
  {
    name: "file.delete.delay.ms",
    type: "long",
    defaultValue: "60000",
    brokerName: "log.segment.delete.delay.ms",
    check: atLeast(0),
    doc: "Kept for tools; segments of object storage are deleted by rules of their own."
  },
  {
    name: "flush.messages",
    type: "long",
    defaultValue: LONG_MAX,
    brokerName: "log.flush.interval.messages",
    check: atLeast(1),
    doc: "Kept for tools; what is acknowledged is durable in any case."
  },
  {
    name: "flush.ms",
    type: "long",
    defaultValue: LONG_MAX,
    check: atLeast(0),
    doc: "Kept for tools; what is acknowledged is durable in any case."
  },
  {
    name: "follower.replication.throttled.replicas",
    type: "list",
    defaultValue: "",
    check: throttledReplicas,
    doc: "Kept for tools; there are no followers."
  },
  {
    name: "index.interval.bytes",
    type: "int",
    defaultValue: "4096",
    brokerName: "log.index.interval.bytes",
    check: atLeast(0),
    doc: "Kept for tools; there are no index files."
  },
  {
    name: "leader.replication.throttled.replicas",
    type: "list",
    defaultValue: "",
    check: throttledReplicas,
    doc: "Kept for tools; there are no followers."
  },
  {
    name: "local.retention.bytes",
    type: "long",
    defaultValue: "-2",
    brokerName: "log.local.retention.bytes",
    check: atLeast(-2),
    doc: "Kept for tools; there is no local tier."
  },
  {
    name: "local.retention.ms",
    type: "long",
    defaultValue: "-2",
    brokerName: "log.local.retention.ms",
    check: atLeast(-2),
    doc: "Kept for tools; there is no local tier."
  },
  {
    name: "max.compaction.lag.ms",
    type: "long",
    defaultValue: LONG_MAX,
    brokerName: "log.cleaner.max.compaction.lag.ms",
    check: atLeast(1),
    doc: "Longest time that a record may stay uncompacted."
  },
  {
    name: "max.message.bytes",
    type: "int",
    defaultValue: String(limits.batchBytesMax),
    brokerName: "message.max.bytes",
    check: atLeast(0),
    doc: "Largest record batch, its header included."
  },
  {
    name: "message.timestamp.after.max.ms",
    type: "long",
    defaultValue: "3600000",
    brokerName: "log.message.timestamp.after.max.ms",
    check: atLeast(0),
    doc: "How far a record's timestamp may be ahead of the broker's clock."
  },
  {
    name: "message.timestamp.before.max.ms",
    type: "long",
    defaultValue: LONG_MAX,
    brokerName: "log.message.timestamp.before.max.ms",
    check: atLeast(0),
    doc: "How far a record's timestamp may be behind the broker's clock."
  },
  {
    name: "message.timestamp.type",
    type: "string",
    defaultValue: "CreateTime",
    brokerName: "log.message.timestamp.type",
    check: oneOf("CreateTime", "LogAppendTime"),
    doc: "Whether records keep the producer's time or get the time of their commit."
  },
  {
    name: "min.cleanable.dirty.ratio",
    type: "double",
    defaultValue: "0.5",
    brokerName: "log.cleaner.min.cleanable.ratio",
    check: between(0, 1),
    doc: "Share of uncompacted bytes from which on a topic is compacted."
  },
  {
    name: "min.compaction.lag.ms",
    type: "long",
    defaultValue: "0",
    brokerName: "log.cleaner.min.compaction.lag.ms",
    check: atLeast(0),
    doc: "Shortest time that a record stays uncompacted."
  },
  {
    name: "min.insync.replicas",
    type: "int",
    defaultValue: "1",
    brokerName: "min.insync.replicas",
    check: atLeast(1),
    doc: "Kept for tools; durability is the topology's quorum."
  },
  {
    name: "preallocate",
    type: "boolean",
    defaultValue: "false",
    brokerName: "log.preallocate",
    doc: "Kept for tools; there are no log files."
  },
  {
    name: "remote.log.copy.disable",
    type: "boolean",
    defaultValue: "false",
    doc: "Kept for tools; there is no tiering."
  },
  {
    name: "remote.log.delete.on.disable",
    type: "boolean",
    defaultValue: "false",
    doc: "Kept for tools; there is no tiering."
  },
  {
    name: "remote.storage.enable",
    type: "boolean",
    defaultValue: "false",
    check: noTieredStorage,
    doc: "Cannot be enabled: all data is in object storage already."
  },
  {
    name: "retention.bytes",
    type: "long",
    defaultValue: "-1",
    brokerName: "log.retention.bytes",
    doc: "Size of a partition from which on old records are deleted; -1 for none."
  },
  {
    name: "retention.ms",
    type: "long",
    defaultValue: WEEK_MS,
    check: atLeast(-1),
    doc: "Age from which on records are deleted; -1 for never."
  },
  {
    name: "segment.bytes",
    type: "int",
    defaultValue: "1073741824",
    brokerName: "log.segment.bytes",
    check: atLeast(1_048_576),
    doc: "Kept for tools; segments hold many partitions and follow the agent's own setting."
  },
  {
    name: "segment.index.bytes",
    type: "int",
    defaultValue: "10485760",
    brokerName: "log.index.size.max.bytes",
    check: atLeast(4),
    doc: "Kept for tools; there are no index files."
  },
  {
    name: "segment.jitter.ms",
    type: "long",
    defaultValue: "0",
    check: atLeast(0),
    doc: "Kept for tools; segments follow the agent's own settings."
  },
  {
    name: "segment.ms",
    type: "long",
    defaultValue: WEEK_MS,
    check: atLeast(1),
    doc: "Kept for tools; segments follow the agent's own settings."
  },
  {
    name: "unclean.leader.election.enable",
    type: "boolean",
    defaultValue: "false",
    brokerName: "unclean.leader.election.enable",
    doc: "Kept for tools; no leader holds data, so none can lose any."
  }
]

export const topicConfigByName: ReadonlyMap<string, TopicConfig> = new Map(
  TOPIC_CONFIGS.map((config) => [config.name, config])
)

interface Parsed {
  /** As Kafka shows the parsed value. */
  readonly shown: string
  /** Why the text is no value of the type; undefined where it is one. */
  readonly problem?: string
}

const parseWhole =
  (type: "INT" | "LONG", bits: bigint) =>
  (value: string): Parsed => {
    const text = value.trim()
    if (!/^[+-]?\d{1,40}$/.test(text)) return { shown: text, problem: `Not a number of type ${type}` }
    const number = BigInt(text.startsWith("+") ? text.slice(1) : text)
    const bound = 1n << (bits - 1n)
    if (number < -bound || number >= bound) return { shown: text, problem: `Not a number of type ${type}` }
    return { shown: String(number) }
  }

const parseDouble = (value: string): Parsed => {
  const text = value.trim()
  if (/^[+-]?(NaN|Infinity)$/.test(text)) return { shown: text.replace(/^\+/, "") }
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?$/.test(text)) {
    return { shown: text, problem: "Not a number of type DOUBLE" }
  }
  return { shown: javaDouble(Number(text.replace(/[dDfF]$/, ""))) }
}

/** As Java prints a double. */
const javaDouble = (value: number): string => {
  const size = Math.abs(value)
  if (size === 0 || (size >= 1e-3 && size < 1e7)) return Number.isInteger(value) ? value.toFixed(1) : String(value)
  const [digits, exponent] = value.toExponential().split("e") as [string, string]
  return `${digits.includes(".") ? digits : `${digits}.0`}E${Number(exponent)}`
}

const PARSERS: Readonly<Record<TopicConfigType, (value: string) => Parsed>> = {
  boolean: (value) =>
    /^\s*(true|false)\s*$/i.test(value)
      ? { shown: value.trim() }
      : { shown: value, problem: "Expected value to be either true or false" },
  string: (value) => ({ shown: value.trim() }),
  int: parseWhole("INT", 32n),
  long: parseWhole("LONG", 64n),
  double: parseDouble,
  list: (value) => ({ shown: value.trim() })
}

const listItems = (text: string): ReadonlyArray<string> => {
  const trimmed = text.trim()
  return trimmed === "" ? [] : trimmed.split(/\s*,\s*/)
}
