/**
 * Settings of an agent [pure]: one table of everything that a user may change, and its parser.
 *
 * Names are Kafka's where Kafka has the thing. Every setting is a whole number or a boolean, has its unit in its name, a
 * default that stands in core/model/limits.ts, and bounds. Values come as YAML/JSON scalars or as text (environment,
 * flags), so text that holds a number or a boolean is as good as one. `parseSettings` reports every problem at once.
 */
import { limits } from "#core/model/limits.ts"
import { type Problem, didYouMean, showValue } from "./problem.ts"

export interface IntegerSetting {
  readonly type: "integer"
  readonly name: string
  readonly unit: "ms" | "bytes" | "count"
  readonly defaultValue: number
  readonly min: number
  readonly max: number
  readonly doc: string
}

export interface BooleanSetting {
  readonly type: "boolean"
  readonly name: string
  readonly defaultValue: boolean
  readonly doc: string
}

export type Setting = IntegerSetting | BooleanSetting

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB
const DAY_MS = 86_400_000

const integer = (setting: Omit<IntegerSetting, "type">): IntegerSetting => ({ type: "integer", ...setting })
const boolean = (setting: Omit<BooleanSetting, "type">): BooleanSetting => ({ type: "boolean", ...setting })

/** By the field of `Settings` that holds the value. */
export const SETTINGS = {
  // --- write path -----------------------------------------------------------------------------------------------
  flushIntervalMs: integer({
    name: "flush.interval.ms",
    unit: "ms",
    defaultValue: limits.flushIntervalMs,
    min: 0,
    max: 60_000,
    doc: "A busy agent writes a segment at most this often; an idle one writes at once. 25 to 50 suits S3 Express."
  }),
  segmentBytes: integer({
    name: "segment.bytes",
    unit: "bytes",
    defaultValue: limits.segmentBytes,
    min: 64 * KiB,
    max: 64 * MiB,
    doc: "A segment is written when its batches reach this size, whatever flush.interval.ms says."
  }),
  segmentsInFlight: integer({
    name: "segments.in.flight",
    unit: "count",
    defaultValue: limits.segmentsInFlight,
    min: 1,
    max: limits.putsInFlightPerBucket,
    doc: "Segments of one agent that are being written or waiting for their commit; then producers wait."
  }),
  requestBytesInFlight: integer({
    name: "request.bytes.in.flight",
    unit: "bytes",
    defaultValue: limits.requestBytesInFlight,
    min: 1 * MiB,
    max: 16 * GiB,
    doc: "Bytes of requests read and not yet answered, all connections together; above it sockets are paused."
  }),
  putTimeoutMs: integer({
    name: "bucket.put.timeout.ms",
    unit: "ms",
    defaultValue: limits.putTimeoutMs,
    min: 100,
    max: limits.putStuckMs - 1,
    doc: "A bucket that has not acknowledged a segment after this time has failed it."
  }),
  // --- read path ------------------------------------------------------------------------------------------------
  cacheBytes: integer({
    name: "cache.bytes",
    unit: "bytes",
    defaultValue: limits.blockCacheBytes,
    min: 1 * MiB,
    max: 256 * GiB,
    doc: "Memory of the block cache, blocks that are being read included."
  }),
  fetchMaxBytes: integer({
    name: "fetch.max.bytes",
    unit: "bytes",
    defaultValue: limits.fetchBytesMax,
    min: 1 * KiB,
    max: 64 * MiB,
    doc: "Largest answer to one fetch, whatever the client asks; a larger first batch is still served."
  }),
  fetchBytesInFlight: integer({
    name: "fetch.bytes.in.flight",
    unit: "bytes",
    defaultValue: limits.fetchBytesInFlight,
    min: 1 * MiB,
    max: 16 * GiB,
    doc: "Bytes of fetch answers not yet taken by their sockets, all connections together; above it fetches wait."
  }),
  getTimeoutMs: integer({
    name: "bucket.get.timeout.ms",
    unit: "ms",
    defaultValue: limits.getTimeoutMs,
    min: 100,
    max: 60_000,
    doc: "A bucket that has not answered a read after this time has failed it."
  }),
  readHedgeDelayMs: integer({
    name: "bucket.read.hedge.ms",
    unit: "ms",
    defaultValue: limits.readHedgeDelayMs,
    min: 1,
    max: 60_000,
    doc: "The next bucket is asked as well when the nearest has not answered a read within this time."
  }),
  // --- connections ----------------------------------------------------------------------------------------------
  connectionsMax: integer({
    name: "max.connections",
    unit: "count",
    defaultValue: limits.connectionsMax,
    min: 1,
    max: 1_000_000,
    doc: "Connections of clients; further ones are closed at once."
  }),
  connectionIdleMs: integer({
    name: "connections.max.idle.ms",
    unit: "ms",
    defaultValue: limits.connectionIdleMs,
    min: 1_000,
    max: DAY_MS,
    doc: "A connection that sends nothing for this time is closed."
  }),
  requestBytesMax: integer({
    name: "socket.request.max.bytes",
    unit: "bytes",
    defaultValue: limits.requestBytesMax,
    min: 1 * KiB,
    max: limits.requestBytesMax,
    doc: "Largest request; a longer one closes its connection."
  }),
  // --- topics ---------------------------------------------------------------------------------------------------
  autoCreateTopics: boolean({
    name: "auto.create.topics.enable",
    defaultValue: true,
    doc: "Whether a client that asks for an unknown topic gets it created."
  }),
  numPartitions: integer({
    name: "num.partitions",
    unit: "count",
    defaultValue: 1,
    min: 1,
    max: limits.partitionsPerTopicMax,
    doc: "Partitions of a topic that is created without a number of its own."
  }),
  // --- metadata and membership ----------------------------------------------------------------------------------
  logPollIntervalMs: integer({
    name: "log.poll.interval.ms",
    unit: "ms",
    defaultValue: limits.logPollIntervalMs,
    min: 1,
    max: 10_000,
    doc: "How often an agent looks for entries of other agents in the commit log."
  }),
  membershipTtlMs: integer({
    name: "membership.ttl.ms",
    unit: "ms",
    defaultValue: limits.membershipTtlMs,
    min: 300,
    max: 300_000,
    doc: "An agent that has not renewed its membership for this time is no longer named to clients."
  })
} as const satisfies Record<string, Setting>

export type Settings = {
  readonly [Field in keyof typeof SETTINGS]: (typeof SETTINGS)[Field] extends IntegerSetting ? number : boolean
}

/** The table in its order, with the field of each setting. */
export const settingsTable: ReadonlyArray<Setting & { readonly field: keyof Settings }> = (
  Object.entries(SETTINGS) as Array<[keyof Settings, Setting]>
).map(([field, setting]) => ({ ...setting, field }))

const settingByName = new Map(settingsTable.map((setting) => [setting.name, setting]))

export type SettingsResult =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly problems: ReadonlyArray<Problem> }

export const defaultSettings: Settings = Object.fromEntries(
  settingsTable.map((setting) => [setting.field, setting.defaultValue])
) as unknown as Settings

/** Settings by name over their defaults. Paths of problems are the names. */
export const parseSettings = (written: Readonly<Record<string, unknown>>): SettingsResult => {
  const problems: Array<Problem> = []
  const values: Record<string, number | boolean> = { ...defaultSettings }
  for (const [name, value] of Object.entries(written)) {
    const setting = settingByName.get(name)
    if (setting === undefined) {
      problems.push({ path: name, message: `no such setting${didYouMean(name, settingByName.keys())}` })
      continue
    }
    const parsed = setting.type === "boolean" ? parseBoolean(value) : parseInteger(value, setting)
    if (typeof parsed === "string") problems.push({ path: name, message: parsed })
    else values[setting.field] = parsed
  }
  const settings = values as unknown as Settings
  if (problems.length === 0) problems.push(...relationProblems(settings))
  return problems.length === 0 ? { ok: true, settings } : { ok: false, problems }
}

/** What no single setting shows: the relations that limits.ts asserts of the defaults. */
const relationProblems = (settings: Settings): Array<Problem> => {
  const problems: Array<Problem> = []
  if (settings.segmentBytes * 2 > settings.requestBytesInFlight) {
    problems.push({
      path: SETTINGS.requestBytesInFlight.name,
      message:
        `${settings.requestBytesInFlight} is less than twice segment.bytes (${settings.segmentBytes}), but one segment ` +
        `must gather while another is written: raise it to at least ${settings.segmentBytes * 2}`
    })
  }
  if (settings.fetchMaxBytes > settings.fetchBytesInFlight) {
    problems.push({
      path: SETTINGS.fetchBytesInFlight.name,
      message:
        `${settings.fetchBytesInFlight} is less than fetch.max.bytes (${settings.fetchMaxBytes}), but one answer must ` +
        `fit: raise it to at least ${settings.fetchMaxBytes}`
    })
  }
  if (settings.readHedgeDelayMs >= settings.getTimeoutMs) {
    problems.push({
      path: SETTINGS.readHedgeDelayMs.name,
      message:
        `${settings.readHedgeDelayMs} is not less than bucket.get.timeout.ms (${settings.getTimeoutMs}), so no read ` +
        "would ever be hedged: lower it"
    })
  }
  return problems
}

const parseBoolean = (value: unknown): boolean | string => {
  if (typeof value === "boolean") return value
  if (value === "true" || value === "false") return value === "true"
  return `${showValue(value)} is neither true nor false: write true or false`
}

const parseInteger = (value: unknown, setting: IntegerSetting): number | string => {
  const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value
  const range = `write a whole number from ${setting.min} to ${setting.max} (${setting.unit}; default ${setting.defaultValue})`
  if (typeof number !== "number" || !Number.isSafeInteger(number)) {
    return `${showValue(value)} is not a whole number: ${range}`
  }
  if (number < setting.min) return `${number} is too small: ${range}`
  if (number > setting.max) return `${number} is too large: ${range}`
  return number
}
