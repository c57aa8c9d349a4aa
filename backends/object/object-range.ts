/** [pure] What a range means of an object of a certain size. Without the port's classes: threads load it too. */
import type { ByteRange } from "#core/ports/object-store.ts"

/**
 * The part of an object that a range means; undefined where it begins at or after the end. An empty object has no
 * range.
 */
export const resolveRange = (
  range: ByteRange | undefined,
  objectBytes: number
): { readonly offset: number; readonly length: number } | undefined => {
  if (range === undefined) return { offset: 0, length: objectBytes }
  if (objectBytes === 0) return undefined
  if ("last" in range) {
    const length = Math.min(range.last, objectBytes)
    return { offset: objectBytes - length, length }
  }
  if (range.offset >= objectBytes) return undefined
  return { offset: range.offset, length: Math.min(range.length, objectBytes - range.offset) }
}
