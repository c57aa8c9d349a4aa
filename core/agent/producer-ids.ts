/**
 * Producer ids for this agent's clients, from blocks that the commit log hands out: no id is ever given twice in a cluster.
 * One block is asked for at a time, whoever waits.
 */
import { Effect, Semaphore } from "effect"
import { type CommitLog, type CommitLogError } from "#core/log/commit-log.ts"

export interface ProducerIds {
  readonly next: Effect.Effect<number, CommitLogError>
}

export const makeProducerIds = (log: CommitLog["Service"]): Effect.Effect<ProducerIds> =>
  Effect.gen(function* () {
    const oneAtATime = yield* Semaphore.make(1)
    let next = 0
    let end = 0
    const take = Effect.gen(function* () {
      if (next === end) {
        const block = yield* log.submit({ kind: "allocate-producer-ids" })
        next = block.first
        end = block.first + block.count
      }
      return next++
    })
    return { next: oneAtATime.withPermits(1)(take) }
  })
