/**
 * The metadata store contract on every adapter and decorator. Method: metadata-store.contract.ts; files are temporary.
 */
import { Effect } from "effect"
import * as faulty from "#backends/metadata/faulty.ts"
import * as memory from "#backends/metadata/memory.ts"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { metadataStoreContract } from "./metadata-store.contract.ts"
import { temporaryFile } from "./metadata-store-files.ts"

const inFile = (fsync: boolean) => Effect.flatMap(temporaryFile, (file) => sqlite.make({ file, fsync }))

metadataStoreContract({ name: "memory", make: memory.make })
metadataStoreContract({ name: "sqlite", make: inFile(false) })
metadataStoreContract({ name: "sqlite with fsync", make: inFile(true) })
metadataStoreContract({
  name: "faulty memory without faults",
  make: Effect.map(memory.make, (store) => faulty.make(store, () => undefined))
})
