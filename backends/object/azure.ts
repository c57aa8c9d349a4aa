/**
 * An object store in a container of Azure Blob Storage, or of an emulator.
 *
 * Put-if-absent is `If-None-Match: *` on Put Blob, decided by Azure (409 BlobAlreadyExists); a put is one request with the
 * MD5 of the body, which Azure checks before the blob exists. Reads are checked for their length only: the segment's own
 * checksums do the rest. Azure has no suffix ranges, so a `last` asks for the size first; blobs never change, so the two
 * requests see the same. Names are prefix + key.
 *
 * Azure keeps no directories, and lists in order of bytes, in accounts without hierarchical namespace; in others it does
 * neither, which the adapter notices in a list and refuses.
 */
import { type Scope, Effect } from "effect"
import { type ContainerClient } from "@azure/storage-blob"
import {
  type ByteRange,
  type ObjectBytes,
  type ObjectHead,
  type ObjectStore,
  type ObjectStoreError
} from "#core/ports/object-store.ts"
import { type AzureAccess, type AzureEnvironment, type AzureLocation, azureAccess } from "./azure-credentials.ts"
import { type AzureRefusal, failureOfAzure } from "./azure-error.ts"
import { checksumPolicy, md5Of, transportOver, uploadBody } from "./azure-transport.ts"
import { bytesOf } from "./chunk-bytes.ts"
import { deleteEach, listPages, prefixFault, successorOf } from "./cloud-call.ts"
import { partOf, wholeOf } from "./cloud-range.ts"
import { type CloudBucket, openCloudStore } from "./cloud-store.ts"
import { placeText } from "./failure-text.ts"
import { HttpConnections, type HttpConnectionsOptions } from "./http-exchange.ts"
import { CloudFault, cloudFault, failureOfFault, HttpFault } from "./http-fault.ts"
import { resolveRange } from "./object-range.ts"
import { type ListRequest, type ObjectOperation, invalidRequest } from "./request-check.ts"

export interface AzureStoreOptions extends Omit<HttpConnectionsOptions, "endpoint"> {
  /** The bucket's name in the topology. */
  readonly bucket: string
  readonly location: AzureLocation
  /** Where credentials are looked for: process.env in the product. */
  readonly environment: AzureEnvironment
}

/**
 * Opens the container and lists one key. InvalidRequest where the location is malformed or there are no credentials for
 * its account; anything else (no such container, wrong key, no answer) may be mended while this process runs.
 */
export const make = (options: AzureStoreOptions): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  Effect.suspend(() => {
    const { bucket, location, environment } = options
    const access = azureAccess(location, environment)
    const fault = typeof access === "string" ? access : prefixFault(location.prefix)
    if (typeof access === "string" || fault !== undefined) {
      return Effect.fail(invalidRequest({ operation: "list", bucket, key: "", fault: fault ?? "" }))
    }
    return openCloudStore(Effect.promise(() => openContainer(options, access)))
  })

/** The SDK is loaded only where a container is opened: that takes some time and memory. */
const openContainer = async (options: AzureStoreOptions, access: AzureAccess): Promise<AzureContainer> => {
  const { ContainerClient, newPipeline, StorageSharedKeyCredential, AnonymousCredential } =
    await import("@azure/storage-blob")
  const { credential, serviceUrl } = access
  const { account, container } = options.location
  const connections = new HttpConnections({ ...options, endpoint: serviceUrl })
  const pipeline = newPipeline(
    // A SAS token is in the URL.
    credential.kind === "key" ? new StorageSharedKeyCredential(account, credential.key) : new AnonymousCredential(),
    { retryOptions: { maxTries: 1 }, httpClient: transportOver(connections), keepAliveOptions: { enable: true } }
  )
  pipeline.factories.push(checksumPolicy)
  const url = `${serviceUrl.origin}${serviceUrl.pathname === "/" ? "" : serviceUrl.pathname}/${container}`
  const client = new ContainerClient(credential.kind === "sas" ? `${url}?${credential.token}` : url, pipeline)
  return new AzureContainer({ options, client, connections, credential: credential.kind })
}

class AzureContainer implements CloudBucket {
  readonly bucket: string
  readonly #location: AzureLocation
  readonly #client: ContainerClient
  readonly #connections: HttpConnections
  readonly #credential: AzureRefusal["credential"]

  constructor(open: {
    readonly options: AzureStoreOptions
    readonly client: ContainerClient
    readonly connections: HttpConnections
    readonly credential: AzureRefusal["credential"]
  }) {
    this.bucket = open.options.bucket
    this.#location = open.options.location
    this.#client = open.client
    this.#connections = open.connections
    this.#credential = open.credential
  }

  close(): void {
    this.#connections.close()
  }

  get place(): string {
    const { account, container, prefix, endpoint } = this.#location
    return placeText(`az://${account}/${container}/${prefix}`, endpoint)
  }

  async put(key: string, chunks: ReadonlyArray<Uint8Array>, signal: AbortSignal): Promise<void> {
    const md5 = await md5Of(chunks, signal)
    const blob = this.#client.getBlockBlobClient(this.#name(key))
    await this.#asked("put", key, () =>
      blob.upload(uploadBody(chunks, md5), bytesOf(chunks), { abortSignal: signal, conditions: { ifNoneMatch: "*" } })
    )
  }

  async get(key: string, range: ByteRange | undefined, signal: AbortSignal): Promise<ObjectBytes> {
    let asked = range
    if (range !== undefined && "last" in range) {
      asked = resolveRange(range, (await this.head(key, signal, "get")).objectBytes)
      if (asked === undefined) throw cloudFault("RangeNotSatisfiable", "the object is empty")
    }
    const { offset, length } = asked === undefined || "last" in asked ? { offset: 0, length: undefined } : asked
    // An end that is no exact number is past any object's.
    const count = length !== undefined && Number.isSafeInteger(offset + length) ? length : undefined
    const { bytes, contentRange } = await this.#asked("get", key, async () => {
      const blob = this.#client.getBlobClient(this.#name(key))
      const answer = await blob.download(offset, count, { abortSignal: signal, maxRetryRequests: 0 })
      return { bytes: await collected(answer.readableStreamBody), contentRange: answer.contentRange }
    })
    return contentRange === undefined ? wholeOf(bytes, asked) : partOf(bytes, contentRange, asked)
  }

  async head(key: string, signal: AbortSignal, operation: ObjectOperation = "head"): Promise<ObjectHead> {
    const blob = this.#client.getBlobClient(this.#name(key))
    const { contentLength } = await this.#asked(operation, key, () => blob.getProperties({ abortSignal: signal }))
    if (contentLength === undefined) throw cloudFault("Unavailable", "the answer has no length")
    return { key, objectBytes: contentLength }
  }

  list(request: ListRequest, signal: AbortSignal): Promise<ReadonlyArray<ObjectHead>> {
    const { prefix, after, limit } = request
    const options = {
      prefix: this.#name(prefix),
      abortSignal: signal,
      ...(after === undefined ? {} : { startFrom: this.#name(successorOf(after)) })
    }
    return listPages(request, async (token, leftMax) => {
      const pages = this.#client
        .listBlobsFlat(options)
        .byPage({ maxPageSize: Math.min(leftMax, limit), ...(token === undefined ? {} : { continuationToken: token }) })
      const page = await this.#asked("list", "", () => pages.next())
      if (page.done === true) return { heads: [], token: undefined }
      const { value } = page
      const heads = value.segment.blobItems.map((blob) => ({
        key: blob.name.slice(this.#location.prefix.length),
        objectBytes: blob.properties.contentLength ?? Number.NaN
      }))
      return { heads, token: value.continuationToken === "" ? undefined : value.continuationToken }
    })
  }

  async deleteMany(keys: ReadonlyArray<string>, signal: AbortSignal): Promise<void> {
    await deleteEach(keys, async (key) => {
      await this.#asked("delete", key, () =>
        this.#client.getBlobClient(this.#name(key)).delete({ abortSignal: signal, deleteSnapshots: "include" })
      )
    })
  }

  #name(key: string): string {
    return `${this.#location.prefix}${key}`
  }

  /** The SDK's errors as ours; anything that is neither of it nor of the transport is a defect. */
  async #asked<A>(operation: ObjectOperation, key: string, ask: () => Promise<A>): Promise<A> {
    try {
      return await ask()
    } catch (error) {
      const failedKey = key === "" ? undefined : key
      if (error instanceof HttpFault) throw new CloudFault(failureOfFault(error), failedKey)
      const refused = refusalOf(error)
      if (refused === undefined) throw error
      const { account, container } = this.#location
      const refusal = { operation, account, container, credential: this.#credential, ...refused }
      throw new CloudFault(failureOfAzure(refusal), failedKey)
    }
  }
}

/** Of the SDK's RestError; and of what it throws of answers that lack what they must have. */
const refusalOf = (error: unknown): Pick<AzureRefusal, "status" | "code" | "clockSkewMs"> | undefined => {
  if (error instanceof RangeError) return { status: 0, code: "IncompleteAnswer", clockSkewMs: undefined }
  if (!(error instanceof Error) || error.name !== "RestError") return undefined
  const { statusCode, code, response } = error as Error & {
    readonly statusCode?: number
    readonly code?: string
    readonly response?: { readonly headers: { readonly get: (name: string) => string | undefined } }
  }
  const atMs = Date.parse(response?.headers.get("date") ?? "")
  return {
    status: statusCode ?? 0,
    code: response?.headers.get("x-ms-error-code") ?? code ?? "",
    clockSkewMs: Number.isNaN(atMs) ? undefined : Date.now() - atMs
  }
}

/** The transport gives the whole answer as one piece. */
const collected = async (stream: NodeJS.ReadableStream | undefined): Promise<Buffer> => {
  const pieces: Array<Buffer> = []
  for await (const piece of stream ?? []) pieces.push(piece as Buffer)
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}
