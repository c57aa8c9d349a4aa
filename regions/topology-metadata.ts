/**
 * The topology's metadata database [pure]: one place, or a server's endpoints in several regions, and the home region.
 *
 * An agent asks its own region's endpoints first and then the others, in the order of the file; all lead to one database.
 */
import { type Problem, didYouMean } from "#core/config/problem.ts"
import { isPostgresUrl, parsePostgresUrl, type PostgresLocation } from "./postgres-url.ts"
import { type TopologyDocument } from "./topology-schema.ts"
import { parseMetadataUrl } from "./topology-url.ts"

/** A way to the database server. */
export interface PostgresEndpoint extends PostgresLocation {
  /** Where it stands in the file: `metadata.url`. */
  readonly field: string
  /** Undefined where the file does not say. */
  readonly region: string | undefined
}

export type MetadataLocation =
  | { readonly kind: "sqlite"; readonly file: string; readonly fsync: boolean }
  | {
      readonly kind: "postgres"
      /** At least one, in the order of the file. */
      readonly endpoints: ReadonlyArray<PostgresEndpoint>
      /** Whether agents may make and change tables. */
      readonly migrate: "auto" | "manual"
    }
  | { readonly kind: "memory" }

type Declaration = TopologyDocument["metadata"]

/** The endpoints in the order in which an agent of the region asks them. */
export const endpointsFor = (
  endpoints: ReadonlyArray<PostgresEndpoint>,
  region: string
): ReadonlyArray<PostgresEndpoint> => [
  ...endpoints.filter((endpoint) => endpoint.region === region),
  ...endpoints.filter((endpoint) => endpoint.region !== region)
]

export const checkedMetadata = (
  declaration: Declaration,
  regions: ReadonlyArray<{ readonly name: string }>,
  directory: string,
  problems: Array<Problem>
): { readonly metadata: MetadataLocation; readonly home: string } => {
  const names = regions.map(({ name }) => name)
  const home = declaration.home ?? names[0] ?? ""
  if (declaration.home !== undefined && !names.includes(home)) {
    problems.push({ path: "metadata.home", message: notAmong(home, names) })
  }
  return { metadata: locationOf(declaration, names, directory, problems), home }
}

const notAmong = (name: string, names: ReadonlyArray<string>): string =>
  `${JSON.stringify(name)} is not among the regions${didYouMean(name, names)}: they are ${names.join(", ")}`

const locationOf = (
  declaration: Declaration,
  regions: ReadonlyArray<string>,
  directory: string,
  problems: Array<Problem>
): MetadataLocation => {
  const { url, migrate } = declaration
  const endpoints = listedEndpoints(declaration, regions, directory, problems)
  if (url === undefined) {
    if (declaration.endpoints === undefined) {
      problems.push({ path: "metadata.url", message: 'is missing: add `url: "sqlite:///absolute/file.db"`' })
      return { kind: "memory" }
    }
    return { kind: "postgres", endpoints, migrate: migrate ?? "auto" }
  }
  const location = parseMetadataUrl(url, directory)
  if (typeof location === "string") {
    problems.push({ path: "metadata.url", message: location })
    return { kind: "memory" }
  }
  if (location.kind === "postgres") {
    const { kind, ...server } = location
    const isListed = endpoints.some(({ host, port }) => host === server.host && port === server.port)
    const own = isListed ? [] : [{ ...server, field: "metadata.url", region: undefined }]
    return { kind, endpoints: [...endpoints, ...own], migrate: migrate ?? "auto" }
  }
  for (const [field, value] of Object.entries({ endpoints: declaration.endpoints, migrate })) {
    if (value === undefined) continue
    problems.push({
      path: `metadata.${field}`,
      message: `is for database servers, and metadata.url names none: leave it out, or write a postgres:// URL`
    })
  }
  return location
}

const listedEndpoints = (
  declaration: Declaration,
  regions: ReadonlyArray<string>,
  directory: string,
  problems: Array<Problem>
): ReadonlyArray<PostgresEndpoint> => {
  if (declaration.endpoints?.length === 0) {
    problems.push({ path: "metadata.endpoints", message: "is empty: add at least one endpoint, or leave it out" })
  }
  const addresses = new Map<string, number>()
  return (declaration.endpoints ?? []).flatMap(({ region, url }, index) => {
    const path = `metadata.endpoints[${index}]`
    if (!regions.includes(region)) problems.push({ path: `${path}.region`, message: notAmong(region, regions) })
    const location = isPostgresUrl(url)
      ? parsePostgresUrl(url, directory)
      : "is no URL of a database server: write postgres://USER:PASSWORD@HOST:5432/DATABASE"
    if (typeof location === "string") {
      problems.push({ path: `${path}.url`, message: location })
      return []
    }
    const address = `${location.host}:${location.port}`
    const earlier = addresses.get(address)
    if (earlier !== undefined) {
      problems.push({
        path: `${path}.url`,
        message: `leads to ${address}, as metadata.endpoints[${earlier}].url does: name each server once`
      })
    }
    addresses.set(address, index)
    return [{ ...location, field: `${path}.url`, region }]
  })
}
