/**
 * The topology: regions, buckets, quorum and database of one cluster, from the one file that all agents share [pure].
 *
 * Invariant kept here: no topology is accepted under which an acknowledged segment could be lost with one failure domain
 * where there are three (W is a majority of the *distinct* failure domains of a set, and no two buckets are the same
 * place). All problems are reported together, each with field, value and fix. Reading the file is the caller's business.
 */
import { dirname } from "node:path"
import { Result, Schema } from "effect"
import { type Problem, didYouMean, formatProblems } from "#core/config/problem.ts"
import { type Settings, defaultSettings, parseSettings } from "#core/config/settings.ts"
import { type TopologyDocument, isName, nameRule, parseDocument } from "./topology-schema.ts"
import { checkedMetadata, type MetadataLocation } from "./topology-metadata.ts"
import { placeOf } from "./store-url.ts"
import { type BucketLocation, parseBucketUrl } from "./topology-url.ts"

export interface TopologyRegion {
  readonly name: string
  /** May be empty: then the region is its own only zone. */
  readonly zones: ReadonlyArray<string>
}

export interface TopologyBucket {
  readonly name: string
  readonly region: string
  /** The region's own name where the bucket belongs to no zone. */
  readonly zone: string
  readonly location: BucketLocation
}

export type FailureDomain = "region" | "zone"

export interface TopologyBucketSet {
  readonly name: string
  readonly buckets: ReadonlyArray<string>
  /** Acknowledgements from distinct failure domains that make a segment durable. */
  readonly writes: number
  readonly failureDomain: FailureDomain
}

export interface Topology {
  readonly cluster: string
  readonly regions: ReadonlyArray<TopologyRegion>
  readonly buckets: ReadonlyArray<TopologyBucket>
  /** By name; `quorum` is always there. */
  readonly bucketSets: ReadonlyMap<string, TopologyBucketSet>
  readonly metadata: MetadataLocation
  /** Where the shards' sequencers, and what leads the database, prefer to live. */
  readonly home: string
  readonly settings: Settings
}

/** The bucket set of topics that say nothing else. */
export const QUORUM_SET = "quorum"

export class TopologyError extends Schema.TaggedError<TopologyError>()("TopologyError", {
  fileName: Schema.String,
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return `${this.fileName}:\n${formatProblems(this.problems)
      .split("\n")
      .map((line) => `  ${line}`)
      .join("\n")}`
  }
}

/** `fileName` is for messages, and relative paths in the file begin in its directory. */
export const parseTopology = (text: string, fileName: string): Result.Result<Topology, TopologyError> => {
  const document = parseDocument(text)
  if (Result.isFailure(document)) return Result.fail(new TopologyError({ fileName, problems: document.failure }))
  const problems: Array<Problem> = []
  const topology = checkedTopology(document.success, dirname(fileName), problems)
  return problems.length === 0 ? Result.succeed(topology) : Result.fail(new TopologyError({ fileName, problems }))
}

/** Failure domain of a bucket. Zones of different regions may have the same name, so a zone is told with its region. */
export const failureDomainOf = (
  bucket: Pick<TopologyBucket, "region" | "zone">,
  failureDomain: FailureDomain
): string => (failureDomain === "region" ? bucket.region : `${bucket.region}/${bucket.zone}`)

export interface AgentPlace {
  readonly region: string
  readonly zone: string
}

/** Where an agent is, by its flags, or what is wrong with them. Without a zone it is in its region's first one. */
export const agentPlace = (
  topology: Topology,
  flags: { readonly region: string; readonly zone?: string | undefined }
): AgentPlace | Problem => {
  const names = topology.regions.map((region) => region.name)
  const region = topology.regions.find((candidate) => candidate.name === flags.region)
  if (region === undefined) {
    const hint = didYouMean(flags.region, names)
    return {
      path: "--region",
      message: `${quoted(flags.region)} is not in the topology${hint}: it has ${names.join(", ")}`
    }
  }
  const zones = zonesOf(region)
  const zone = flags.zone ?? zones[0]!
  if (!zones.includes(zone)) {
    return {
      path: "--zone",
      message: `${quoted(zone)} is no zone of ${region.name}${didYouMean(zone, zones)}: it has ${zones.join(", ")}`
    }
  }
  return { region: region.name, zone }
}

const quoted = (text: string): string => JSON.stringify(text)

const zonesOf = (region: TopologyRegion): ReadonlyArray<string> =>
  region.zones.length === 0 ? [region.name] : region.zones

const checkedTopology = (document: TopologyDocument, directory: string, problems: Array<Problem>): Topology => {
  const regions = document.regions.map((region) => ({ name: region.name, zones: region.zones ?? [] }))
  const buckets = checkedBuckets(document, directory, problems)
  checkRegions(regions, problems)
  checkBuckets(buckets, regions, problems)
  return {
    cluster: document.cluster,
    regions,
    buckets,
    bucketSets: checkedBucketSets(document, buckets, problems),
    ...checkedMetadata(document.metadata, regions, directory, problems),
    settings: checkedSettings(document, problems)
  }
}

const checkRegions = (regions: ReadonlyArray<TopologyRegion>, problems: Array<Problem>): void => {
  if (regions.length === 0) problems.push({ path: "regions", message: "is empty: add at least one region" })
  checkUnique(
    regions.map((region) => region.name),
    (index) => `regions[${index}].name`,
    problems
  )
  for (const [index, region] of regions.entries()) {
    checkUnique(region.zones, (zone) => `regions[${index}].zones[${zone}]`, problems)
  }
}

const checkedBuckets = (
  document: TopologyDocument,
  directory: string,
  problems: Array<Problem>
): ReadonlyArray<TopologyBucket> =>
  document.buckets.map((bucket, index) => {
    const location = parseBucketUrl(bucket.url, directory)
    if (typeof location === "string") problems.push({ path: `buckets[${index}].url`, message: location })
    return {
      name: bucket.name,
      region: bucket.region,
      zone: bucket.zone ?? bucket.region,
      location: typeof location === "string" ? { kind: "memory" } : location
    }
  })

const checkBuckets = (
  buckets: ReadonlyArray<TopologyBucket>,
  regions: ReadonlyArray<TopologyRegion>,
  problems: Array<Problem>
): void => {
  if (buckets.length === 0) problems.push({ path: "buckets", message: "is empty: add at least one bucket" })
  checkUnique(
    buckets.map((bucket) => bucket.name),
    (index) => `buckets[${index}].name`,
    problems
  )
  const regionNames = regions.map((region) => region.name)
  const places = new Map<string, number>()
  for (const [index, bucket] of buckets.entries()) {
    const region = regions.find((candidate) => candidate.name === bucket.region)
    if (region === undefined) {
      problems.push({
        path: `buckets[${index}].region`,
        message: `${quoted(bucket.region)} is not among the regions${didYouMean(bucket.region, regionNames)}: they are ${regionNames.join(", ")}`
      })
    } else if (bucket.zone !== region.name && !region.zones.includes(bucket.zone)) {
      problems.push({
        path: `buckets[${index}].zone`,
        message: `${quoted(bucket.zone)} is no zone of ${region.name}${didYouMean(bucket.zone, region.zones)}: add it to the region's zones or leave it out for a regional bucket`
      })
    }
    const place = placeOfBucket(bucket.location)
    if (place === undefined) continue
    const other = places.get(place.name)
    if (other === undefined) places.set(place.name, index)
    else {
      problems.push({
        path: `buckets[${index}].url`,
        message: `is the same ${place.what} as buckets[${other}].url: two copies in one place are one copy; give it a ${place.what} of its own`
      })
    }
  }
}

/** Undefined where no other location can be the same place. */
const placeOfBucket = (location: BucketLocation): { readonly name: string; readonly what: string } | undefined => {
  if (location.kind === "memory") return undefined
  if (location.kind === "file") return { name: `file ${location.directory}`, what: "directory" }
  return { name: placeOf(location), what: location.kind === "azure" ? "container" : "bucket" }
}

const checkedBucketSets = (
  document: TopologyDocument,
  buckets: ReadonlyArray<TopologyBucket>,
  problems: Array<Problem>
): ReadonlyMap<string, TopologyBucketSet> => {
  const declared = { [QUORUM_SET]: {}, ...document.bucketSets } as NonNullable<TopologyDocument["bucketSets"]>
  const sets = new Map<string, TopologyBucketSet>()
  for (const [name, declaration] of Object.entries(declared)) {
    const path = `bucketSets.${name}`
    if (!isName(name)) problems.push({ path, message: `${quoted(name)} cannot be a name: write ${nameRule}` })
    const names = declaration.buckets ?? [...new Set(buckets.map((bucket) => bucket.name))]
    checkUnique(names, (index) => `${path}.buckets[${index}]`, problems)
    const failureDomain = declaration.failureDomain ?? "region"
    const members = membersOf(names, buckets, path, problems)
    const domains = new Set(members.map((bucket) => failureDomainOf(bucket, failureDomain))).size
    const majority = Math.floor(domains / 2) + 1
    const writes = declaration.writes ?? majority
    if (declaration.buckets?.length === 0) {
      problems.push({ path: `${path}.buckets`, message: "is empty: name at least one bucket, or leave it out for all" })
    } else if (names.length > 0 && members.length === names.length && (writes < majority || writes > domains)) {
      problems.push({
        path: `${path}.writes`,
        message:
          `${writes} is no majority of the set's ${domains} distinct failure domains (${failureDomain}s): ` +
          (majority === domains ? `write ${majority}` : `write ${majority} to ${domains}`) +
          ", or leave it out"
      })
    }
    sets.set(name, { name, buckets: names, writes, failureDomain })
  }
  return sets
}

const membersOf = (
  names: ReadonlyArray<string>,
  buckets: ReadonlyArray<TopologyBucket>,
  path: string,
  problems: Array<Problem>
): ReadonlyArray<TopologyBucket> => {
  const known = buckets.map((bucket) => bucket.name)
  const members: Array<TopologyBucket> = []
  for (const [index, name] of names.entries()) {
    const bucket = buckets.find((candidate) => candidate.name === name)
    if (bucket !== undefined) members.push(bucket)
    else {
      problems.push({
        path: `${path}.buckets[${index}]`,
        message: `${quoted(name)} is not among the buckets${didYouMean(name, known)}: they are ${known.join(", ")}`
      })
    }
  }
  return members
}

const checkedSettings = (document: TopologyDocument, problems: Array<Problem>): Settings => {
  const result = parseSettings(document.settings ?? {})
  if (result.ok) return result.settings
  for (const problem of result.problems)
    problems.push({ path: `settings[${quoted(problem.path)}]`, message: problem.message })
  return defaultSettings
}

const checkUnique = (
  names: ReadonlyArray<string>,
  pathOf: (index: number) => string,
  problems: Array<Problem>
): void => {
  const first = new Map<string, number>()
  for (const [index, name] of names.entries()) {
    const earlier = first.get(name)
    if (earlier === undefined) first.set(name, index)
    else
      problems.push({
        path: pathOf(index),
        message: `${quoted(name)} is there already (${pathOf(earlier)}): names must differ`
      })
  }
}
