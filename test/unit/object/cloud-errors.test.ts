/**
 * The tables of errors of Google, Azure and the sockets below them: what each means for the caller, whether something may
 * have changed, and what a person is told to do. Method: plain tables; each text must name what it is about.
 */
import { assert, describe, it } from "@effect/vitest"
import { type AzureRefusal, failureOfAzure } from "#backends/object/azure-error.ts"
import { failureOfGcs, failureOfToken, type GcsRefusal } from "#backends/object/gcs-error.ts"
import {
  CloudFault,
  failureOfFault,
  HttpFault,
  type HttpFaultKind,
  type StoreFailure
} from "#backends/object/http-fault.ts"

type Expected = readonly [reason: StoreFailure["reason"], outcome: StoreFailure["outcome"], text: RegExp]

const assertFailure = (failure: StoreFailure, [reason, outcome, text]: Expected, what: string): void => {
  assert.deepStrictEqual([failure.reason, failure.outcome], [reason, outcome], `${what}: ${failure.text}`)
  const { message } = new CloudFault(failure)
  assert.match(message, text)
  assert.notInclude(message, "\n")
}

const ofGcs = (refusal: Partial<GcsRefusal>): StoreFailure =>
  failureOfGcs({
    operation: "put",
    status: 400,
    code: "",
    message: "",
    bucket: "segments",
    clockSkewMs: undefined,
    ...refusal
  })

const GCS: ReadonlyArray<readonly [Partial<GcsRefusal>, ...Expected]> = [
  [{ status: 412, code: "conditionNotMet" }, "AlreadyExists", "definite", /^conditionNotMet \(HTTP 412\)$/],
  [{ status: 412, operation: "delete" }, "InvalidRequest", "definite", /412/],
  [
    { status: 400, code: "invalid", message: "bad\n\n crc" },
    "Unavailable",
    "definite",
    /^invalid \(HTTP 400\): bad crc$/
  ],
  [{ status: 401, code: "authError" }, "AccessDenied", "definite", /missing, wrong or expired/],
  [{ status: 401, clockSkewMs: -400_000 }, "AccessDenied", "definite", /clock is 400 s behind the store's/],
  [{ status: 401, clockSkewMs: 5_000 }, "AccessDenied", "definite", /missing, wrong or expired/],
  [
    { status: 403, code: "forbidden" },
    "AccessDenied",
    "definite",
    /^forbidden \(HTTP 403\)\. Fix: grant storage\.objects\.create on bucket segments/
  ],
  [{ status: 403, operation: "get" }, "AccessDenied", "definite", /grant storage\.objects\.get on/],
  [{ status: 403, operation: "head" }, "AccessDenied", "definite", /storage\.objects\.get and storage\.objects\.list/],
  [{ status: 403, operation: "list" }, "AccessDenied", "definite", /storage\.objects\.list/],
  [{ status: 403, operation: "delete" }, "AccessDenied", "definite", /storage\.objects\.delete/],
  [{ status: 403, code: "rateLimitExceeded" }, "Unavailable", "definite", /fewer requests/],
  [{ status: 403, code: "quotaExceeded" }, "Unavailable", "definite", /quota of the project/],
  [{ status: 403, code: "accountDisabled" }, "AccessDenied", "definite", /billing/],
  [{ status: 404 }, "Unavailable", "definite", /make the bucket segments/],
  [{ status: 404, operation: "list" }, "Unavailable", "definite", /make the bucket segments/],
  [{ status: 404, operation: "get" }, "NotFound", "definite", /^HTTP 404$/],
  [{ status: 404, operation: "head" }, "NotFound", "definite", /404/],
  [{ status: 416, operation: "get" }, "RangeNotSatisfiable", "definite", /416/],
  [{ status: 408 }, "Unavailable", "indefinite", /408/],
  [{ status: 409 }, "Unavailable", "definite", /409/],
  [{ status: 429 }, "Unavailable", "definite", /fewer requests/],
  [{ status: 500, code: "backendError" }, "Unavailable", "indefinite", /500/],
  [{ status: 503 }, "Unavailable", "indefinite", /fewer requests/],
  [{ status: 302 }, "Unavailable", "definite", /302/]
]

const ofAzure = (refusal: Partial<AzureRefusal>): StoreFailure =>
  failureOfAzure({
    operation: "put",
    status: 400,
    code: "",
    account: "acct",
    container: "segments",
    credential: "key",
    clockSkewMs: undefined,
    ...refusal
  })

const AZURE: ReadonlyArray<readonly [Partial<AzureRefusal>, ...Expected]> = [
  [{ status: 409, code: "BlobAlreadyExists" }, "AlreadyExists", "definite", /^BlobAlreadyExists \(HTTP 409\)$/],
  [{ status: 412, code: "ConditionNotMet" }, "AlreadyExists", "definite", /412/],
  [{ status: 403, code: "UnauthorizedBlobOverwrite" }, "AlreadyExists", "definite", /403/],
  [{ status: 412, code: "LeaseIdMissing", operation: "delete" }, "AccessDenied", "definite", /LeaseIdMissing/],
  [{ status: 400, code: "Md5Mismatch" }, "Unavailable", "definite", /Fix: bytes changed on their way/],
  [{ status: 400, code: "InvalidHeaderValue" }, "Unavailable", "definite", /--skipApiVersionCheck/],
  [{ status: 403, code: "AuthenticationFailed" }, "AccessDenied", "definite", /key of account acct is wrong/],
  [
    { status: 403, code: "AuthenticationFailed", credential: "sas" },
    "AccessDenied",
    "definite",
    /SAS token of account acct.*st=, se=/
  ],
  [
    { status: 403, code: "AuthenticationFailed", clockSkewMs: 960_000 },
    "AccessDenied",
    "definite",
    /clock is 960 s ahead/
  ],
  [
    { status: 403, code: "AuthorizationPermissionMismatch", credential: "sas", operation: "delete" },
    "AccessDenied",
    "definite",
    /lacks delete \(sp=d\) on container segments/
  ],
  [
    { status: 403, code: "AuthorizationPermissionMismatch" },
    "AccessDenied",
    "definite",
    /"Storage Blob Data Contributor" on container segments/
  ],
  [{ status: 403, code: "AuthorizationFailure" }, "AccessDenied", "definite", /network rules of account acct/],
  [{ status: 403, code: "KeyBasedAuthenticationNotPermitted" }, "AccessDenied", "definite", /forbids keys/],
  [{ status: 403, code: "AccountIsDisabled" }, "Unavailable", "definite", /disabled/],
  [{ status: 409, code: "PublicAccessNotPermitted" }, "AccessDenied", "definite", /anonymous/],
  [
    { status: 409, code: "BlobImmutableDueToPolicy", operation: "delete" },
    "AccessDenied",
    "definite",
    /immutability policy/
  ],
  [
    { status: 404, code: "ContainerNotFound" },
    "Unavailable",
    "definite",
    /make the container segments in account acct/
  ],
  [{ status: 404, code: "ContainerNotFound", operation: "head" }, "Unavailable", "definite", /make the container/],
  [{ status: 404, code: "BlobNotFound", operation: "delete" }, "NotFound", "definite", /404/],
  [{ status: 404, operation: "head" }, "NotFound", "definite", /404/],
  [{ status: 416, code: "InvalidRange", operation: "get" }, "RangeNotSatisfiable", "definite", /416/],
  [{ status: 409, code: "ContainerBeingDeleted" }, "Unavailable", "definite", /make it again/],
  [{ status: 429 }, "Unavailable", "definite", /fewer requests/],
  [{ status: 503, code: "ServerBusy" }, "Unavailable", "indefinite", /fewer requests/],
  [{ status: 500, code: "OperationTimedOut" }, "TimedOut", "indefinite", /500/],
  [{ status: 500, code: "InternalError" }, "Unavailable", "indefinite", /500/],
  [{ status: 0, code: "PARSE_ERROR" }, "Unavailable", "indefinite", /PARSE_ERROR/]
]

const SOCKET_CODES: ReadonlyArray<readonly [code: string, text: RegExp]> = [
  ["ENOTFOUND", /no such host.*DNS/],
  ["EAI_AGAIN", /DNS/],
  ["ECONNREFUSED", /nobody listens/],
  ["EHOSTUNREACH", /route/],
  ["CERT_HAS_EXPIRED", /certificate has expired.*clock/],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", /NODE_EXTRA_CA_CERTS/],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", /NODE_EXTRA_CA_CERTS/],
  ["ERR_TLS_CERT_ALTNAME_INVALID", /certificate is another host's/],
  ["ERR_SSL_WRONG_VERSION_NUMBER", /TLS failed/],
  ["EPROTO", /TLS failed/],
  ["HPE_INVALID_CONSTANT", /does not speak HTTP/],
  ["EMFILE", /nofile/],
  ["ECONNRESET", /^of the socket$/]
]

const KINDS: Readonly<Record<HttpFaultKind, StoreFailure["reason"]>> = {
  crowded: "Unavailable",
  closed: "Unavailable",
  abandoned: "Unavailable",
  socket: "Unavailable",
  "connect-timeout": "Unavailable",
  timeout: "TimedOut",
  truncated: "Unavailable",
  "too-long": "InvalidRequest"
}

describe("errors of cloud stores", () => {
  for (const [refusal, ...expected] of GCS) {
    it(`gcs: ${JSON.stringify(refusal)} is ${expected[0]}, ${expected[1]}`, () =>
      assertFailure(ofGcs(refusal), expected, "gcs"))
  }

  for (const [refusal, ...expected] of AZURE) {
    it(`azure: ${JSON.stringify(refusal)} is ${expected[0]}, ${expected[1]}`, () =>
      assertFailure(ofAzure(refusal), expected, "azure"))
  }

  for (const [error, ...expected] of [
    [{ status: 400, code: "invalid_grant", message: "Bad Request" }, "AccessDenied", "definite", /expired.*clock/],
    [{ status: 0, code: "ENOTFOUND", message: "x" }, "Unavailable", "definite", /token server/],
    [{ status: 503, code: "", message: "x" }, "Unavailable", "definite", /no access token/],
    [{ status: 0, code: "", message: "Could not load" }, "AccessDenied", "definite", /GOOGLE_APPLICATION_CREDENTIALS/]
  ] as const) {
    it(`gcs: a token's ${JSON.stringify(error)} is ${expected[0]}`, () =>
      assertFailure(failureOfToken(error), expected, "token"))
  }

  for (const [code, text] of SOCKET_CODES) {
    it(`sockets: ${code} is Unavailable, and definite only where nothing was sent`, () => {
      for (const isSent of [false, true]) {
        const failure = failureOfFault(new HttpFault({ kind: "socket", isSent, message: "of the socket", code }))
        assertFailure(failure, ["Unavailable", isSent ? "indefinite" : "definite", text], code)
      }
    })
  }

  for (const [kind, reason] of Object.entries(KINDS)) {
    it(`sockets: ${kind} is ${reason}`, () => {
      const fault = new HttpFault({ kind: kind as HttpFaultKind, isSent: true, message: "m" })
      assertFailure(failureOfFault(fault), [reason, "indefinite", /^m/], kind)
    })
  }
})
