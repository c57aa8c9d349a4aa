/** The S3 adapter on the in-process fake, for its unit tests, and what they all ask of errors. */
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as s3 from "#backends/object/s3.ts"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { type S3Fake, type S3FakeOptions, startS3Fake } from "../../peers/object-stores/s3-fake.ts"

export const PLAIN = "plain-bucket"
export const EXPRESS = "express--use1-az4--x-s3"
export const BODY = Buffer.from("0123456789")

export const startFake = (options: Partial<S3FakeOptions> = {}): Effect.Effect<S3Fake, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => startS3Fake({ buckets: [PLAIN, EXPRESS], ...options })),
    (fake) => Effect.promise(() => fake.stop())
  )

export const open = (
  fake: Pick<S3Fake, "endpoint" | "accessKeyId" | "secretAccessKey">,
  location: Partial<s3.S3BucketLocation> = {}
): Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope> =>
  s3.make({
    name: "east",
    location: {
      kind: "s3",
      bucket: PLAIN,
      prefix: "p/",
      endpoint: fake.endpoint,
      pathStyle: true,
      ...location
    } as never,
    credentials: fake
  })

export const openExpress = (fake: S3Fake) => open(fake, { kind: "s3-express", bucket: EXPRESS })

export const assertError = (
  error: ObjectStoreError,
  reason: ObjectStoreError["reason"],
  outcome: ObjectStoreError["outcome"] = "definite",
  text?: RegExp
): void => {
  assert.deepStrictEqual([error.reason, error.outcome], [reason, outcome], error.message)
  assert.strictEqual(error.bucket, "east")
  if (text !== undefined) assert.match(error.message, text)
}

/** Until the fake has so many requests of the operation; bounded by the test's own time. */
export const requested = (fake: S3Fake, operation: string, count: number): Effect.Effect<void> =>
  Effect.promise(async () => {
    while (fake.requests.filter((request) => request.operation === operation).length < count) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })
