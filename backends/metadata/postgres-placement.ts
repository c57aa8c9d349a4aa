/**
 * Where CockroachDB keeps the tables, by the topology's regions [pure]: what has to be said to a database of several regions.
 *
 * All that agents write is led from the home region, where the sequencer prefers to live: its appends then cost one round
 * trip to the nearest other region. Heartbeats of agents are there too: a GLOBAL table would make each of them wait for
 * clocks. GLOBAL is what is read at every connection and start, and hardly ever written.
 *
 * Three regions or more survive the loss of one. With fewer that cannot be said, and is not.
 */
import { quoteName } from "./postgres-failure.ts"
import { change } from "./postgres-migrations.ts"
import { session, type Statement } from "./postgres-statements.ts"

export interface Placement {
  readonly regions: ReadonlyArray<string>
  /** One of them. */
  readonly home: string
}

const REGIONAL_TABLES: ReadonlyArray<string> = [
  "commit_log",
  "checkpoints",
  "index_pages",
  "shards",
  "agents",
  "missing_copies"
]
const GLOBAL_TABLES: ReadonlyArray<string> = ["migrations", "database_identity"]

const REGIONS_THAT_SURVIVE_ONE = 3

/** Regions that the servers were started with (`--locality=region=…`). */
export const clusterRegions: Statement = session("cluster-regions", "SHOW REGIONS FROM CLUSTER")

/**
 * Each does nothing where it has been done. A database without regions gets its first one as the home; in one that has some, a
 * home must be among them before it can become that. Regions are never taken away here.
 */
export const placementStatements = (
  database: string,
  { regions, home }: Placement,
  before: "none" | "some"
): ReadonlyArray<Statement> => {
  const alterDatabase = `ALTER DATABASE ${quoteName(database)}`
  const primary = `${alterDatabase} PRIMARY REGION ${quoteName(home)}`
  const added = regions
    .filter((region) => before === "some" || region !== home)
    .map((region) => `${alterDatabase} ADD REGION IF NOT EXISTS ${quoteName(region)}`)
  return [
    ...(before === "some" ? [...added, primary] : [primary, ...added]),
    ...(regions.length >= REGIONS_THAT_SURVIVE_ONE ? [`${alterDatabase} SURVIVE REGION FAILURE`] : []),
    ...REGIONAL_TABLES.map((table) => `ALTER TABLE ${table} SET LOCALITY REGIONAL BY TABLE IN PRIMARY REGION`),
    ...GLOBAL_TABLES.map((table) => `ALTER TABLE ${table} SET LOCALITY GLOBAL`)
  ].map((sql, index) => change(`placement-${index + 1}`, sql))
}

/** What is noted in the database once it was said. */
export const placementText = ({ regions, home }: Placement): string => `home ${home}; regions ${regions.join(", ")}`
