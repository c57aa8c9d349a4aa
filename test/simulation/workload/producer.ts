/**
 * A producer as Kafka's Java client is one, in small.
 *
 * Idempotent: at most five requests in flight on one connection; a batch keeps its sequence however often it is sent; a batch
 * that must be sent again goes before all later ones of its partition, and only as the first that is not acknowledged;
 * OUT_OF_ORDER_SEQUENCE is fatal only for the batch whose turn it is. Never fatal here: a client that keeps the protocol
 * must not be told so. DUPLICATE_SEQUENCE_NUMBER says that the records are there, and not where.
 *
 * Now and then it sends what no client should, which must do no harm (old-batches.ts): batches that were acknowledged long
 * ago, and some that lie before its first.
 *
 * Plain: the same without producer id: what was sent again may be there twice, each attempt once.
 */
import { Effect } from "effect"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { errorCodes, errorName } from "#core/protocol/error-codes.ts"
import { type ResponseOf } from "#core/protocol/schema.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { CheckFailed } from "../engine/check-failed.ts"
import { type Actor, guarded, RETRY_MS_MAX, RETRY_MS_MIN } from "./actor.ts"
import { type Session } from "./client.ts"
import { type OldBatch, OldBatches } from "./old-batches.ts"
import { encodePayload, nameText, type RecordName } from "./payload.ts"

export interface ProducerOptions {
  /** In payloads. */
  readonly index: number
  readonly isIdempotent: boolean
  /**
   * As librdkafka up to 2.0: a batch whose fate is not known counts as appended, so that "out of order" for the next one is
   * fatal; and what failed is sent again only when nothing of the partition is under way.
   */
  readonly countsUnknown: boolean
  readonly topic: string
  readonly partitions: number
  readonly codec: number
  readonly payloadBytesMax: number
  /** Between batches, on the average. */
  readonly pauseMs: number
  readonly requestTimeoutMs: number
  readonly acks: -1 | 0 | 1
  /** Of Produce; from 13 on topics are named by their ids. */
  readonly version: number
}

/** Kafka's bound for idempotent producers. */
const IN_FLIGHT_MAX = 5
const BATCHES_WAITING_MAX = 12
const ANSWER_READ_LATE_MS = 100
/** With nothing under way, a producer begins anew as often: what is first in its partitions is where most may go wrong. */
const BEGIN_ANEW_CHANCE = 0.15
/** A partition that does not know a producer lets it begin anywhere: as often it begins elsewhere than at 0. */
const BEGIN_ELSEWHERE_CHANCE = 0.3
const SEQUENCES = 2 ** 31
/** Beside each new batch, as often. */
const OLD_BATCH_CHANCE = 0.08
/** Stands for an answer that was not asked for. */
const NO_ANSWER = { responses: [] } as never as ResponseOf<typeof Produce>

export interface Batch {
  readonly producerId: number
  readonly partition: number
  readonly baseSequence: number
  readonly numbers: ReadonlyArray<number>
  readonly payloadBytes: number
  attempts: number
  state: "waiting" | "sent"
  /** Its last attempt may have been appended. */
  isUnknown: boolean
  notBeforeMs: number
}

interface State {
  readonly actor: Actor
  readonly options: ProducerOptions
  producerId: number
  nextNumber: number
  /** By partition: not acknowledged, in order. */
  readonly queues: Array<Array<Batch>>
  readonly nextSequence: Array<number>
  readonly old: OldBatches
  inFlight: number
  /** To which was sent last. */
  session: Session | undefined
  /** Changes whenever something may be sent. */
  news: number
}

export const produce = Effect.fnUntraced(function* (actor: Actor, options: ProducerOptions) {
  actor.acknowledgements.register(options)
  const state: State = {
    actor,
    options,
    producerId: -1,
    nextNumber: 0,
    queues: Array.from({ length: options.partitions }, () => []),
    nextSequence: Array.from({ length: options.partitions }, () => 0),
    old: new OldBatches(),
    inFlight: 0,
    session: undefined,
    news: 0
  }
  if (options.isIdempotent) state.producerId = yield* initProducerId(actor)
  let nextBatchMs = 0
  while (true) {
    const { world } = actor
    const waiting = state.queues.reduce((sum, queue) => sum + queue.length, 0)
    if (actor.isOver() && waiting === 0) return
    if (!actor.isOver() && world.nowMs >= nextBatchMs && waiting < BATCHES_WAITING_MAX) {
      if (options.isIdempotent && waiting === 0 && actor.random.chance(BEGIN_ANEW_CHANCE)) yield* beginAnew(state)
      makeBatch(state)
      if (options.isIdempotent && actor.random.chance(OLD_BATCH_CHANCE)) yield* sendOld(state)
      // Often some at once.
      if (actor.random.chance(0.6)) nextBatchMs = world.nowMs + actor.random.between(0, 2 * options.pauseMs)
      continue
    }
    yield* sendWhatMay(state)
    yield* Effect.sleep(5)
  }
})

const initProducerId = Effect.fnUntraced(function* (actor: Actor) {
  while (true) {
    const asked = yield* Effect.result(
      actor.client.ask(InitProducerId, 4, { transactionalId: null, transactionTimeoutMs: 60_000 })
    )
    if (asked._tag === "Success" && asked.success.answer.errorCode === errorCodes.NONE) {
      const { producerId } = asked.success.answer
      actor.acknowledgements.producerId(producerId, actor.name)
      return producerId
    }
    yield* Effect.sleep(actor.random.between(RETRY_MS_MIN, RETRY_MS_MAX))
  }
})

/** As a client does that is restarted. */
const beginAnew = Effect.fnUntraced(function* (state: State) {
  state.producerId = yield* initProducerId(state.actor)
  state.old.beginAnew()
  const { random } = state.actor
  for (const partition of state.nextSequence.keys()) {
    const first = random.chance(0.5) ? random.whole(1, 40) : SEQUENCES - random.whole(1, 40)
    state.nextSequence[partition] = random.chance(BEGIN_ELSEWHERE_CHANCE) ? first : 0
  }
})

const makeBatch = (state: State): void => {
  const { actor, options } = state
  const partition = actor.random.below(options.partitions)
  const count = Math.floor(actor.random.magnitude(1, 8))
  const baseSequence = state.nextSequence[partition]!
  state.nextSequence[partition] = (baseSequence + count) % SEQUENCES
  const batch = newBatch(state, partition, baseSequence, count)
  state.queues[partition]!.push(batch)
  state.old.made(batch)
}

const newBatch = (state: State, partition: number, baseSequence: number, count: number): Batch => {
  const { actor, options, producerId } = state
  const numbers = Array.from({ length: count }, () => state.nextNumber++)
  const payloadBytes = Math.floor(actor.random.magnitude(8, options.payloadBytesMax))
  return {
    producerId,
    partition,
    baseSequence,
    numbers,
    payloadBytes,
    attempts: 0,
    state: "waiting",
    isUnknown: false,
    notBeforeMs: 0
  }
}

/** What stands first in its partition, or follows on what is under way for the first time. */
const maySend = (state: State, queue: ReadonlyArray<Batch>, index: number): boolean => {
  const batch = queue[index]!
  if (batch.state === "sent" || batch.notBeforeMs > state.actor.world.nowMs) return false
  if (batch.attempts > 0) return index === 0 && !(state.options.countsUnknown && queue.some(isUnderWay))
  for (let before = 0; before < index; before++) if (queue[before]!.state !== "sent") return false
  return true
}

const isUnderWay = (batch: Batch): boolean => batch.state === "sent"

/** A batch and the partition's batches that are not acknowledged. */
interface Sendable {
  readonly queue: Array<Batch>
  readonly batch: Batch
}

/** Batches for one request, one of a partition: often one alone, also where several may go. */
const nextRequest = (state: State): ReadonlyArray<Sendable> => {
  const sendable: Array<Sendable> = []
  for (const queue of state.queues) {
    const index = queue.findIndex((_, at) => maySend(state, queue, at))
    if (index >= 0) sendable.push({ queue, batch: queue[index]! })
  }
  return state.actor.random.chance(0.5) ? sendable : sendable.slice(0, 1)
}

const sendWhatMay = Effect.fnUntraced(function* (state: State) {
  const { client, random } = state.actor
  while (state.inFlight < IN_FLIGHT_MAX) {
    if (nextRequest(state).length === 0) return
    const opened = yield* Effect.result(client.session)
    if (opened._tag === "Failure") {
      yield* Effect.sleep(random.between(RETRY_MS_MIN, RETRY_MS_MAX))
      return
    }
    // Such a client ends what is under way before it goes to another agent.
    if (state.options.countsUnknown && state.inFlight > 0 && opened.success !== state.session) return
    state.session = opened.success
    // What may be sent may have changed while the connection was opened.
    const request = nextRequest(state)
    if (request.length === 0) return
    for (const { batch } of request) {
      batch.state = "sent"
      batch.attempts++
    }
    state.inFlight++
    yield* Effect.forkChild(guarded(state.actor, send(state, request, opened.success)), { startImmediately: true })
  }
})

const recordsOf = (state: State, batch: Batch): ReadonlyArray<RecordName> =>
  batch.numbers.map((number) => ({ producer: state.options.index, number, attempt: batch.attempts }))

const bytesOf = (state: State, batch: Batch, records: ReadonlyArray<RecordName>): Buffer => {
  const { actor, options } = state
  const { producerId } = batch
  return buildBatch({
    records: records.map((record) => ({ key: null, value: encodePayload(record, batch.payloadBytes) })),
    timestampMs: actor.client.process.clock.currentTimeMillisUnsafe(),
    codec: options.codec,
    ...(options.isIdempotent ? { producerId, producerEpoch: 0, baseSequence: batch.baseSequence } : {})
  })
}

interface Sent {
  readonly batch: Batch
  readonly records: ReadonlyArray<RecordName>
}

const ask = (state: State, sent: ReadonlyArray<Sent>, session: Session) => {
  const { actor, options } = state
  const { topic, acks, version } = options
  const body = {
    transactionalId: null,
    acks,
    timeoutMs: 30_000,
    topicData: [
      {
        name: topic,
        topicId: actor.truth.topicNamed(topic)!.topicId,
        partitionData: sent.map(({ batch, records }) => ({
          index: batch.partition,
          records: bytesOf(state, batch, records)
        }))
      }
    ]
  }
  return acks === 0
    ? Effect.as(actor.client.send(session, Produce, version, body), NO_ANSWER)
    : actor.client.request(session, Produce, version, body)
}

const send = Effect.fnUntraced(function* (state: State, request: ReadonlyArray<Sendable>, session: Session) {
  const { actor } = state
  const sent = request.map((each) => ({ ...each, records: recordsOf(state, each.batch) }))
  const outcome = yield* Effect.result(ask(state, sent, session))
  // More is sent meanwhile, by one who does not know yet.
  if (state.options.countsUnknown) yield* Effect.sleep(ANSWER_READ_LATE_MS)
  state.inFlight--
  for (const { batch } of request) batch.state = "waiting"
  if (outcome._tag === "Failure") {
    for (const { batch } of request) {
      batch.isUnknown = true
      again(state, batch)
    }
    return
  }
  if (outcome.success === NO_ANSWER) {
    // Whoever asks for no answer does not care.
    for (const { queue, batch } of request) queue.splice(queue.indexOf(batch), 1)
    return
  }
  const answers = outcome.success.responses[0]!.partitionResponses
  let isAnyRefused = false
  for (const each of sent) {
    const answer = answers.find(({ index }) => index === each.batch.partition)!
    if (!take(state, each, { agent: session.agent, ...answer })) isAnyRefused = true
  }
  // Metadata would be looked at again: perhaps another agent does better.
  if (isAnyRefused && actor.random.chance(0.3)) yield* actor.client.leave(session)
})

/** Sends one old batch, or one before the first, outside of the order that the protocol asks for. */
const sendOld = Effect.fnUntraced(function* (state: State) {
  const { actor, old } = state
  const picked = old.pick(actor.random)
  if (picked === undefined || state.inFlight >= IN_FLIGHT_MAX) return
  const opened = yield* Effect.result(actor.client.session)
  if (opened._tag === "Failure") return
  const batch =
    picked.kind === "again"
      ? picked.batch
      : newBatch(state, picked.partition, (picked.firstSequence + SEQUENCES - picked.before) % SEQUENCES, picked.count)
  batch.attempts++
  state.inFlight++
  const sending = takeOld(state, picked.kind, { batch, records: recordsOf(state, batch) }, opened.success)
  yield* Effect.forkChild(guarded(actor, sending), { startImmediately: true })
})

/** It was appended once or never will be: whatever the answer says must be true. */
const takeOld = Effect.fnUntraced(function* (state: State, kind: OldBatch["kind"], sent: Sent, session: Session) {
  const { batch, records } = sent
  const outcome = yield* Effect.result(ask(state, [sent], session))
  // More is sent meanwhile, by one who does not know yet.
  if (state.options.countsUnknown) yield* Effect.sleep(ANSWER_READ_LATE_MS)
  state.inFlight--
  if (outcome._tag === "Failure" || outcome.success === NO_ANSWER) return
  const answer = { agent: session.agent, ...outcome.success.responses[0]!.partitionResponses[0]! }
  if (isAcknowledged(state, sent, answer)) return
  const { errorCode } = answer
  if (SURELY_REFUSED.has(errorCode)) state.actor.acknowledgements.refuse(records)
  if (kind === "again" && !RETRIABLE.has(errorCode)) throw fenced(state, batch, answer)
})

interface Answered {
  readonly agent: string
  readonly errorCode: number
  readonly baseOffset: number
}

/** Acknowledges it to the checkers if it was. */
const isAcknowledged = (state: State, { batch, records }: Sent, { agent, errorCode, baseOffset }: Answered) => {
  const { actor, options } = state
  const { topic, isIdempotent } = options
  const { partition } = batch
  actor.world.trace.add(
    actor.name,
    () =>
      `${agent} answers ${topic}/${partition} ${nameText(records[0]!)} and ${records.length - 1} more: ` +
      `${errorName(errorCode)} ${baseOffset}`
  )
  if (errorCode === errorCodes.NONE) {
    actor.acknowledgements.acknowledge({ topic, partition, baseOffset }, records)
    return true
  }
  if (errorCode !== errorCodes.DUPLICATE_SEQUENCE_NUMBER || !isIdempotent) return false
  actor.acknowledgements.acknowledgeWithoutOffset({ topic, partition }, records)
  return true
}

/** Whether the batch was acknowledged. */
const take = (state: State, sent: Sendable & Sent, answer: Answered): boolean => {
  const { queue, batch, records } = sent
  const { errorCode } = answer
  if (isAcknowledged(state, sent, answer)) {
    queue.splice(queue.indexOf(batch), 1)
    if (state.options.isIdempotent) state.old.add(batch)
    return true
  }
  if (SURELY_REFUSED.has(errorCode)) state.actor.acknowledgements.refuse(records)
  if (isFatal(state, { queue, batch }, errorCode)) throw fenced(state, batch, answer)
  batch.isUnknown = !SURELY_REFUSED.has(errorCode)
  again(state, batch)
  return false
}

const fenced = ({ options }: State, batch: Batch, { agent, errorCode }: Answered): CheckFailed =>
  new CheckFailed("fenced", `an idempotent producer is told ${errorName(errorCode)}`, {
    producer: options.index,
    partition: `${options.topic}/${batch.partition}`,
    baseSequence: batch.baseSequence,
    agent
  })

const again = (state: State, batch: Batch): void => {
  const { world, random } = state.actor
  batch.notBeforeMs = world.nowMs + random.between(RETRY_MS_MIN, RETRY_MS_MAX)
}

/** Answers that say that nothing was appended, and never will be, by this attempt. */
const SURELY_REFUSED: ReadonlySet<number> = new Set([
  errorCodes.NOT_ENOUGH_REPLICAS,
  errorCodes.LEADER_NOT_AVAILABLE,
  errorCodes.UNKNOWN_TOPIC_OR_PARTITION,
  errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER
])

const RETRIABLE: ReadonlySet<number> = new Set([
  errorCodes.NOT_ENOUGH_REPLICAS,
  errorCodes.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  errorCodes.LEADER_NOT_AVAILABLE,
  errorCodes.UNKNOWN_TOPIC_OR_PARTITION,
  errorCodes.REQUEST_TIMED_OUT,
  errorCodes.KAFKA_STORAGE_ERROR
])

/** As the Java client judges: out of order is no wonder while an earlier batch is not acknowledged. */
const isFatal = ({ options }: State, { queue, batch }: Sendable, errorCode: number): boolean => {
  if (errorCode !== errorCodes.OUT_OF_ORDER_SEQUENCE_NUMBER) return !RETRIABLE.has(errorCode)
  const isBehind = (before: Batch): boolean =>
    !(options.countsUnknown && before.isUnknown && before.state === "waiting")
  return !queue.slice(0, queue.indexOf(batch)).some(isBehind)
}
