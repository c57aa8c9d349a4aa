/**
 * Names of segment objects [pure].
 *
 *   segments/<bucketSet>/<YYYY-MM-DD>/<HH>/<createdAtMs, 15 digits>-<segmentId, 32 hex digits>
 *   segments/quorum/2026-03-01/17/001772386245678-0f8e4a…
 *
 * Invariants:
 * - The key is a function of the segment's address alone, so whoever has a log entry can name the object, in any
 *   bucket. It is put once and never again: a segment id is never used twice.
 * - Keys of one bucket set, in order of their bytes, are in order of creation time: who looks for old segments
 *   (orphans) lists from the front and stops at the first young one.
 * - Day and hour (UTC, of createdAtMs) are for people and for stores with directories, which get slow with many files
 *   in one. They are redundant, so a key whose parts disagree is refused: every segment has exactly one key.
 * - No key is a directory of another: all have five parts. All parts match [A-Za-z0-9._=-].
 */
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { isUuid } from "#core/model/uuid.ts"
// oxlint-disable-next-line no-restricted-imports -- type only: plain data that the segment port's contract defines
import { type SegmentAddress } from "#core/ports/segment-store.ts"
import { UTC_TEXT_MS_MAX, utcText } from "./utc-text.ts"

const SET_PATTERN = /^[A-Za-z0-9._=-]{1,128}$/
const KEY_PATTERN = /^segments\/([A-Za-z0-9._=-]{1,128})\/\d{4}-\d{2}-\d{2}\/\d{2}\/(\d{15})-([0-9a-f]{32})$/

/** Whether a bucket set may have this name. */
export const isBucketSetName = (name: string): boolean => SET_PATTERN.test(name) && name !== "." && name !== ".."

export const segmentKey = (address: SegmentAddress): string => {
  const { segmentId, createdAtMs, bucketSet } = address
  assert(isUuid(segmentId), `segmentId must be 32 hex digits, got ${segmentId}`)
  return `${segmentKeyFirst({ createdAtMs, bucketSet })}-${segmentId}`
}

/** The address that has this key; undefined where it is no segment's key. */
export const parseSegmentKey = (key: string): SegmentAddress | undefined => {
  if (key.length > limits.objectKeyBytesMax) return undefined
  const match = KEY_PATTERN.exec(key)
  if (match === null || !isBucketSetName(match[1]!)) return undefined
  const address = { segmentId: match[3]!, createdAtMs: Number(match[2]), bucketSet: match[1]! }
  if (address.createdAtMs > UTC_TEXT_MS_MAX) return undefined
  return segmentKey(address) === key ? address : undefined
}

/** What the keys of all segments of a bucket set begin with, and no other key does. */
export const segmentKeyPrefix = (bucketSet: string): string => {
  assert(isBucketSetName(bucketSet), `bucketSet must match ${SET_PATTERN}, got ${bucketSet}`)
  return `segments/${bucketSet}/`
}

/**
 * Not a key itself: sorts behind the keys of all segments created before this time and before those created at it or
 * later.
 */
export const segmentKeyFirst = (place: { readonly createdAtMs: number; readonly bucketSet: string }): string => {
  const { createdAtMs, bucketSet } = place
  const isTime = Number.isSafeInteger(createdAtMs) && createdAtMs >= 0 && createdAtMs <= UTC_TEXT_MS_MAX
  assert(isTime, `createdAtMs must be a time up to the year 9999, got ${createdAtMs}`)
  const time = utcText(createdAtMs)
  const directory = `${segmentKeyPrefix(bucketSet)}${time.slice(0, 10)}/${time.slice(11, 13)}`
  return `${directory}/${String(createdAtMs).padStart(15, "0")}`
}
