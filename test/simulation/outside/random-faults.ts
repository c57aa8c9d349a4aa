/**
 * Faults of calls to something outside, in force for a while: which kind, of which calls, how often [pure].
 *
 * A fault is drawn once for each call, when it is made. The first one in force that strikes decides.
 */
import { type Prng } from "../engine/prng.ts"

export interface ActiveFault<Kind extends string> {
  readonly kind: Kind
  /** Of all calls that it concerns. */
  readonly chance: number
  /** Callers of this name only. */
  readonly caller?: string
  /** Calls of these operations only. */
  readonly operations?: ReadonlyArray<string>
}

export class RandomFaults<Kind extends string> {
  readonly #active = new Set<ActiveFault<Kind>>()

  /** Until the answer is called. */
  add(fault: ActiveFault<Kind>): () => void {
    this.#active.add(fault)
    return () => void this.#active.delete(fault)
  }

  clear(): void {
    this.#active.clear()
  }

  draw(random: Prng, call: { readonly caller: string; readonly operation: string }): Kind | undefined {
    for (const { kind, chance, caller, operations } of this.#active) {
      if (caller !== undefined && caller !== call.caller) continue
      if (operations !== undefined && !operations.includes(call.operation)) continue
      if (random.chance(chance)) return kind
    }
    return undefined
  }
}
