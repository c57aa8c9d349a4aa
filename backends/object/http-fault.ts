/**
 * What can go wrong with an HTTP exchange below HTTP [pure]: sockets, TLS, names, time; as the port's reasons.
 *
 * Rule for outcomes: a request of which no byte can have left this process changed nothing (`definite`). From the moment
 * that its socket was connected nobody knows, whatever broke afterwards (`indefinite`): servers may have read it all.
 *
 * A connection that breaks within an answer is Unavailable, not Corrupt: the network failed, the store said nothing wrong.
 */
import { limits } from "#core/model/limits.ts"
import type { ObjectStoreReason } from "#core/ports/object-store.ts"
import { withFix } from "./failure-text.ts"

export type HttpFaultKind =
  /** Too many calls of this bucket wait already. */
  | "crowded"
  /** The store was closed. */
  | "closed"
  /** The caller gave up. */
  | "abandoned"
  /** Connecting, sending or receiving failed; `code` has the errno or the TLS library's name of it. */
  | "socket"
  /** No connection in time. */
  | "connect-timeout"
  /** No whole answer in time. */
  | "timeout"
  /** The answer ended before the length that it promised. */
  | "truncated"
  /** The answer is longer than may be. */
  | "too-long"

export class HttpFault extends Error {
  override readonly name = "HttpFault"
  readonly kind: HttpFaultKind
  /** Bytes of the request may have reached the server. */
  readonly isSent: boolean
  readonly code: string

  constructor(options: {
    readonly kind: HttpFaultKind
    readonly isSent: boolean
    readonly message: string
    readonly code?: string
  }) {
    super(options.message)
    this.kind = options.kind
    this.isSent = options.isSent
    this.code = options.code ?? ""
  }
}

/** A failed call as an adapter's tables see it. */
export interface StoreFailure {
  readonly reason: ObjectStoreReason
  /** Of a call that changes something; a read is always definite. */
  readonly outcome: "definite" | "indefinite"
  /** What happened. */
  readonly text: string
  /** What to do about it. */
  readonly fix: string | undefined
}

/** A failure of the store, with the key that it concerns where that is not the call's. */
export class CloudFault extends Error {
  override readonly name = "CloudFault"
  readonly failure: StoreFailure
  readonly key: string | undefined

  constructor(failure: StoreFailure, key?: string) {
    super(failure.fix === undefined ? failure.text : withFix(failure.text, failure.fix))
    this.failure = failure
    this.key = key
  }
}

export const cloudFault = (
  reason: ObjectStoreReason,
  text: string,
  more: { readonly outcome?: StoreFailure["outcome"]; readonly fix?: string } = {}
): CloudFault => new CloudFault({ reason, outcome: more.outcome ?? "definite", text, fix: more.fix })

export const failureOfFault = (fault: HttpFault): StoreFailure => {
  const outcome = fault.isSent ? "indefinite" : "definite"
  return { reason: REASON_BY_KIND[fault.kind] ?? "Unavailable", outcome, text: fault.message, fix: fixOf(fault) }
}

const REASON_BY_KIND: Partial<Record<HttpFaultKind, ObjectStoreReason>> = {
  timeout: "TimedOut",
  "too-long": "InvalidRequest"
}

const fixOf = ({ kind, code }: HttpFault): string | undefined => {
  switch (kind) {
    case "connect-timeout":
      return UNREACHABLE
    case "socket":
      return fixOfSocketError(code)
    case "too-long":
      return "ask for a range"
    case "crowded":
      return "the store is slower than what is asked of it: look at its latency, or use another"
    case "abandoned":
    case "closed":
    case "timeout":
    case "truncated":
      return undefined
  }
}

/** Of refusals that no code explains further; the same at both clouds. */
export const REASON_BY_STATUS: Readonly<Record<number, ObjectStoreReason>> = {
  401: "AccessDenied",
  403: "AccessDenied",
  407: "AccessDenied",
  408: "Unavailable",
  409: "Unavailable",
  416: "RangeNotSatisfiable",
  429: "Unavailable"
}

/** Said where signatures and tokens are refused. */
export const clockFix = (clockSkewMs: number | undefined): string | undefined =>
  clockSkewMs !== undefined && Math.abs(clockSkewMs) > limits.cloudClockSkewMs
    ? `this machine's clock is ${Math.round(Math.abs(clockSkewMs) / 1_000)} s ${clockSkewMs > 0 ? "ahead of" : "behind"} the store's: correct it (NTP)`
    : undefined

const UNREACHABLE = "check the endpoint, the route to it and the firewalls on the way"

const fixOfSocketError = (code: string): string | undefined => {
  if (code in FIX_BY_CODE) return FIX_BY_CODE[code]
  if (code.startsWith("ERR_TLS_") || code.startsWith("ERR_SSL_") || code.startsWith("CERT_")) return FIX_TLS
  return undefined
}

const FIX_TLS = "TLS failed: check the endpoint's scheme and port, and proxies that open TLS on the way"
const FIX_AUTHORITY =
  "the certificate's authority is not known here: add it with NODE_EXTRA_CA_CERTS, or check who answers at this address"

const FIX_BY_CODE: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such host: check the endpoint or account name, and this machine's DNS",
  EAI_AGAIN: "the host's name cannot be looked up now: check this machine's DNS",
  EAI_FAIL: "the host's name cannot be looked up: check this machine's DNS",
  ECONNREFUSED: "nobody listens there: check the endpoint's port, and whether the store runs",
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  EMFILE: "this process has too many open files: raise its nofile limit",
  CERT_HAS_EXPIRED: "the store's certificate has expired, or this machine's clock is wrong",
  CERT_NOT_YET_VALID: "the store's certificate is not valid yet: this machine's clock may be wrong",
  DEPTH_ZERO_SELF_SIGNED_CERT: FIX_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: FIX_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: FIX_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: FIX_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: FIX_AUTHORITY,
  ERR_TLS_CERT_ALTNAME_INVALID: "the certificate is another host's: check the endpoint's name",
  EPROTO: FIX_TLS,
  HPE_INVALID_CONSTANT: "what answers there does not speak HTTP: check the endpoint's scheme and port"
}
