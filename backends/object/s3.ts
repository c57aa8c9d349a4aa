/**
 * A bucket of S3, of a store that speaks like it (MinIO, Ceph, …), or of S3 Express One Zone.
 *
 * The parts: s3-client.ts (the SDK: connections, signing), s3-error.ts (what errors mean and how they are mended),
 * s3-get.ts, s3-list.ts (order, also of directory buckets, which have none), express-session.ts. Here they become the port.
 *
 * - `put` is `If-None-Match: *` with the CRC-32C of the body, which the store verifies before it takes it. The body is one
 *   buffer, never a stream: streamed bodies with keep-alive fail now and then on several stores. joined-body.ts says what that costs.
 * - A call that is interrupted, or takes longer than its size allows (limits.storeCallMs), is aborted: its connection
 *   ends. The store may still do it.
 * - Calls under way are bounded by the connections; those that wait are too.
 * - Nothing is retried here.
 */
import { DeleteObjectsCommand, PutObjectCommand, type S3ClientConfig } from "@aws-sdk/client-s3"
import { Effect, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { CallTurns } from "./fs-turns.ts"
import { joinBody } from "./joined-body.ts"
import {
  type ObjectOperation,
  deleteFault,
  getFault,
  invalidRequest,
  keyFault,
  listFault,
  PROBE_KEY,
  putFault
} from "./request-check.ts"
import { connect, failureOf, type S3Connection, S3Fault } from "./s3-client.ts"
import { type S3Failure, s3Message, s3Verdict } from "./s3-error.ts"
import { getObject, getSize } from "./s3-get.ts"
import { listDirectoryBucket, listOrdered } from "./s3-list.ts"

export interface S3Options {
  /** Name in the topology, for errors and metrics. */
  readonly name: string
  readonly location: S3BucketLocation
  /** Instead of the SDK's default chain; for tests. */
  readonly credentials?: NonNullable<S3ClientConfig["credentials"]>
}

/** As the topology has it. */
export type S3BucketLocation = {
  readonly bucket: string
  /** "" or ending in "/". */
  readonly prefix: string
  readonly region?: string
  readonly endpoint?: string
} & ({ readonly kind: "s3"; readonly pathStyle: boolean } | { readonly kind: "s3-express" })

/**
 * Opens the bucket: fails where it does not answer a read, with the reason and the fix. The key need not be there.
 */
export const make = (options: S3Options): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  // Who waits for a bucket that does not answer may give up. What failed to open leaves nothing in the scope.
  Effect.map(Effect.acquireRelease(openAnswering(options), closeBucket, { interruptible: true }), storeOf)

const openAnswering = (options: S3Options): Effect.Effect<S3Bucket, ObjectStoreError> =>
  Effect.suspend(() => {
    const bucket = openBucket(options)
    return storeOf(bucket)
      .head(PROBE_KEY)
      .pipe(
        Effect.catch((error) => (error.reason === "NotFound" ? Effect.void : Effect.fail(error))),
        Effect.as(bucket),
        Effect.onError(() => closeBucket(bucket))
      )
  })

const closeBucket = (bucket: S3Bucket): Effect.Effect<void> =>
  Effect.sync(() => {
    bucket.isClosed = true
    bucket.client.destroy()
  })

/** Where a compatible store is told no region, it is asked for none but this. */
const REGION_OF_ENDPOINTS = "us-east-1"

const MIB = 1024 * 1024

interface S3Bucket extends S3Connection {
  readonly name: string
  readonly location: S3BucketLocation
  readonly region: string | undefined
  readonly turns: CallTurns
  isClosed: boolean
}

const openBucket = ({ name, location, credentials }: S3Options): S3Bucket => {
  const isExpress = location.kind === "s3-express"
  const { endpoint } = location
  const ofEnvironment = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"]
  const region = location.region ?? (endpoint === undefined ? undefined : (ofEnvironment ?? REGION_OF_ENDPOINTS))
  const connection = connect({
    bucket: location.bucket,
    region,
    endpoint,
    // A directory bucket's own address needs no style; another endpoint has no name below it for each bucket.
    pathStyle: isExpress ? endpoint !== undefined : location.pathStyle,
    isExpress,
    credentials
  })
  return { ...connection, name, location, region, turns: new CallTurns(limits.storeSocketsMax), isClosed: false }
}

const storeOf = (bucket: S3Bucket): ObjectStore => {
  const { client, location } = bucket
  const at = { client, bucket: location.bucket, prefix: location.prefix }
  const read = (key: string, signal: AbortSignal) => ({ ...at, key: location.prefix + key, signal })
  const begin = <A>(
    call: Call,
    fault: string | undefined,
    work: (signal: AbortSignal) => Promise<A>
  ): Effect.Effect<A, ObjectStoreError> =>
    fault === undefined
      ? inTurn(bucket, call, work)
      : Effect.fail(invalidRequest({ operation: call.operation, bucket: bucket.name, key: call.key, fault }))
  return {
    bucket: bucket.name,
    put: (key, chunks) =>
      Effect.suspend(() =>
        begin({ operation: "put", key, bytes: bytesOf(chunks) }, putFault(key, chunks), (signal) =>
          putObject(bucket, key, chunks, signal)
        )
      ),
    get: (key, range) =>
      Effect.suspend(() => {
        // How large a whole object is shows in the answer only; those are segments or smaller.
        const bytes = range === undefined ? limits.segmentBytesMax : "last" in range ? range.last : range.length
        return begin({ operation: "get", key, bytes }, getFault(key, range), (signal) =>
          getObject(read(key, signal), range)
        )
      }),
    head: (key) =>
      Effect.suspend(() =>
        begin({ operation: "head", key, bytes: 0 }, keyFault(key), async (signal) => ({
          key,
          objectBytes: await getSize(read(key, signal))
        }))
      ),
    list: (request) =>
      Effect.suspend(() =>
        begin({ operation: "list", key: request.prefix, bytes: 0 }, listFault(request), (signal) =>
          location.kind === "s3-express" ? listDirectoryBucket(at, request, signal) : listOrdered(at, request, signal)
        )
      ),
    deleteMany: (keys) =>
      Effect.suspend(() =>
        keys.length === 0
          ? Effect.void
          : begin({ operation: "delete", key: keys[0]!, bytes: 0 }, deleteFault(keys), (signal) =>
              deleteObjects(bucket, keys, signal)
            )
      )
  }
}

interface Call {
  readonly operation: ObjectOperation
  readonly key: string
  /** Carried by request or answer, at most. */
  readonly bytes: number
}

/** Runs the work when the call's turn comes, up to its time; giving up aborts it. */
const inTurn = <A>(
  bucket: S3Bucket,
  call: Call,
  work: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, ObjectStoreError> => {
  const timeoutMs =
    limits.storeCallMs + Math.ceil(Math.min(call.bytes, limits.objectBytesMax) / MIB) * limits.storeCallMsPerMiB
  return Effect.callback<A, ObjectStoreError>((resume) => {
    const aborter = new AbortController()
    const { turns } = bucket
    const fail = (error: unknown) => resume(Effect.fail(toError(bucket, call, error)))
    const begin = () => {
      if (bucket.isClosed) {
        fail(new S3Fault("StoreClosed", "the store was closed"))
        turns.leave()
        return
      }
      void work(aborter.signal)
        .then((answer) => resume(Effect.succeed(answer)), fail)
        .finally(() => turns.leave())
    }
    if (turns.enter(begin) === "refused") fail(new S3Fault("TooManyCalls", "too many calls wait for it"))
    return Effect.sync(() => {
      turns.giveUp(begin)
      aborter.abort()
    })
  }).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMs,
      orElse: () =>
        Effect.suspend(() =>
          Effect.fail(toError(bucket, call, new S3Fault("TimedOut", `no answer within ${timeoutMs} ms`)))
        )
    })
  )
}

const putObject = async (
  bucket: S3Bucket,
  key: string,
  chunks: ReadonlyArray<Uint8Array>,
  signal: AbortSignal
): Promise<void> => {
  const { client, location } = bucket
  const body = joinBody(chunks)
  try {
    const answer = await client.send(
      new PutObjectCommand({
        Bucket: location.bucket,
        Key: location.prefix + key,
        Body: body.bytes,
        ContentLength: body.bytes.length,
        ChecksumCRC32C: body.crc32c,
        IfNoneMatch: "*"
      }),
      { abortSignal: signal }
    )
    const kept = answer.ChecksumCRC32C
    if (kept !== undefined && kept !== body.crc32c) {
      throw new S3Fault("ChecksumMismatch", `CRC-32C of what was sent is ${body.crc32c}, the store says ${kept}`)
    }
  } finally {
    body.release()
  }
}

/** One request. Where single keys fail the first of those is told; the others are gone. */
const deleteObjects = async (bucket: S3Bucket, keys: ReadonlyArray<string>, signal: AbortSignal): Promise<void> => {
  const { client, location } = bucket
  const answer = await client.send(
    new DeleteObjectsCommand({
      Bucket: location.bucket,
      Delete: { Quiet: true, Objects: [...new Set(keys)].map((key) => ({ Key: location.prefix + key })) },
      ChecksumAlgorithm: "CRC32C"
    }),
    { abortSignal: signal }
  )
  const failed = answer.Errors?.find(({ Code }) => Code !== "NoSuchKey")
  if (failed !== undefined) {
    const { Code = "InternalError", Message = "", Key = "" } = failed
    throw new KeyFailed(
      Key.slice(location.prefix.length),
      Code,
      `${Message} (${answer.Errors!.length} of ${keys.length} keys)`
    )
  }
}

/** One key of several. */
class KeyFailed extends S3Fault {
  readonly key: string

  constructor(key: string, code: string, message: string) {
    super(code, message)
    this.key = key
  }
}

/** A session that is over: the next call makes another. */
const SESSION_ENDED: ReadonlySet<string> = new Set(["ExpiredToken", "InvalidToken", "InvalidAccessKeyId"])

const toError = (bucket: S3Bucket, call: Call, error: unknown): ObjectStoreError => {
  const failure = failureOf(error)
  const { operation } = call
  const { location, region, session } = bucket
  const place = {
    operation,
    bucket: location.bucket,
    prefix: location.prefix,
    region,
    endpoint: location.endpoint,
    isExpress: location.kind === "s3-express"
  }
  const shared = { operation, bucket: bucket.name, key: error instanceof KeyFailed ? error.key : call.key }
  if (session !== undefined && isSessionOver(failure)) {
    session.drop()
    const message = s3Message(failure, place, "none: a new session is made for the next call")
    return new ObjectStoreError({ ...shared, reason: "Unavailable", outcome: "definite", cause: new Error(message) })
  }
  const { reason, outcome, fix } = s3Verdict(failure, place)
  return new ObjectStoreError({
    ...shared,
    reason,
    // Other keys of the call may be gone.
    outcome: error instanceof KeyFailed ? "indefinite" : outcome,
    cause: new Error(s3Message(failure, place, fix))
  })
}

const isSessionOver = ({ phase, code }: S3Failure): boolean => phase === "request" && SESSION_ENDED.has(code)
