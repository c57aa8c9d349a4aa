/**
 * The open segment of an agent: produce requests add batches, a flusher seals, writes and commits.
 *
 * - Batches join uncopied. A segment closes on size, or when the PUT budget allows a write: an idle agent writes at once, a
 *   busy one at most every `flushIntervalMs` (0: as soon as the one before is durable), so sparse traffic pays no linger
 *   and the request bill is bounded.
 * - Segments are written in parallel and committed strictly in the order of their sealing: an idempotent producer's batches
 *   reach the log in the order of arrival, whatever bucket was faster.
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
import { LostBatches } from "./lost-batches.ts"
import { type SealedSegment, SegmentBuilder } from "#core/segment/segment-builder.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { monotonicMs, monotonicMsOf } from "#core/telemetry/monotonic.ts"

export interface PendingBatch {
  readonly topicId: string
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
}

type UnackedCommit = Omit<CommitSegment, "ackedBuckets">

/** A segment's turn at the commit log. */
interface Turn {
  /** Done once its command was handed over, or never will be. */
  readonly submitted: Deferred.Deferred<void>
}

const open = (): OpenSegment => ({ builder: new SegmentBuilder(), waiting: [], doom: undefined })

interface BufferState {
  readonly options: SegmentBufferOptions
  readonly store: SegmentStore["Service"]
  readonly log: CommitLog["Service"]
  readonly entropy: Entropy["Service"]
  readonly metrics: Metrics["Service"]
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
  readonly lost: LostBatches
  readonly clock: Clock.Clock
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
    scope: yield* Effect.scope,
    something: yield* Latch.make(false),
    full: yield* Latch.make(false),
    room: yield* Latch.make(true),
    inFlight: 0,
    told: { atMs: Number.NEGATIVE_INFINITY, untold: 0 },
    flying: new Set(),
    closedEarly: [],
    current: open(),
    previous: first,
    lost: new LostBatches(),
    clock: yield* Clock.Clock
  }
  yield* state.metrics.observe("segmentsInFlight", () => [{ value: state.inFlight }])
  yield* Effect.forkScoped(flushForever(state))
  return SegmentBuffer.of({ append: (batches, listener) => append(state, batches, listener) })
})

const append = (state: BufferState, batches: ReadonlyArray<PendingBatch>, listener: AppendListener): void => {
  assert(batches.length > 0, "an append holds batches")
  const nowMs = monotonicMsOf(state.clock)
  const group: Group = { outcomes: [], unsettled: batches.length, unreleased: batches.length, listener }
  for (let index = 0; index < batches.length; index++) {
    const batch = batches[index]!
    if (state.lost.isBehindLost(batch, state.log.fold, nowMs)) {
      group.outcomes[index] = behindLost()
      group.unsettled--
      group.unreleased--
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
  if (group.unsettled === 0) listener.settled(group.outcomes)
  if (group.unreleased === 0) listener.released()
  if (state.current.builder.isEmpty && state.closedEarly.length === 0) return
  if (state.closedEarly.length > 0 || state.current.builder.byteLength >= state.options.segmentBytes) {
    state.full.openUnsafe()
  }
  state.something.openUnsafe()
}

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
  let flushedAtMs = Number.NEGATIVE_INFINITY
  while (true) {
    yield* something.await
    yield* room.await
    const waitMs = flushedAtMs + options.flushIntervalMs - (yield* monotonicMs)
    if (waitMs > 0) yield* Effect.raceFirst(Effect.sleep(waitMs), full.await)
    // Requests that arrived in the same turn of the event loop join the same segment.
    yield* Effect.yieldNow
    flushedAtMs = yield* monotonicMs
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

/**
 * A segment that failed before its turn answers at once, but keeps its place in flight until the one before had its turn:
 * nothing behind that one can be committed anyway, and the turns that wait for it stay bounded.
 */
const flushInTurn = (state: BufferState, segment: OpenSegment, turns: Turns): Effect.Effect<void> =>
  flush(state, segment, turns).pipe(
    Effect.catch((error) => failed(state, segment, error)),
    Effect.catchCause((cause) =>
      Effect.andThen(
        Effect.logError("segment lost to a defect", { cause }),
        failed(state, segment, new CommitLogError({ reason: "Unavailable", outcome: "indefinite", cause }))
      )
    ),
    Effect.ensuring(Effect.sync(() => state.flying.delete(segment))),
    Effect.andThen(Deferred.await(turns.before.submitted)),
    Effect.ensuring(
      Effect.sync(() => {
        state.inFlight--
        state.room.openUnsafe()
        // Where it had no turn, whoever waits for it waits for the one in front instead.
        Deferred.doneUnsafe(turns.turn.submitted, Deferred.await(turns.before.submitted))
      })
    )
  )

const flush = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment, turns: Turns) {
  if (segment.doom !== undefined) return yield* segment.doom
  const segmentId = state.entropy.uuid()
  const createdAtMs = state.log.nowMs()
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
  yield* tellRefused(state, segment, { verdict: answer.runs[0]?.[0]?.verdict, segmentId, createdAtMs })
  settle(segment.waiting, (ticket) => {
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
  const startedMs = yield* monotonicMs
  const { ackedBuckets } = yield* state.store.write(unacked, sealed.chunks, released)
  const writtenMs = yield* monotonicMs
  yield* Deferred.await(before.submitted)
  if (segment.doom !== undefined) return yield* segment.doom
  // Started at once: the log orders commands by the order of the calls, so the next segment may follow from here on.
  const command: CommitSegment = { ...unacked, ackedBuckets }
  const submit = yield* Effect.forkChild(state.log.submit(command), { startImmediately: true })
  yield* Deferred.succeed(turn.submitted, undefined)
  const answer = yield* Fiber.join(submit)
  const committedMs = yield* monotonicMs
  counters.segmentsWritten++
  record.segmentBytes(sealed.segmentBytes)
  record.quorumWriteMs(writtenMs - startedMs)
  record.commitMs(committedMs - writtenMs)
  record.flushMs(committedMs - startedMs)
  return answer
})

/** A failed segment answers all who wait on it. */
const failed = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment, error: BatchFailure) {
  state.metrics.counters.segmentsFailed++
  doomFollowers(state, segment)
  yield* tellFailure(state, segment, error)
  settle(segment.waiting, () => error)
})

/** Clients try again and again: one event a while says it for all. Undefined where nothing is to be said now. */
const turnToTell = ({ told }: BufferState, nowMs: number): { readonly othersSinceLast: number } | undefined => {
  if (nowMs - told.atMs < limits.segmentFailureToldMs) {
    told.untold++
    return undefined
  }
  const { untold } = told
  told.atMs = nowMs
  told.untold = 0
  return { othersSinceLast: untold }
}

const tellFailure = Effect.fnUntraced(function* (state: BufferState, segment: OpenSegment, error: BatchFailure) {
  const turn = turnToTell(state, yield* monotonicMs)
  if (turn === undefined) return
  yield* Effect.logWarning("segment not committed", { error: error.message, batches: segment.waiting.length, ...turn })
})

/** Verdicts on a whole segment: this agent stood still, or the database's clock was set. Someone must look. */
const REFUSALS: Partial<Record<Verdict, string>> = {
  clockAhead:
    "segment refused: it was created in the sequencer's future; the database has told the two of them different times",
  tooLate: "segment refused: it is too old; this agent stood still, or the database's clock was set forward"
}

const tellRefused = Effect.fnUntraced(function* (
  state: BufferState,
  segment: OpenSegment,
  what: { readonly verdict: Verdict | undefined; readonly segmentId: string; readonly createdAtMs: number }
) {
  const refusal = what.verdict === undefined ? undefined : REFUSALS[what.verdict]
  if (refusal === undefined) return
  state.metrics.counters.segmentsRefused++
  doomFollowers(state, segment)
  const turn = turnToTell(state, yield* monotonicMs)
  if (turn === undefined) return
  const { segmentId, createdAtMs } = what
  yield* Effect.logError(refusal, { segmentId, createdAtMs, batches: segment.waiting.length, ...turn })
})

/** What was handed in behind a lost batch by the same producer is lost as well, surely and retriably: see lost-batches.ts. */
const behindLost = (): CommitLogError =>
  new CommitLogError({
    reason: "Unavailable",
    outcome: "definite",
    cause: new Error("an earlier batch of the same producer was not committed")
  })

/**
 * Once for all, also for what is behind a segment that is doomed here: when that one ends, it dooms nobody. What was lost
 * may come again before then, and is not to be lost again for it. A doomed segment takes no more batches, and what its
 * producers hand in later is held back by `lost`, so nothing that is behind it is missed.
 */
const doomFollowers = (state: BufferState, lost: OpenSegment): void => {
  if (lost.doom !== undefined) return
  const nowMs = monotonicMsOf(state.clock)
  const producers = new Set<string>()
  const lose = (segment: OpenSegment): void => {
    for (const { batch } of segment.waiting) state.lost.add(batch, nowMs)
    for (const producer of producersOf(segment)) producers.add(producer)
  }
  lose(lost)
  if (producers.size === 0) return
  let isBehind = false
  for (const segment of [...state.flying, ...state.closedEarly, state.current]) {
    const isConcerned = isBehind && segment.doom === undefined
    if (isConcerned && [...producersOf(segment)].some((producer) => producers.has(producer))) {
      segment.doom = behindLost()
      lose(segment)
    }
    if (segment === lost) isBehind = true
  }
}

const producersOf = ({ waiting }: OpenSegment): Set<string> => {
  const producers = new Set<string>()
  for (const { batch } of waiting) {
    const { producerId } = batch.summary
    if (producerId >= 0) producers.add(`${producerId}/${batch.topicId}/${batch.partition}`)
  }
  return producers
}

const settle = (waiting: ReadonlyArray<Waiting>, outcomeOf: (ticket: number) => BatchOutcome): void => {
  for (let ticket = 0; ticket < waiting.length; ticket++) {
    const { group, index } = waiting[ticket]!
    group.outcomes[index] = outcomeOf(ticket)
    group.unsettled--
    if (group.unsettled === 0) group.listener.settled(group.outcomes)
  }
}

const release = (waiting: ReadonlyArray<Waiting>): void => {
  for (const { group } of waiting) {
    group.unreleased--
    if (group.unreleased === 0) group.listener.released()
  }
}
