/**
 * Looks through one agent at what was just done through another: it must be there at once.
 *
 * A round writes records, makes or grows or deletes a topic through one agent, and as soon as that is acknowledged asks
 * another agent, mostly of another region. Answers that say "not now" are fine; answers that deny what was acknowledged are
 * not.
 */
import { Effect } from "effect"
import { CreatePartitions } from "#core/protocol/api/37-create-partitions.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { errorCodes, errorName } from "#core/protocol/error-codes.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Actor, RETRY_MS_MAX, RETRY_MS_MIN } from "./actor.ts"
import { type SimClient } from "./client.ts"
import { encodePayload } from "./payload.ts"
import { createTopicsRequest } from "./topics.ts"

export interface ProberOptions {
  /** In payloads and topic names. */
  readonly index: number
  /** Asks where `actor.client` has written. */
  readonly other: SimClient
  readonly pauseMs: number
}

interface State {
  readonly actor: Actor
  readonly options: ProberOptions
  readonly topic: string
  partitions: number
  number: number
}

const LATEST = -1
const NO_RECORDS = Buffer.alloc(0)

export const probe = Effect.fnUntraced(function* (actor: Actor, options: ProberOptions) {
  actor.acknowledgements.register({ index: options.index, isIdempotent: false })
  for (let round = 0; !actor.isOver(); round++) {
    const state: State = {
      actor,
      options,
      topic: `probe-${options.index}-${round}`,
      partitions: 1,
      number: round * 1_000
    }
    yield* createTopic(state)
    const steps = actor.random.whole(1, 6)
    for (let step = 0; step < steps && !actor.isOver(); step++) {
      if (actor.random.chance(0.25)) yield* growTopic(state)
      else yield* writeAndLook(state)
      yield* pause(actor, options.pauseMs)
    }
    if (actor.random.chance(0.5)) yield* deleteTopic(state)
  }
})

const pause = ({ random }: Actor, ms: number): Effect.Effect<void> => Effect.sleep(random.between(0, 2 * ms))
const again = ({ random }: Actor): Effect.Effect<void> => Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))

const createTopic = Effect.fnUntraced(function* (state: State) {
  const { actor, topic } = state
  state.partitions = actor.random.whole(1, 3)
  while (true) {
    const request = createTopicsRequest([{ name: topic, partitions: state.partitions }])
    const asked = yield* Effect.result(actor.client.ask(CreateTopics, 7, request))
    const errorCode = asked._tag === "Failure" ? -1 : asked.success.answer.topics[0]!.errorCode
    // Only its own earlier attempt can have made it.
    if (errorCode === errorCodes.NONE || errorCode === errorCodes.TOPIC_ALREADY_EXISTS) break
    yield* again(actor)
  }
  if (actor.truth.topicNamed(topic) === undefined) {
    throw new CheckFailed("acknowledged-before-log", "a created topic is not in the log", { topic })
  }
  yield* look(state, (client) => seesTopic(state, client))
})

/** Asks the other client, a few times at most while it has no answer. */
const look = Effect.fnUntraced(function* (
  state: State,
  question: (client: SimClient) => Effect.Effect<"seen" | "not-now">
) {
  for (let attempt = 0; attempt < 3; attempt++) {
    if ((yield* question(state.options.other)) === "seen") return
    yield* again(state.actor)
  }
})

const denied = (state: State, agent: string, errorCode: number, what: string): CheckFailed =>
  new CheckFailed("visible-at-once", `${what} is denied with ${errorName(errorCode)}`, {
    prober: state.actor.name,
    agent,
    topic: state.topic
  })

const seesTopic = Effect.fnUntraced(function* (state: State, client: SimClient) {
  const body = { topics: [{ name: state.topic, topicId: UUID_ZERO }], allowAutoTopicCreation: false }
  const asked = yield* Effect.result(client.ask(Metadata, 12, body))
  if (asked._tag === "Failure") return "not-now" as const
  const { agent, answer } = asked.success
  const { errorCode, partitions } = answer.topics[0]!
  if (errorCode === errorCodes.LEADER_NOT_AVAILABLE) return "not-now" as const
  if (errorCode !== errorCodes.NONE) throw denied(state, agent, errorCode, "a topic that was created before")
  if (partitions.length < state.partitions) throw denied(state, agent, errorCode, "a partition that was created before")
  return "seen" as const
})

const growTopic = Effect.fnUntraced(function* (state: State) {
  const { actor, topic } = state
  const count = state.partitions + 1
  while (true) {
    const asked = yield* Effect.result(
      actor.client.ask(CreatePartitions, 3, {
        topics: [{ name: topic, count, assignments: null }],
        timeoutMs: 30_000,
        validateOnly: false
      })
    )
    const errorCode = asked._tag === "Failure" ? -1 : asked.success.answer.results[0]!.errorCode
    if (errorCode === errorCodes.UNKNOWN_TOPIC_OR_PARTITION) {
      throw denied(
        state,
        asked._tag === "Success" ? asked.success.agent : "",
        errorCode,
        "a topic that was created before"
      )
    }
    // It has so many already: by an earlier attempt.
    if (errorCode === errorCodes.NONE || errorCode === errorCodes.INVALID_PARTITIONS) break
    yield* again(actor)
  }
  state.partitions = count
  if ((actor.truth.topicNamed(topic)?.partitions.length ?? 0) < count) {
    throw new CheckFailed("acknowledged-before-log", "created partitions are not in the log", { topic, count })
  }
  yield* look(state, (client) => seesOffset(state, client, count - 1))
})

const seesOffset = Effect.fnUntraced(function* (state: State, client: SimClient, partition: number) {
  const { truth, reads } = state.actor
  const opened = yield* Effect.result(client.session)
  if (opened._tag === "Failure") return "not-now" as const
  const { agent } = opened.success
  const log = truth.partition(state.topic, partition)!
  const ticket = reads.ticket(log, agent)
  const asked = yield* Effect.result(
    client.request(opened.success, ListOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: state.topic, partitions: [{ partitionIndex: partition, timestamp: LATEST }] }]
    })
  )
  if (asked._tag === "Failure") return "not-now" as const
  const { errorCode, offset } = asked.success.topics[0]!.partitions[0]!
  if (errorCode === errorCodes.LEADER_NOT_AVAILABLE) return "not-now" as const
  if (errorCode !== errorCodes.NONE) throw denied(state, agent, errorCode, "a partition that was created before")
  reads.latest(log, agent, ticket, offset)
  return "seen" as const
})

const writeAndLook = Effect.fnUntraced(function* (state: State) {
  const { actor, options, topic } = state
  const partition = actor.random.below(state.partitions)
  const record = { producer: options.index, number: state.number++, attempt: 1 }
  const asked = yield* Effect.result(
    actor.client.ask(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [
        {
          name: topic,
          partitionData: [
            { index: partition, records: buildBatch({ records: [{ key: null, value: encodePayload(record, 40) }] }) }
          ]
        }
      ]
    })
  )
  if (asked._tag === "Failure") return
  const { agent, answer } = asked.success
  const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!
  if (errorCode === errorCodes.UNKNOWN_TOPIC_OR_PARTITION) {
    throw denied(state, agent, errorCode, "a partition that was created before")
  }
  if (errorCode !== errorCodes.NONE) return
  actor.acknowledgements.acknowledge({ topic, partition, baseOffset }, [record])
  yield* look(state, (client) => seesOffset(state, client, partition))
  yield* look(state, (client) => readsRecord(state, client, { partition, offset: baseOffset }))
})

/** It may have to wait for the record, but is never told that there is none. */
const readsRecord = Effect.fnUntraced(function* (
  state: State,
  client: SimClient,
  { partition, offset }: { readonly partition: number; readonly offset: number }
) {
  const { truth, reads } = state.actor
  const opened = yield* Effect.result(client.session)
  if (opened._tag === "Failure") return "not-now" as const
  const { agent } = opened.success
  const log = truth.partition(state.topic, partition)!
  const ticket = reads.ticket(log, agent)
  const asked = yield* Effect.result(
    client.request(opened.success, Fetch, 12, {
      maxWaitMs: 1_000,
      minBytes: 1,
      topics: [{ topic: state.topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: 100_000 }] }],
      forgottenTopicsData: []
    })
  )
  if (asked._tag === "Failure") return "not-now" as const
  const { errorCode, highWatermark, records } = asked.success.responses[0]!.partitions[0]!
  if (errorCode === errorCodes.LEADER_NOT_AVAILABLE || errorCode === errorCodes.KAFKA_STORAGE_ERROR)
    return "not-now" as const
  if (errorCode !== errorCodes.NONE) throw denied(state, agent, errorCode, "a record that was acknowledged before")
  reads.highWatermark(log, agent, ticket, highWatermark)
  reads.fetched(log, agent, { fetchOffset: offset, highWatermark, records: records ?? NO_RECORDS })
  return "seen" as const
})

const deleteTopic = Effect.fnUntraced(function* (state: State) {
  const { actor, topic } = state
  let isFirst = true
  while (true) {
    const body = { topics: [{ name: topic, topicId: UUID_ZERO }], timeoutMs: 30_000 }
    const asked = yield* Effect.result(actor.client.ask(DeleteTopics, 6, body))
    const errorCode = asked._tag === "Failure" ? -1 : asked.success.answer.responses[0]!.errorCode
    if (errorCode === errorCodes.NONE) break
    if (errorCode === errorCodes.UNKNOWN_TOPIC_OR_PARTITION && !isFirst) break
    if (errorCode === errorCodes.UNKNOWN_TOPIC_OR_PARTITION)
      throw denied(state, "", errorCode, "a topic that was created before")
    isFirst = false
    yield* again(actor)
  }
  if (actor.truth.topicNamed(topic) !== undefined) {
    throw new CheckFailed("acknowledged-before-log", "a deleted topic is still in the log", { topic })
  }
  yield* look(state, (client) => seesNoTopic(state, client))
})

const seesNoTopic = Effect.fnUntraced(function* (state: State, client: SimClient) {
  const asked = yield* Effect.result(
    client.ask(ListOffsets, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: state.topic, partitions: [{ partitionIndex: 0, timestamp: LATEST }] }]
    })
  )
  if (asked._tag === "Failure") return "not-now" as const
  const { agent, answer } = asked.success
  const { errorCode } = answer.topics[0]!.partitions[0]!
  if (errorCode === errorCodes.LEADER_NOT_AVAILABLE) return "not-now" as const
  if (errorCode === errorCodes.NONE) throw denied(state, agent, errorCode, "the deletion of a topic")
  return "seen" as const
})
