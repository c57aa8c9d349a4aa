/**
 * The adapter for Google Cloud Storage keeps the port's contract on the project's strict fake (the system tests run the
 * same suite on fake-gcs-server). Method: a fake of its own for each test, with short pages so that lists have several.
 */
import { Effect } from "effect"
import * as gcs from "#backends/object/gcs.ts"
import { startGcsFake } from "../peers/object-stores/gcs-fake.ts"
import { objectStoreContract } from "./object-store.contract.ts"

const fake = (options: { readonly token?: string; readonly pageMax?: number }) =>
  Effect.acquireRelease(
    Effect.promise(() => startGcsFake({ bucket: "segments", ...options })),
    ({ http }) => Effect.promise(() => http.close())
  )

objectStoreContract({
  name: "gcs",
  nestedKeys: "allowed",
  make: Effect.gen(function* () {
    const { url } = yield* fake({})
    return yield* gcs.make({ bucket: "test", location: { kind: "gcs", bucket: "segments", prefix: "", endpoint: url } })
  })
})

objectStoreContract({
  name: "gcs below a prefix, with a token, in pages of three",
  nestedKeys: "allowed",
  make: Effect.gen(function* () {
    const { url, objects } = yield* fake({ token: "t0ken", pageMax: 3 })
    // Neighbours of the prefix, which are nobody's business here.
    for (const name of ["a", "p", "p/", "p/q", "p/q-", "p/q.", "p/q0", "z"]) objects.putIfAbsent(name, Buffer.from("x"))
    return yield* gcs.make({
      bucket: "test",
      location: { kind: "gcs", bucket: "segments", prefix: "p/q/", endpoint: url },
      authorize: () => Promise.resolve({ authorization: "Bearer t0ken" })
    })
  })
})
