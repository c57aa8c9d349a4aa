/**
 * Lists of an S3 bucket, as the port wants them: in order of the keys' bytes, after a key, up to a limit.
 *
 * A bucket of S3 does so by itself. A directory bucket (S3 Express) does not: its lists have no order, know no StartAfter,
 * and take prefixes only that end in "/". There all keys below the longest such prefix are read and the least ones kept:
 * memory stays at twice the limit, but each call costs a request per 1,000 keys below that prefix, and more than
 * limits.storeListPagesMax of them are refused. Objects leave directory buckets soon, so few are there.
 *
 * Keys that Meridian could not have written (other programs' objects, folder markers of consoles) are left out.
 */
import { type _Object, ListObjectsV2Command, type S3Client } from "@aws-sdk/client-s3"
import { limits } from "#core/model/limits.ts"
import { type ObjectHead } from "#core/ports/object-store.ts"
import { keyFault, type ListRequest } from "./request-check.ts"
import { S3Fault } from "./s3-client.ts"

export interface ListedBucket {
  readonly client: S3Client
  readonly bucket: string
  /** Before every key, and not part of it. */
  readonly prefix: string
}

export const listOrdered = async (
  place: ListedBucket,
  request: ListRequest,
  signal: AbortSignal
): Promise<ReadonlyArray<ObjectHead>> => {
  const { after, limit } = request
  const heads: Array<ObjectHead> = []
  let last = after ?? ""
  let token: string | undefined
  for (let page = 0; page < limits.storeListPagesMax; page++) {
    const answer = await place.client.send(
      new ListObjectsV2Command({
        Bucket: place.bucket,
        Prefix: place.prefix + request.prefix,
        MaxKeys: limit - heads.length,
        ...(token === undefined ? {} : { ContinuationToken: token }),
        ...(token !== undefined || after === undefined || after === "" ? {} : { StartAfter: place.prefix + after })
      }),
      { abortSignal: signal }
    )
    for (const head of headsOf(place, request.prefix, answer.Contents ?? [])) {
      if (head.key <= last) throw new S3Fault("OutOfOrder", `"${head.key}" is listed after "${last}"`)
      last = head.key
      if (heads.length < limit) heads.push(head)
    }
    token = answer.IsTruncated === true ? answer.NextContinuationToken : undefined
    if (token === undefined || heads.length === limit) return heads
  }
  throw tooManyKeys(request.prefix)
}

export const listDirectoryBucket = async (
  place: ListedBucket,
  request: ListRequest,
  signal: AbortSignal
): Promise<ReadonlyArray<ObjectHead>> => {
  const { prefix, after = "", limit } = request
  const whole = place.prefix + prefix
  const directory = whole.slice(0, whole.lastIndexOf("/") + 1)
  let least: Array<ObjectHead> = []
  let token: string | undefined
  for (let page = 0; page < limits.storeListPagesMax; page++) {
    const answer = await place.client.send(
      new ListObjectsV2Command({
        Bucket: place.bucket,
        ...(directory === "" ? {} : { Prefix: directory }),
        ...(token === undefined ? {} : { ContinuationToken: token })
      }),
      { abortSignal: signal }
    )
    for (const head of headsOf(place, prefix, answer.Contents ?? [])) {
      if (head.key <= after) continue
      least.push(head)
      if (least.length === 2 * limit) least = leastOf(least, limit)
    }
    token = answer.IsTruncated === true ? answer.NextContinuationToken : undefined
    if (token === undefined) return leastOf(least, limit)
  }
  throw tooManyKeys(prefix)
}

const leastOf = (heads: Array<ObjectHead>, limit: number): Array<ObjectHead> =>
  // Keys are ASCII: the order of strings is that of their bytes.
  heads.sort((a, b) => (a.key < b.key ? -1 : 1)).slice(0, limit)

const headsOf = (
  place: ListedBucket,
  prefix: string,
  contents: ReadonlyArray<Pick<_Object, "Key" | "Size">>
): ReadonlyArray<ObjectHead> =>
  contents.flatMap(({ Key = "", Size = 0 }) => {
    if (!Key.startsWith(place.prefix)) return []
    const key = Key.slice(place.prefix.length)
    return key.startsWith(prefix) && keyFault(key) === undefined ? [{ key, objectBytes: Size }] : []
  })

const tooManyKeys = (prefix: string): S3Fault =>
  new S3Fault(
    "TooManyKeys",
    `more than ${limits.storeListPagesMax} answers hold nothing that was asked for below "${prefix}": list with a longer prefix`
  )
