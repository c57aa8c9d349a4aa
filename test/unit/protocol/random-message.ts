/**
 * Messages made by chance from any table, for round trips: what to encode, and what decoding must give.
 *
 * Seeded: the same seed makes the same messages. Not a test itself; test/system uses it for upstream's tables.
 */
import {
  type Api,
  type Direction,
  defaultOf,
  type Field,
  type Fields,
  isIn,
  type Message
} from "#core/protocol/schema.ts"

/** Numbers in [0, 1), mulberry32. */
export type Random = () => number

export const seededRandom = (seed: number): Random => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const below = (random: Random, end: number): number => Math.floor(random() * end)
const oneOf = <T>(random: Random, values: ReadonlyArray<T>): T => values[below(random, values.length)]!

export const messagesOf = (api: Api): ReadonlyArray<readonly [Direction, Message]> => [
  ["request", api.request],
  ["response", api.response]
]

/** A value for every field of the version; `lacking` fields (of other versions) are left out. */
export const randomMessage = (fields: Fields, version: number, random: Random): Record<string, unknown> => {
  const value: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) {
    if (!isIn(field.versions, version)) continue
    // Left out, it takes its default; which only non-nullable records do not have.
    const hasDefault = field.kind !== "records" || isIn(field.nullable, version)
    if (field.optional && hasDefault && random() < 0.1) continue
    value[name] = randomValue(field, version, random)
  }
  return value
}

const STRINGS = ["", "a", "topic-1", "漢字-😀", "x".repeat(31), "y".repeat(33), "z".repeat(127), "é".repeat(64)]

const integer = (random: Random, bits: number, signed: boolean): number => {
  const low = signed ? -(2 ** (bits - 1)) : 0
  const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1
  return oneOf(random, [low, high, 0, 1, low + below(random, 2 ** bits)])
}

const randomValue = (field: Field, version: number, random: Random): unknown => {
  if (isIn(field.nullable, version) && random() < 0.2) return null
  if (field.tag !== undefined && random() < 0.3) return defaultValue(field)
  switch (field.kind) {
    case "bool":
      return random() < 0.5
    case "int8":
      return integer(random, 8, true)
    case "int16":
      return integer(random, 16, true)
    case "uint16":
      return integer(random, 16, false)
    case "int32":
      return integer(random, 32, true)
    case "uint32":
      return integer(random, 32, false)
    case "int64":
      return oneOf(random, [
        0,
        -1,
        2 ** 53 - 1,
        1 - 2 ** 53,
        2 ** 63,
        -(2 ** 63),
        2 ** 32,
        -(2 ** 32) - 1,
        below(random, 2 ** 48)
      ])
    case "float64":
      return oneOf(random, [0, -1.5, Number.MAX_VALUE, Infinity, random()])
    case "uuid":
      return Array.from({ length: 32 }, () => below(random, 16).toString(16)).join("")
    case "string":
      return oneOf(random, STRINGS)
    case "bytes":
      return randomBytes(random)
    case "records":
      return oneOf(random, [randomBytes(random), Buffer.alloc(0), [randomBytes(random), randomBytes(random)], []])
    case "array":
      return Array.from({ length: below(random, 4) }, () => randomValue(field.element!, version, random))
    case "struct":
      return randomMessage(field.fields!, version, random)
  }
}

const randomBytes = (random: Random): Buffer =>
  Buffer.from(Array.from({ length: below(random, 200) }, () => below(random, 256)))

const defaultValue = (field: Field): unknown => {
  if (field.default === null) return null
  if (field.kind === "array") return []
  if (field.kind === "bytes") return Buffer.alloc(0)
  if (field.kind === "struct") return decodedForm(field.fields!, -1, {})
  return defaultOf(field)
}

/** What decoding gives for a value that was encoded: all fields, records as one buffer. */
export const decodedForm = (
  fields: Fields,
  version: number,
  value: Readonly<Record<string, unknown>>
): Record<string, unknown> => {
  const decoded: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) {
    const isThere = isIn(field.versions, version) && value[name] !== undefined
    decoded[name] = isThere ? decodedValue(field, version, value[name]) : defaultValue(field)
  }
  return decoded
}

const decodedValue = (field: Field, version: number, value: unknown): unknown => {
  if (value === null) return null
  if (field.kind === "records")
    return Buffer.concat(Buffer.isBuffer(value) ? [value] : (value as ReadonlyArray<Buffer>))
  if (field.kind === "struct") return decodedForm(field.fields!, version, value as Record<string, unknown>)
  if (field.kind === "array") {
    return (value as ReadonlyArray<unknown>).map((element) => decodedValue(field.element!, version, element))
  }
  return value
}
