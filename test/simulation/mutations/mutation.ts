/**
 * A mutation breaks the product in one place, on purpose: a run of the simulation on it must fail, by the checker that is
 * named. So it is known that the checkers bite.
 *
 * Each is data: a text that occurs exactly once in a file, and what stands there instead. Where the product changes and the
 * text is no longer there, the run says so, and the mutation must follow.
 */
import { type CheckName } from "../engine/check-failed.ts"
import { type ScenarioName } from "../faults/scenarios.ts"

export interface Edit {
  readonly file: string
  /** Occurs exactly once. */
  readonly find: string
  readonly replace: string
}

export interface Mutation {
  readonly name: string
  /** What the product does wrong. */
  readonly doc: string
  /** Of the product; where two checkers watch the same promise, also of the first of them, which then makes the same mistake. */
  readonly edits: ReadonlyArray<Edit>
  readonly scenario: ScenarioName
  /** One of these checkers fails first: which one may depend on the seed. */
  readonly caughtBy: ReadonlyArray<CheckName>
}
