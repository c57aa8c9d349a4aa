/**
 * Goal: `meridian buckets check` passes buckets that do what Meridian needs, and names what others do not do, with the fix.
 * Method: directories, memory, and S3 of the in-process fake with single permissions taken away; credentials by the SDK's
 * own chain.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type TopologyBucket } from "#regions/topology.ts"
import { type CheckedBucket, checkBucket, reportOf } from "../../../bin/buckets-check.ts"
import { type S3Fake, startS3Fake } from "../../peers/object-stores/s3-fake.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

const PLAIN = "plain-bucket"
const EXPRESS = "express--use1-az4--x-s3"
let fake: S3Fake

beforeAll(async () => {
  fake = await startS3Fake({ buckets: [PLAIN, EXPRESS] })
  process.env["AWS_ACCESS_KEY_ID"] = fake.accessKeyId
  process.env["AWS_SECRET_ACCESS_KEY"] = fake.secretAccessKey
})
afterAll(async () => {
  delete process.env["AWS_ACCESS_KEY_ID"]
  delete process.env["AWS_SECRET_ACCESS_KEY"]
  await fake.stop()
})

const checkedAt = (location: TopologyBucket["location"]) =>
  Effect.scoped(checkBucket({ name: "east", region: "r", zone: "r", location }))

const s3 = (bucket = PLAIN): TopologyBucket["location"] => ({
  kind: "s3",
  bucket,
  prefix: "p/",
  endpoint: fake.endpoint,
  pathStyle: true
})

const problemsOf = (bucket: CheckedBucket): Record<string, string> =>
  Object.fromEntries(bucket.steps.flatMap(({ name, problem }) => (problem === undefined ? [] : [[name, problem]])))

describe("a bucket that does all that is needed", () => {
  const locations: ReadonlyArray<readonly [kind: string, location: () => TopologyBucket["location"]]> = [
    [
      "file",
      () => {
        const directory = join(temporaryDirectory(), "bucket")
        mkdirSync(directory)
        return { kind: "file", directory, fsync: false }
      }
    ],
    ["memory", () => ({ kind: "memory" })],
    ["s3", () => s3()],
    [
      "s3-express",
      () => ({
        kind: "s3-express",
        bucket: EXPRESS,
        zoneId: "use1-az4",
        prefix: "",
        region: "us-east-1",
        endpoint: fake.endpoint
      })
    ]
  ]
  for (const [kind, location] of locations) {
    it.live(`of kind ${kind} passes, and holds nothing afterwards`, () =>
      Effect.gen(function* () {
        const checked = yield* checkedAt(location())
        assert.deepStrictEqual(problemsOf(checked), {})
        assert.strictEqual(checked.steps.length, 11)
        assert.strictEqual(fake.objects(PLAIN).size + fake.objects(EXPRESS).size, 0)
      })
    )
  }
})

describe("a bucket that lacks something", () => {
  it.live("says which permission, of each operation, and goes on with the others", () =>
    Effect.gen(function* () {
      fake.settings.isDenied = (operation) => operation === "delete" || operation === "list"
      const checked = yield* checkedAt(s3())
      fake.settings.isDenied = () => false
      fake.objects(PLAIN).clear()
      const problems = problemsOf(checked)
      assert.deepStrictEqual(Object.keys(problems), ["list", "delete"])
      assert.match(problems["list"]!, /AccessDenied.*allow s3:ListBucket on arn:aws:s3:::plain-bucket/)
      assert.match(problems["delete"]!, /allow s3:DeleteObject on arn:aws:s3:::plain-bucket\/p\/\*/)
    })
  )

  it.live("says that a store overwrites what must not be overwritten", () =>
    Effect.gen(function* () {
      fake.settings.ignoresConditions = true
      const checked = yield* checkedAt(s3())
      fake.settings.ignoresConditions = false
      fake.objects(PLAIN).clear()
      assert.match(problemsOf(checked)["again"] ?? "", /succeeded: it must be refused \(AlreadyExists\)/)
      assert.match(problemsOf(checked)["race"] ?? "", /8 of 8 puts of one key at once succeeded/)
    })
  )

  it.live("that is not there says so once", () =>
    Effect.gen(function* () {
      const checked = yield* checkedAt(s3("no-such-bucket"))
      assert.deepStrictEqual(
        checked.steps.map(({ name }) => name),
        ["open"]
      )
      assert.match(problemsOf(checked)["open"]!, /make the bucket no-such-bucket/)
    })
  )
})

describe("the report", () => {
  it("is a table of milliseconds, and below it what fails, the same reason once", () => {
    const text = reportOf([
      {
        name: "east",
        kind: "s3",
        steps: [
          { name: "open", ms: 1.25, problem: undefined },
          { name: "put", ms: 3, problem: undefined }
        ]
      },
      {
        name: "west-2",
        kind: "file",
        steps: [
          { name: "open", ms: 2, problem: undefined },
          { name: "put", ms: 1, problem: "StorageFull: full" },
          { name: "again", ms: 1, problem: "StorageFull: full" }
        ]
      }
    ])
    assert.strictEqual(
      text,
      [
        "bucket  kind  open ms  missing  put     again   race  get  range  last  head  list  delete",
        "east    s3    1.3      -        3.0     -       -     -    -      -     -     -     -",
        "west-2  file  2.0      -        FAILED  FAILED  -     -    -      -     -     -     -",
        "",
        "west-2, put, again: StorageFull: full",
        ""
      ].join("\n")
    )
  })
})
