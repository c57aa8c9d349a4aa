/**
 * The metadata store contract on PostgreSQL, at its default isolation and where all transactions are serializable, and on
 * CockroachDB where MERIDIAN_TEST_COCKROACHDB_URL names one. Method: metadata-store.contract.ts, each test on a new database.
 */
import { Effect } from "effect"
import { metadataStoreContract } from "../contract/metadata-store.contract.ts"
import { POSTGRES_URL, serverUrl, storeOn } from "./postgres-store.ts"

const onServer = (...statements: ReadonlyArray<string>) => Effect.suspend(() => storeOn(serverUrl(), ...statements))
const cockroachdb = process.env["MERIDIAN_TEST_COCKROACHDB_URL"]

if (cockroachdb !== undefined) metadataStoreContract({ name: "cockroachdb", make: storeOn(cockroachdb) })
if (POSTGRES_URL !== undefined || cockroachdb === undefined) {
  metadataStoreContract({ name: "postgres", make: onServer() })
  metadataStoreContract({
    name: "postgres, serializable",
    make: onServer("ALTER DATABASE DATABASE_NAME SET default_transaction_isolation = 'serializable'")
  })
}
