/**
 * What the errors of Google Cloud Storage's JSON API mean [pure]: HTTP status and `reason` of the answer to the port's
 * reasons, outcomes and what to do.
 *
 * Sources: cloud.google.com/storage/docs/json_api/v1/status-codes; answers of fake-gcs-server. Rule for outcomes: an
 * answer below 500 refuses (nothing changed), but for 408, which says that the store grew tired of waiting; 429 comes
 * before the work. Of 5xx nobody knows.
 */
import type { ObjectStoreReason } from "#core/ports/object-store.ts"
import { answerText } from "./failure-text.ts"
import { clockFix, REASON_BY_STATUS, type StoreFailure } from "./http-fault.ts"
import { type ObjectOperation } from "./request-check.ts"

export interface GcsRefusal {
  readonly operation: ObjectOperation
  readonly status: number
  /** `error.errors[0].reason`; empty where the body had none. */
  readonly code: string
  readonly message: string
  /** The bucket's name at Google. */
  readonly bucket: string
  /** This machine's clock minus the store's, by the answer's Date; undefined where it had none. */
  readonly clockSkewMs: number | undefined
}

export const failureOfGcs = (refusal: GcsRefusal): StoreFailure => {
  const { status } = refusal
  const unsure = status >= 500 || status === 408
  return {
    reason: reasonOf(refusal),
    outcome: unsure ? "indefinite" : "definite",
    text: answerText(refusal),
    fix: fixOf(refusal)
  }
}

/** Of `error.errors[0].reason`, whatever the status; then by status. */
const reasonOf = ({ operation, status, code }: GcsRefusal): ObjectStoreReason => {
  const byCode = REASON_BY_CODE[code]
  if (byCode !== undefined) return byCode
  if (status === 412) return operation === "put" ? "AlreadyExists" : "InvalidRequest"
  if (status === 404) return operation === "get" || operation === "head" ? "NotFound" : "Unavailable"
  // Not InvalidRequest of other refusals: keys were checked before. A body that was damaged on its way is one (400).
  return REASON_BY_STATUS[status] ?? "Unavailable"
}

/** 403 is also how some quotas and throttles are told. */
const REASON_BY_CODE: Readonly<Record<string, ObjectStoreReason>> = {
  rateLimitExceeded: "Unavailable",
  userRateLimitExceeded: "Unavailable",
  quotaExceeded: "Unavailable",
  dailyLimitExceeded: "Unavailable",
  backendError: "Unavailable"
}

const PERMISSION: Readonly<Record<ObjectOperation, string>> = {
  put: "storage.objects.create",
  get: "storage.objects.get",
  // An absent object is only told to who may list; others get 403.
  head: "storage.objects.get and storage.objects.list",
  list: "storage.objects.list",
  delete: "storage.objects.delete"
}

const fixOf = (refusal: GcsRefusal): string | undefined => {
  const { operation, status, code, bucket } = refusal
  if (code in FIX_BY_CODE) return FIX_BY_CODE[code]
  switch (status) {
    case 401:
      return (
        clockFix(refusal.clockSkewMs) ??
        "the credentials are missing, wrong or expired: renew them (Application Default Credentials)"
      )
    case 403:
      return (
        clockFix(refusal.clockSkewMs) ??
        `grant ${PERMISSION[operation]} on bucket ${bucket} (roles/storage.objectUser has all that is needed)`
      )
    case 404:
      return operation === "get" || operation === "head"
        ? undefined
        : `make the bucket ${bucket}, or correct its name in the topology`
    case 429:
      return THROTTLED
    case 503:
      return THROTTLED
    default:
      return undefined
  }
}

const THROTTLED = "the store asks for fewer requests; it is tried again later"

const FIX_BY_CODE: Readonly<Record<string, string>> = {
  rateLimitExceeded: THROTTLED,
  userRateLimitExceeded: THROTTLED,
  quotaExceeded: "a quota of the project is used up: raise it",
  dailyLimitExceeded: "a quota of the project is used up: raise it",
  accountDisabled: "the account is disabled: check billing and the service account",
  userProjectMissing: "the bucket is requester-pays, which is not supported: turn that off"
}

const TOKEN_REFUSED =
  "the credentials were revoked or have expired, or this machine's clock is wrong: renew them, and check NTP"
const TOKEN_UNREACHABLE = "the token server cannot be reached: check the route to it, DNS and firewalls"
const NO_CREDENTIALS =
  "give credentials that Google's default chain finds: GOOGLE_APPLICATION_CREDENTIALS, " +
  '"gcloud auth application-default login", or a service account of the machine'

/** An error of fetching a token, before any request was made. */
export const failureOfToken = (error: {
  /** Of the token endpoint; 0 where it did not answer. */
  readonly status: number
  /** OAuth's `error`, or a socket's errno. */
  readonly code: string
  readonly message: string
}): StoreFailure => {
  const { status, code, message } = error
  const text = `no access token: ${answerText({ code, status: status === 0 ? undefined : status, message })}`
  if (code === "invalid_grant" || code === "invalid_client" || code === "unauthorized_client") {
    return { reason: "AccessDenied", outcome: "definite", text, fix: TOKEN_REFUSED }
  }
  if (status === 0 && code !== "") return { reason: "Unavailable", outcome: "definite", text, fix: TOKEN_UNREACHABLE }
  if (status >= 500 || status === 429) return { reason: "Unavailable", outcome: "definite", text, fix: undefined }
  return { reason: "AccessDenied", outcome: "definite", text, fix: NO_CREDENTIALS }
}
