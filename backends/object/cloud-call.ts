/**
 * One call of a cloud adapter as the port's Effect: interruption becomes an abort signal, failures become
 * ObjectStoreError.
 *
 * The causes are texts of our own, never the SDKs' errors: those hold requests with signatures and tokens.
 */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectHead, ObjectStoreError } from "#core/ports/object-store.ts"
import { failureText } from "./failure-text.ts"
import { CloudFault, cloudFault } from "./http-fault.ts"
import { type ObjectOperation, keyFault } from "./request-check.ts"

export interface CloudCall {
  readonly operation: ObjectOperation
  readonly bucket: string
  readonly key: string
  /** Where the bucket is, for people: `gs://bucket/prefix`, with its endpoint where it has one. */
  readonly place: string
}

/** Runs the work. It must reject with CloudFault only: anything else is a defect. An interrupted caller does not wait. */
export const cloudCall = <A>(
  call: CloudCall,
  work: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, ObjectStoreError> =>
  Effect.callback<A, ObjectStoreError>((resume) => {
    const controller = new AbortController()
    work(controller.signal).then(
      (answer) => resume(Effect.succeed(answer)),
      (failed: unknown) =>
        resume(failed instanceof CloudFault ? Effect.fail(toError(call, failed)) : Effect.die(failed))
    )
    return Effect.sync(() => controller.abort())
  })

const toError = ({ operation, bucket, key, place }: CloudCall, { failure, key: failedKey }: CloudFault) => {
  const changes = operation === "put" || operation === "delete"
  return new ObjectStoreError({
    reason: failure.reason,
    outcome: changes ? failure.outcome : "definite",
    operation,
    bucket,
    key: failedKey ?? key,
    cause: new Error(failureText({ during: operation, place, what: failure.text, fix: failure.fix }))
  })
}

/**
 * Deletes all keys, so many at a time; the first failure stops the rest from beginning and is thrown when all have ended:
 * as definite only where none of them can have been deleted.
 */
export const deleteEach = async (
  keys: ReadonlyArray<string>,
  deleteOne: (key: string) => Promise<void>
): Promise<void> => {
  let next = 0
  let changing = false
  let failure: unknown
  const lane = async (): Promise<void> => {
    while (next < keys.length && failure === undefined) {
      try {
        await deleteOne(keys[next++]!)
        changing = true
      } catch (error) {
        if (error instanceof CloudFault && error.failure.reason === "NotFound") continue
        changing ||= error instanceof CloudFault && error.failure.outcome === "indefinite"
        failure ??= error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limits.cloudDeletesRunning, keys.length) }, lane))
  if (failure === undefined) return
  if (!changing || !(failure instanceof CloudFault)) throw failure
  throw new CloudFault({ ...failure.failure, outcome: "indefinite" }, failure.key)
}

/** The promise's value, unless time or the caller's patience ends first: then what `refuse` makes of it is thrown. */
export const inTime = <A>(promise: Promise<A>, signal: AbortSignal, refuse: (why: string) => CloudFault): Promise<A> =>
  new Promise((resolve, reject) => {
    const end = (act: () => void) => () => {
      clearTimeout(timer)
      signal.removeEventListener("abort", abandon)
      act()
    }
    const late = `not within ${limits.cloudRequestMs} ms`
    const timer = setTimeout(
      end(() => reject(refuse(late))),
      limits.cloudRequestMs
    )
    const abandon = end(() => reject(refuse("given up by the caller")))
    signal.addEventListener("abort", abandon)
    promise.then(
      (value) => end(() => resolve(value))(),
      (error: unknown) => end(() => reject(error as Error))()
    )
  })

/** What is wrong with what stands before all keys of a bucket. */
export const prefixFault = (prefix: string): string | undefined => {
  if (prefix === "") return undefined
  const fault = prefix.endsWith("/") ? keyFault(prefix.slice(0, -1)) : 'it must end in "/"'
  return fault === undefined ? undefined : `prefix "${prefix}": ${fault}`
}

/**
 * Where the names after a name begin, for stores that list from a name on, that one included. "-" is the first character
 * that keys have (request-check.ts), so no key lies between the two; a zero byte would do too, but is none of XML's.
 */
export const successorOf = (name: string): string => `${name}-`

/**
 * Reads pages until there are enough keys. A page may be shorter than asked, and even empty, while there is more. Keys out
 * of order would make readers miss some, and are refused.
 */
export const listPages = async (
  request: { readonly after?: string; readonly limit: number },
  read: (
    token: string | undefined,
    leftMax: number
  ) => Promise<{ readonly heads: ReadonlyArray<ObjectHead>; readonly token: string | undefined }>
): Promise<ReadonlyArray<ObjectHead>> => {
  const { after, limit } = request
  const heads: Array<ObjectHead> = []
  let token: string | undefined
  let last = after
  for (let pages = 0; pages < limits.cloudListPagesMax; pages++) {
    const page = await read(token, limit - heads.length)
    for (const head of page.heads) {
      if (heads.length === limit) return heads
      if (last !== undefined && head.key <= last) throw outOfOrder(last, head.key)
      if (!Number.isSafeInteger(head.objectBytes)) throw cloudFault("Unavailable", `list gave no size of ${head.key}`)
      heads.push(head)
      last = head.key
    }
    token = page.token
    if (token === undefined || heads.length === limit) return heads
  }
  if (heads.length === 0) throw cloudFault("Unavailable", `list: ${limits.cloudListPagesMax} pages held no key`)
  return heads
}

const outOfOrder = (last: string, key: string): CloudFault =>
  cloudFault("Corrupt", `the store lists ${key} after ${last}, not in order of bytes`, {
    fix: "use an account without hierarchical namespace"
  })
