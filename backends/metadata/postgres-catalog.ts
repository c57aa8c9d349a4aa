/**
 * All statements that the PostgreSQL adapter can send to a server of one kind, in one list [pure]: for whoever wants to check
 * them against a grammar, a review or a lint. test/lint/sql-subset.ts makes sure that none is missing.
 */
import { DIALECTS, type DialectName } from "./postgres-dialect.ts"
import { beginningStatements, MIGRATIONS, migrationStatements, statementsOf } from "./postgres-migrations.ts"
import { clusterRegions, type Placement, placementStatements } from "./postgres-placement.ts"
import {
  copyStatements,
  historyStatements,
  logStatements,
  memberStatements,
  sessionStatements,
  type Statement
} from "./postgres-statements.ts"

export interface CatalogOptions {
  readonly dialect: DialectName
  readonly database: string
  readonly placement: Placement
}

/** Migrations first, in their order. */
export const everyStatement = ({ dialect, database, placement }: CatalogOptions): ReadonlyArray<Statement> => {
  const { setUp, timeline } = DIALECTS[dialect]
  const placing =
    dialect === "cockroachdb"
      ? [
          clusterRegions,
          ...placementStatements(database, placement, "none"),
          ...placementStatements(database, placement, "some")
        ]
      : []
  return [
    ...beginningStatements,
    ...MIGRATIONS.flatMap((migration) => statementsOf(migration, dialect)),
    ...Object.values(migrationStatements),
    ...placing,
    ...Object.values(sessionStatements),
    ...setUp,
    ...(timeline === undefined ? [] : [timeline]),
    ...Object.values(logStatements),
    ...Object.values(historyStatements),
    ...Object.values(memberStatements),
    ...Object.values(copyStatements)
  ]
}
