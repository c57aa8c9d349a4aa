/**
 * The adapter for Azure Blob Storage keeps the port's contract on the project's strict fake (the system tests run the same
 * suite on Azurite). Method: a fake of its own for each test, by key and by SAS token, with short pages so that lists have
 * several.
 */
import { Effect } from "effect"
import * as azure from "#backends/object/azure.ts"
import { type AzureFakeOptions, startAzureFake } from "../peers/object-stores/azure-fake.ts"
import { objectStoreContract } from "./object-store.contract.ts"

const KEY = Buffer.alloc(64, 5).toString("base64")

const fake = (options: Partial<AzureFakeOptions>) =>
  Effect.acquireRelease(
    Effect.promise(() => startAzureFake({ account: "acct", container: "segments", ...options })),
    ({ http }) => Effect.promise(() => http.close())
  )

const location = (endpoint: string, prefix: string) =>
  ({ kind: "azure", account: "acct", container: "segments", prefix, endpoint }) as const

objectStoreContract({
  name: "azure",
  nestedKeys: "allowed",
  make: Effect.gen(function* () {
    const { url } = yield* fake({})
    const environment = { AZURE_STORAGE_KEY: KEY }
    return yield* azure.make({ bucket: "test", location: location(url, ""), environment })
  })
})

objectStoreContract({
  name: "azure below a prefix, with a SAS token, in pages of three",
  nestedKeys: "allowed",
  make: Effect.gen(function* () {
    const { url, objects } = yield* fake({ sig: "s+g=", pageMax: 3 })
    // Neighbours of the prefix, which are nobody's business here.
    for (const name of ["a", "p", "p/q", "p/q-", "p/q.", "p/q0", "z"]) objects.putIfAbsent(name, Buffer.from("x"))
    const environment = { AZURE_STORAGE_SAS_TOKEN: "?sv=2026-10-06&sp=rcdl&sig=s%2Bg%3D" }
    return yield* azure.make({ bucket: "test", location: location(url, "p/q/"), environment })
  })
})
