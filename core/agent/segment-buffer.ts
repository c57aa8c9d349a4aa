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
import { Clock, Context, Deferred, Effect, Fiber, Latch, Layer } from "effect"
import { type BatchAnswer, type BatchSummary, type CommitSegment } from "#core/log/command.ts"
import { CommitLog, CommitLogError } from "#core/log/commit-log.ts"
import { assert } from "#core/model/assert.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type QuorumNotReached, SegmentStore } from "#core/ports/segment-store.ts"
import { type SealedSegment, SegmentBuilder } from "#core/segment/segment-builder.ts"
import { Metrics } from "#core/telemetry/metrics.ts"

export interface PendingBatch {
  readonly topicId: string
  readonly partition: number
  readonly timestampType: "create" | "append"
  /** Must not change until it is answered. */
  readonly batch: Buffer
  readonly summary: BatchSummary
}

export type BatchFailure = QuorumNotReached | CommitLogError
export type BatchOutcome = BatchAnswer | BatchFailure

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
    /** Adds the batches, in order, and calls back once, when all of them are settled, with an outcome for each. Synchronous. */
    readonly append: (
      batches: ReadonlyArray<PendingBatch>,
      settled: (outcomes: ReadonlyArray<BatchOutcome>) => void
    ) => void
  }
>()("meridian/core/agent/SegmentBuffer") {
  static readonly layer = (options: SegmentBufferOptions) => Layer.effect(SegmentBuffer, make(options))
}

/** The batches of one `append`, wherever they went. */
interface Group {
  readonly outcomes: Array<BatchOutcome>
  missing: number
  readonly settled: (outcomes: ReadonlyArray<BatchOutcome>) => void
}

/** Who waits for a ticket of a segment: index = ticket. */
interface Waiting {
  readonly group: Group
  readonly index: number
}

interface OpenSegment {
  readonly builder: SegmentBuilder
  readonly waiting: Array<Waiting>
}

type UnackedCommit = Omit<CommitSegment, "ackedBuckets">

/** A segment's turn at the commit log. */
interface Turn {
  /** Done once its command was handed over, or never will be. */
  readonly submitted: Deferred.Deferred<void>
}

const open = (): OpenSegment => ({ builder: new SegmentBuilder(), waiting: [] })

const settle = (waiting: ReadonlyArray<Waiting>, outcomeOf: (ticket: number) => BatchOutcome): void => {
  for (let ticket = 0; ticket < waiting.length; ticket++) {
    const { group, index } = waiting[ticket]!
    group.outcomes[index] = outcomeOf(ticket)
    if (--group.missing === 0) group.settled(group.outcomes)
  }
}

const make = Effect.fnUntraced(function* (options: SegmentBufferOptions) {
  const store = yield* SegmentStore
  const log = yield* CommitLog
  const entropy = yield* Entropy
  const { counters, record } = yield* Metrics
  const scope = yield* Effect.scope
  /** Open while there is something to flush. */
  const something = yield* Latch.make(false)
  /** Open while a segment need not wait for the PUT budget. */
  const full = yield* Latch.make(false)
  /** Open while another segment may be put in flight. */
  const room = yield* Latch.make(true)
  let inFlight = 0
  /** Closed before the open one, because a topic's timestamp type changed. */
  const closedEarly: Array<OpenSegment> = []
  let current = open()
  let previous: Turn = { submitted: Deferred.makeUnsafe<void>() }
  Deferred.doneUnsafe(previous.submitted, Effect.void)

  const append: SegmentBuffer["Service"]["append"] = (batches, settled) => {
    assert(batches.length > 0, "an append holds batches")
    const group: Group = { outcomes: new Array(batches.length), missing: batches.length, settled }
    for (let index = 0; index < batches.length; index++) {
      const batch = batches[index]!
      if (current.builder.add(batch) < 0) {
        closedEarly.push(current)
        current = open()
        current.builder.add(batch)
      }
      current.waiting.push({ group, index })
    }
    if (closedEarly.length > 0 || current.builder.byteLength >= options.segmentBytes) full.openUnsafe()
    something.openUnsafe()
  }

  const take = (): OpenSegment => {
    const early = closedEarly.shift()
    const taken = early ?? current
    if (early === undefined) current = open()
    if (closedEarly.length === 0) {
      if (current.builder.byteLength < options.segmentBytes) full.closeUnsafe()
      if (current.builder.isEmpty) something.closeUnsafe()
    }
    return taken
  }

  const writeAndCommit = Effect.fnUntraced(function* (
    sealed: SealedSegment,
    unacked: UnackedCommit,
    turn: Turn,
    before: Turn
  ) {
    const startedMs = yield* Clock.currentTimeMillis
    const { ackedBuckets } = yield* store.write(unacked, sealed.chunks)
    const writtenMs = yield* Clock.currentTimeMillis
    yield* Deferred.await(before.submitted)
    // Started at once: the log orders commands by the order of the calls, so the next segment may follow from here on.
    const submit = yield* Effect.forkChild(log.submit<CommitSegment>({ ...unacked, ackedBuckets }), {
      startImmediately: true
    })
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

  const flush = Effect.fnUntraced(function* (segment: OpenSegment, turn: Turn, before: Turn) {
    const segmentId = entropy.uuid()
    const createdAtMs = yield* Clock.currentTimeMillis
    const sealed = segment.builder.seal({ segmentId, createdAtMs })
    const unacked: UnackedCommit = {
      kind: "commit-segment",
      segmentId,
      createdAtMs,
      bucketSet: options.bucketSet,
      segmentBytes: sealed.segmentBytes,
      blockOffsets: sealed.blockOffsets,
      runs: sealed.runs
    }
    const answer = yield* writeAndCommit(sealed, unacked, turn, before)
    settle(segment.waiting, (ticket) => {
      const slot = sealed.slotOf(ticket)
      return answer.runs[slot.run]![slot.batch]!
    })
  })

  /** A failed segment answers all who wait on it. */
  const failed = Effect.fnUntraced(function* (segment: OpenSegment, error: BatchFailure) {
    counters.segmentsFailed++
    yield* Effect.logWarning("segment not committed", { error: error.message, batches: segment.waiting.length })
    settle(segment.waiting, () => error)
  })

  const flushInTurn = (segment: OpenSegment, turn: Turn, before: Turn) =>
    flush(segment, turn, before).pipe(
      Effect.catch((error) => failed(segment, error)),
      Effect.catchCause((cause) =>
        Effect.logError("segment lost to a defect", { cause }).pipe(
          Effect.andThen(failed(segment, new CommitLogError({ reason: "Unavailable", outcome: "indefinite", cause })))
        )
      ),
      Effect.ensuring(
        Effect.sync(() => {
          inFlight--
          room.openUnsafe()
          // Where it had no turn, whoever waits for it waits for the one in front instead.
          Deferred.doneUnsafe(turn.submitted, Deferred.await(before.submitted))
        })
      )
    )

  const flusher = Effect.gen(function* () {
    let flushedAtMs = 0
    while (true) {
      yield* something.await
      yield* room.await
      const waitMs = flushedAtMs + options.flushIntervalMs - (yield* Clock.currentTimeMillis)
      if (waitMs > 0) yield* Effect.raceFirst(Effect.sleep(waitMs), full.await)
      // Requests that arrived in the same turn of the event loop join the same segment.
      yield* Effect.yieldNow
      flushedAtMs = yield* Clock.currentTimeMillis
      const before = previous
      previous = { submitted: Deferred.makeUnsafe<void>() }
      if (++inFlight >= options.segmentsInFlight) room.closeUnsafe()
      yield* Effect.forkIn(flushInTurn(take(), previous, before), scope)
    }
  })
  yield* Effect.forkScoped(flusher)
  return SegmentBuffer.of({ append })
})
