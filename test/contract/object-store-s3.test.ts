/**
 * The S3 adapter under the port's contract, on plain buckets and directory buckets of the in-process fake, which checks
 * signatures, checksums and the rules of lists as S3 does.
 *
 * Method: one server for the file; each test has a prefix of its own in a bucket that others use as well, so that nothing
 * of another prefix may show.
 */
import { afterAll, beforeAll } from "@effect/vitest"
import { Effect } from "effect"
import * as s3 from "#backends/object/s3.ts"
import { type S3Fake, startS3Fake } from "../peers/object-stores/s3-fake.ts"
import { objectStoreContract } from "./object-store.contract.ts"

const PLAIN = "plain-bucket"
const EXPRESS = "express--use1-az4--x-s3"

let fake: S3Fake
let tests = 0

beforeAll(async () => {
  fake = await startS3Fake({ buckets: [PLAIN, EXPRESS], pageKeys: 10 })
})
afterAll(async () => await fake.stop())

const openAt = (place: { readonly kind: "s3"; readonly pathStyle: boolean } | { readonly kind: "s3-express" }) =>
  Effect.suspend(() =>
    s3.make({
      name: "test",
      location: {
        ...place,
        bucket: place.kind === "s3" ? PLAIN : EXPRESS,
        prefix: `test-${++tests}/`,
        endpoint: fake.endpoint
      },
      credentials: fake
    })
  )

objectStoreContract({
  name: "S3",
  nestedKeys: "allowed",
  conflictsWhenRacing: true,
  make: openAt({ kind: "s3", pathStyle: true })
})
objectStoreContract({
  name: "S3 Express",
  nestedKeys: "allowed",
  conflictsWhenRacing: true,
  make: openAt({ kind: "s3-express" })
})
