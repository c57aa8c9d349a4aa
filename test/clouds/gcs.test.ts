/**
 * The adapter for Google Cloud Storage on a real server that is not ours: MERIDIAN_TEST_GCS_URL. Method: the port's
 * contract, each test below a prefix of its own, and what only a server can show: wrong checksums, many writers.
 */
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as gcs from "#backends/object/gcs.ts"
import { manyWritersContract } from "../contract/many-writers.contract.ts"
import { assertReason } from "../contract/object-store-expectations.ts"
import { objectStoreContract } from "../contract/object-store.contract.ts"

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
  manyWritersContract({
    openAll: (count) =>
      Effect.suspend(() => {
        const prefix = `${randomUUID()}/`
        return Effect.forEach(Array.from({ length: count }), () => open(prefix))
      })
  })

  it.effect("refuses a bucket that is not there", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open("", "no-such-bucket"))
      assertReason(error, "Unavailable")
      assert.match((error.cause as Error).message, /make the bucket no-such-bucket/)
    })
  )
})
