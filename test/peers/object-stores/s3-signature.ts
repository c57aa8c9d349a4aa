/**
 * Checks AWS Signature Version 4 of a request as S3 does (AWS "Authenticating Requests: Using the Authorization Header").
 *
 * Strict: everything that is wrong is an error with S3's own code. The path is taken as it was sent, since S3 signs it
 * without normalising it.
 */
import { createHash, createHmac } from "node:crypto"
import { type IncomingMessage } from "node:http"

export interface SignatureRules {
  /** Secrets by access key. */
  readonly secretOf: (accessKeyId: string) => string | undefined
  readonly region: string
  readonly service: "s3" | "s3express"
  readonly nowMs: number
}

export interface SignatureError {
  readonly status: number
  readonly code: string
  readonly fields?: Readonly<Record<string, string>>
}

export interface Signature {
  readonly accessKeyId: string
  /** As signed: a hash in hex, or that the body is not signed. */
  readonly payload: string
}

const CLOCK_SKEW_MAX_MS = 15 * 60_000
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/

export function checkSignature(request: IncomingMessage, rules: SignatureRules): Signature | SignatureError {
  const { headers } = request
  if (headers.authorization === undefined) return { status: 403, code: "AccessDenied" }
  const [, accessKeyId = "", day = "", region = "", service = "", signed = "", signature = ""] =
    AUTHORIZATION.exec(headers.authorization) ?? []
  if (accessKeyId === "") return { status: 400, code: "AuthorizationHeaderMalformed" }
  if (region !== rules.region) {
    return { status: 400, code: "AuthorizationHeaderMalformed", fields: { Region: rules.region } }
  }
  if (service !== rules.service) return { status: 400, code: "AuthorizationHeaderMalformed" }
  const date = headers["x-amz-date"]
  const sentMs = typeof date === "string" ? dateOf(date) : Number.NaN
  if (typeof date !== "string" || !date.startsWith(day) || Number.isNaN(sentMs)) {
    return { status: 403, code: "AccessDenied" }
  }
  if (Math.abs(sentMs - rules.nowMs) > CLOCK_SKEW_MAX_MS) return { status: 403, code: "RequestTimeTooSkewed" }
  const payload = headers["x-amz-content-sha256"]
  if (typeof payload !== "string") return { status: 400, code: "InvalidRequest" }
  const secret = rules.secretOf(accessKeyId)
  if (secret === undefined) return { status: 403, code: "InvalidAccessKeyId" }
  const names = signed.split(";")
  const unsigned = Object.keys(headers).find((name) => mustBeSigned(name) && !names.includes(name))
  if (unsigned !== undefined) return { status: 403, code: "AccessDenied", fields: { HeadersNotSigned: unsigned } }
  const scope = `${day}/${region}/${service}/aws4_request`
  const text = ["AWS4-HMAC-SHA256", date, scope, sha256(canonicalRequest(request, names, payload))].join("\n")
  const key = [region, service, "aws4_request"].reduce(hmac, hmac(`AWS4${secret}`, day))
  if (hmac(key, text).toString("hex") !== signature) return { status: 403, code: "SignatureDoesNotMatch" }
  return { accessKeyId, payload }
}

function mustBeSigned(name: string): boolean {
  return name === "host" || (name.startsWith("x-amz-") && name !== "x-amz-user-agent")
}

function canonicalRequest(request: IncomingMessage, names: readonly string[], payload: string): string {
  const [path = "", query = ""] = (request.url ?? "").split("?", 2)
  const parameters = query === "" ? [] : query.split("&").map((part) => (part.includes("=") ? part : `${part}=`))
  const headers = names.map((name) => `${name}:${String(request.headers[name] ?? "").trim()}\n`)
  return [request.method, path, parameters.toSorted().join("&"), headers.join(""), names.join(";"), payload].join("\n")
}

function dateOf(date: string): number {
  return Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"))
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex")
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest()
}
