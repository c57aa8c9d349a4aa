/**
 * The open segment of an agent: produce requests add batches, a flusher seals, writes and commits.
 *
 * - Batches join uncopied. A segment closes on size, or when the PUT budget allows a write: an idle agent writes at once, a
 *   busy one at most every `flushIntervalMs` (0: as soon as the one before is durable), so sparse traffic pays no linger
 *   and the request bill is bounded.
 * - Segments are written in parallel and committed strictly in the order of their sealing: an idempotent producer's batches
 *   reach the log in the order of arrival, whatever bucket was faster.
 * - Where the log does not know a producer yet, it cannot see to the order of its batches: what comes behind a lost batch is
 *   lost with it (producer-order.ts), and a segment waits for the outcome of those before it that hold the same producer.
 * - Nothing is answered before its entry is settled (invariant 5). A segment that missed its quorum is never committed; its
 *   id is never used again.
 */
import { Clock, Context, Deferred, Effect, Fiber, Latch, Layer, type Scope } from "effect"
import { type BatchAnswer, type BatchSummary, type CommitSegment } from "#core/log/command.ts"
import { CommitLog, CommitLogError } from "#core/log/commit-log.ts"
import { type Verdict } from "#core/log/verdict.ts"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type QuorumNotReached, SegmentStore } from "#core/ports/segment-store.ts"
import { type SealedSegment, SegmentBuilder } from "#core/segment/segment-builder.ts"
import { ProducerOrder, type ProducerPlace, type Sequence } from "./producer-order.ts"
import { Metrics } from "#core/telemetry/metrics.ts"

export interface PendingBatch {
  readonly topicId: string
  readonly topicName: string
  readonly partition: number
  readonly timestampType: "create" | "append"
  /** Must not change until it is released. */
  readonly batch: Buffer
  readonly summary: BatchSummary
}

export type BatchFailure = QuorumNotReached | CommitLogError
export type BatchOutcome = BatchAnswer | BatchFailure

export interface AppendListener {
  /** Called once, when all batches are settled, with an outcome for each. */
  readonly settled: (outcomes: ReadonlyArray<BatchOutcome>) => void
  /** Called once, when nobody reads the batches' bytes any more; never where that cannot be known. */
  readonly released: () => void
}

export interface SegmentBufferOptions {
  readonly segmentBytes: number
  readonly flushIntervalMs: number
  /** Segments being written or committed at once. */
  readonly segmentsInFlight: number
  readonly bucketSet: string
}

export class SegmentBuffer extends Context.Service<
  SegmentBuffer,
  {
    /** Adds the batches, in order. Synchronous. */
    readonly append: (batches: ReadonlyArray<PendingBatch>, listener: AppendListener) => void
    /** A batch that was refused before it came here, and will come again: what comes behind it must wait for it. */
    readonly refused: (place: ProducerPlace, batch: Sequence) => void
  }
>()("meridian/core/agent/SegmentBuffer") {
  static readonly layer = (options: SegmentBufferOptions) => Layer.effect(SegmentBuffer, make(options))
}

/** The batches of one `append`, wherever they went. */
interface Group {
  readonly outcomes: Array<BatchOutcome>
  /** Batches that are not settled yet. */
  unsettled: number
  /** Batches whose bytes may still be read. */
  unreleased: number
  readonly listener: AppendListener
}

/** Who waits for a ticket of a segment: index = ticket. */
interface Waiting {
  readonly group: Group
  readonly index: number
  readonly batch: PendingBatch
}

interface OpenSegment {
  readonly builder: SegmentBuilder
  readonly waiting: Array<Waiting>
  /** Why it must not be committed: a segment in front of it failed, and holds an earlier batch of one of its producers. */
  doom: BatchFailure | undefined
  /** Done once all who wait on it are told. */
  readonly settled: Deferred.Deferred<void>
}

type UnackedCommit = Omit<CommitSegment, "ackedBuckets">

/** A segment's turn at the commit log. */
interface Turn {
  /** Done once its command was handed over, or never will be. */
  readonly submitted: Deferred.Deferred<void>
}

const open = (): OpenSegment => ({
  builder: new SegmentBuilder(),
  waiting: [],
  doom: undefined,
  settled: Deferred.makeUnsafe()
})

interface BufferState {
  readonly options: SegmentBufferOptions
  readonly store: SegmentStore["Service"]
  readonly log: CommitLog["Service"]
  readonly entropy: Entropy["Service"]
  readonly metrics: Metrics["Service"]
  readonly clock: Clock.Clock
  readonly order: ProducerOrder
  readonly scope: Scope.Scope
  /** Open while there is something to flush. */
  readonly something: Latch.Latch
  /** Open while a segment need not wait for the PUT budget. */
  readonly full: Latch.Latch
  /** Open while another segment may be put in flight. */
  readonly room: Latch.Latch
  inFlight: number
  /** When a failed segment was last told of, and how many have failed since without being told. */
  readonly told: { atMs: number; untold: number }
  /** In flight, in order. */
  readonly flying: Set<OpenSegment>
  /** Closed before the open one: it was full, or a topic's timestamp type changed. */
  readonly closedEarly: Array<OpenSegment>
  current: OpenSegment
  previous: Turn
}

const make = Effect.fnUntraced(function* (options: SegmentBufferOptions) {
  const first: Turn = { submitted: Deferred.makeUnsafe<void>() }
  Deferred.doneUnsafe(first.submitted, Effect.void)
  const state: BufferState = {
    options,
    store: yield* SegmentStore,
    log: yield* CommitLog,
    entropy: yield* Entropy,
    metrics: yield* Metrics,
    clock: yield* Clock.Clock,
    order: new ProducerOrder(),
    scope: yield* Effect.scope,
    something: yield* Latch.make(false),
    full: yield* Latch.make(false),
    room: yield* Latch.make(true),
    inFlight: 0,
    told: { atMs: Number.NEGATIVE_INFINITY, untold: 0 },
    flying: new Set(),
    closedEarly: [],
    current: open(),
    previous: first
  }
  yield* state.metrics.observe("segmentsInFlight", () => [{ value: state.inFlight }])
  yield* Effect.forkScoped(flushForever(state))
  return SegmentBuffer.of({
    append: (batches, listener) => append(state, batches, listener),
    refused: (place, batch) => state.order.lost(place, batch, state.clock.currentTimeMillisUnsafe())
  })
})

const append = (state: BufferState, batches: ReadonlyArray<PendingBatch>, listener: AppendListener): void => {
  assert(batches.length > 0, "an append holds batches")
  const group: Group = { outcomes: [], unsettled: batches.length, unreleased: batches.length, listener }
  for (let index = 0; index < batches.length; index++) {
    const batch = batches[index]!
    if (isBehindGap(state, batch)) {
      settleOne({ group, index, batch }, behindGap())
      releaseOne(group)
      continue
    }
    if (state.current.builder.byteLength >= state.options.segmentBytes || state.current.doom !== undefined) {
      closeEarly(state)
    }
    if (state.current.builder.add(batch) < 0) {
      closeEarly(state)
      assert(state.current.builder.add(batch) >= 0, "an empty builder takes any batch")
    }
    state.current.waiting.push({ group, index, batch })
  }
  if (state.closedEarly.length > 0 || state.current.builder.byteLength >= state.options.segmentBytes) {
    state.full.openUnsafe()
  }
  if (!state.current.builder.isEmpty || state.closedEarly.length > 0) state.something.openUnsafe()
}

/** One that was refused before may have been named otherwise. */
const isBehindGap = ({ order, clock }: BufferState, batch: PendingBatch): boolean => {
  const { summary, topicName } = batch
  if (summary.producerId < 0 || order.gapCount === 0) return false
  const place = placeOf(batch)
  const nowMs = clock.currentTimeMillisUnsafe()
  return order.isBehindGap(place, summary, nowMs) || order.isBehindGap({ ...place, topic: topicName }, summary, nowMs)
}

const behindGap = (): CommitLogError =>
  new CommitLogError({
    reason: "Unavailable",
    outcome: "definite",
    cause: new Error("an earlier batch of the same producer was not committed")
  })

const placeOf = ({ topicId, partition, summary }: PendingBatch): ProducerPlace => ({
  producerId: summary.producerId,
  topic: topicId,
  partition
})

const closeEarly = (state: BufferState): void => {
  state.closedEarly.push(state.current)
  state.current = open()
}

/** The segment to flush next; another is open from here on. */
const take = (state: BufferState): OpenSegment => {
  const early = state.closedEarly.shift()
  const taken = early ?? state.current
  if (early === undefined) state.current = open()
  if (state.closedEarly.length === 0) {
    if (state.current.builder.byteLength < state.options.segmentBytes) state.full.closeUnsafe()
    if (state.current.builder.isEmpty) state.something.closeUnsafe()
  }
  return taken
}

const flushForever = Effect.fnUntraced(function* (state: BufferState) {
  const { options, something, room, full } = state
  let flushedAtMs = 0
  while (true) {
    yield* something.await
    yield* room.await
    const waitMs = flushedAtMs + options.flushIntervalMs - (yield* Clock.currentTimeMillis)
    if (waitMs > 0) yield* Effect.raceFirst(Effect.sleep(waitMs), full.await)
    // Requests that arrived in the same turn of the event loop join the same segment.
    yield* Effect.yieldNow
    flushedAtMs = yield* Clock.currentTimeMillis
    const before = state.previous
    const turn: Turn = { submitted: Deferred.makeUnsafe<void>() }
    state.previous = turn
    state.inFlight++
    if (state.inFlight >= options.segmentsInFlight) room.closeUnsafe()
    const segment = take(state)
    state.flying.add(segment)
    yield* Effect.forkIn(flushInTurn(state, segment, { turn, before }), state.scope)
  }
})

interface Turns {
  readonly turn: Turn
  /** Of the segment that was sealed before. */
  readonly before: Turn
}

const flushInTurn = (state: BufferState, segment: OpenSegment, turns: Turns): Effect.Effect<void> =>
  flush(state, segment, turns).pipe(
    Effect.catch((error) => failed(state, segment, error)),
    Effect.catchCause((cause) =>
      Effect.andThen(
        Effect.logError("segment lost to a defect", { cause }),
        failed(state, segment, new CommitLogError({ reason: "Unavailable", outcome: "indefinite", cause }))
      )
    ),
    Effect.ensuring(
      Effect.sync(() => {
        state.inFlight--
        state.flying.delete(segment)
        state.room.openUnsafe()
        Deferred.doneUnsafe(segment.settled, Effect.void)
        // Where it had no turn, whoever waits for it waits for the one in front instead.
        Deferred.doneUnsafe(turns.turn.submitted, Deferred.await(turns.before.submitted))
      })
    )
  )

const flush = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment, turns: Turns) {
  if (segment.doom !== undefined) return yield* segment.doom
  const segmentId = state.entropy.uuid()
  const createdAtMs = yield* Clock.currentTimeMillis
  const sealed = segment.builder.seal({ segmentId, createdAtMs })
  const answer = yield* writeAndCommit(state, sealed, {
    ...turns,
    segment,
    released: () => release(segment.waiting),
    unacked: {
      kind: "commit-segment",
      segmentId,
      createdAtMs,
      bucketSet: state.options.bucketSet,
      segmentBytes: sealed.segmentBytes,
      blockOffsets: sealed.blockOffsets,
      runs: sealed.runs
    }
  })
  settle(state, segment.waiting, (ticket) => {
    const slot = sealed.slotOf(ticket)
    return answer.runs[slot.run]![slot.batch]!
  })
})

const writeAndCommit = Effect.fnUntraced(function* (
  state: BufferState,
  sealed: SealedSegment,
  {
    unacked,
    segment,
    released,
    turn,
    before
  }: Turns & {
    readonly unacked: UnackedCommit
    readonly segment: OpenSegment
    readonly released: () => void
  }
) {
  const { counters, record } = state.metrics
  const startedMs = yield* Clock.currentTimeMillis
  const { ackedBuckets } = yield* state.store.write(unacked, sealed.chunks, released)
  const writtenMs = yield* Clock.currentTimeMillis
  yield* Deferred.await(before.submitted)
  yield* awaitUnknownProducers(state, segment)
  if (segment.doom !== undefined) return yield* segment.doom
  // Started at once: the log orders commands by the order of the calls, so the next segment may follow from here on.
  const command: CommitSegment = { ...unacked, ackedBuckets }
  const submit = yield* Effect.forkChild(state.log.submit(command), { startImmediately: true })
  yield* Deferred.succeed(turn.submitted, undefined)
  const answer = yield* Fiber.join(submit)
  const committedMs = yield* Clock.currentTimeMillis
  counters.segmentsWritten++
  record.segmentBytes(sealed.segmentBytes)
  record.quorumWriteMs(writtenMs - startedMs)
  record.commitMs(committedMs - writtenMs)
  record.flushMs(committedMs - startedMs)
  return answer
})

/** Segments before it that are not settled, and hold batches of a producer that only they can make known to the log. */
const awaitUnknownProducers = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment) {
  const unknown = producersOf(segment, (place) => !state.order.isKnown(place))
  if (unknown.size === 0) return
  for (const earlier of state.flying) {
    if (earlier === segment) return
    if (intersects(producersOf(earlier), unknown)) yield* Deferred.await(earlier.settled)
  }
})

const intersects = (left: ReadonlySet<string>, right: ReadonlySet<string>): boolean => {
  for (const each of left) if (right.has(each)) return true
  return false
}

/** A failed segment answers all who wait on it. */
const failed = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment, error: BatchFailure) {
  state.metrics.counters.segmentsFailed++
  doomFollowers(state, segment)
  yield* tellFailure(state, segment, error)
  settle(state, segment.waiting, () => error)
})

/** Clients try again and again: one event a while says it for all. */
const tellFailure = Effect.fnUntraced(function* ({ told }: BufferState, segment: OpenSegment, error: BatchFailure) {
  const nowMs = yield* Clock.currentTimeMillis
  if (nowMs - told.atMs < limits.segmentFailureToldMs) {
    told.untold++
    return
  }
  const { untold } = told
  told.atMs = nowMs
  told.untold = 0
  const batches = segment.waiting.length
  yield* Effect.logWarning("segment not committed", { error: error.message, batches, othersSinceLast: untold })
})

/**
 * A producer whose first batch was lost with its segment would else have its second one accepted, since a producer that is
 * not known may begin anywhere; the first, sent again, would then be out of order for ever. So what was handed in behind a
 * lost batch by the same producer is lost as well, surely and retriably, and comes again in order.
 */
const doomFollowers = (state: BufferState, lost: OpenSegment): void => {
  const producers = producersOf(lost)
  if (producers.size === 0) return
  let isBehind = false
  for (const segment of [...state.flying, ...state.closedEarly, state.current]) {
    const isConcerned = isBehind && segment.doom === undefined
    if (isConcerned && intersects(producersOf(segment), producers)) segment.doom = behindGap()
    if (segment === lost) isBehind = true
  }
}

const producersOf = (
  { waiting }: OpenSegment,
  isWanted: (place: ProducerPlace) => boolean = () => true
): Set<string> => {
  const producers = new Set<string>()
  for (const { batch } of waiting) {
    const { producerId } = batch.summary
    if (producerId >= 0 && isWanted(placeOf(batch))) {
      producers.add(`${producerId}/${batch.topicId}/${batch.partition}`)
    }
  }
  return producers
}

const settle = (
  state: BufferState,
  waiting: ReadonlyArray<Waiting>,
  outcomeOf: (ticket: number) => BatchOutcome
): void => {
  const nowMs = state.clock.currentTimeMillisUnsafe()
  // What follows on a lost batch must not come before it is known as lost: first all are noted, then all are told.
  for (let ticket = 0; ticket < waiting.length; ticket++) noteOutcome(state, waiting[ticket]!, outcomeOf(ticket), nowMs)
  for (let ticket = 0; ticket < waiting.length; ticket++) settleOne(waiting[ticket]!, outcomeOf(ticket))
}

const noteOutcome = (state: BufferState, { batch }: Waiting, outcome: BatchOutcome, nowMs: number): void => {
  if (batch.summary.producerId < 0) return
  if ("_tag" in outcome || COMES_AGAIN.has(outcome.verdict)) state.order.lost(placeOf(batch), batch.summary, nowMs)
  else if (outcome.verdict === "accepted" || outcome.verdict === "duplicate") state.order.settled(placeOf(batch))
}

/** Verdicts after which a producer sends a batch again though the log does not know it. */
const COMES_AGAIN: ReadonlySet<Verdict> = new Set<Verdict>(["unknownTopic", "unknownPartition", "tooLate"])

const settleOne = ({ group, index }: Waiting, outcome: BatchOutcome): void => {
  group.outcomes[index] = outcome
  group.unsettled--
  if (group.unsettled === 0) group.listener.settled(group.outcomes)
}

const release = (waiting: ReadonlyArray<Waiting>): void => {
  for (const { group } of waiting) releaseOne(group)
}

const releaseOne = (group: Group): void => {
  group.unreleased--
  if (group.unreleased === 0) group.listener.released()
}
