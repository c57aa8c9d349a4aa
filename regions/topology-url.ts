/**
 * URLs of the topology file [pure]: where a bucket or the metadata database is.
 *
 *   file:///abs/dir?fsync=true     a directory; `file:dir` is relative to the topology file
 *   s3://bucket/prefix, gs://…, az://…   a bucket of an object store: store-url.ts
 *   sqlite:///abs/file.db          an SQLite file, likewise
 *   postgres://user@host/database  a PostgreSQL or CockroachDB server: postgres-url.ts
 *   memory:                        in this process only, gone with it: for tests
 *
 * Every parameter that is not known is refused, so that a misspelt `fsync` cannot silently weaken durability. A path is
 * percent-decoded as in any URL, so `%3F` stands for a question mark in a directory's name.
 */
import { isAbsolute, join } from "node:path"
import { didYouMean, showValue } from "#core/config/problem.ts"
import { isPostgresUrl, parsePostgresUrl, POSTGRES_SCHEMES, type PostgresLocation } from "./postgres-url.ts"
import { isStoreUrl, parseStoreUrl, STORE_SCHEMES, type StoreLocation } from "./store-url.ts"

export type BucketLocation =
  | { readonly kind: "file"; readonly directory: string; readonly fsync: boolean }
  | { readonly kind: "memory" }
  | StoreLocation

/** Of one URL: an SQLite file, a server, or memory. */
export type DatabaseLocation =
  | { readonly kind: "sqlite"; readonly file: string; readonly fsync: boolean }
  | ({ readonly kind: "postgres" } & PostgresLocation)
  | { readonly kind: "memory" }

/** The location, or what is wrong with the URL. `directory` is where relative paths begin. */
export const parseBucketUrl = (url: string, directory: string): BucketLocation | string => {
  if (isStoreUrl(url)) return parseStoreUrl(url)
  const parts = splitUrl(url, ["file", "memory", ...STORE_SCHEMES], "file:///absolute/directory?fsync=true")
  if (typeof parts === "string") return parts
  if (parts.scheme === "memory") return memoryLocation(url, parts)
  const location = pathLocation(url, parts, directory)
  return typeof location === "string" ? location : { kind: "file", directory: location.path, fsync: location.fsync }
}

export const parseMetadataUrl = (url: string, directory: string): DatabaseLocation | string => {
  if (isPostgresUrl(url)) {
    const location = parsePostgresUrl(url, directory)
    return typeof location === "string" ? location : { kind: "postgres", ...location }
  }
  const parts = splitUrl(url, ["sqlite", "memory", ...POSTGRES_SCHEMES], "sqlite:///absolute/file.db?fsync=true")
  if (typeof parts === "string") return parts
  if (parts.scheme === "memory") return memoryLocation(url, parts)
  const location = pathLocation(url, parts, directory)
  return typeof location === "string" ? location : { kind: "sqlite", file: location.path, fsync: location.fsync }
}

/** The URL of a directory, for those who write topology files. */
export const fileBucketUrl = (directory: string, fsync: "fsync" | "no-fsync"): string =>
  pathUrl("file", directory, fsync)

export const sqliteUrl = (file: string, fsync: "fsync" | "no-fsync"): string => pathUrl("sqlite", file, fsync)

interface UrlParts {
  readonly scheme: string
  readonly rest: string
  readonly parameters: ReadonlyArray<readonly [key: string, value: string]>
}

/** What stands before a host may be a password, wherever a URL is wrong. */
const showUrl = (url: string): string => showValue(url.replace(/\/\/.*@/s, "//…@"))

/** Not `new URL`: that one cannot hold a relative path, and mends what is wrong instead of saying so. */
const splitUrl = (url: string, schemes: ReadonlyArray<string>, example: string): UrlParts | string => {
  const colon = url.indexOf(":")
  const scheme = url.slice(0, Math.max(0, colon)).toLowerCase()
  if (colon < 0 || !schemes.includes(scheme)) {
    const known = schemes.map((name) => `${name}:`).join(" or ")
    return `${showUrl(url)} has no scheme that is known here (${known})${didYouMean(scheme, schemes)}: write for example ${example}`
  }
  const question = url.indexOf("?", colon)
  const rest = url.slice(colon + 1, question < 0 ? undefined : question)
  const parameters = question < 0 ? [] : [...new URLSearchParams(url.slice(question + 1))]
  return { scheme, rest, parameters }
}

const memoryLocation = (url: string, parts: UrlParts): { readonly kind: "memory" } | string =>
  parts.rest === "" && parts.parameters.length === 0
    ? { kind: "memory" }
    : `${showValue(url)} says more than memory: can hold: write memory:`

const pathLocation = (
  url: string,
  parts: UrlParts,
  directory: string
): { readonly path: string; readonly fsync: boolean } | string => {
  let written: string
  try {
    written = decodeURIComponent(parts.rest)
  } catch {
    return `${showValue(url)} has a % that begins no escape: write %25 for a percent sign`
  }
  if (written.startsWith("//") && !written.startsWith("///")) {
    return `${showValue(url)} names a host: write three slashes (${parts.scheme}:///absolute/path) or none for a relative path`
  }
  const path = written.startsWith("///") ? written.slice(2) : written
  if (path === "" || path.includes("\0") || parts.rest.includes("#")) {
    return `${showValue(url)} has no usable path: write ${parts.scheme}:///absolute/path (%23 for a # in it)`
  }
  const fsync = fsyncParameter(parts.parameters)
  if (typeof fsync === "string") return `${showValue(url)} ${fsync}`
  return { path: isAbsolute(path) ? join(path) : join(directory, path), fsync }
}

/** On where nothing is said: what is acknowledged then survives a power failure. */
const fsyncParameter = (parameters: UrlParts["parameters"]): boolean | string => {
  let fsync: boolean | undefined
  for (const [key, value] of parameters) {
    if (key !== "fsync")
      return `has an unknown parameter ${showValue(key)}${didYouMean(key, ["fsync"])}: only fsync is known`
    if (value !== "true" && value !== "false") return `has fsync=${value}: write fsync=true or fsync=false`
    if (fsync !== undefined) return "has fsync twice: write it once"
    fsync = value === "true"
  }
  return fsync ?? true
}

const pathUrl = (scheme: string, path: string, fsync: "fsync" | "no-fsync"): string => {
  const escaped = path.split("/").map(encodeURIComponent).join("/")
  return `${scheme}:${isAbsolute(path) ? "//" : ""}${escaped}?fsync=${fsync === "fsync"}`
}
