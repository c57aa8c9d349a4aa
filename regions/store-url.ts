/**
 * URLs of buckets in object stores [pure].
 *
 *   s3://bucket/prefix?region=eu-west-1&endpoint=https://host:9000&path-style=true    S3 and what speaks like it
 *   s3://name--use1-az4--x-s3/prefix?region=us-east-1                                 a directory bucket (S3 Express)
 *   gs://bucket/prefix?endpoint=http://host:4443                                      Google Cloud Storage
 *   az://account/container/prefix?endpoint=http://host:10000/account                  Azure Blob Storage
 *
 * No URL holds credentials: the topology is one file for all agents, is printed and kept in repositories, and every SDK
 * has a chain of its own for them. What may be one is never shown. Every parameter that is not known is refused. The
 * bucket rules are the vendors' own (AWS "General purpose bucket naming rules" and "Directory bucket naming rules",
 * Google "About Cloud Storage buckets", Azure "Naming and referencing containers"): a name that a store cannot have is
 * told here, and not as a 404 of a running agent.
 */
import { didYouMean, showValue } from "#core/config/problem.ts"
import { limits } from "#core/model/limits.ts"

/** `prefix` is "" or ends in "/", in all of them. */
export type StoreLocation = S3Location | S3ExpressLocation | GcsLocation | AzureLocation

export interface S3Location {
  readonly kind: "s3"
  readonly bucket: string
  readonly prefix: string
  /** Undefined: what the SDK finds in its environment. */
  readonly region?: string
  /** Origin of a compatible store, `http://host:port`; undefined: AWS itself. */
  readonly endpoint?: string
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`; where nothing is said, on with an endpoint, else off. */
  readonly pathStyle: boolean
}

export interface S3ExpressLocation {
  readonly kind: "s3-express"
  /** The whole name, with zone id and suffix. */
  readonly bucket: string
  readonly zoneId: string
  readonly prefix: string
  /** Where nothing is said, the zone's own where that is known. */
  readonly region?: string
  readonly endpoint?: string
}

export interface GcsLocation {
  readonly kind: "gcs"
  readonly bucket: string
  readonly prefix: string
  readonly endpoint?: string
}

export interface AzureLocation {
  readonly kind: "azure"
  readonly account: string
  readonly container: string
  readonly prefix: string
  /** With a path where the account stands in it, as in emulators. */
  readonly endpoint?: string
}

export const STORE_SCHEMES = ["s3", "gs", "az"] as const

export const isStoreUrl = (url: string): boolean => STORE_SCHEMES.some((scheme) => schemeOf(url) === scheme)

/** The location, or what is wrong with the URL. */
export const parseStoreUrl = (url: string): StoreLocation | string => {
  const scheme = schemeOf(url)
  const parts = partsOf(url)
  if (typeof parts === "string") return parts
  const location = scheme === "s3" ? s3(parts) : scheme === "gs" ? gcs(parts) : azure(parts)
  return typeof location === "string" ? `${showValue(url)} ${location}` : location
}

/**
 * What two locations share when they are in one bucket, whatever the prefix: copies in one bucket are lost together.
 * Names of S3's buckets are unique over all regions of a partition, so a region is no part of a place.
 */
export const placeOf = (location: StoreLocation): string => {
  switch (location.kind) {
    case "s3":
    case "s3-express":
      return `s3 ${awsPartitionOf(location) ?? location.endpoint} ${location.bucket}`
    case "gcs":
      return `gcs ${isOf(location.endpoint, "googleapis.com") ? "" : location.endpoint} ${location.bucket}`
    case "azure": {
      const isAzure = isOf(location.endpoint, `${location.account}.blob.core.windows.net`)
      return `azure ${isAzure ? "" : location.endpoint} ${location.account} ${location.container}`
    }
  }
}

interface UrlParts {
  /** Between `//` and the first `/`: bucket or account. */
  readonly name: string
  /** What follows, without the first slash. */
  readonly path: string
  readonly parameters: ReadonlyArray<readonly [key: string, value: string]>
}

const EXAMPLES = {
  s3: "s3://bucket/prefix?region=us-east-1",
  gs: "gs://bucket/prefix",
  az: "az://account/container/prefix"
} as const

const NO_CREDENTIALS =
  "credentials do not belong into the topology, which all agents share and anyone may print: leave them out, and give " +
  "them by the environment or the machine's role, where the store's own SDK looks for them"

const CREDENTIAL_PARAMETER = /key|secret|token|password|credential|^sig$|^sas$|signature/i

const schemeOf = (url: string): string => url.slice(0, Math.max(0, url.indexOf(":"))).toLowerCase()

const partsOf = (url: string): UrlParts | string => {
  const example = EXAMPLES[schemeOf(url) as keyof typeof EXAMPLES]
  const rest = url.slice(url.indexOf(":") + 1)
  const question = rest.indexOf("?")
  const address = question < 0 ? rest : rest.slice(0, question)
  if (address.includes("@")) return `has an @: ${NO_CREDENTIALS}`
  const parameters = question < 0 ? [] : [...new URLSearchParams(rest.slice(question + 1))]
  for (const [key, value] of parameters) {
    if (CREDENTIAL_PARAMETER.test(key)) return `has the parameter ${showValue(key)}: ${NO_CREDENTIALS}`
    if (key === "endpoint" && value.includes("@")) return `has an @ in its endpoint: ${NO_CREDENTIALS}`
  }
  if (!address.startsWith("//")) return `${showValue(url)} has no // before the name: write for example ${example}`
  if (/[#%]/.test(address)) return `${showValue(url)} has a # or % in name or prefix: leave it out, no key has one`
  const slash = address.indexOf("/", 2)
  return {
    name: address.slice(2, slash < 0 ? undefined : slash),
    path: slash < 0 ? "" : address.slice(slash + 1),
    parameters
  }
}

const s3 = (parts: UrlParts): S3Location | S3ExpressLocation | string => {
  if (parts.name.endsWith(DIRECTORY_SUFFIX)) return s3Express(parts)
  const fault = s3NameFault(parts.name)
  if (fault !== undefined) return fault
  const values = parametersOf(parts, ["region", "endpoint", "path-style"])
  if (typeof values === "string") return values
  const pathStyle = values.get("path-style")
  if (pathStyle !== undefined && pathStyle !== "true" && pathStyle !== "false") {
    return `has path-style=${pathStyle}: write path-style=true or path-style=false`
  }
  const place = placeParameters(values)
  if (typeof place === "string") return place
  const prefix = prefixOf(parts.path)
  if (typeof prefix !== "string") return prefix.fault
  const styled = pathStyle === undefined ? place.endpoint !== undefined : pathStyle === "true"
  return { kind: "s3", bucket: parts.name, prefix, ...place, pathStyle: styled }
}

const DIRECTORY_SUFFIX = "--x-s3"
const DIRECTORY_NAME = /^[a-z0-9][a-z0-9-]*--([a-z0-9]+(?:-[a-z0-9]+)*-az[0-9]+)--x-s3$/

/** Regions that have directory buckets, by the first part of their zones' ids (AWS "Endpoints for directory buckets"). */
const ZONE_REGIONS: Readonly<Record<string, string>> = {
  use1: "us-east-1",
  use2: "us-east-2",
  usw2: "us-west-2",
  aps1: "ap-south-1",
  apne1: "ap-northeast-1",
  euw1: "eu-west-1",
  eun1: "eu-north-1"
}

const s3Express = (parts: UrlParts): S3ExpressLocation | string => {
  const bucket = parts.name
  const zoneId = DIRECTORY_NAME.exec(bucket)?.[1]
  if (zoneId === undefined || bucket.length > S3_NAME_MAX) {
    return (
      `has the directory bucket ${showValue(bucket)}, which cannot be one: write name--zone-id--x-s3 ` +
      `(such as logs--use1-az4--x-s3) of at most ${S3_NAME_MAX} lower-case letters, digits and dashes`
    )
  }
  if (parts.parameters.some(([key]) => key === "path-style")) {
    return "has path-style, which a directory bucket does not know: leave it out"
  }
  const values = parametersOf(parts, ["region", "endpoint"])
  if (typeof values === "string") return values
  const place = placeParameters(values)
  if (typeof place === "string") return place
  const known = ZONE_REGIONS[zoneId.slice(0, zoneId.indexOf("-"))]
  if (known !== undefined && place.region !== undefined && place.region !== known) {
    return `has region=${place.region}, but ${zoneId} is a zone of ${known}: write region=${known} or leave it out`
  }
  const prefix = prefixOf(parts.path)
  if (typeof prefix !== "string") return prefix.fault
  const region = place.region ?? known
  return { kind: "s3-express", bucket, zoneId, prefix, ...place, ...(region === undefined ? {} : { region }) }
}

const gcs = (parts: UrlParts): GcsLocation | string => {
  const { name } = parts
  const isName =
    /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(name) &&
    name.split(".").every((label) => label.length >= 1 && label.length <= 63) &&
    !IP_ADDRESS.test(name)
  if (!isName) {
    return `has the bucket ${showValue(name)}, which cannot be one: write ${EXAMPLES.gs} with 3 to 63 lower-case letters, digits, dashes, underscores or dots that begin and end with a letter or digit`
  }
  if (name.startsWith("goog")) return `has the bucket ${showValue(name)}: Google keeps names that begin with goog`
  const values = parametersOf(parts, ["endpoint"])
  if (typeof values === "string") return values
  const place = placeParameters(values)
  if (typeof place === "string") return place
  const prefix = prefixOf(parts.path)
  return typeof prefix === "string" ? { kind: "gcs", bucket: name, prefix, ...place } : prefix.fault
}

const azure = (parts: UrlParts): AzureLocation | string => {
  const account = parts.name
  if (!/^[a-z0-9]{3,24}$/.test(account)) {
    return `has the account ${showValue(account)}, which cannot be one: write ${EXAMPLES.az} with an account of 3 to 24 lower-case letters and digits`
  }
  const slash = parts.path.indexOf("/")
  const container = slash < 0 ? parts.path : parts.path.slice(0, slash)
  if (container === "") return `names no container: write az://${account}/container/prefix`
  if (!/^[a-z0-9](-?[a-z0-9])*$/.test(container) || container.length < 3 || container.length > 63) {
    return `has the container ${showValue(container)}, which cannot be one: write 3 to 63 lower-case letters, digits and single dashes that begin and end with a letter or digit`
  }
  const values = parametersOf(parts, ["endpoint"])
  if (typeof values === "string") return values
  const place = placeParameters(values, "path")
  if (typeof place === "string") return place
  const prefix = prefixOf(slash < 0 ? "" : parts.path.slice(slash + 1))
  return typeof prefix === "string" ? { kind: "azure", account, container, prefix, ...place } : prefix.fault
}

const S3_NAME_MAX = 63
const S3_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const IP_ADDRESS = /^\d+\.\d+\.\d+\.\d+$/
/** Kept by AWS for aliases, access points and examples. */
const S3_NAME_KEPT = /^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|\.mrap|--table-s3)$/

const s3NameFault = (name: string): string | undefined => {
  if (name === "") return `names no bucket: write for example ${EXAMPLES.s3}`
  if (!S3_NAME.test(name) || name.includes("..") || IP_ADDRESS.test(name)) {
    return (
      `has the bucket ${showValue(name)}, which cannot be one: write 3 to ${S3_NAME_MAX} lower-case letters, digits, ` +
      "dashes or single dots that begin and end with a letter or digit and are no IP address"
    )
  }
  const kept = S3_NAME_KEPT.exec(name)
  return kept === null ? undefined : `has the bucket ${showValue(name)}: no bucket can have ${showValue(kept[0])} there`
}

const PREFIX_PART = /^[A-Za-z0-9._=-]{1,255}$/

/** "" or ending in "/". The key with it must fit into what the stores take. */
const prefixOf = (path: string): string | { readonly fault: string } => {
  const written = path.endsWith("/") ? path.slice(0, -1) : path
  if (path === "") return ""
  for (const part of written.split("/")) {
    if (!PREFIX_PART.test(part) || part === "." || part === "..") {
      return {
        fault: `has ${showValue(part)} as a part of its prefix: write parts of 1 to 255 letters, digits, and . _ = - (not . or .. alone), with one slash between two`
      }
    }
  }
  return written.length < limits.bucketPrefixBytesMax
    ? `${written}/`
    : { fault: `has a prefix of ${written.length} bytes: write less than ${limits.bucketPrefixBytesMax}` }
}

const parametersOf = (parts: UrlParts, known: ReadonlyArray<string>): ReadonlyMap<string, string> | string => {
  const values = new Map<string, string>()
  for (const [key, value] of parts.parameters) {
    if (!known.includes(key)) {
      return `has an unknown parameter ${showValue(key)}${didYouMean(key, known)}: known here are ${known.join(", ")}`
    }
    if (values.has(key)) return `has ${key} twice: write it once`
    if (value === "") return `has ${key} without a value: write one, or leave it out`
    values.set(key, value)
  }
  return values
}

const placeParameters = (
  values: ReadonlyMap<string, string>,
  endpointPath: "path" | "no-path" = "no-path"
): { readonly region?: string; readonly endpoint?: string } | string => {
  const region = values.get("region")
  if (region !== undefined && !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(region)) {
    return `has region=${region}: write a region's name such as us-east-1`
  }
  const written = values.get("endpoint")
  const endpoint = written === undefined ? undefined : endpointOf(written, endpointPath)
  if (typeof endpoint === "object") return endpoint.fault
  return { ...(region === undefined ? {} : { region }), ...(endpoint === undefined ? {} : { endpoint }) }
}

/** Without a slash at its end, so that equal ones are equal. */
const endpointOf = (written: string, path: "path" | "no-path"): string | { readonly fault: string } => {
  const example = path === "path" ? "http://host:10000/account" : "https://host:9000"
  let url: URL
  try {
    url = new URL(written)
  } catch {
    return { fault: `has the endpoint ${showValue(written)}: write one such as ${example}` }
  }
  const isHttp = url.protocol === "http:" || url.protocol === "https:"
  const hasPath = url.pathname !== "/" && path === "no-path"
  if (!isHttp || url.hostname === "" || hasPath || url.search !== "" || url.hash !== "") {
    return { fault: `has the endpoint ${showValue(written)}: write http or https, host and port only, as ${example}` }
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "")
}

/** Whether the endpoint is the vendor's own: left out, or written as one of its hosts. */
const isOf = (endpoint: string | undefined, domain: string): boolean =>
  endpoint === undefined || `.${new URL(endpoint).hostname}`.endsWith(`.${domain}`)

/** Of AWS itself, also where its own address is the endpoint; undefined for other stores. */
const awsPartitionOf = (location: S3Location | S3ExpressLocation): string | undefined => {
  const { endpoint, region } = location
  if (endpoint !== undefined && !/\.amazonaws\.com(\.cn)?(:\d+)?$/.test(endpoint)) return undefined
  if (region?.startsWith("cn-") === true || endpoint?.includes(".amazonaws.com.cn") === true) return "aws-cn"
  return region?.startsWith("us-gov-") === true || endpoint?.includes("us-gov-") === true ? "aws-us-gov" : "aws"
}
