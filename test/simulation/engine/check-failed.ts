/** A broken promise of the product, found by a checker: its name, and the facts that show it. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed"
  readonly check: CheckName
  readonly facts: Readonly<Record<string, unknown>>

  constructor(check: CheckName, message: string, facts: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.check = check
    this.facts = facts
  }
}

/** Every checker, with what it says. Mutations name them: each must be able to fail. */
export const CHECKS = {
  "acknowledged-lost": "what was acknowledged is in the log and readable for ever",
  "acknowledged-before-log": "nothing is acknowledged before its entry is in the log (invariant 5)",
  doubled: "a record of an idempotent producer, or one attempt of any other, is in the log once",
  order: "the records of an idempotent producer are in each partition in the order in which they were sent",
  offsets: "offsets are dense: no gap, none used twice",
  content: "an offset has one content for ever, whoever reads it wherever",
  "high-watermark":
    "no high watermark goes back or ahead of the log, and no linearizable answer is behind an earlier one",
  "visible-at-once": "what was acknowledged or created anywhere is visible to whoever asks anywhere after that",
  "definite-failure": "what was surely refused is never in the log",
  "durable-before-log":
    "when an entry appears, W buckets in distinct regions hold each of its segments whole (invariant 2)",
  "written-once": "an object key has one content for ever (invariant 1)",
  chain: "rows follow on each other by seq and nonce; a row of an epoch that is over has no effect (invariant 3)",
  verdicts: "entries hold what Kafka's rules say, by a second opinion",
  "folds-agree": "all agents' folds are equal at equal seq (invariant 4)",
  "producer-ids": "a producer id is given once",
  fenced: "an idempotent producer that keeps the protocol never gets a fatal error",
  healthy: "no agent logs an error or ends by itself, unless the scenario allows for it",
  bounded: "queues and buffers stay within their bounds, and are empty at the end (invariant 11)",
  liveness: "when all faults have healed, everything goes on within a bounded time",
  contract: "nobody asks the database or a bucket for what its port does not allow",
  simulator: "the simulation itself went on"
} as const

export type CheckName = keyof typeof CHECKS
