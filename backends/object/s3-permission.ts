/** [pure] The permission that an operation on a bucket of AWS needs, as a policy names it. */
import { type ObjectOperation } from "./request-check.ts"

export const s3Permission = (place: {
  readonly operation: ObjectOperation
  readonly bucket: string
  readonly prefix: string
  readonly isExpress: boolean
}): { readonly action: string; readonly resource: string } => {
  const { operation, bucket, prefix, isExpress } = place
  // Directory buckets know one permission for all that a session does.
  if (isExpress) return { action: "s3express:CreateSession", resource: `arn:aws:s3express:*:*:bucket/${bucket}` }
  if (operation === "list") return { action: ACTIONS.list, resource: `arn:aws:s3:::${bucket}` }
  return { action: ACTIONS[operation], resource: `arn:aws:s3:::${bucket}/${prefix}*` }
}

const ACTIONS = {
  put: "s3:PutObject",
  get: "s3:GetObject",
  head: "s3:GetObject",
  list: "s3:ListBucket",
  delete: "s3:DeleteObject"
} as const
