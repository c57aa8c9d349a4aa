/**
 * Values between PostgreSQL's text form and the program's [pure].
 *
 * Every number is checked to be one that a double holds exactly; UUIDs lose their dashes. The placeholders of all
 * statements are cast in SQL, so what is sent needs no types.
 */
import { assert } from "#core/model/assert.ts"

/** The parser of a column, by its type's object id. */
export const parserOf = (typeId: number): ((text: string) => unknown) => PARSERS.get(typeId) ?? asText

const BOOL = 16
const BYTEA = 17
const INT8 = 20
const INT2 = 21
const INT4 = 23
const FLOAT8 = 701
const NUMERIC = 1700
const UUID = 2950

const asText = (text: string): string => text

const wholeNumber = (text: string): number => {
  const value = Number(text)
  assert(
    Number.isSafeInteger(value),
    `the database says ${text.slice(0, 40)}, which is no number this program can hold`
  )
  return value
}

/** `\x…`: each session sets bytea_output, so no other form comes. */
const bytes = (text: string): Buffer => {
  assert(text.startsWith("\\x"), "the database sends bytes in hexadecimal")
  return Buffer.from(text.slice(2), "hex")
}

const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [BOOL, (text) => text === "t"],
  [BYTEA, bytes],
  [INT8, wholeNumber],
  [INT2, wholeNumber],
  [INT4, wholeNumber],
  [FLOAT8, Number],
  // Sums of whole numbers.
  [NUMERIC, wholeNumber],
  [UUID, (text) => text.replaceAll("-", "")]
])
