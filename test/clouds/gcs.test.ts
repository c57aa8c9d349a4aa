/**
 * The adapter for Google Cloud Storage on a real server that is not ours: MERIDIAN_TEST_GCS_URL. Method: the port's
 * contract, each test below a prefix of its own, and what only a server can show: wrong checksums, many writers.
 */
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as gcs from "#backends/object/gcs.ts"
import { assertReason, objectStoreContract } from "../contract/object-store.contract.ts"

const endpoint = process.env["MERIDIAN_TEST_GCS_URL"]
const bucket = process.env["MERIDIAN_TEST_GCS_BUCKET"] ?? "segments"

const open = (prefix: string, name = bucket) =>
  Effect.suspend(() => {
    if (endpoint === undefined) throw new Error("MERIDIAN_TEST_GCS_URL names no server: run the system test")
    return gcs.make({ bucket: "test", location: { kind: "gcs", bucket: name, prefix, endpoint } })
  })

objectStoreContract({
  name: "gcs on fake-gcs-server",
  // Its files are in directories.
  nestedKeys: "unspecified",
  make: Effect.suspend(() => open(`${randomUUID()}/`))
})

describe("gcs on fake-gcs-server", () => {
  it.effect("has one winner of writers of many stores", () =>
    Effect.gen(function* () {
      const prefix = `${randomUUID()}/`
      const stores = yield* Effect.forEach([1, 2, 3, 4], () => open(prefix))
      for (let round = 0; round < 20; round++) {
        const results = yield* Effect.forEach(
          [...stores, ...stores, ...stores, ...stores],
          (store, index) => Effect.result(store.put(`k${round}`, [Buffer.alloc(10_000, index)])),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(results.filter(Result.isSuccess).length, 1)
        for (const result of results) if (Result.isFailure(result)) assertReason(result.failure, "AlreadyExists")
      }
    })
  )

  it.effect("refuses a bucket that is not there", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open("", "no-such-bucket"))
      assertReason(error, "Unavailable")
      assert.match((error.cause as Error).message, /make the bucket no-such-bucket/)
    })
  )
})
