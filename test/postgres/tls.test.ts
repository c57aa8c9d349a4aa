/**
 * Goal: sslmode means what it says: what asks for TLS gets it, and verify-full talks to nobody whom it cannot make sure of.
 * Method: a real server with a certificate for "localhost" that it has signed itself.
 */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type PostgresServer } from "#backends/metadata/postgres-connection.ts"
import { inspect } from "#backends/metadata/postgres-inspection.ts"
import { temporaryDirectory } from "../contract/metadata-store-files.ts"
import { isInstalled } from "../peers/child-process.ts"
import { startPostgres } from "../peers/postgres/postgres.ts"
import { serverOf } from "./postgres-store.ts"

const encryptedServer = Effect.gen(function* () {
  const logFile = join(yield* temporaryDirectory, "tls.log")
  return yield* Effect.acquireRelease(
    Effect.promise(() => startPostgres({ logFile, tls: "self-signed" })),
    (started) => Effect.promise(() => started.stop())
  )
})

describe("a server with TLS", () => {
  it.live.skipIf(!isInstalled("openssl", ["version"]))("is used as sslmode says (needs openssl)", () =>
    Effect.gen(function* () {
      const started = yield* encryptedServer
      const localhost = serverOf(started.url(), { host: "localhost" })
      const look = (change: Partial<PostgresServer>) => inspect({ ...localhost, ...change })
      const trusted = { tls: "verify-full", authorityFile: started.certificateFile } as const
      for (const change of [{ tls: "require" }, { tls: "prefer" }, trusted] as const) {
        assert.equal((yield* look(change)).isEncrypted, true, change.tls)
      }
      assert.equal((yield* look({ tls: "disable" })).isEncrypted, false)

      const unknown = yield* Effect.flip(look({ tls: "verify-full" }))
      assert.equal(unknown.reason, "Misconfigured")
      assert.match(
        unknown.message,
        /the certificate of localhost:\d+ is not trusted \(metadata\.url\): .*sslrootcert=FILE/
      )
      const other = yield* Effect.flip(look({ ...trusted, host: "127.0.0.1" }))
      assert.equal(other.reason, "Misconfigured", "the certificate is of another host")
      assert.match(other.message, /is not trusted/)
    })
  )
})
