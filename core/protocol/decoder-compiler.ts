/**
 * Makes the decoder of one message in one version [pure].
 *
 * The decoder is one straight-line function without version branches: fixed-size neighbours are checked for length
 * together, arrays are loops, tagged fields a switch. Every object of a message has the same keys in the same order in
 * all versions.
 *
 * Invariant: decoding is total. Whatever the bytes are, it returns a value or throws ProtocolError, reads nothing
 * outside [offset, end), and allocates in proportion to the bytes that are there: a count is compared with the bytes
 * left (each element takes some) and with limits before its array exists, and arrays grow as elements are read.
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import {
  CodeText,
  defaultExpression,
  fieldsOf,
  fixedBytes,
  isNullable,
  leastBytes,
  messageName,
  type MessageVersion,
  type NamedField,
  pathOf,
  quote
} from "./code-text.ts"
import { ProtocolError, type ProtocolErrorReason } from "./protocol-error.ts"
import { type Field, type Fields } from "./schema.ts"

/** Decodes the bytes from `offset` to `end`, all of them. Buffers in the answer are views of `bytes`. */
export type Decoder = (bytes: Buffer, offset: number, end: number) => unknown

const STRING_BYTES_MAX = 32_767
/** Up to here a string fits into an answer also where every byte of it is replaced by a character of three. */
const STRING_BYTES_SAFE = Math.floor(STRING_BYTES_MAX / 3)
const EMPTY = Buffer.alloc(0)

export const compileDecoder = (at: MessageVersion): Decoder => {
  const text = new CodeText()
  const value = emitFields(text, at, at.message.fields, "")
  const name = `decode${messageName(at.message)}V${at.version}`
  const code = [
    `"use strict"`,
    `const { fail, short, lies, tooMany, textLength, uvarint, skipTags, cursor, EMPTY } = helpers`,
    `return function ${name}(b, o, end) {`,
    `let n = 0, budget = ${limits.messageElementsMax}`,
    ...text.lines,
    `if (o !== end) fail("trailing-bytes", "", o, (end - o) + " bytes are left over")`,
    `return ${value}`,
    `}`
  ].join("\n")
  // oxlint-disable-next-line typescript/no-implied-eval -- code made of our own tables alone: core/decisions/0001
  return new Function("helpers", "C", code)(helpersOf(at), text.constants) as Decoder
}

/** Code that reads the fields of one struct; answers the object literal of them. */
const emitFields = (text: CodeText, at: MessageVersion, fields: Fields, path: string): string => {
  const { plain, tagged } = fieldsOf(at, fields)
  const variables = new Map<string, string>()
  let run: Array<NamedField> = []
  for (const named of plain) {
    if (fixedBytes(named[1]) === undefined) {
      emitFixedRun(text, run, path, variables)
      run = []
      variables.set(named[0], emitVariable(text, at, named[1], pathOf(path, named[0])))
    } else run.push(named)
  }
  emitFixedRun(text, run, path, variables)
  if (at.isFlexible) emitTags(text, at, tagged, path, variables)
  const parts = Object.entries(fields).map(
    ([name, field]) => `${name}: ${variables.get(name) ?? defaultExpression(field)}`
  )
  return `{ ${parts.join(", ")} }`
}

/** Neighbours of fixed size: one length check, reads at constant distances, one step. */
const emitFixedRun = (
  text: CodeText,
  run: ReadonlyArray<NamedField>,
  path: string,
  variables: Map<string, string>
): void => {
  if (run.length === 0) return
  const widths = run.map(([name, field]) => [pathOf(path, name), fixedBytes(field)!] as const)
  const total = widths.reduce((sum, [, bytes]) => sum + bytes, 0)
  text.add(`if (end - o < ${total}) short(o, end, ${text.constant(widths)})`)
  let distance = 0
  for (const [name, field] of run) {
    const variable = text.name("f")
    variables.set(name, variable)
    text.add(`const ${variable} = ${fixedRead(field, distance)}`)
    distance += fixedBytes(field)!
  }
  text.add(`o += ${total}`)
}

const byteAt = (distance: number): string => (distance === 0 ? "b[o]" : `b[o + ${distance}]`)
const int32At = (distance: number): string =>
  `${byteAt(distance)} << 24 | ${byteAt(distance + 1)} << 16 | ${byteAt(distance + 2)} << 8 | ${byteAt(distance + 3)}`

const fixedRead = (field: Field, distance: number): string => {
  switch (field.kind) {
    case "bool":
      return `${byteAt(distance)} !== 0`
    case "int8":
      return `${byteAt(distance)} << 24 >> 24`
    case "int16":
      return `${byteAt(distance)} << 24 >> 16 | ${byteAt(distance + 1)}`
    case "uint16":
      return `${byteAt(distance)} << 8 | ${byteAt(distance + 1)}`
    case "int32":
      return int32At(distance)
    case "uint32":
      return `(${int32At(distance)}) >>> 0`
    case "int64":
      return `(${int32At(distance)}) * 4294967296 + ((${int32At(distance + 4)}) >>> 0)`
    case "float64":
      return `b.readDoubleBE(o + ${distance})`
    default:
      assert(field.kind === "uuid", `${field.kind} has no fixed size`)
      return `b.hexSlice(o + ${distance}, o + ${distance + 16})`
  }
}

/** Code that reads a value of any kind; answers the variable that holds it. */
const emitValue = (text: CodeText, at: MessageVersion, field: Field, path: string): string => {
  if (fixedBytes(field) === undefined) return emitVariable(text, at, field, path)
  const variables = new Map<string, string>()
  emitFixedRun(text, [["", field]], path, variables)
  return variables.get("")!
}

const emitVariable = (text: CodeText, at: MessageVersion, field: Field, path: string): string => {
  if (field.kind === "struct") return emitStruct(text, at, field, path)
  const variable = text.name("f")
  text.add(`let ${variable} = null`)
  emitLength(text, at, field, path)
  text.add(`if (n < 0) {`)
  if (isNullable(at, field)) text.add(`if (n < -1) fail("malformed", ${quote(path)}, o, "its length is " + n)`)
  else text.add(`fail("malformed", ${quote(path)}, o, n === -1 ? "it must not be null" : "its length is " + n)`)
  text.add(`} else {`)
  if (field.kind === "array") emitArray(text, at, field, path, variable)
  else {
    text.add(`if (n > end - o) lies(${quote(path)}, o, end, n + " bytes are")`)
    if (field.kind === "string") {
      text.add(`if (n > ${STRING_BYTES_MAX}) fail("malformed", ${quote(path)}, o, "a string of " + n + " bytes")`)
    }
    text.add(`${variable} = b.${field.kind === "string" ? "utf8Slice" : "subarray"}(o, o + n)`)
    if (field.kind === "string") text.add(`if (n > ${STRING_BYTES_SAFE}) textLength(${quote(path)}, o, ${variable})`)
    text.add(`o += n`)
  }
  text.add(`}`)
  return variable
}

/** Sets `n`: a length or count, -1 for null. */
const emitLength = (text: CodeText, at: MessageVersion, field: Field, path: string): void => {
  if (at.isFlexible) {
    emitUvarint(text, path)
    text.add(`n -= 1`)
    return
  }
  const bytes = field.kind === "string" ? 2 : 4
  text.add(`if (end - o < ${bytes}) short(o, end, ${text.constant([[path, bytes]])})`)
  text.add(`n = ${bytes === 2 ? "b[o] << 24 >> 16 | b[o + 1]" : int32At(0)}`, `o += ${bytes}`)
}

/** Sets `n`: an unsigned varint. */
const emitUvarint = (text: CodeText, path: string): void => {
  text.add(
    `if (o < end && b[o] < 128) n = b[o++]`,
    `else { n = uvarint(b, o, end, ${quote(path)}); o = cursor.offset }`
  )
}

const emitArray = (text: CodeText, at: MessageVersion, field: Field, path: string, variable: string): void => {
  const element = field.element!
  const least = leastBytes(at, element)
  assert(least > 0, `${path}: elements of an array take at least a byte`)
  const count = text.name("count")
  const index = text.name("i")
  const inner = `${path}[]`
  text.add(
    `const ${count} = n`,
    `if (${count} * ${least} > end - o) lies(${quote(path)}, o, end, ${count} + " elements are")`,
    `if (${count} > ${limits.arrayElementsMax} || (budget -= ${count}) < 0) tooMany(${quote(path)}, o, ${count})`,
    `${variable} = []`,
    `for (let ${index} = 0; ${index} < ${count}; ${index}++) {`
  )
  text.add(`${variable}.push(${emitValue(text, at, element, inner)})`, `}`)
}

const emitStruct = (text: CodeText, at: MessageVersion, field: Field, path: string): string => {
  const variable = text.name("f")
  if (!isNullable(at, field)) {
    text.add(`const ${variable} = ${emitFields(text, at, field.fields!, path)}`)
    return variable
  }
  text.add(`let ${variable} = null`)
  text.add(`if (end - o < 1) short(o, end, ${text.constant([[path, 1]])})`)
  text.add(`n = b[o++]`, `if (n === 1) {`)
  text.add(`${variable} = ${emitFields(text, at, field.fields!, path)}`)
  text.add(`} else if (n !== 255) fail("malformed", ${quote(path)}, o - 1, "a nullable struct begins with 1 or -1")`)
  return variable
}

/** The tag buffer at a struct's end: known tags are decoded within their own bounds, unknown ones skipped. */
const emitTags = (
  text: CodeText,
  at: MessageVersion,
  tagged: ReadonlyArray<NamedField>,
  path: string,
  variables: Map<string, string>
): void => {
  const tagPath = pathOf(path, "<tags>")
  emitUvarint(text, tagPath)
  if (tagged.length === 0) {
    text.add(`if (n !== 0) o = skipTags(b, o, end, n, ${quote(tagPath)})`)
    return
  }
  for (const [name, field] of tagged) {
    const variable = text.name("t")
    variables.set(name, variable)
    text.add(`let ${variable} = ${defaultExpression(field)}`)
  }
  const [left, tag, outer] = [text.name("left"), text.name("tag"), text.name("outer")]
  text.add(`for (let ${left} = n; ${left} > 0; ${left}--) {`)
  emitUvarint(text, tagPath)
  text.add(`const ${tag} = n`)
  emitUvarint(text, tagPath)
  text.add(
    `if (n > end - o) lies(${quote(tagPath)}, o, end, n + " bytes of tag " + ${tag} + " are")`,
    `const ${outer} = end`,
    `end = o + n`,
    `switch (${tag}) {`
  )
  for (const [name, field] of tagged) {
    text.add(`case ${field.tag}: {`)
    const value = emitValue(text, at, field, pathOf(path, name))
    text.add(`${variables.get(name)} = ${value}`)
    text.add(
      `if (o !== end) fail("malformed", ${quote(pathOf(path, name))}, o, "its tag says it is longer")`,
      `break }`
    )
  }
  text.add(`default: o = end`, `}`, `end = ${outer}`, `}`)
}

// --- helpers of the generated code: cold paths, kept out of it ----------------------------------------------------

const helpersOf = (at: MessageVersion) => {
  const cursor = { offset: 0 }
  const fail = (reason: ProtocolErrorReason, field: string, offset: number, problem: string): never => {
    throw new ProtocolError({ reason, message: messageName(at.message), version: at.version, field, offset, problem })
  }
  /** The bytes end within a run of fixed-size fields: finds the first that does not fit. */
  const short = (offset: number, end: number, widths: ReadonlyArray<readonly [string, number]>): never => {
    let position = offset
    for (const [field, bytes] of widths) {
      if (end - position < bytes) {
        return fail("truncated", field, position, `it takes ${bytes} bytes, ${end - position} are left`)
      }
      position += bytes
    }
    return fail("truncated", "", end, "bytes are missing")
  }
  const lies = (field: string, offset: number, end: number, what: string): never =>
    fail("truncated", field, offset, `${what} promised, ${end - offset} bytes are left`)
  const tooMany = (field: string, offset: number, count: number): never => {
    const { arrayElementsMax, messageElementsMax } = limits
    const bounds = `${arrayElementsMax} in an array, ${messageElementsMax} in a message`
    return fail("malformed", field, offset, `${count} elements, with those before it too many (at most ${bounds})`)
  }
  /** Each byte that is no UTF-8 becomes a character of three: longer than any answer could repeat it. */
  const textLength = (field: string, offset: number, text: string): void => {
    const length = Buffer.byteLength(text)
    if (length > STRING_BYTES_MAX) fail("malformed", field, offset, `no UTF-8, and ${length} bytes long when mended`)
  }
  /** At most five bytes, at most 2^31 - 1; leaves the position after it in `cursor`. */
  const uvarint = (bytes: Buffer, offset: number, end: number, field: string): number => {
    let value = 0
    let position = offset
    for (let shift = 0; shift < 35; shift += 7) {
      if (position >= end) return fail("truncated", field, position, "a varint ends in the middle")
      const byte = bytes[position++]!
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 128) {
        if (value > 0x7fffffff) return fail("malformed", field, offset, "a varint beyond 2^31 - 1")
        cursor.offset = position
        return value
      }
    }
    return fail("malformed", field, offset, "a varint of more than five bytes")
  }
  /** All tags of a struct that knows none. */
  const skipTags = (bytes: Buffer, offset: number, end: number, count: number, field: string): number => {
    let position = offset
    for (let left = count; left > 0; left--) {
      uvarint(bytes, position, end, field)
      const length = uvarint(bytes, cursor.offset, end, field)
      position = cursor.offset
      if (length > end - position) return lies(field, position, end, `${length} bytes of a tag are`)
      position += length
    }
    return position
  }
  return { fail, short, lies, tooMany, textLength, uvarint, skipTags, cursor, EMPTY }
}
