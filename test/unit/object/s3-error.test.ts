/**
 * Goal: each failure of S3 becomes the reason, the outcome and the fix that the port's callers and an operator need.
 * Method: failures as plain data, as the adapter reads them from the SDK; one row per failure.
 */
import { assert, describe, it } from "vitest"
import { type S3Failure, type S3Place, s3Message, s3Verdict } from "#backends/object/s3-error.ts"

const PLACE: S3Place = {
  operation: "put",
  bucket: "orders",
  prefix: "eu/",
  region: "eu-west-1",
  endpoint: undefined,
  isExpress: false
}

const failure = (code: string, status?: number, more: Partial<S3Failure> = {}): S3Failure => ({
  code,
  status,
  message: "said so",
  phase: "request",
  ...more
})

type Case = readonly [failure: S3Failure, reason: string, outcome: string, fix: RegExp | undefined]

const PUT_CASES: ReadonlyArray<Case> = [
  [failure("PreconditionFailed", 412), "AlreadyExists", "definite", undefined],
  [failure("ConditionalRequestConflict", 409), "Unavailable", "definite", undefined],
  [failure("NoSuchBucket", 404), "Unavailable", "definite", /make the bucket orders at AWS in eu-west-1/],
  [failure("NoSuchKey", 404), "Unavailable", "definite", /make the bucket/],
  [failure("AccessDenied", 403), "AccessDenied", "definite", /s3:PutObject on arn:aws:s3:::orders\/eu\/\*/],
  [failure("InvalidAccessKeyId", 403), "AccessDenied", "definite", /access key is not known at AWS in eu-west-1/],
  [failure("SignatureDoesNotMatch", 403), "AccessDenied", "definite", /AWS_SECRET_ACCESS_KEY/],
  [failure("ExpiredToken", 400), "AccessDenied", "definite", /renew/],
  [failure("RequestTimeTooSkewed", 403), "Unavailable", "definite", /clock is wrong/],
  [failure("PermanentRedirect", 301, { region: "us-east-2" }), "Unavailable", "definite", /write region=us-east-2/],
  [
    failure("AuthorizationHeaderMalformed", 400, { region: "us-east-2" }),
    "Unavailable",
    "definite",
    /write region=us-east-2 in its URL \(now eu-west-1\)/
  ],
  [failure("AuthorizationHeaderMalformed", 400), "Unavailable", "definite", /another region than eu-west-1/],
  [failure("301", 301), "Unavailable", "definite", /another region/],
  [failure("SlowDown", 503), "Unavailable", "indefinite", /throttles/],
  [failure("TooManyRequests", 429), "Unavailable", "definite", /throttles/],
  [failure("InternalError", 500), "Unavailable", "indefinite", /trouble/],
  [failure("502", 502), "Unavailable", "indefinite", /trouble/],
  [failure("BadDigest", 400), "Unavailable", "definite", /bytes changed/],
  [failure("RequestTimeout", 400), "Unavailable", "definite", /too slowly/],
  [failure("KMS.DisabledException", 400), "AccessDenied", "definite", /encryption key/],
  [failure("NotImplemented", 501), "InvalidRequest", "definite", /conditional writes/],
  [failure("XMinioStorageFull", 507), "StorageFull", "definite", /room/],
  [failure("ObjectParentIsFile", 409), "InvalidRequest", "definite", /directory of another/],
  [failure("EntityTooLarge", 400), "InvalidRequest", "definite", undefined],
  [failure("SomethingNew", 400), "Unavailable", "definite", /endpoint/],
  [failure("SomethingNew", 500), "Unavailable", "indefinite", /trouble/],
  [failure("SyntaxError", 200), "Unavailable", "indefinite", /no answer of S3/],
  [failure("404", 404), "Unavailable", "definite", /endpoint/],
  [failure("ENOTFOUND", undefined, { phase: "connect" }), "Unavailable", "definite", /no address/],
  [failure("EAI_AGAIN"), "Unavailable", "definite", /no address/],
  [failure("ECONNREFUSED", undefined, { phase: "connect" }), "Unavailable", "definite", /nothing answers/],
  [failure("ConnectTimedOut", undefined, { phase: "connect" }), "Unavailable", "definite", /nothing answers/],
  [failure("ECONNRESET"), "Unavailable", "indefinite", undefined],
  [failure("EPIPE"), "Unavailable", "indefinite", undefined],
  [failure("ETIMEDOUT"), "Unavailable", "indefinite", undefined],
  [failure("TimedOut"), "TimedOut", "indefinite", undefined],
  [failure("ChecksumMismatch"), "Corrupt", "indefinite", undefined],
  [failure("CERT_HAS_EXPIRED"), "Unavailable", "definite", /NODE_EXTRA_CA_CERTS/],
  [failure("ERR_TLS_CERT_ALTNAME_INVALID"), "Unavailable", "definite", /valid for this name/],
  [failure("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "Unavailable", "definite", /not trusted/],
  [failure("EPROTO"), "Unavailable", "indefinite", /not trusted/],
  [failure("HPE_INVALID_CONSTANT"), "Unavailable", "indefinite", /no answer of S3/],
  [
    failure("CredentialsProviderError", undefined, { phase: "credentials" }),
    "AccessDenied",
    "definite",
    /AWS_ACCESS_KEY_ID/
  ],
  [failure("RegionMissing"), "InvalidRequest", "definite", /region=/]
]

describe("a failed put of S3", () => {
  for (const [what, reason, outcome, fix] of PUT_CASES) {
    it(`${what.code} ${what.status ?? what.phase}: ${reason}, ${outcome}`, () => {
      const verdict = s3Verdict(what, PLACE)
      assert.deepStrictEqual([verdict.reason, verdict.outcome], [reason, outcome])
      if (fix === undefined) assert.isUndefined(verdict.fix)
      else assert.match(verdict.fix ?? "", fix)
    })
  }
})

describe("a failed read of S3", () => {
  it("is always definite, as it changes nothing", () => {
    for (const operation of ["get", "head", "list"] as const) {
      for (const [what] of PUT_CASES) assert.strictEqual(s3Verdict(what, { ...PLACE, operation }).outcome, "definite")
    }
  })

  it("says that a key is not there only where the store says so of the key", () => {
    assert.strictEqual(s3Verdict(failure("NoSuchKey", 404), { ...PLACE, operation: "get" }).reason, "NotFound")
    assert.strictEqual(s3Verdict(failure("NoSuchBucket", 404), { ...PLACE, operation: "get" }).reason, "Unavailable")
    assert.strictEqual(s3Verdict(failure("NotFound", 404), { ...PLACE, operation: "get" }).reason, "Unavailable")
  })

  it("names what else a missing permission to list may mean", () => {
    const { fix } = s3Verdict(failure("AccessDenied", 403), { ...PLACE, operation: "get" })
    assert.match(fix ?? "", /s3:GetObject on arn:aws:s3:::orders\/eu\/\*, and s3:ListBucket on arn:aws:s3:::orders /)
  })
})

describe("a failure's fix", () => {
  it("names the permission of each operation", () => {
    for (const [operation, action] of [
      ["list", "s3:ListBucket on arn:aws:s3:::orders"],
      ["delete", "s3:DeleteObject on arn:aws:s3:::orders/eu/*"]
    ] as const) {
      assert.include(s3Verdict(failure("AccessDenied", 403), { ...PLACE, operation }).fix, action)
    }
  })

  it("of a directory bucket is CreateSession, and a session that could not be made leaves the put definite", () => {
    const place = { ...PLACE, bucket: "orders--use1-az4--x-s3", isExpress: true }
    for (const broken of [failure("AccessDenied", 403), failure("InternalError", 500), failure("ECONNRESET")]) {
      assert.strictEqual(s3Verdict({ ...broken, phase: "session" }, place).outcome, "definite")
    }
    const { fix } = s3Verdict(failure("AccessDenied", 403, { phase: "session" }), place)
    assert.match(fix ?? "", /s3express:CreateSession on arn:aws:s3express:\*:\*:bucket\/orders--use1-az4--x-s3/)
  })

  it("stands with bucket and operation in the error's one sentence, which stays short", () => {
    const denied = failure("AccessDenied", 403, { message: `Access\n  Denied ${"x".repeat(1_000)}` })
    const { fix } = s3Verdict(denied, PLACE)
    const message = s3Message(denied, PLACE, fix)
    assert.match(
      message,
      /^put at s3:\/\/orders\/eu\/: AccessDenied \(HTTP 403\): Access Denied x+…\. Fix: allow s3:PutObject/
    )
    assert.isBelow(message.length, 700)
    assert.match(
      s3Message({ ...denied, phase: "session" }, { ...PLACE, endpoint: "http://h:1" }, undefined),
      /^CreateSession at s3:\/\/orders\/eu\/ of http:\/\/h:1: AccessDenied/
    )
  })
})
