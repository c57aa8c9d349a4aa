/**
 * What both code generators share: lines of code, names, and how a field looks in one version [pure].
 *
 * Code is made from our own tables only, never from bytes or values: names are checked identifiers (schema.ts), and
 * everything else goes in as JSON or as a constant by reference.
 */
import { assert } from "#core/model/assert.ts"
import { defaultOf, type Field, type Fields, isIn, type Message } from "./schema.ts"

/** Lines of a function body, fresh variable names, and constants that the code refers to as `C[n]`. */
export class CodeText {
  readonly lines: Array<string> = []
  readonly constants: Array<unknown> = []
  private names = 0

  add(...lines: ReadonlyArray<string>): void {
    this.lines.push(...lines)
  }

  name(prefix: string): string {
    this.names += 1
    return `${prefix}${this.names}`
  }

  constant(value: unknown): string {
    this.constants.push(value)
    return `C[${this.constants.length - 1}]`
  }
}

export interface MessageVersion {
  readonly message: Message
  readonly version: number
  readonly isFlexible: boolean
}

export const messageVersion = (message: Message, version: number): MessageVersion => {
  assert(isIn(message.versions, version), `${message.apiName} has no version ${version}`)
  return { message, version, isFlexible: isIn(message.flexible, version) }
}

/** For stack traces and errors: `ProduceRequest`. */
export const messageName = (message: Message): string =>
  `${message.apiName}${message.direction === "request" ? "Request" : "Response"}`

export const pathOf = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`)

/** A string as it stands in code. */
export const quote = (value: string): string => JSON.stringify(value)

export type NamedField = readonly [name: string, field: Field]

/** Fields that the version has, in wire order; tagged ones apart, in ascending order of their tags. */
export const fieldsOf = (
  { version }: MessageVersion,
  fields: Fields
): { readonly plain: ReadonlyArray<NamedField>; readonly tagged: ReadonlyArray<NamedField> } => {
  const present = Object.entries(fields).filter(([, field]) => isIn(field.versions, version))
  return {
    plain: present.filter(([, field]) => field.tag === undefined),
    tagged: present
      .filter(([, field]) => field.tag !== undefined)
      .toSorted(([, left], [, right]) => left.tag! - right.tag!)
  }
}

export const isNullable = ({ version }: MessageVersion, field: Field): boolean => isIn(field.nullable, version)

const FIXED_BYTES: Readonly<Record<string, number>> = {
  bool: 1,
  int8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  float64: 8,
  uuid: 16
}

/** Bytes of a value of this kind, where they do not depend on the value. */
export const fixedBytes = (field: Field): number | undefined => FIXED_BYTES[field.kind]

/** Bytes of every value of the field in this version, or undefined where they vary. */
export const staticBytes = (at: MessageVersion, field: Field): number | undefined => {
  if (field.kind !== "struct") return fixedBytes(field)
  const { plain, tagged } = fieldsOf(at, field.fields!)
  if (tagged.length > 0 || isNullable(at, field)) return undefined
  let total = at.isFlexible ? 1 : 0
  for (const [, inner] of plain) {
    const bytes = staticBytes(at, inner)
    if (bytes === undefined) return undefined
    total += bytes
  }
  return total
}

/** The fewest bytes that a value takes: what makes a lying count known before anything is allocated. */
export const leastBytes = (at: MessageVersion, field: Field): number => {
  switch (field.kind) {
    case "string":
      return at.isFlexible ? 1 : 2
    case "bytes":
    case "records":
    case "array":
      return at.isFlexible ? 1 : 4
    case "struct": {
      if (isNullable(at, field)) return 1
      const { plain } = fieldsOf(at, field.fields!)
      return plain.reduce((total, [, inner]) => total + leastBytes(at, inner), at.isFlexible ? 1 : 0)
    }
    default:
      return fixedBytes(field)!
  }
}

/** The default as an expression that makes it anew. */
export const defaultExpression = (field: Field): string => {
  if (field.default === null) return "null"
  switch (field.kind) {
    case "array":
      return "[]"
    case "bytes":
      return "EMPTY"
    case "struct": {
      const parts = Object.entries(field.fields!).map(([name, inner]) => `${name}: ${defaultExpression(inner)}`)
      return `{ ${parts.join(", ")} }`
    }
    default:
      return JSON.stringify(defaultOf(field))
  }
}
