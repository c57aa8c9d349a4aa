/**
 * The object store contract on a real S3 server: MERIDIAN_TEST_S3_URL is its address. AWS_ACCESS_KEY_ID and
 * AWS_SECRET_ACCESS_KEY are found by the SDK's own chain, as agents find theirs.
 *
 * Method: one bucket per run, made here; each test has a prefix of its own in it.
 */
import { randomBytes } from "node:crypto"
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as s3 from "#backends/object/s3.ts"
import { manyWritersContract } from "../contract/many-writers.contract.ts"
import { objectStoreContract } from "../contract/object-store.contract.ts"

const endpoint = process.env["MERIDIAN_TEST_S3_URL"]
const region = process.env["MERIDIAN_TEST_S3_REGION"] ?? "us-east-1"
const bucket = `meridian-test-${randomBytes(6).toString("hex")}`
let tests = 0

if (endpoint === undefined) {
  describe("object store contract: S3 on a server", () => {
    it("has no server", () => {
      throw new Error("MERIDIAN_TEST_S3_URL names no server")
    })
  })
} else {
  beforeAll(async () => {
    const client = new S3Client({ endpoint, region, forcePathStyle: true })
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    client.destroy()
  })

  const open = (prefix: string) =>
    s3.make({ name: "test", location: { kind: "s3", bucket, prefix, region, endpoint, pathStyle: true } })

  objectStoreContract({
    name: "S3 on a server",
    nestedKeys: "failing",
    conflictsWhenRacing: true,
    make: Effect.suspend(() => open(`test-${++tests}/`))
  })

  manyWritersContract({
    conflictsWhenRacing: true,
    openAll: (count) =>
      Effect.suspend(() => {
        const prefix = `test-${++tests}/`
        return Effect.forEach(Array.from({ length: count }), () => open(prefix))
      })
  })
}
