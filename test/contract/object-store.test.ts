/**
 * The object store contract on every adapter and decorator. Method: object-store.contract.ts; directories are
 * temporary.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as faulty from "#backends/object/faulty.ts"
import * as fs from "#backends/object/fs.ts"
import * as instrumented from "#backends/object/instrumented.ts"
import * as memory from "#backends/object/memory.ts"
import { objectStoreContract } from "./object-store.contract.ts"

const inDirectory = (fsync: boolean) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "meridian-object-store-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    return yield* fs.make({ bucket: "test", directory: join(directory, "bucket"), fsync })
  })

const makeMemory = Effect.sync(() => memory.make({ bucket: "test" }))

objectStoreContract({ name: "memory", make: makeMemory })
objectStoreContract({ name: "fs", make: inDirectory(false) })
objectStoreContract({ name: "fs with fsync", make: inDirectory(true) })
objectStoreContract({
  name: "instrumented memory",
  make: Effect.map(makeMemory, (inner) => instrumented.make(inner).store)
})
objectStoreContract({
  name: "faulty memory without faults",
  make: Effect.map(makeMemory, (inner) => faulty.make(inner, new faulty.FaultPlan()))
})
