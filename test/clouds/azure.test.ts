/**
 * The adapter for Azure Blob Storage on a real server that is not ours: MERIDIAN_TEST_AZURE_URL with the account and key in
 * MERIDIAN_TEST_AZURE_ACCOUNT and _KEY. Method: the port's contract, each test below a prefix of its own, by key and by a
 * SAS token that the SDK makes; and what only a server can show: signatures, many writers.
 */
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import {
  ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential
} from "@azure/storage-blob"
import { Effect } from "effect"
import * as azure from "#backends/object/azure.ts"
import { manyWritersContract } from "../contract/many-writers.contract.ts"
import { assertReason } from "../contract/object-store-expectations.ts"
import { objectStoreContract } from "../contract/object-store.contract.ts"

const CONTAINER = "segments"
const endpoint = process.env["MERIDIAN_TEST_AZURE_URL"]
const account = process.env["MERIDIAN_TEST_AZURE_ACCOUNT"] ?? ""
const key = process.env["MERIDIAN_TEST_AZURE_KEY"] ?? ""

const container = Effect.suspend(() => {
  if (endpoint === undefined) throw new Error("MERIDIAN_TEST_AZURE_URL names no server: run the system test")
  const client = new ContainerClient(`${endpoint}/${CONTAINER}`, new StorageSharedKeyCredential(account, key))
  return Effect.as(
    Effect.promise(() => client.createIfNotExists()),
    endpoint
  )
})

const open = (prefix: string, environment: azure.AzureStoreOptions["environment"] = { AZURE_STORAGE_KEY: key }) =>
  Effect.flatMap(container, (url) =>
    azure.make({
      bucket: "test",
      location: { kind: "azure", account, container: CONTAINER, prefix, endpoint: url },
      environment
    })
  )

const token = (permissions: string) =>
  generateBlobSASQueryParameters(
    {
      containerName: CONTAINER,
      permissions: ContainerSASPermissions.parse(permissions),
      expiresOn: new Date(Date.now() + 3_600_000),
      protocol: SASProtocol.HttpsAndHttp
    },
    new StorageSharedKeyCredential(account, key)
  ).toString()

objectStoreContract({
  name: "azure on Azurite, by key",
  nestedKeys: "allowed",
  make: Effect.suspend(() => open(`${randomUUID()}/`))
})

objectStoreContract({
  // Azure lets `c` alone tell that a blob exists; Azurite wants `w` too.
  name: "azure on Azurite, by SAS token",
  nestedKeys: "allowed",
  make: Effect.suspend(() => open(`${randomUUID()}/`, { AZURE_STORAGE_SAS_TOKEN: token("rcwdl") }))
})

describe("azure on Azurite", () => {
  manyWritersContract({
    openAll: (count) =>
      Effect.suspend(() => {
        const prefix = `${randomUUID()}/`
        return Effect.forEach(Array.from({ length: count }), () => open(prefix))
      })
  })

  it.effect("refuses a wrong key, and says so", () =>
    Effect.gen(function* () {
      const wrong = Buffer.alloc(64, 9).toString("base64")
      const error = yield* Effect.flip(open("", { AZURE_STORAGE_KEY: wrong }))
      assertReason(error, "AccessDenied")
      assert.match((error.cause as Error).message, /key is wrong/)
    })
  )

  it.effect("names what a SAS token lacks", () =>
    Effect.gen(function* () {
      const store = yield* open(`${randomUUID()}/`, { AZURE_STORAGE_SAS_TOKEN: token("rcl") })
      yield* store.put("k", [Buffer.from("x")])
      const error = yield* Effect.flip(store.deleteMany(["k"]))
      assertReason(error, "AccessDenied", "definite")
      assert.match((error.cause as Error).message, /sp=/)
    })
  )
})
