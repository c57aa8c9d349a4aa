/**
 * What every object store adapter checks before it does anything, so that all refuse the same
 * (core/ports/object-store.ts).
 *
 * The faults are texts for the `cause` of an InvalidRequest: they name the field and what it must be. Keys are checked
 * strictly because directory-backed stores make paths of them: what passes here cannot leave the bucket.
 */
import { type ByteRange, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { limits } from "#core/model/limits.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { BUCKET_MARKER, TEMPORARY_DIRECTORY } from "./fs-layout.ts"

export type ObjectOperation = ObjectStoreError["operation"]

const KEY_PART_PATTERN = /^[A-Za-z0-9._=-]{1,255}$/
const PREFIX_PATTERN = /^[A-Za-z0-9._=/-]*$/

export type ListRequest = Parameters<ObjectStore["list"]>[0]

/** Nothing has this key: to whoever asks whether a bucket answers, that it is not there is as good an answer as any. */
export const PROBE_KEY = "_meridian-probe"

/** Why the key is malformed; undefined where it is not. */
export const keyFault = (key: string): string | undefined => {
  if (key.length === 0 || key.length > limits.objectKeyBytesMax) {
    return `key must have 1 to ${limits.objectKeyBytesMax} bytes, has ${key.length}`
  }
  const parts = key.split("/")
  for (const part of parts) {
    if (!KEY_PART_PATTERN.test(part))
      return `each part of the key must match ${KEY_PART_PATTERN.source}, "${part}" does not`
    if (part === "." || part === "..") return `no part of the key may be "${part}"`
  }
  if (parts[0] === TEMPORARY_DIRECTORY || parts[0] === BUCKET_MARKER) return `key must not begin with "${parts[0]}"`
  return undefined
}

export const putFault = (key: string, chunks: ReadonlyArray<Uint8Array>): string | undefined => {
  const fault = keyFault(key)
  if (fault !== undefined) return fault
  const bytes = bytesOf(chunks)
  return bytes > limits.objectBytesMax
    ? `body must have at most ${limits.objectBytesMax} bytes, has ${bytes}`
    : undefined
}

export const getFault = (key: string, range: ByteRange | undefined): string | undefined =>
  keyFault(key) ?? (range === undefined ? undefined : rangeFault(range))

export const listFault = ({ prefix, after, limit }: ListRequest): string | undefined => {
  if (prefix.length > limits.objectKeyBytesMax || !PREFIX_PATTERN.test(prefix)) {
    return `prefix must be the beginning of a key, "${prefix}" is not`
  }
  if (after !== undefined && (after.length > limits.objectKeyBytesMax || !PREFIX_PATTERN.test(after))) {
    return `after must have a key's characters and length, "${after}" has not`
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.listKeysMax) {
    return `limit must be 1 to ${limits.listKeysMax}, is ${limit}`
  }
  return undefined
}

export const deleteFault = (keys: ReadonlyArray<string>): string | undefined => {
  if (keys.length > limits.deleteKeysMax) return `at most ${limits.deleteKeysMax} keys at once, got ${keys.length}`
  for (const key of keys) {
    const fault = keyFault(key)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** The error of a request that was refused before anything was done. */
export const invalidRequest = (options: {
  readonly operation: ObjectOperation
  readonly bucket: string
  readonly key: string
  readonly fault: string
}): ObjectStoreError => {
  const { fault, ...place } = options
  return new ObjectStoreError({ reason: "InvalidRequest", outcome: "definite", ...place, cause: new Error(fault) })
}

const rangeFault = (range: ByteRange): string | undefined => {
  if ("last" in range) {
    return isCount(range.last, 1) ? undefined : `range.last must be a whole number >= 1, is ${range.last}`
  }
  if (!isCount(range.offset, 0)) return `range.offset must be a whole number >= 0, is ${range.offset}`
  if (!isCount(range.length, 1)) return `range.length must be a whole number >= 1, is ${range.length}`
  return undefined
}

const isCount = (value: number, min: number): boolean => Number.isSafeInteger(value) && value >= min
