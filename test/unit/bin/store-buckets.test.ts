/**
 * Goal: buckets of S3, Google and Azure, as URLs of the topology name them, are opened and checked as directories are, and
 * what is wrong with one reaches people in the same words and with the fix, in an agent's log and in `buckets check`.
 * Method: the in-process fakes over real HTTP, a real clock; credentials in the environment, where agents find theirs.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Logger, Schedule } from "effect"
import { type TopologyBucket } from "#regions/topology.ts"
import { parseBucketUrl } from "#regions/topology-url.ts"
import { openBuckets } from "../../../bin/buckets.ts"
import { checkBucket } from "../../../bin/buckets-check.ts"
import { type AzureFake, startAzureFake } from "../../peers/object-stores/azure-fake.ts"
import { type GcsFake, startGcsFake } from "../../peers/object-stores/gcs-fake.ts"
import { type S3Fake, startS3Fake } from "../../peers/object-stores/s3-fake.ts"

const CREDENTIALS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY"] as const
const KINDS = ["s3", "gcs", "azure"] as const

let s3: S3Fake
let gcs: GcsFake
let azure: AzureFake
const before = new Map<string, string | undefined>(CREDENTIALS.map((name) => [name, process.env[name]]))

beforeAll(async () => {
  s3 = await startS3Fake({ buckets: ["segments"] })
  gcs = await startGcsFake({ bucket: "segments" })
  azure = await startAzureFake({ account: "acct", container: "segments" })
  const values = [s3.accessKeyId, s3.secretAccessKey, Buffer.alloc(64, 5).toString("base64")]
  for (const [index, name] of CREDENTIALS.entries()) process.env[name] = values[index]
})
afterAll(async () => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  await Promise.all([s3.stop(), gcs.http.close(), azure.http.close()])
})

const urlOf = (kind: (typeof KINDS)[number], bucket: string): string =>
  ({
    s3: `s3://${bucket}/p?endpoint=${s3.endpoint}`,
    gcs: `gs://${bucket}/p?endpoint=${gcs.url}`,
    azure: `az://acct/${bucket}/p?endpoint=${azure.url}`
  })[kind]

const declared = (name: string, url: string): TopologyBucket => {
  const location = parseBucketUrl(url, "/")
  if (typeof location === "string") throw new Error(location)
  return { name, region: name, zone: name, location }
}

/** What was logged, with its fields. */
const heard = () => {
  const events: Array<{ readonly event: unknown; readonly fields: Readonly<Record<string, unknown>> }> = []
  const logger = Logger.make<unknown, void>(({ message }) => {
    const [event, fields = {}] = [message].flat() as [unknown, Record<string, unknown>?]
    events.push({ event, fields })
  })
  return { events, layer: Logger.layer([logger]) }
}

describe("buckets of object stores", () => {
  for (const kind of KINDS) {
    it.live(`of kind ${kind} are opened by their URL, and pass the check`, () =>
      Effect.gen(function* () {
        const bucket = declared("east", urlOf(kind, "segments"))
        const [opened] = yield* openBuckets([bucket])
        assert.isTrue(opened!.isOpen())
        yield* opened!.bucket.store.put("k", [Buffer.from("body")])
        assert.strictEqual((yield* opened!.bucket.store.get("k")).bytes.toString(), "body")
        const checked = yield* checkBucket(bucket)
        assert.deepStrictEqual(
          checked.steps.flatMap(({ problem }) => problem ?? []),
          []
        )
        assert.strictEqual(checked.steps.length, 11)
        assert.deepStrictEqual(
          (yield* opened!.bucket.store.list({ prefix: "", limit: 10 })).map(({ key }) => key),
          ["k"]
        )
        yield* opened!.bucket.store.deleteMany(["k"])
      })
    )

    it.live(`of kind ${kind} that are missing stop no agent: log and check say the same, with the fix`, () =>
      Effect.gen(function* () {
        const bucket = declared("east", urlOf(kind, "missing"))
        const { events, layer } = heard()
        const [opened] = yield* Effect.provide(openBuckets([bucket]), layer)
        assert.isFalse(opened!.isOpen())
        const warned = events.find(({ event }) => event === "bucket cannot be opened; trying on")
        const why = String(warned?.fields["why"])
        assert.match(
          why,
          /^(head|list) at (s3|gs|az):\/\/(acct\/)?missing\/p\/ of http:\S+: .*\. Fix: make the (bucket|container) missing\b/
        )
        const { steps } = yield* checkBucket(bucket)
        assert.deepStrictEqual(
          steps.map(({ name, problem }) => [name, problem]),
          [["open", `Unavailable: ${why}`]]
        )
        const error = yield* Effect.flip(opened!.bucket.store.put("k", []))
        assert.include(error.message, why)
      })
    )
  }

  it.live("whose answer breaks off while an agent starts are opened a moment later", () =>
    Effect.gen(function* () {
      gcs.http.add({ operation: "list", times: 1, fault: { kind: "truncate", bytes: 1 } })
      const [opened] = yield* openBuckets([declared("east", urlOf("gcs", "segments"))])
      assert.isFalse(opened!.isOpen())
      yield* Effect.retry(
        opened!.bucket.store.list({ prefix: "", limit: 1 }),
        Schedule.max([Schedule.spaced(20), Schedule.recurs(1_000)])
      )
    })
  )

  it.live("of Azure without credentials end the start, naming the variables", () =>
    Effect.gen(function* () {
      const key = process.env["AZURE_STORAGE_KEY"]
      delete process.env["AZURE_STORAGE_KEY"]
      const error = yield* Effect.flip(openBuckets([declared("east", urlOf("azure", "segments"))]))
      process.env["AZURE_STORAGE_KEY"] = key
      assert.strictEqual(error.exitCode, 2)
      assert.match(error.message, /^bucket east: no credentials .*AZURE_STORAGE_KEY_ACCT/)
    })
  )
})
