/**
 * The AWS SDK's client as one bucket uses it: connections, signing, and its errors as plain data.
 *
 * What is set and why. `maxAttempts: 1`: retries live in the callers. Checksums only where asked: the SDK's own are made
 * in JavaScript, ours in native code. No `Expect: 100-continue`: it costs each put a round trip, and the SDK a connection.
 * Over TLS the body is not signed (UNSIGNED-PAYLOAD, as AWS's other SDKs do): TLS and the CRC-32C protect it, and SHA-256
 * of it would cost more than all the rest of a put. Connections are kept, bounded, and have TCP_NODELAY.
 */
import { Agent as HttpAgent } from "node:http"
import { Agent as HttpsAgent } from "node:https"
import { CreateSessionCommand, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3"
import { limits } from "#core/model/limits.ts"
import { ExpressSession, type SessionCredentials, SessionFailed } from "./express-session.ts"
import { type S3Failure } from "./s3-error.ts"

export interface S3ClientOptions {
  /** Name in the store. */
  readonly bucket: string
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly pathStyle: boolean
  readonly isExpress: boolean
  /** Instead of the SDK's default chain. */
  readonly credentials: S3ClientConfig["credentials"]
}

export interface S3Connection {
  readonly client: S3Client
  readonly session: ExpressSession | undefined
}

export const connect = (options: S3ClientOptions): S3Connection => {
  const { region, endpoint, pathStyle, isExpress, credentials } = options
  const agent = {
    keepAlive: true,
    noDelay: true,
    maxSockets: limits.storeSocketsMax,
    maxFreeSockets: limits.storeSocketsMax,
    timeout: limits.storeSocketIdleMs
  }
  const session: ExpressSession | undefined = isExpress
    ? new ExpressSession(() => createSession(client, options.bucket))
    : undefined
  const client: S3Client = new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: pathStyle,
    maxAttempts: 1,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: limits.storeConnectMs,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent)
    },
    ...(session === undefined
      ? {}
      : { s3ExpressIdentityProvider: { getS3ExpressIdentity: async () => await session.credentials() } })
  })
  addHeaders(client)
  return { client, session }
}

/** Headers before signing: checksums of answers, and bodies that are not signed. */
const addHeaders = (client: S3Client): void => {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const request = args.request as { readonly protocol: string; readonly headers: Record<string, string> }
      if (context.commandName === "GetObjectCommand") request.headers["x-amz-checksum-mode"] = "ENABLED"
      if (context.commandName === "PutObjectCommand" && request.protocol === "https:") {
        request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
      }
      return await next(args)
    },
    { step: "build", name: "meridianHeaders" }
  )
}

const createSession = async (client: S3Client, bucket: string): Promise<SessionCredentials> => {
  const { Credentials: made } = await client.send(new CreateSessionCommand({ Bucket: bucket }), {
    abortSignal: AbortSignal.timeout(limits.storeCallMs)
  })
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, SessionToken: sessionToken } = made ?? {}
  if (accessKeyId === undefined || secretAccessKey === undefined || sessionToken === undefined) {
    throw new Error("the answer to CreateSession holds no credentials")
  }
  return { accessKeyId, secretAccessKey, sessionToken }
}

/** An error that this adapter found itself, by a code of the error table. */
export class S3Fault extends Error {
  override readonly name = "S3Fault"
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What the SDK threw, as plain data: its errors hold on to requests and bodies. */
export const failureOf = (error: unknown): S3Failure => {
  if (error instanceof SessionFailed) return { ...failureOf(error.cause), phase: "session" }
  if (error instanceof S3Fault) return { code: error.code, status: undefined, message: error.message, phase: "request" }
  if (!(error instanceof Error)) {
    return { code: "UnknownError", status: undefined, message: String(error), phase: "request" }
  }
  const thrown: ThrownError = error
  const status = thrown.$metadata?.httpStatusCode ?? thrown.$response?.statusCode
  if (status === undefined) return connectionFailure(thrown)
  return {
    code: thrown.Code ?? thrown.name,
    status,
    message: thrown.message,
    phase: "request",
    region: thrown.$response?.headers?.["x-amz-bucket-region"] ?? thrown.Region
  }
}

/** As the SDK and Node throw it; every field may be missing. */
interface ThrownError extends Error {
  readonly code?: string
  readonly syscall?: string
  readonly Code?: string
  readonly Region?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly statusCode?: number; readonly headers?: Readonly<Record<string, string>> }
}

const CREDENTIAL_ERRORS: ReadonlySet<string> = new Set(["CredentialsProviderError", "TokenProviderError"])

const connectionFailure = (error: ThrownError): S3Failure => {
  const { name, code, syscall, message } = error
  if (CREDENTIAL_ERRORS.has(name)) return { code: name, status: undefined, message, phase: "credentials" }
  if (code !== undefined) {
    const isConnecting = syscall === "connect" || syscall === "getaddrinfo"
    const known = isConnecting && code === "ETIMEDOUT" ? "ConnectTimedOut" : code
    return { code: known, status: undefined, message, phase: isConnecting ? "connect" : "request" }
  }
  // No time limit but that of connecting is set in the SDK.
  if (name === "TimeoutError") {
    return { code: "ConnectTimedOut", status: undefined, message: "no connection in time", phase: "connect" }
  }
  // Thrown while the request is built, with no class of its own: the only thing that it says.
  if (message === "Region is missing") return { code: "RegionMissing", status: undefined, message, phase: "request" }
  return { code: name, status: undefined, message, phase: "request" }
}
