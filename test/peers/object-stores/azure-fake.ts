/**
 * The part of Azure's blob service that the adapter uses, in this process, and strict: what Azure would refuse it refuses.
 *
 * Paths are those of an emulator: /ACCOUNT/CONTAINER/BLOB. A request must have a SharedKey signature of the account (which
 * is not computed again: the system tests do that with Azurite) or the SAS token that the fake was given.
 * Sources: learn.microsoft.com/rest/api/storageservices, blob service; errors as Azure and Azurite give them.
 */
import { createHash } from "node:crypto"
import {
  type FakeAnswer,
  type FakeCertificate,
  type FakeCloud,
  FakeObjects,
  type FakeOperation,
  type FakeRequest,
  HttpFake,
  parseRange
} from "./http-fake.ts"

export interface AzureFakeOptions {
  readonly account: string
  readonly container: string
  /** The `sig` of a SAS token; with it keys are not taken. */
  readonly sig?: string
  readonly certificate?: FakeCertificate
  /** Names that a page of a list has at most. */
  readonly pageMax?: number
  /** Lists in the order of a hierarchical namespace. */
  readonly isHierarchical?: boolean
}

export interface AzureFake {
  readonly http: HttpFake
  /** Of the account's blob service. */
  readonly url: string
  readonly objects: FakeObjects
  /** Takes the container away, or brings it back. */
  isContainerThere: boolean
}

export const startAzureFake = async (options: AzureFakeOptions): Promise<AzureFake> => {
  const objects = new FakeObjects()
  const fake = { isContainerThere: true, objects, http: undefined as unknown as HttpFake, url: "" }
  const cloud: FakeCloud = {
    operationOf: (request) => operationOf(request),
    error: (status, code, operation) => errorAnswer(status, code ?? "InternalError", operation),
    handle: (request) => {
      const { operation, key } = operationOf(request)
      const refused = (status: number, code: string) => errorAnswer(status, code, operation)
      const fault = authFault(request, options)
      if (fault !== undefined) return refused(403, fault)
      const [, account, container] = request.path.split("/")
      if (account !== options.account) return refused(400, "InvalidUri")
      if (!fake.isContainerThere || container !== options.container) return refused(404, "ContainerNotFound")
      if (request.headers["x-ms-version"] === undefined) return refused(400, "MissingRequiredHeader")
      return answerOf({ request, operation, name: key, objects, options })
    }
  }
  fake.http = new HttpFake(cloud, options.certificate)
  fake.url = `${await fake.http.listen()}/${options.account}`
  return fake
}

const operationOf = (request: Omit<FakeRequest, "body">): { operation: FakeOperation; key: string } => {
  const name = decodeURIComponent(request.path.split("/").slice(3).join("/"))
  if (request.query.get("comp") === "list") return { operation: "list", key: request.query.get("prefix") ?? "" }
  switch (request.method) {
    case "PUT":
      return { operation: "put", key: name }
    case "DELETE":
      return { operation: "delete", key: name }
    case "HEAD":
      return { operation: "head", key: name }
    default:
      return { operation: "get", key: name }
  }
}

const authFault = ({ headers, query }: FakeRequest, { account, sig }: AzureFakeOptions): string | undefined => {
  if (sig !== undefined) return query.get("sig") === sig ? undefined : "AuthenticationFailed"
  const date = Date.parse(String(headers["x-ms-date"]))
  const isDated = Math.abs(Date.now() - date) < 15 * 60_000
  const isSigned = new RegExp(`^SharedKey ${account}:[A-Za-z0-9+/]{43}=$`).test(headers.authorization ?? "")
  return isDated && isSigned ? undefined : "AuthenticationFailed"
}

interface Asked {
  readonly request: FakeRequest
  readonly operation: FakeOperation
  readonly name: string
  readonly objects: FakeObjects
  readonly options: AzureFakeOptions
}

const answerOf = (asked: Asked): FakeAnswer => {
  const { request, operation, name, objects } = asked
  if (operation === "list") return list(asked)
  if (operation === "put") return put(asked)
  const object = objects.get(name)
  if (object === undefined) return errorAnswer(404, "BlobNotFound", operation)
  if (operation === "delete") {
    objects.delete(name)
    return { status: 202 }
  }
  const headers = {
    etag: `"0x${object.generation.toString(16)}"`,
    "last-modified": new Date(0).toUTCString(),
    "content-type": "application/octet-stream",
    "x-ms-blob-type": "BlockBlob"
  }
  if (operation === "head")
    return { status: 200, headers: { ...headers, "content-length": String(object.body.length) } }
  const text = request.headers["x-ms-range"] ?? request.headers.range
  // Azure knows no suffix ranges: it ignores what it does not know.
  const range = /^bytes=\d+-\d*$/.test(String(text)) ? parseRange(String(text), object.body.length) : undefined
  if (range === "unsatisfiable") return errorAnswer(416, "InvalidRange", operation)
  if (range === undefined) return { status: 200, headers, body: object.body }
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${range.first}-${range.last}/${object.body.length}` },
    body: object.body.subarray(range.first, range.last + 1)
  }
}

const put = ({ request, objects, name }: Asked): FakeAnswer => {
  const { headers, body } = request
  if (headers["content-length"] === undefined) return errorAnswer(411, "MissingContentLengthHeader", "put")
  if (headers["x-ms-blob-type"] !== "BlockBlob") return errorAnswer(400, "MissingRequiredHeader", "put")
  const md5 = createHash("md5").update(body).digest("base64")
  if (headers["content-md5"] === undefined) return errorAnswer(400, "MissingRequiredHeader", "put")
  if (headers["content-md5"] !== md5) return errorAnswer(400, "Md5Mismatch", "put")
  // Without the condition Azure overwrites: the adapter must never ask for that.
  if (headers["if-none-match"] !== "*") return errorAnswer(400, "UnsupportedHeader", "put")
  const object = objects.putIfAbsent(name, Buffer.from(body))
  if (object === undefined) return errorAnswer(409, "BlobAlreadyExists", "put")
  return { status: 201, headers: { etag: `"0x${object.generation.toString(16)}"`, "content-md5": md5 } }
}

const list = ({ request, objects, options }: Asked): FakeAnswer => {
  const { query } = request
  const limit = Math.min(Number(query.get("maxresults") ?? 5_000), options.pageMax ?? 5_000)
  if (!Number.isInteger(limit) || limit < 1) return errorAnswer(400, "OutOfRangeQueryParameterValue", "list")
  const marker = query.get("marker")
  const startFrom = query.get("startFrom") ?? ""
  if (startFrom.includes("\0")) return errorAnswer(400, "InvalidQueryParameterValue", "list")
  // Opaque, as at Azure.
  const from = marker === null || marker === "" ? startFrom : Buffer.from(marker, "base64").toString()
  let names = objects.names(query.get("prefix") ?? "", from)
  if (options.isHierarchical === true) names = names.toSorted((a, b) => (byParts(a) < byParts(b) ? -1 : 1))
  const blobs = names.slice(0, limit).map((name) => {
    const properties = `<Content-Length>${objects.get(name)!.body.length}</Content-Length><BlobType>BlockBlob</BlobType>`
    return `<Blob><Name>${name}</Name><Properties>${properties}</Properties></Blob>`
  })
  const next = names[limit] === undefined ? "" : Buffer.from(names[limit]).toString("base64")
  const body =
    `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://fake/" ContainerName="c">` +
    `<Blobs>${blobs.join("")}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`
  return { status: 200, headers: { "content-type": "application/xml" }, body: Buffer.from(body) }
}

/** Sorts a name as if its slashes came before all other characters. */
const byParts = (name: string): string => name.replaceAll("/", "\u0001")

const errorAnswer = (status: number, code: string, operation: FakeOperation): FakeAnswer => ({
  status,
  headers: { "x-ms-error-code": code, "content-type": "application/xml" },
  ...(operation === "head"
    ? {}
    : {
        body: Buffer.from(
          `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>of the fake</Message></Error>`
        )
      })
})
