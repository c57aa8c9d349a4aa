/**
 * The language in which the API tables are written (core/protocol/api) [pure].
 *
 * One table describes all versions of an API; request and response types are inferred from it, and compiler.ts makes
 * codecs of it. A table holds facts only: adding an API must never need a change here.
 *
 * Ranges are written as Kafka writes them: `3+`, `0-12`, `7`. A field without a range is there in every version of its
 * API. Values on the wire: int64 is a number (rounded beyond 2^53), uuid 32 hex digits, bytes and records are Buffers.
 */
import { assert } from "#core/model/assert.ts"
import { UUID_ZERO, type Uuid } from "#core/model/uuid.ts"

export type ScalarKind =
  | "bool"
  | "int8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "float64"
  | "uuid"
  | "string"
  | "bytes"
  | "records"
export type FieldKind = ScalarKind | "array" | "struct"

/** What a value names, for whoever walks messages by meaning (authorization, renaming in mirrors). */
export type EntityType = "topicName" | "groupId" | "transactionalId" | "producerId" | "brokerId"

/** Inclusive. `VERSION_MAX` stands for an open end. */
export interface VersionRange {
  readonly min: number
  readonly max: number
}
export const VERSION_MAX = 32_767

/** Required: an encoder's caller must give it. Optional: left out, it takes its default. */
export type Presence = "required" | "optional"

export type Default = string | number | boolean | null

export interface Options<T> {
  /** Versions in which null is allowed; `true`: wherever the field is. */
  readonly nullable?: string | true
  /** Otherwise zero, false, empty; `records` are null. */
  readonly default?: T | null
  /** A value other than the default is dropped silently in versions that lack the field, instead of an error. */
  readonly ignorable?: true
  readonly entity?: EntityType
  /** Written as a tagged field under this number, only where it is not the default. */
  readonly tag?: number
}

/** `Decoded` and `Input` are only types: what decoding gives, what encoding takes. */
export interface Field<Decoded = unknown, Input = Decoded, P extends Presence = Presence> {
  readonly kind: FieldKind
  readonly versions: VersionRange
  readonly nullable: VersionRange | undefined
  readonly default: Default | undefined
  readonly ignorable: boolean
  /** Whether an encoder's caller may leave it out: it has a default, a tag, a version range, or is ignorable. */
  readonly optional: boolean
  readonly entity: EntityType | undefined
  readonly tag: number | undefined
  /** Of arrays. */
  readonly element: Field | undefined
  /** Of structs, in wire order. */
  readonly fields: Fields | undefined
  readonly "~decoded"?: (_: never) => Decoded
  readonly "~input"?: (_: never) => Input
  readonly "~presence"?: (_: never) => P
}
export type Fields = Readonly<Record<string, Field>>

// --- inferred types -----------------------------------------------------------------------------------------------

type DecodedValue<F> = F extends { readonly "~decoded"?: (_: never) => infer D } ? D : never
type InputValue<F> = F extends { readonly "~input"?: (_: never) => infer I } ? I : never
type PresenceOf<F> = F extends { readonly "~presence"?: (_: never) => infer P } ? P : never

/** What decoding gives: every field of the table, those that the version lacks with their default. */
export type Decoded<F extends Fields> = { readonly [K in keyof F]: DecodedValue<F[K]> }

/** What encoding takes: fields with a default, a tag or a version range may be left out. */
export type Input<F extends Fields> = {
  readonly [K in keyof F as PresenceOf<F[K]> extends "required" ? K : never]: InputValue<F[K]>
} & {
  readonly [K in keyof F as PresenceOf<F[K]> extends "required" ? never : K]?: InputValue<F[K]> | undefined
}

type OrNull<T, O> = O extends { readonly nullable: string | true } ? T | null : T
type PresenceFor<O> = O extends { readonly default: Default } | { readonly ignorable: true } | { readonly tag: number }
  ? "optional"
  : "required"

// --- builders -----------------------------------------------------------------------------------------------------

interface Builder<D, T extends Default, I = D> {
  (): Field<D, I, "required">
  <const O extends Options<T>>(options: O): Field<OrNull<D, O>, OrNull<I, O>, PresenceFor<O>>
  <const O extends Options<T> = {}>(versions: string, options?: O): Field<OrNull<D, O>, OrNull<I, O>, "optional">
}

const ALL: VersionRange = { min: 0, max: VERSION_MAX }

/** `3+`, `0-12` or `7`. */
export const parseVersions = (text: string): VersionRange => {
  const match = /^(\d+)(?:(\+)|-(\d+))?$/.exec(text)
  assert(match !== null, `a version range is "3+", "0-12" or "7", not "${text}"`)
  const min = Number(match[1])
  const max = match[2] === "+" ? VERSION_MAX : Number(match[3] ?? min)
  assert(min <= max && max <= VERSION_MAX, `version range "${text}" is empty`)
  return { min, max }
}

/** A field of any kind from plain parts: what the typed builders below share, and what tables made from data use. */
export const makeField = (
  kind: FieldKind,
  versions: string | undefined,
  options: Options<Default>,
  parts: { readonly element?: Field; readonly fields?: Fields } = {}
): Field => {
  const range = versions === undefined ? ALL : parseVersions(versions)
  const nullable = options.nullable === true ? range : options.nullable && parseVersions(options.nullable)
  const canBeNull = kind === "string" || kind === "bytes" || kind === "records" || kind === "array" || kind === "struct"
  assert(nullable === undefined || canBeNull, `${kind} cannot be null`)
  assert(options.default !== null || nullable !== undefined, `a default of null needs a nullable ${kind}`)
  assert(
    options.default == null || (kind !== "array" && kind !== "struct"),
    `${kind} has no default but empty and null`
  )
  return {
    kind,
    versions: range,
    nullable: nullable || undefined,
    default: options.default,
    ignorable: options.ignorable === true,
    optional:
      versions !== undefined ||
      options.default !== undefined ||
      options.tag !== undefined ||
      options.ignorable === true,
    entity: options.entity,
    tag: options.tag,
    element: parts.element,
    fields: parts.fields
  }
}

const splitArguments = (args: ReadonlyArray<unknown>): readonly [string | undefined, Options<Default>] =>
  typeof args[0] === "string"
    ? [args[0], (args[1] ?? {}) as Options<Default>]
    : [undefined, (args[0] ?? {}) as Options<Default>]

const scalar = <D, T extends Default, I = D>(kind: ScalarKind): Builder<D, T, I> =>
  ((...args: ReadonlyArray<unknown>) => makeField(kind, ...splitArguments(args))) as Builder<D, T, I>

export const bool = scalar<boolean, boolean>("bool")
export const int8 = scalar<number, number>("int8")
export const int16 = scalar<number, number>("int16")
export const uint16 = scalar<number, number>("uint16")
export const int32 = scalar<number, number>("int32")
export const uint32 = scalar<number, number>("uint32")
/** A number: exact up to 2^53, rounded beyond (decode), clamped to int64 (encode). */
export const int64 = scalar<number, number>("int64")
export const float64 = scalar<number, number>("float64")
export const uuid = scalar<Uuid, string>("uuid")
export const string = scalar<string, string>("string")
/** Decoded as a view of the frame: it lives as long as the frame's buffer and must be copied to outlive it. */
export const bytes = scalar<Buffer, never, Uint8Array>("bytes")
/** Record batches. Decoded as a view of the frame, encoded without being copied: one buffer, or several in a row. */
export const records = scalar<Buffer, never, Buffer | ReadonlyArray<Buffer>>("records")

/** The element of an array: a scalar, or the fields of a struct. */
type Element = Field | Fields
type DecodedElement<E> = E extends Field ? DecodedValue<E> : E extends Fields ? Decoded<E> : never
type InputElement<E> = E extends Field ? InputValue<E> : E extends Fields ? Input<E> : never
type ArrayField<E, O, P extends Presence> = Field<
  OrNull<ReadonlyArray<DecodedElement<E>>, O>,
  OrNull<ReadonlyArray<InputElement<E>>, O>,
  P
>
interface ArrayBuilder {
  <const E extends Element>(element: E): ArrayField<E, {}, "required">
  <const E extends Element>(versions: string, element: E): ArrayField<E, {}, "optional">
  <const O extends Options<never>, const E extends Element>(options: O, element: E): ArrayField<E, O, PresenceFor<O>>
  <const O extends Options<never>, const E extends Element>(
    versions: string,
    options: O,
    element: E
  ): ArrayField<E, O, "optional">
}
type StructField<F extends Fields, O, P extends Presence> = Field<OrNull<Decoded<F>, O>, OrNull<Input<F>, O>, P>
interface StructBuilder {
  <const F extends Fields>(fields: F): StructField<F, {}, "required">
  <const F extends Fields>(versions: string, fields: F): StructField<F, {}, "optional">
  <const O extends Options<never>, const F extends Fields>(options: O, fields: F): StructField<F, O, PresenceFor<O>>
  <const O extends Options<never>, const F extends Fields>(
    versions: string,
    options: O,
    fields: F
  ): StructField<F, O, "optional">
}

const isField = (element: Element): element is Field => typeof (element as { kind?: unknown }).kind === "string"

/** Its last argument is the element: a scalar, or fields. */
export const array = ((...args: ReadonlyArray<unknown>) => {
  const element = args.at(-1) as Element
  const elementField = isField(element) ? element : makeField("struct", undefined, {}, { fields: element })
  return makeField("array", ...splitArguments(args.slice(0, -1)), { element: elementField })
}) as ArrayBuilder

/** Its last argument is its fields. A nullable struct has an int8 before it: -1 null, 1 there. */
export const struct = ((...args: ReadonlyArray<unknown>) =>
  makeField("struct", ...splitArguments(args.slice(0, -1)), { fields: args.at(-1) as Fields })) as StructBuilder

// --- messages and APIs --------------------------------------------------------------------------------------------

export type Direction = "request" | "response"

export interface Message<F extends Fields = Fields> {
  readonly apiName: string
  readonly direction: Direction
  /** All that the table describes, a version that is not yet stable included. */
  readonly versions: VersionRange
  readonly flexible: VersionRange | undefined
  readonly fields: F
}

export interface Api<K extends number = number, Q extends Fields = Fields, S extends Fields = Fields> {
  readonly key: K
  readonly name: string
  readonly versionMin: number
  /** Newest version that is served: one that Kafka calls unstable is not. */
  readonly versionMax: number
  /** Newest version that the codecs can do. */
  readonly versionLatest: number
  readonly request: Message<Q>
  readonly response: Message<S>
}

export interface ApiDefinition<K extends number, Q extends Fields, S extends Fields> {
  readonly key: K
  readonly name: string
  readonly versions: string
  /** Versions with compact lengths and tags, or `none`. */
  readonly flexible: string
  /** Kafka may still change the newest version: it is neither advertised nor served. */
  readonly latestVersionUnstable?: true
  readonly request: Q
  readonly response: S
}

export type RequestOf<A extends Api> = Decoded<A["request"]["fields"]>
export type ResponseOf<A extends Api> = Decoded<A["response"]["fields"]>
export type RequestInput<A extends Api> = Input<A["request"]["fields"]>
export type ResponseInput<A extends Api> = Input<A["response"]["fields"]>

export const api = <const K extends number, const Q extends Fields, const S extends Fields>(
  definition: ApiDefinition<K, Q, S>
): Api<K, Q, S> => {
  const { key, name, request, response } = definition
  const versions = parseVersions(definition.versions)
  assert(versions.max < VERSION_MAX, `${name} needs a newest version`)
  const flexible = definition.flexible === "none" ? undefined : parseVersions(definition.flexible)
  checkFields(name, request, versions.min, flexible)
  checkFields(name, response, versions.min, flexible)
  return {
    key,
    name,
    versionMin: versions.min,
    versionMax: definition.latestVersionUnstable === true ? versions.max - 1 : versions.max,
    versionLatest: versions.max,
    request: { apiName: name, direction: "request", versions, flexible, fields: request },
    response: { apiName: name, direction: "response", versions, flexible, fields: response }
  }
}

/** Names become code (compilers), tags must be distinct and only where versions are flexible. */
const checkFields = (path: string, fields: Fields, versionMin: number, flexible: VersionRange | undefined): void => {
  const tags = new Set<number>()
  for (const [name, field] of Object.entries(fields)) {
    const here = `${path}.${name}`
    const first = Math.max(field.versions.min, versionMin)
    assert(/^[a-z][A-Za-z0-9]*$/.test(name), `${here} is no camelCase name`)
    if (field.tag !== undefined) {
      assert(flexible !== undefined && first >= flexible.min, `${here} is tagged in an inflexible version`)
      assert(Number.isInteger(field.tag) && field.tag >= 0 && !tags.has(field.tag), `${here} needs a tag of its own`)
      tags.add(field.tag)
    }
    const nested = field.kind === "array" ? field.element?.fields : field.fields
    if (nested !== undefined) checkFields(here, nested, first, flexible)
  }
}

// --- questions that the compiler and generic walkers ask ----------------------------------------------------------

export const isIn = (range: VersionRange | undefined, version: number): boolean =>
  range !== undefined && version >= range.min && version <= range.max

/**
 * The value of a field that is left out or that the version lacks. Arrays and structs: null, or undefined for empty.
 */
export const defaultOf = (field: Field): Default | undefined => {
  if (field.default !== undefined) return field.default
  switch (field.kind) {
    case "bool":
      return false
    case "uuid":
      return UUID_ZERO
    case "string":
      return ""
    case "records":
      return null
    case "bytes":
    case "array":
    case "struct":
      return undefined
    default:
      return 0
  }
}
