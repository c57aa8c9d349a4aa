/** A failed call of a directory-backed bucket as the port's error. */
import { ObjectStoreError } from "#core/ports/object-store.ts"
import { outcomeOf, reasonOf } from "./fs-error.ts"
import { type ObjectOperation } from "./request-check.ts"

export const toObjectStoreError = (options: {
  readonly operation: ObjectOperation
  readonly bucket: string
  readonly key: string
  /** See fs-error.ts. */
  readonly changing: boolean
  readonly cause: unknown
}): ObjectStoreError => {
  const { changing, ...rest } = options
  const reason = reasonOf(options.cause)
  return new ObjectStoreError({ ...rest, reason, outcome: outcomeOf(reason, changing) })
}
