/** What every actor of the workload has: its client, its own randomness, the checkers, and when it should stop making work. */
import { Cause, Effect } from "effect"
import { type Acknowledgements } from "../checkers/acknowledgements.ts"
import { type Reads } from "../checkers/reads.ts"
import { type Truth } from "../checkers/truth.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Prng } from "../engine/prng.ts"
import { type World } from "../engine/world.ts"
import { type SimClient } from "./client.ts"

export interface Actor {
  readonly name: string
  readonly world: World
  readonly client: SimClient
  readonly random: Prng
  readonly truth: Truth
  readonly acknowledgements: Acknowledgements
  readonly reads: Reads
  /** Nothing new is begun from here on; what was begun is brought to its end. */
  readonly isOver: () => boolean
}

/** Pause before something that failed is tried again. */
export const RETRY_MS_MIN = 20
export const RETRY_MS_MAX = 200

/** Runs an actor; what it throws is a check that failed, or a mistake of the simulation's. */
export const guarded = (actor: Pick<Actor, "name" | "world">, effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.onExit(effect, (exit) =>
    Effect.sync(() => {
      if (exit._tag === "Success" || Cause.hasInterruptsOnly(exit.cause)) return
      const thrown = Cause.squash(exit.cause)
      if (thrown instanceof CheckFailed) actor.world.fail(thrown.check, thrown.message, thrown.facts)
      else actor.world.fail("simulator", `${actor.name} threw: ${Cause.pretty(exit.cause)}`)
    })
  )
