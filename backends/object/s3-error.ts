/**
 * What a failed call of S3 means [pure]: error codes, HTTP statuses and socket errors to the port's reason and outcome,
 * and to what an operator can do about it.
 *
 * Rules for outcomes of writes. Definite: the request never left (no address, no connection, no credentials, no session,
 * a certificate that is not trusted), or the store refused it (4xx). Indefinite: everything else. A 5xx says that
 * something broke, not that nothing was stored; a connection that ends may have carried the whole request. That includes
 * 503 SlowDown: "not now" is likely, not promised. The caller settles it by reading back (replication/quorum/copy-put.ts).
 * 409 ConditionalRequestConflict is a refusal of this request, so definite, though it says nothing of an earlier one.
 *
 * Sources: AWS "Error responses" of the S3 API reference; codes of MinIO, Ceph and versitygw where those have their own.
 * Messages of a store are shown, never matched.
 */
import type { ObjectStoreReason } from "#core/ports/object-store.ts"
import { answerText, DAMAGED_FIX, failureText, placeText } from "./failure-text.ts"
import { type ObjectOperation } from "./request-check.ts"
import { s3Permission } from "./s3-permission.ts"

/** What is known of a failure, without the SDK's classes. */
export interface S3Failure {
  /** S3's code, the errno, or the name of the error. */
  readonly code: string
  /** Of the HTTP answer; undefined where there was none. */
  readonly status: number | undefined
  readonly message: string
  /** `connect`: it broke while the connection was made. `credentials`, `session`: before the request itself was sent. */
  readonly phase: "credentials" | "session" | "connect" | "request"
  /** Where the store says that the bucket is. */
  readonly region?: string | undefined
}

/** Where it happened, for the fix. */
export interface S3Place {
  readonly operation: ObjectOperation
  readonly bucket: string
  /** With it, keys of the bucket begin. */
  readonly prefix: string
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly isExpress: boolean
}

export interface S3Verdict {
  readonly reason: ObjectStoreReason
  readonly outcome: "definite" | "indefinite"
  /** What to do; undefined where the answer is in the reason. */
  readonly fix: string | undefined
}

export const s3Verdict = (failure: S3Failure, place: S3Place): S3Verdict => {
  const row = rowOf(failure, place)
  const fix = typeof row.fix === "function" ? row.fix(place, failure) : row.fix
  const isRead = place.operation === "get" || place.operation === "head" || place.operation === "list"
  const outcome = isRead || failure.phase !== "request" ? "definite" : (row.outcome ?? outcomeOf(failure))
  return { reason: row.reason, outcome, fix }
}

/** For the error's cause. */
export const s3Message = (failure: S3Failure, place: S3Place, fix: string | undefined): string =>
  failureText({
    during: failure.phase === "session" ? "CreateSession" : place.operation,
    place: placeText(`s3://${place.bucket}/${place.prefix}`, place.endpoint),
    what: answerText(failure),
    fix
  })

interface Row {
  readonly reason: ObjectStoreReason
  /** Where the status does not say it. */
  readonly outcome?: "definite" | "indefinite"
  readonly fix?: string | ((place: S3Place, failure: S3Failure) => string)
}

const addressOf = (place: S3Place): string =>
  place.endpoint ?? `AWS in ${place.region ?? "the region of the environment"}`

const rowOf = (failure: S3Failure, place: S3Place): Row => {
  if (failure.phase === "credentials") return { reason: "AccessDenied", fix: NO_CREDENTIALS }
  // A missing key is only believed of whoever was asked for it; a 404 of a put or list is the bucket's.
  if (failure.code === "NoSuchKey" && (place.operation === "put" || place.operation === "list")) return MISSING
  const { status } = failure
  return (
    ROWS[failure.code] ??
    (failure.code.startsWith("KMS.") ? KEY_SERVICE : undefined) ??
    (failure.code.startsWith("ERR_SSL") || failure.code.startsWith("ERR_TLS") ? UNTRUSTED : undefined) ??
    (failure.code.startsWith("HPE_") ? NOT_HTTP : undefined) ??
    (status === undefined ? BROKEN : (STATUS_ROWS[status] ?? rowOfClass(status)))
  )
}

const outcomeOf = ({ status, code }: S3Failure): "definite" | "indefinite" => {
  if (status !== undefined) return status >= 300 && status < 500 ? "definite" : "indefinite"
  return NEVER_SENT.has(code) ? "definite" : "indefinite"
}

const rowOfClass = (status: number): Row => {
  if (status >= 500) return UNWELL
  // Not InvalidRequest: keys were checked before, so what is refused here is the store's matter.
  if (status >= 400) return NOT_HTTP
  if (status >= 300) return ELSEWHERE
  // A success that could not be read.
  return NOT_HTTP
}

const NO_CREDENTIALS =
  "give the agent credentials: a role of the machine or pod, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or " +
  "AWS_PROFILE"

const elsewhere = (place: S3Place, { region }: S3Failure): string =>
  region === undefined
    ? `the bucket is in another region than ${place.region ?? "the SDK's"}: write the right one as region= in its URL`
    : `the bucket is in ${region}: write region=${region} in its URL (now ${place.region ?? "none"})`

const denied = (place: S3Place, failure: S3Failure): string => {
  if (place.isExpress) {
    return failure.phase === "session"
      ? `allow s3express:CreateSession on ${s3Permission(place).resource}`
      : `allow s3express:CreateSession with SessionMode ReadWrite on ${s3Permission(place).resource}`
  }
  const { action, resource } = s3Permission(place)
  const missing =
    place.operation === "get" || place.operation === "head"
      ? `, and s3:ListBucket on ${s3Permission({ ...place, operation: "list" }).resource} (without it a missing key is answered so as well)`
      : ""
  return `allow ${action} on ${resource}${missing}; look at bucket policy and key policy too`
}

const MISSING: Row = {
  reason: "Unavailable",
  fix: (place) => `make the bucket ${place.bucket} at ${addressOf(place)}, or correct its URL in the topology`
}
const ELSEWHERE: Row = { reason: "Unavailable", fix: elsewhere }
const DENIED: Row = { reason: "AccessDenied", fix: denied }
const UNWELL: Row = { reason: "Unavailable", fix: "the store has trouble: wait, or look at its own status" }
const SLOW_DOWN: Row = {
  reason: "Unavailable",
  fix: "the store throttles: raise flush.interval.ms (fewer requests), or wait until it has scaled"
}
const KEY_SERVICE: Row = {
  reason: "AccessDenied",
  fix: "the bucket's encryption key cannot be used: allow kms:GenerateDataKey and kms:Decrypt, and look whether it is enabled"
}
const FULL: Row = { reason: "StorageFull", outcome: "definite", fix: "make room in the store, or raise the quota" }
const UNTRUSTED: Row = {
  reason: "Unavailable",
  fix: (place) =>
    `the certificate of ${addressOf(place)} is not trusted: give its authority's file in NODE_EXTRA_CA_CERTS, or a ` +
    "certificate that is valid for this name"
}
const NO_ADDRESS: Row = {
  reason: "Unavailable",
  fix: (place) =>
    `no address is known for ${addressOf(place)}: look at the endpoint's name` +
    (place.endpoint === undefined ? " and region=" : ", at DNS, and whether it needs path-style=true")
}
const NOT_LISTENING: Row = {
  reason: "Unavailable",
  fix: (place) => `nothing answers at ${addressOf(place)}: look whether it runs, and at port and firewall`
}
const BROKEN: Row = { reason: "Unavailable" }
const NOT_HTTP: Row = { reason: "Unavailable", fix: "this is no answer of S3: look whether the endpoint is right" }
const DAMAGED: Row = {
  reason: "Unavailable",
  fix: DAMAGED_FIX
}
const OWN_CLOCK: Row = {
  reason: "Unavailable",
  fix: "this machine's clock is wrong: synchronise it (chrony, ntpd)"
}
const EXPIRED: Row = {
  reason: "AccessDenied",
  fix: "the credentials have expired: renew them, or use a role that the SDK renews by itself"
}
const INVALID: Row = { reason: "InvalidRequest" }
const NESTED: Row = {
  reason: "InvalidRequest",
  fix: "the store keeps keys as files: no key can be a directory of another"
}

const ROWS: Readonly<Record<string, Row>> = {
  NoSuchKey: { reason: "NotFound" },
  PreconditionFailed: { reason: "AlreadyExists" },
  InvalidRange: { reason: "RangeNotSatisfiable" },
  ConditionalRequestConflict: BROKEN,
  OperationAborted: BROKEN,
  NoSuchBucket: MISSING,
  NoSuchTenant: MISSING,
  AccessDenied: DENIED,
  AllAccessDisabled: DENIED,
  AccountProblem: DENIED,
  NotSignedUp: DENIED,
  InvalidAccessKeyId: {
    reason: "AccessDenied",
    fix: (place) =>
      `the access key is not known at ${addressOf(place)}: give another (AWS_ACCESS_KEY_ID, profile or role)`
  },
  SignatureDoesNotMatch: {
    reason: "AccessDenied",
    fix: "the secret key does not fit the access key: give the right AWS_SECRET_ACCESS_KEY; behind a proxy, let Host and path through unchanged"
  },
  ExpiredToken: EXPIRED,
  ExpiredTokenException: EXPIRED,
  TokenRefreshRequired: EXPIRED,
  InvalidToken: { reason: "AccessDenied", fix: "the session token is not valid: renew AWS_SESSION_TOKEN with its key" },
  RequestTimeTooSkewed: OWN_CLOCK,
  RequestExpired: OWN_CLOCK,
  PermanentRedirect: ELSEWHERE,
  TemporaryRedirect: ELSEWHERE,
  Redirect: ELSEWHERE,
  AuthorizationHeaderMalformed: ELSEWHERE,
  IllegalLocationConstraintException: ELSEWHERE,
  SlowDown: SLOW_DOWN,
  ServiceUnavailable: SLOW_DOWN,
  Throttling: SLOW_DOWN,
  ThrottlingException: SLOW_DOWN,
  RequestLimitExceeded: SLOW_DOWN,
  TooManyRequests: SLOW_DOWN,
  XMinioServerNotInitialized: UNWELL,
  InternalError: UNWELL,
  BadDigest: DAMAGED,
  InvalidDigest: DAMAGED,
  XAmzContentSHA256Mismatch: DAMAGED,
  XAmzContentChecksumMismatch: DAMAGED,
  IncompleteBody: DAMAGED,
  RequestTimeout: { reason: "Unavailable", fix: "the body came too slowly: look at the network to the store" },
  InvalidObjectState: {
    reason: "Unavailable",
    fix: "the object was archived: take lifecycle rules off the bucket, nothing in it may move or expire by itself"
  },
  NotImplemented: {
    reason: "InvalidRequest",
    outcome: "definite",
    fix: "the store lacks what Meridian needs (conditional writes, If-None-Match): use a newer version or another store"
  },
  QuotaExceeded: FULL,
  XMinioStorageFull: FULL,
  XMinioAdminBucketQuotaExceeded: FULL,
  InsufficientStorage: FULL,
  XMinioParentIsObject: NESTED,
  XMinioObjectExistsAsDirectory: NESTED,
  ObjectParentIsFile: NESTED,
  ExistingObjectIsDirectory: NESTED,
  EntityTooLarge: INVALID,
  KeyTooLongError: INVALID,
  InvalidBucketName: INVALID,
  ENOTFOUND: NO_ADDRESS,
  EAI_AGAIN: NO_ADDRESS,
  EAI_FAIL: NO_ADDRESS,
  ECONNREFUSED: NOT_LISTENING,
  EHOSTUNREACH: NOT_LISTENING,
  ENETUNREACH: NOT_LISTENING,
  EHOSTDOWN: NOT_LISTENING,
  EPROTO: UNTRUSTED,
  CERT_HAS_EXPIRED: UNTRUSTED,
  CERT_NOT_YET_VALID: UNTRUSTED,
  CERT_REVOKED: UNTRUSTED,
  CERT_UNTRUSTED: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  TimedOut: { reason: "TimedOut" },
  ConnectTimedOut: NOT_LISTENING,
  RegionMissing: {
    reason: "InvalidRequest",
    outcome: "definite",
    fix: "write region= in the bucket's URL, or set AWS_REGION"
  },
  Truncated: { reason: "Corrupt" },
  ChecksumMismatch: { reason: "Corrupt" },
  TooLarge: { reason: "InvalidRequest" },
  OutOfOrder: { reason: "Corrupt", fix: "the store lists keys out of order: Meridian cannot use it" },
  TooManyKeys: { reason: "InvalidRequest" },
  StoreClosed: { reason: "Unavailable", outcome: "definite" },
  TooManyCalls: { reason: "Unavailable", outcome: "definite" }
}

const STATUS_ROWS: Readonly<Record<number, Row>> = {
  301: ELSEWHERE,
  307: ELSEWHERE,
  401: DENIED,
  403: DENIED,
  // S3 always says which: this comes from something before it.
  404: { reason: "Unavailable", fix: "a 404 that is no answer of S3: look whether the endpoint is right" },
  408: BROKEN,
  409: BROKEN,
  412: { reason: "AlreadyExists" },
  416: { reason: "RangeNotSatisfiable" },
  429: SLOW_DOWN,
  503: SLOW_DOWN,
  507: FULL
}

/** The connection was never made, or not to whom it should be. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  ...Object.entries(ROWS).flatMap(([code, row]) =>
    row === NO_ADDRESS || row === NOT_LISTENING || (row === UNTRUSTED && code !== "EPROTO") ? [code] : []
  ),
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "EMFILE",
  "ENFILE",
  "EADDRNOTAVAIL"
])
