/**
 * One call of a cloud adapter as the port's Effect: interruption becomes an abort signal, failures become
 * ObjectStoreError.
 *
 * The causes are texts of our own, never the SDKs' errors: those hold requests with signatures and tokens.
 */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { ObjectStoreError, type ObjectStoreReason } from "#core/ports/object-store.ts"
import { type StoreFailure } from "./http-fault.ts"
import { type ObjectOperation } from "./request-check.ts"

/** A failure of the store, with the key that it concerns where that is not the call's. */
export class CloudFault extends Error {
  override readonly name = "CloudFault"
  readonly failure: StoreFailure
  readonly key: string | undefined

  constructor(failure: StoreFailure, key?: string) {
    super(failure.text)
    this.failure = failure
    this.key = key
  }
}

export const cloudFault = (
  reason: ObjectStoreReason,
  text: string,
  outcome: StoreFailure["outcome"] = "definite"
): CloudFault => new CloudFault({ reason, outcome, text })

export interface CloudCall {
  readonly operation: ObjectOperation
  readonly bucket: string
  readonly key: string
  /** Where the bucket is, for people: `gs://bucket/prefix`. */
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
    cause: new Error(`${place}: ${failure.text}`)
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
