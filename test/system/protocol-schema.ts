/**
 * Compares our API tables with Kafka's own message descriptions (common/message/*.json in the kafka-clients jar;
 * test/goldens/protocol/capture.sh --messages DIR puts them into a folder).
 *
 * Goal: no field, version, default or tag of a table is wrong, and the table language can hold every API that we mean
 * to serve without a change to itself. Method: each description is read and (a) compared with our table of that API,
 * field by field; (b) for every API of the MUST and SHOULD tiers made into a table by the same builders, whose every
 * version is compiled and round-trips values made by chance.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { decodeBody, encodeBody } from "#core/protocol/message-codec.ts"
import { kafkaApis } from "#core/protocol/registry.ts"
import {
  type Api,
  api,
  type Default,
  defaultOf,
  type EntityType,
  type Field,
  type FieldKind,
  type Fields,
  makeField,
  type Options,
  type VersionRange
} from "#core/protocol/schema.ts"
import { decodedForm, messagesOf, randomMessage, seededRandom } from "../unit/protocol/random-message.ts"

interface UpstreamField {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly nullableVersions?: string
  readonly taggedVersions?: string
  readonly tag?: number
  readonly default?: string | number | boolean
  readonly ignorable?: boolean
  readonly entityType?: EntityType
  readonly fields?: ReadonlyArray<UpstreamField>
}
interface UpstreamMessage {
  readonly apiKey?: number
  readonly type: string
  readonly name: string
  readonly validVersions: string
  readonly flexibleVersions: string
  readonly latestVersionUnstable?: boolean
  readonly fields: ReadonlyArray<UpstreamField>
  readonly commonStructs?: ReadonlyArray<{ readonly name: string; readonly fields: ReadonlyArray<UpstreamField> }>
}

/** Keys of the MUST, SHOULD-1 and SHOULD-2 tiers: all that clients may ever send us. */
const WANTED_KEYS = [
  0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 35,
  36, 37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 55, 57, 60, 61, 64, 65, 66, 68, 69, 74, 75, 76, 77, 78, 79, 88, 89,
  90, 91, 92
]
const ROUNDS = 40
const SEED = 20_260_901

/** Differences, a line each; none means equal. */
export const compareSchema = (messageJsonDir: string): Array<string> => {
  const messages = readMessages(messageJsonDir)
  const differences: Array<string> = []
  for (const ours of kafkaApis) differences.push(...compareApi(ours, messages))
  for (const key of WANTED_KEYS) {
    try {
      differences.push(...roundTrip(tableOf(key, messages)))
    } catch (error) {
      differences.push(`key ${key}: ${String(error)}`)
    }
  }
  return differences
}

// --- reading ------------------------------------------------------------------------------------------------------

type Messages = ReadonlyMap<string, UpstreamMessage>

const readMessages = (directory: string): Messages => {
  const messages = readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(withoutComments(readFileSync(join(directory, name), "utf8"))) as UpstreamMessage)
  if (messages.length === 0) throw new Error(`${directory} holds no *.json: it must be common/message of kafka-clients`)
  return new Map(messages.map((message) => [`${message.type} ${message.apiKey ?? message.name}`, message]))
}

/** Comments run from `//` to the line's end; within strings `//` is text. */
const withoutComments = (text: string): string =>
  text.replaceAll(/"(?:[^"\\]|\\.)*"|\/\/.*$/gm, (token) => (token.startsWith('"') ? token : ""))

const camelCase = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1)

/** Kafka writes them as text or as JSON values, numbers also in hex. */
const defaultFrom = ({ type, default: value }: UpstreamField): Default | undefined => {
  if (value === undefined) return undefined
  const text = String(value)
  if (text === "null") return null
  if (type === "string") return text
  return type === "bool" ? text === "true" : Number(text)
}

const fieldFrom = (upstream: UpstreamField, message: UpstreamMessage): Field => {
  if (upstream.taggedVersions !== undefined && upstream.taggedVersions !== upstream.versions) {
    throw new Error(`${message.name}.${upstream.name} is tagged in some of its versions only`)
  }
  const fallback = defaultFrom(upstream)
  const options: Options<Default> = {
    ...(upstream.nullableVersions === undefined ? {} : { nullable: upstream.nullableVersions }),
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(upstream.ignorable === true ? { ignorable: true as const } : {}),
    ...(upstream.entityType === undefined ? {} : { entity: upstream.entityType }),
    ...(upstream.tag === undefined ? {} : { tag: upstream.tag })
  }
  if (!upstream.type.startsWith("[]")) return typedField(upstream, upstream.type, message, upstream.versions, options)
  const element = typedField(upstream, upstream.type.slice(2), message, undefined, {})
  return makeField("array", upstream.versions, options, { element })
}

const typedField = (
  upstream: UpstreamField,
  type: string,
  message: UpstreamMessage,
  versions: string | undefined,
  options: Options<Default>
): Field => {
  if (/^[a-z]/.test(type)) return makeField(type as FieldKind, versions, options)
  const fields = upstream.fields ?? message.commonStructs?.find(({ name }) => name === type)?.fields
  if (fields === undefined) throw new Error(`${message.name}: no struct ${type}`)
  return makeField("struct", versions, options, { fields: fieldsFrom(fields, message) })
}

const fieldsFrom = (fields: ReadonlyArray<UpstreamField>, message: UpstreamMessage): Fields =>
  Object.fromEntries(fields.map((field) => [camelCase(field.name), fieldFrom(field, message)]))

const tableOf = (key: number, messages: Messages): Api => {
  const request = messages.get(`request ${key}`)
  const response = messages.get(`response ${key}`)
  if (request === undefined || response === undefined) throw new Error(`no description of API ${key}`)
  if (request.validVersions !== response.validVersions || request.flexibleVersions !== response.flexibleVersions) {
    throw new Error(`${request.name} and its response differ in versions`)
  }
  return api({
    key,
    name: request.name.replace(/Request$/, ""),
    versions: request.validVersions,
    flexible: request.flexibleVersions,
    ...(request.latestVersionUnstable === true ? { latestVersionUnstable: true as const } : {}),
    request: fieldsFrom(request.fields, request),
    response: fieldsFrom(response.fields, response)
  })
}

// --- comparing ----------------------------------------------------------------------------------------------------

const compareApi = (ours: Api, messages: Messages): Array<string> => {
  const theirs = tableOf(ours.key, messages)
  const differences: Array<string> = []
  const compare = (what: string, left: unknown, right: unknown): void => {
    if (!isDeepStrictEqual(left, right)) differences.push(`${what}: ours ${show(left)}, Kafka's ${show(right)}`)
  }
  for (const property of ["name", "versionMin", "versionMax", "versionLatest"] as const) {
    compare(`${ours.name} ${property}`, ours[property], theirs[property])
  }
  for (const [direction, message] of messagesOf(ours)) {
    const whole = message.versions
    compare(`${ours.name} flexible`, cut(message.flexible, whole), cut(theirs[direction].flexible, whole))
    compareFields(`${ours.name}.${direction}`, message.fields, theirs[direction].fields, whole, compare)
  }
  return differences
}

type Compare = (what: string, left: unknown, right: unknown) => void

/** Ranges are compared as far as their parent reaches: what a table leaves open beyond it means nothing. */
const compareFields = (path: string, ours: Fields, theirs: Fields, within: VersionRange, compare: Compare): void => {
  const reachable = Object.entries(theirs).filter(([, field]) => cut(field.versions, within) !== undefined)
  compare(
    `${path}: fields`,
    Object.keys(ours),
    reachable.map(([name]) => name)
  )
  for (const [name, field] of reachable) {
    const own = ours[name]
    if (own !== undefined) compareField(`${path}.${name}`, own, field, within, compare)
  }
}

const compareField = (path: string, ours: Field, theirs: Field, within: VersionRange, compare: Compare): void => {
  const versions = cut(ours.versions, within)
  compare(`${path} versions`, versions, cut(theirs.versions, within))
  compare(`${path} kind`, ours.kind, theirs.kind)
  if (versions === undefined || ours.kind !== theirs.kind) return
  compare(`${path} nullable`, cut(ours.nullable, versions), cut(theirs.nullable, versions))
  compare(`${path} default`, defaultOf(ours), defaultOf(theirs))
  compare(`${path} tag`, ours.tag, theirs.tag)
  compare(`${path} ignorable`, ours.ignorable, theirs.ignorable)
  compare(`${path} entity`, ours.entity, theirs.entity)
  const [own, their] = ours.kind === "array" ? [ours.element!, theirs.element!] : [ours, theirs]
  compare(`${path} element`, own.kind, their.kind)
  if (own.fields !== undefined && their.fields !== undefined) {
    compareFields(path, own.fields, their.fields, versions, compare)
  }
}

const cut = (range: VersionRange | undefined, within: VersionRange): VersionRange | undefined => {
  if (range === undefined) return undefined
  const [min, max] = [Math.max(range.min, within.min), Math.min(range.max, within.max)]
  return min <= max ? { min, max } : undefined
}

const show = (value: unknown): string => JSON.stringify(value) ?? "nothing"

// --- round trips --------------------------------------------------------------------------------------------------

const roundTrip = (table: Api): Array<string> => {
  const differences: Array<string> = []
  for (let version = table.versionMin; version <= table.versionLatest; version++) {
    for (const [direction, message] of messagesOf(table)) {
      const random = seededRandom(SEED + table.key * 1_000 + version)
      for (let round = 0; round < ROUNDS; round++) {
        const value = randomMessage(message.fields, version, random)
        const bytes = Buffer.concat(encodeBody(message, version, value).chunks)
        const decoded = decodeBody(message, version, bytes)
        if (!isDeepStrictEqual(decoded, decodedForm(message.fields, version, value))) {
          differences.push(`${table.name} v${version} ${direction}: round ${round} of seed ${SEED} comes back changed`)
          break
        }
      }
    }
  }
  return differences
}

// Also a command: node test/system/protocol-schema.ts DIRECTORY, for looking at a newer Kafka.
if (import.meta.main) {
  const differences = compareSchema(process.argv[2] ?? "")
  for (const difference of differences) console.log(difference)
  console.log(`${differences.length} differences`)
  process.exitCode = differences.length === 0 ? 0 : 1
}
