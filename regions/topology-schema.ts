/**
 * What a topology file may hold, as an Effect Schema, and its issues as problems of fields [pure].
 *
 * The schema knows shapes and single values only; what relates fields to each other is checked in topology.ts. Fields that
 * are not known are refused. `parseDocument` is the one door: text in, typed document or all problems out.
 */
import { Result, Schema, type SchemaIssue, SchemaParser } from "effect"
import { Yaml } from "effect/encoding"
import { type Problem, didYouMean, showValue } from "#core/config/problem.ts"
import { limits } from "#core/model/limits.ts"

/** Names of regions, zones, buckets, sets: they stand in object keys, metrics, flags and Kafka's rack. */
const NAME_PATTERN = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/
const NAME_RULE =
  "a name of 1 to 64 letters, digits, dots, dashes or underscores that begins and ends with a letter or digit"

const Name = Schema.String.annotate({ expected: NAME_RULE }).check(
  Schema.isPattern(NAME_PATTERN, { expected: NAME_RULE })
)
const Url = Schema.String.annotate({ expected: "a URL in quotes" })

const listOf = <S extends Schema.Top>(item: S, things: string) =>
  Schema.Array(item)
    .annotate({ expected: `a list of ${things}` })
    .check(Schema.isMaxLength(limits.topologyListMax, { expected: `at most ${limits.topologyListMax} ${things}` }))

const required = <S extends Schema.Top>(schema: S, example: string) =>
  schema.annotateKey({ messageMissingKey: `is missing: add ${example}` })

const Region = Schema.Struct({
  name: required(Name, "`name: us-east-1`"),
  zones: Schema.optionalKey(listOf(Name, "zone names"))
}).annotate({ expected: "a region: { name, zones }" })

const BucketDeclaration = Schema.Struct({
  name: required(Name, "`name: bucket-1`"),
  region: required(Name, "the name of its region"),
  zone: Schema.optionalKey(Name),
  url: required(Url, '`url: "file:///absolute/directory"`')
}).annotate({ expected: "a bucket: { name, region, zone, url }" })

const BucketSetDeclaration = Schema.Struct({
  buckets: Schema.optionalKey(listOf(Name, "bucket names")),
  writes: Schema.optionalKey(
    Schema.Number.annotate({ expected: "a whole number" }).check(Schema.isInt({ expected: "a whole number" }))
  ),
  failureDomain: Schema.optionalKey(Schema.Literals(["region", "zone"]).annotate({ expected: "region or zone" }))
}).annotate({ expected: "a bucket set: { buckets, writes, failureDomain }" })

const EndpointDeclaration = Schema.Struct({
  region: required(Name, "the name of its region"),
  url: required(Url, '`url: "postgres://user@host/database"`')
}).annotate({ expected: "an endpoint: { region, url }" })

const MetadataDeclaration = Schema.Struct({
  url: Schema.optionalKey(Url),
  endpoints: Schema.optionalKey(listOf(EndpointDeclaration, "endpoints")),
  home: Schema.optionalKey(Name),
  migrate: Schema.optionalKey(Schema.Literals(["auto", "manual"]).annotate({ expected: "auto or manual" }))
}).annotate({ expected: "{ url, endpoints, home, migrate }" })

const TopologyDocument = Schema.Struct({
  cluster: required(Name, "`cluster: my-cluster`"),
  regions: required(listOf(Region, "regions"), "a list of regions"),
  buckets: required(listOf(BucketDeclaration, "buckets"), "a list of buckets"),
  bucketSets: Schema.optionalKey(
    Schema.Record(Schema.String, BucketSetDeclaration).annotate({ expected: "bucket sets by name" })
  ),
  metadata: required(MetadataDeclaration, "`metadata: { url: … }`"),
  // Their names, types and bounds are core/config/settings.ts's own.
  settings: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown).annotate({ expected: "settings by name" }))
}).annotate({ expected: "a topology: { cluster, regions, buckets, bucketSets, metadata, settings }" })

export type TopologyDocument = typeof TopologyDocument.Type

export const isName = (value: string): boolean => NAME_PATTERN.test(value)
export const nameRule = NAME_RULE

const decode = SchemaParser.decodeUnknownResult(TopologyDocument, { errors: "all", onExcessProperty: "error" })

/** YAML 1.2 or JSON (a subset of it). */
export const parseDocument = (text: string): Result.Result<TopologyDocument, ReadonlyArray<Problem>> => {
  if (Buffer.byteLength(text) > limits.topologyBytesMax) {
    return Result.fail([{ path: "", message: `the file is larger than ${limits.topologyBytesMax} bytes` }])
  }
  let document: unknown
  try {
    document = Yaml.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return Result.fail([{ path: "", message: `this is neither YAML nor JSON: ${reason}` }])
  }
  return Result.mapError(decode(document), (issue) => problemsOfIssue(issue, document))
}

export const pathOf = (keys: ReadonlyArray<PropertyKey>): string =>
  keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`
    return path === "" ? String(key) : `${path}.${String(key)}`
  }, "")

/** Flattens the issue tree with an explicit stack; each leaf is one problem. */
const problemsOfIssue = (root: SchemaIssue.Issue, document: unknown): ReadonlyArray<Problem> => {
  const problems: Array<Problem> = []
  const waiting: Array<{
    readonly issue: SchemaIssue.Issue
    readonly keys: ReadonlyArray<PropertyKey>
    readonly expected?: string
  }> = [{ issue: root, keys: [] }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { issue, keys, expected } = next
    switch (issue._tag) {
      case "Pointer":
        waiting.push({ issue: issue.issue, keys: [...keys, ...issue.path] })
        break
      case "Composite":
        for (const inner of issue.issues.toReversed()) waiting.push({ issue: inner, keys })
        break
      case "Filter":
        waiting.push({ issue: issue.issue, keys, ...expectedOf(issue.filter) })
        break
      case "Encoding":
        waiting.push({ issue: issue.issue, keys })
        break
      case "MissingKey":
        problems.push({
          path: pathOf(keys),
          message: String(issue.annotations?.["messageMissingKey"] ?? "is missing: add it")
        })
        break
      case "UnexpectedKey":
        problems.push({ path: pathOf(keys), message: unexpectedKey(keys, issue.ast) })
        break
      default: {
        const rule = expected ?? ("ast" in issue ? expectedOf(issue.ast).expected : undefined)
        problems.push({
          path: pathOf(keys),
          message: `${showValue(valueAt(document, keys))} is not allowed here: write ${rule ?? "something else"}`
        })
      }
    }
  }
  return problems
}

const expectedOf = (annotated: { readonly annotations?: object | undefined }): { readonly expected?: string } => {
  const annotations = annotated.annotations as { readonly expected?: unknown } | undefined
  return typeof annotations?.expected === "string" ? { expected: annotations.expected } : {}
}

const unexpectedKey = (
  keys: ReadonlyArray<PropertyKey>,
  ast: { readonly _tag: string; readonly propertySignatures?: ReadonlyArray<{ readonly name: PropertyKey }> }
): string => {
  const known = (ast.propertySignatures ?? []).map((property) => String(property.name))
  const hint = didYouMean(String(keys.at(-1)), known)
  return `no such field${hint === "" ? `: known here are ${known.join(", ")}` : hint}`
}

const valueAt = (document: unknown, keys: ReadonlyArray<PropertyKey>): unknown =>
  keys.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    document
  )
