/**
 * Makes the encoder of one message in one version: a size pass, then a write into one buffer of exactly that size
 * [pure].
 *
 * The size pass notes what it had to work out (lengths of strings and of tagged fields) in `scratch.sizes`, in the
 * order in which the write pass needs it. Records are not written: the write pass notes where each value belongs
 * (`scratch.cuts`), and message-codec.ts puts the caller's own buffers between the pieces.
 *
 * Invariant: what it writes, the decoder of the same version reads back as the same value; a value that the version
 * cannot carry (out of range, null where it must not be, set in a version that lacks the field) is refused with the
 * field's name. Not re-entrant: size and write of a message run without anything between them.
 */
import { assert } from "#core/model/assert.ts"
import {
  CodeText,
  defaultExpression,
  fieldsOf,
  fixedBytes,
  isNullable,
  messageName,
  type MessageVersion,
  type NamedField,
  pathOf,
  quote,
  staticBytes
} from "./code-text.ts"
import { encoderHelpers, type EncoderScratch } from "./encoder-runtime.ts"
import { type Field, type Fields, isIn } from "./schema.ts"

export interface Encoder {
  /** Bytes of the message without its records, whose bytes it leaves in `scratch.recordBytes`. */
  readonly size: (value: unknown) => number
  /** Writes from `offset`; answers the offset after the last byte. Right after `size` of the same value. */
  readonly write: (value: unknown, bytes: Buffer, offset: number) => number
}

const HELPERS =
  "const { fail, lacks, utf8Length, recordsLength, uvarint, int64, uuid, string, EMPTY, EMPTY_ARRAY, scratch } = helpers"

export const compileEncoder = (at: MessageVersion, scratch: EncoderScratch): Encoder => {
  const size = new CodeText()
  emitSize(size, at, at.message.fields, "v", "")
  const write = new CodeText()
  emitWrite(write, at, at.message.fields, "v", "")
  const name = `${messageName(at.message)}V${at.version}`
  const code = [
    `"use strict"`,
    HELPERS,
    `const Z = scratch.sizes`,
    `return { size: function size${name}(v) {`,
    `let s = 0, l = 0, z = 0, records = 0`,
    ...size.lines,
    `scratch.recordBytes = records`,
    `return s`,
    `}, write: function write${name}(v, b, o) {`,
    `let l = 0, z = 0`,
    ...write.lines,
    `return o`,
    `} }`
  ].join("\n")
  // oxlint-disable-next-line typescript/no-implied-eval -- code made of our own tables alone: core/decisions/0001
  return new Function("helpers", code)(encoderHelpers(at, scratch)) as Encoder
}

/** Code that reads a field of `object` into a variable, its default where it is left out. */
const emitRead = (text: CodeText, object: string, [name, field]: NamedField): string => {
  const variable = text.name("x")
  if (!field.optional) {
    text.add(`const ${variable} = ${object}.${name}`)
    return variable
  }
  const empty = field.kind === "array" && field.default !== null
  text.add(
    `let ${variable} = ${object}.${name}`,
    `if (${variable} === undefined) ${variable} = ${empty ? "EMPTY_ARRAY" : defaultExpression(field)}`
  )
  return variable
}

/** Whether the value differs from the field's default, as an expression. */
const differs = (field: Field, variable: string): string => {
  if (field.default === null || field.kind === "records") return `${variable} !== null`
  switch (field.kind) {
    case "array":
    case "bytes":
      return `${variable} === null || ${variable}.length !== 0`
    case "struct": {
      const parts = Object.entries(field.fields!).map(([name, inner]) => {
        const member = `${variable}.${name}`
        return `${member} !== undefined && (${differs(inner, member)})`
      })
      return [`${variable} === null`, ...parts].join(" || ")
    }
    default:
      return `${variable} !== ${defaultExpression(field)}`
  }
}

const emitNullCheck = (text: CodeText, at: MessageVersion, field: Field, variable: string, path: string): void => {
  if (isNullable(at, field)) return
  text.add(`if (${variable} == null) fail(${quote(path)}, "it must not be null in this version")`)
}

// --- size pass ----------------------------------------------------------------------------------------------------

const emitSize = (text: CodeText, at: MessageVersion, fields: Fields, object: string, path: string): void => {
  const { plain, tagged } = fieldsOf(at, fields)
  let fixed = at.isFlexible ? 1 : 0
  for (const named of plain) {
    const bytes = staticBytes(at, named[1])
    if (bytes === undefined) {
      emitSizeOf(text, at, named[1], emitRead(text, object, named), pathOf(path, named[0]))
    } else fixed += bytes
  }
  if (fixed > 0) text.add(`s += ${fixed}`)
  for (const named of tagged) emitTagSize(text, at, named, object, path)
}

const emitTagSize = (text: CodeText, at: MessageVersion, named: NamedField, object: string, path: string): void => {
  const field = named[1]
  const variable = emitRead(text, object, named)
  const [slot, before, outside] = [text.name("slot"), text.name("before"), text.name("outside")]
  text.add(`if (${differs(field, variable)}) {`)
  text.add(`const ${slot} = z++, ${before} = s, ${outside} = records`)
  text.add(`s = 0`)
  emitSizeOf(text, at, field, variable, pathOf(path, named[0]))
  text.add(`Z[${slot}] = s + records - ${outside}`)
  text.add(`s += ${before} + ${uvarintBytes(field.tag!)} + ${uvarintBytesOf("Z", slot)}`)
  text.add(`}`)
}

const uvarintBytes = (value: number): number => (value < 128 ? 1 : value < 16_384 ? 2 : 3)
const uvarintBytesOf = (array: string, slot: string): string => {
  const value = `${array}[${slot}]`
  return `(${value} < 128 ? 1 : ${value} < 16384 ? 2 : ${value} < 2097152 ? 3 : ${value} < 268435456 ? 4 : 5)`
}
/** Bytes of a length prefix for the length or count in variable `l`. */
const prefixBytes = (at: MessageVersion, field: Field): string => {
  if (!at.isFlexible) return field.kind === "string" ? "2" : "4"
  return `(l < 127 ? 1 : l < 16383 ? 2 : l < 2097151 ? 3 : l < 268435455 ? 4 : 5)`
}
const nullBytes = (at: MessageVersion, field: Field): number => {
  if (at.isFlexible) return 1
  return field.kind === "string" ? 2 : 4
}

const emitSizeOf = (text: CodeText, at: MessageVersion, field: Field, variable: string, path: string): void => {
  const bytes = staticBytes(at, field)
  if (bytes !== undefined) {
    text.add(`s += ${bytes}`)
    return
  }
  if (field.kind === "struct" && !isNullable(at, field)) {
    emitNullCheck(text, at, field, variable, path)
    emitSize(text, at, field.fields!, variable, path)
    return
  }
  text.add(`if (${variable} === null) {`)
  if (!isNullable(at, field)) text.add(`fail(${quote(path)}, "it must not be null in this version")`)
  else text.add(`s += ${field.kind === "struct" ? 1 : nullBytes(at, field)}`)
  text.add(`} else {`)
  emitSizeOfPresent(text, at, field, variable, path)
  text.add(`}`)
}

const emitSizeOfPresent = (text: CodeText, at: MessageVersion, field: Field, variable: string, path: string): void => {
  switch (field.kind) {
    case "struct":
      text.add(`s += 1`)
      return emitSize(text, at, field.fields!, variable, path)
    case "string":
      return text.add(`l = Z[z++] = utf8Length(${variable}, ${quote(path)})`, `s += l + ${prefixBytes(at, field)}`)
    case "bytes":
      text.add(`if (!(${variable} instanceof Uint8Array)) fail(${quote(path)}, "it must be bytes")`)
      return text.add(`l = ${variable}.length`, `s += l + ${prefixBytes(at, field)}`)
    case "records":
      text.add(`l = Z[z++] = recordsLength(${variable}, ${quote(path)})`, `records += l`)
      return text.add(`s += ${prefixBytes(at, field)}`)
    default: {
      assert(field.kind === "array", `${field.kind} has a fixed size`)
      text.add(`if (!Array.isArray(${variable})) fail(${quote(path)}, "it must be an array")`)
      text.add(`l = ${variable}.length`)
      const bytes = staticBytes(at, field.element!)
      text.add(`s += ${prefixBytes(at, field)}${bytes === undefined ? "" : ` + l * ${bytes}`}`)
      if (bytes !== undefined) return
      const [index, element] = [text.name("i"), text.name("e")]
      text.add(`for (let ${index} = 0; ${index} < ${variable}.length; ${index}++) {`)
      text.add(`const ${element} = ${variable}[${index}]`)
      emitSizeOf(text, at, field.element!, element, `${path}[]`)
      text.add(`}`)
    }
  }
}

// --- write pass ---------------------------------------------------------------------------------------------------

const emitWrite = (text: CodeText, at: MessageVersion, fields: Fields, object: string, path: string): void => {
  emitLackingChecks(text, at, fields, object, path)
  const { plain, tagged } = fieldsOf(at, fields)
  let distance = 0
  for (const named of plain) {
    const bytes = fixedBytes(named[1])
    const variable = emitRead(text, object, named)
    const here = pathOf(path, named[0])
    if (bytes !== undefined) {
      emitFixedWrite(text, named[1], variable, here, distance)
      distance += bytes
      continue
    }
    if (distance > 0) text.add(`o += ${distance}`)
    distance = 0
    emitWriteOf(text, at, named[1], variable, here)
  }
  if (distance > 0) text.add(`o += ${distance}`)
  if (at.isFlexible) emitTagWrites(text, at, tagged, object, path)
}

/** A field that the version lacks may only hold its default, unless it is ignorable. */
const emitLackingChecks = (text: CodeText, at: MessageVersion, fields: Fields, object: string, path: string): void => {
  for (const [name, field] of Object.entries(fields)) {
    if (field.ignorable || isIn(field.versions, at.version)) continue
    const variable = text.name("x")
    text.add(
      `const ${variable} = ${object}.${name}`,
      `if (${variable} !== undefined && (${differs(field, variable)})) lacks(${quote(pathOf(path, name))})`
    )
  }
}

const emitTagWrites = (
  text: CodeText,
  at: MessageVersion,
  tagged: ReadonlyArray<NamedField>,
  object: string,
  path: string
): void => {
  if (tagged.length === 0) {
    text.add(`b[o++] = 0`)
    return
  }
  assert(tagged.length < 128, "the count of tags takes one byte")
  const present = tagged.map((named) => {
    const variable = emitRead(text, object, named)
    const flag = text.name("has")
    text.add(`const ${flag} = ${differs(named[1], variable)}`)
    return { named, variable, flag }
  })
  text.add(`b[o++] = ${present.map(({ flag }) => `(${flag} ? 1 : 0)`).join(" + ")}`)
  for (const { named, variable, flag } of present) {
    text.add(`if (${flag}) {`, `o = uvarint(b, o, ${named[1].tag})`, `o = uvarint(b, o, Z[z++])`)
    emitWriteOf(text, at, named[1], variable, pathOf(path, named[0]))
    text.add(`}`)
  }
}

const byteAt = (distance: number): string => (distance === 0 ? "b[o]" : `b[o + ${distance}]`)

const INTEGERS: Readonly<Record<string, readonly [bytes: number, fits: string]>> = {
  int8: [1, "x << 24 >> 24"],
  int16: [2, "x << 16 >> 16"],
  uint16: [2, "x & 65535"],
  int32: [4, "x | 0"],
  uint32: [4, "x >>> 0"]
}

const emitFixedWrite = (text: CodeText, field: Field, variable: string, path: string, distance: number): void => {
  const integer = INTEGERS[field.kind]
  if (integer !== undefined) {
    const [bytes, fits] = integer
    const shown = `${quote(`it must be an ${field.kind}, not `)} + ${variable}`
    text.add(`if ((${fits.replace("x", variable)}) !== ${variable}) fail(${quote(path)}, ${shown})`)
    for (let byte = 0; byte < bytes; byte++) {
      const shift = (bytes - 1 - byte) * 8
      text.add(`${byteAt(distance + byte)} = ${shift === 0 ? variable : `${variable} >>> ${shift}`}`)
    }
    return
  }
  switch (field.kind) {
    case "bool":
      text.add(`if (${variable} !== true && ${variable} !== false) fail(${quote(path)}, "it must be true or false")`)
      return text.add(`${byteAt(distance)} = ${variable} ? 1 : 0`)
    case "int64":
      return text.add(`int64(b, o + ${distance}, ${variable}, ${quote(path)})`)
    case "float64":
      text.add(`if (typeof ${variable} !== "number") fail(${quote(path)}, "it must be a number")`)
      return text.add(`b.writeDoubleBE(${variable}, o + ${distance})`)
    default:
      assert(field.kind === "uuid", `${field.kind} has no fixed size`)
      return text.add(`uuid(b, o + ${distance}, ${variable}, ${quote(path)})`)
  }
}

const emitWriteOf = (text: CodeText, at: MessageVersion, field: Field, variable: string, path: string): void => {
  const bytes = fixedBytes(field)
  if (bytes !== undefined) {
    emitFixedWrite(text, field, variable, path, 0)
    text.add(`o += ${bytes}`)
    return
  }
  if (!isNullable(at, field)) {
    emitNullCheck(text, at, field, variable, path)
    return emitWriteOfPresent(text, at, field, variable, path)
  }
  text.add(`if (${variable} === null) {`)
  if (field.kind === "struct") text.add(`b[o++] = 255`)
  else if (at.isFlexible) text.add(`b[o++] = 0`)
  else for (let left = nullBytes(at, field); left > 0; left--) text.add(`b[o++] = 255`)
  text.add(`} else {`)
  if (field.kind === "struct") text.add(`b[o++] = 1`)
  emitWriteOfPresent(text, at, field, variable, path)
  text.add(`}`)
}

/** Writes the length or count in `l`. */
const emitPrefix = (text: CodeText, at: MessageVersion, field: Field): void => {
  if (at.isFlexible) text.add(`if (l < 127) b[o++] = l + 1`, `else o = uvarint(b, o, l + 1)`)
  else if (field.kind === "string") text.add(`b[o] = l >>> 8`, `b[o + 1] = l`, `o += 2`)
  else text.add(`b[o] = l >>> 24`, `b[o + 1] = l >>> 16`, `b[o + 2] = l >>> 8`, `b[o + 3] = l`, `o += 4`)
}

const emitWriteOfPresent = (text: CodeText, at: MessageVersion, field: Field, variable: string, path: string): void => {
  if (field.kind === "struct") return emitWrite(text, at, field.fields!, variable, path)
  text.add(`l = ${field.kind === "string" || field.kind === "records" ? "Z[z++]" : `${variable}.length`}`)
  emitPrefix(text, at, field)
  switch (field.kind) {
    case "string":
      return text.add(`o = string(b, o, ${variable}, l)`)
    case "bytes":
      return text.add(`b.set(${variable}, o)`, `o += l`)
    case "records":
      return text.add(`if (l > 0) { scratch.cuts.push(o); scratch.records.push(${variable}) }`)
    default: {
      const [index, element] = [text.name("i"), text.name("e")]
      text.add(`for (let ${index} = 0; ${index} < ${variable}.length; ${index}++) {`)
      text.add(`const ${element} = ${variable}[${index}]`)
      emitWriteOf(text, at, field.element!, element, `${path}[]`)
      text.add(`}`)
    }
  }
}
