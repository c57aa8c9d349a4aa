/**
 * Both clouds' adapters on their fakes, for tests of what goes wrong: how to open them, and what differs between them.
 */
import { Effect, type Scope } from "effect"
import * as azure from "#backends/object/azure.ts"
import * as gcs from "#backends/object/gcs.ts"
import { type ObjectStore, type ObjectStoreError } from "#core/ports/object-store.ts"
import { startAzureFake } from "../peers/object-stores/azure-fake.ts"
import { startGcsFake } from "../peers/object-stores/gcs-fake.ts"
import { type FakeObjects, type HttpFake } from "../peers/object-stores/http-fake.ts"

export const KEY = Buffer.alloc(64, 5).toString("base64")
export const TOKEN = "s3cret-t0ken"
export const BODY = [Buffer.from("0123456789"), Buffer.alloc(200_000, 1)]
export const BODY_BYTES = 200_010
/** For calls that hang; all others have the product's time, since machines that test are busy. */
export const HASTY_MS = 700
const CONNECT_MS = 300

interface Opened {
  readonly store: ObjectStore
  readonly http: HttpFake
  readonly url: string
  readonly objects: FakeObjects
  readonly setThere: (isThere: boolean) => void
}

interface Cloud {
  readonly name: "gcs" | "azure"
  readonly open: (requestMs?: number) => Effect.Effect<Opened, ObjectStoreError, Scope.Scope>
  /** At any address; the path of Azure's account is added. */
  readonly openAt: (endpoint: string, requestMs?: number) => Effect.Effect<ObjectStore, ObjectStoreError, Scope.Scope>
  /** How a taken key is told. */
  readonly taken: { readonly status: number; readonly code: string }
  readonly permission: RegExp
  readonly missing: RegExp
}

const gcsAt = (endpoint: string, requestMs?: number) =>
  gcs.make({
    bucket: "test",
    location: { kind: "gcs", bucket: "segments", prefix: "p/", endpoint },
    authorize: () => Promise.resolve({ authorization: `Bearer ${TOKEN}` }),
    ...(requestMs === undefined ? {} : { requestMs, connectMs: CONNECT_MS }),
    bucketSeenMs: -1
  })

export const azureAt = (
  endpoint: string,
  requestMs?: number,
  environment: azure.AzureStoreOptions["environment"] = { AZURE_STORAGE_KEY: KEY }
) =>
  azure.make({
    bucket: "test",
    location: { kind: "azure", account: "acct", container: "segments", prefix: "p/", endpoint },
    environment,
    ...(requestMs === undefined ? {} : { requestMs, connectMs: CONNECT_MS })
  })

export const gcsFake = Effect.acquireRelease(
  Effect.promise(() => startGcsFake({ bucket: "segments", token: TOKEN })),
  ({ http }) => Effect.promise(() => http.close())
)

const azureFake = Effect.acquireRelease(
  Effect.promise(() => startAzureFake({ account: "acct", container: "segments" })),
  ({ http }) => Effect.promise(() => http.close())
)

export const CLOUDS: ReadonlyArray<Cloud> = [
  {
    name: "gcs",
    open: Effect.fnUntraced(function* (requestMs?: number) {
      const fake = yield* gcsFake
      const { http, objects, url } = fake
      return {
        store: yield* gcsAt(url, requestMs),
        http,
        url,
        objects,
        setThere: (isThere) => void (fake.isBucketThere = isThere)
      }
    }),
    openAt: gcsAt,
    taken: { status: 412, code: "conditionNotMet" },
    permission: /storage\.objects\.create on bucket segments/,
    missing: /make the bucket segments/
  },
  {
    name: "azure",
    open: Effect.fnUntraced(function* (requestMs?: number) {
      const fake = yield* azureFake
      const { http, objects, url } = fake
      return {
        store: yield* azureAt(url, requestMs),
        http,
        url,
        objects,
        setThere: (isThere) => void (fake.isContainerThere = isThere)
      }
    }),
    openAt: azureAt,
    taken: { status: 409, code: "BlobAlreadyExists" },
    permission: /role "Storage Blob Data Contributor"/,
    missing: /make the container segments in account acct/
  }
]

export const textOf = (error: unknown): string => (error as { readonly cause: Error }).cause.message

/** Requests for objects: not those of opening. */
export const asked = (http: HttpFake, operation: string) =>
  http.seen.filter((request) => request.operation === operation)

/** Polls what happens on sockets, which no effect waits for; bounded by the test's own time. */
export const until = Effect.fnUntraced(function* (condition: () => boolean) {
  while (!condition()) yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
})

export const socketsClosed = (http: HttpFake) => until(() => http.openSockets === 0)
