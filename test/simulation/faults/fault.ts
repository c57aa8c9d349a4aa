/**
 * Faults as data [pure]: what may go wrong, for how long. A schedule is a list of them; it is a function of the seed, and the
 * trace shows it.
 */
import { type BucketFault } from "../outside/bucket.ts"
import { type DatabaseFault } from "../outside/database.ts"
import { type Group } from "../network/links.ts"

/** As an agent's name: whoever sequences when the fault begins; any agent where nobody does. */
export const SEQUENCER = "@sequencer"

export type Fault =
  /** kill -9, and started again at the end. `vanish`: with its machine, so that its peers are not told. */
  | { readonly kind: "kill"; readonly agent: string; readonly manner: "reset" | "vanish" }
  /** An orderly stop, and started again at the end. */
  | { readonly kind: "stop"; readonly agent: string }
  /** SIGSTOP, and SIGCONT at the end. */
  | { readonly kind: "freeze"; readonly agent: string }
  /** Nothing gets from one group to the other; `both` ways or one. Where it heals, connections may turn out to be broken. */
  | {
      readonly kind: "cut"
      readonly from: Group
      readonly to: Group
      readonly ways: "one" | "both"
      readonly resetShare: number
    }
  /** A region is cut from all others: its database replica and its bucket too. */
  | { readonly kind: "isolate"; readonly region: string }
  | { readonly kind: "slow"; readonly from: Group; readonly to: Group; readonly factor: number }
  /** Connections of the agent break, now. */
  | { readonly kind: "reset-connections"; readonly agent: string; readonly share: number }
  /** The wall clock of a host is set, now. */
  | { readonly kind: "clock-jump"; readonly agent: string; readonly byMs: number }
  /** As above, of the database. */
  | { readonly kind: "database-clock-jump"; readonly byMs: number }
  | {
      readonly kind: "database-fault"
      readonly fault: DatabaseFault
      readonly chance: number
      readonly caller?: string
      readonly operations?: ReadonlyArray<string>
    }
  | { readonly kind: "database-away"; readonly manner: "refuse" | "hang" }
  | {
      readonly kind: "bucket-fault"
      readonly region: string
      readonly fault: BucketFault
      readonly chance: number
      readonly caller?: string
    }
  | { readonly kind: "bucket-away"; readonly region: string; readonly manner: "refuse" | "hang" }
  /** Everything in a region is gone at once: agents, bucket, database replica. */
  | { readonly kind: "region-dark"; readonly region: string }

export interface ScheduledFault {
  /** After the beginning of the faults. */
  readonly atMs: number
  /** 0 where it is over at once. */
  readonly durationMs: number
  readonly fault: Fault
}

export type Schedule = ReadonlyArray<ScheduledFault>

export const faultText = ({ atMs, durationMs, fault }: ScheduledFault): string =>
  `at ${(atMs / 1000).toFixed(3)} s for ${(durationMs / 1000).toFixed(3)} s: ${JSON.stringify(fault)}`
