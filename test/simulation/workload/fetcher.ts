/** A consumer that reads whole partitions from the beginning, again and again from wherever it gets an answer, and checks every byte. */
import { Effect } from "effect"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { errorCodes, errorName } from "#core/protocol/error-codes.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Actor, RETRY_MS_MAX, RETRY_MS_MIN } from "./actor.ts"

export interface FetcherOptions {
  readonly topic: string
  readonly partitions: number
  readonly maxWaitMs: number
  readonly partitionMaxBytes: number
  /** Of Fetch; from 13 on topics are named by their ids. */
  readonly version: number
  /** Waits so long before it begins. */
  readonly startMs: number
}

const NO_RECORDS = Buffer.alloc(0)

export const fetch = Effect.fnUntraced(function* (actor: Actor, options: FetcherOptions) {
  const { client, random, truth, reads } = actor
  const { topic, partitions } = options
  yield* Effect.sleep(options.startMs)
  const positions = Array.from({ length: partitions }, () => 0)
  while (true) {
    const opened = yield* Effect.result(client.session)
    if (opened._tag === "Failure") {
      yield* Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))
      continue
    }
    const session = opened.success
    const truths = positions.map((_, partition) => truth.partition(topic, partition)!)
    const tickets = truths.map((each) => reads.ticket(each, session.agent))
    const asked = yield* Effect.result(
      client.request(session, Fetch, options.version, {
        maxWaitMs: options.maxWaitMs,
        minBytes: 1,
        topics: [
          {
            topic,
            topicId: truth.topicNamed(topic)!.topicId,
            partitions: positions.map((fetchOffset, partition) => ({
              partition,
              fetchOffset,
              partitionMaxBytes: options.partitionMaxBytes
            }))
          }
        ],
        forgottenTopicsData: []
      })
    )
    if (asked._tag === "Failure") {
      yield* Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))
      continue
    }
    let failed = false
    for (const { partitionIndex, errorCode, highWatermark, records } of asked.success.responses[0]!.partitions) {
      const partition = truths[partitionIndex]!
      if (errorCode !== errorCodes.NONE) {
        failed = true
        refused(actor, session.agent, { partition: partition.name, errorCode, offset: positions[partitionIndex]! })
        continue
      }
      reads.highWatermark(partition, session.agent, tickets[partitionIndex]!, highWatermark)
      const fetchOffset = positions[partitionIndex]!
      const next = reads.fetched(partition, session.agent, {
        fetchOffset,
        highWatermark,
        records: records ?? NO_RECORDS
      })
      if (next > fetchOffset) {
        actor.world.trace.add(actor.name, () => `${session.agent} gives ${partition.name} ${fetchOffset} to ${next}`)
      }
      positions[partitionIndex] = next
    }
    if (failed) {
      yield* client.leave(session)
      yield* Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))
    } else if (random.chance(0.02)) yield* client.leave(session)
    // Who does not wait at the agent waits here.
    if (options.maxWaitMs === 0) yield* Effect.sleep(random.between(0, 200))
  }
})

/** A reader of what it has read elsewhere, of a topic that exists, may have to wait, but is never told that it is wrong. */
const refused = (
  actor: Actor,
  agent: string,
  { partition, errorCode, offset }: { readonly partition: string; readonly errorCode: number; readonly offset: number }
): void => {
  if (errorCode === errorCodes.KAFKA_STORAGE_ERROR || errorCode === errorCodes.LEADER_NOT_AVAILABLE) return
  throw new CheckFailed("visible-at-once", `a reader is told ${errorName(errorCode)}`, {
    reader: actor.name,
    agent,
    partition,
    offset
  })
}
