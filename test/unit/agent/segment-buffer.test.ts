// Goal: when segments close, in which order they are committed, and who gets which answer.
// Method: a store and a log whose answers the test gives, on the test clock.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { type BatchOutcome, type PendingBatch, SegmentBuffer } from "#core/agent/segment-buffer.ts"
import { type CommitSegment } from "#core/log/command.ts"
import { CommitLog, CommitLogError } from "#core/log/commit-log.ts"
import { createFold } from "#core/log/fold.ts"
import { type Verdict } from "#core/log/verdict.ts"
import { limits } from "#core/model/limits.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { QuorumNotReached, SegmentStore, type SegmentWritten } from "#core/ports/segment-store.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { Metrics } from "#core/telemetry/metrics.ts"

const LOG_TIME_MS = 1_750_000_000_000
const TOPIC = "a".repeat(32)
const BATCH = buildBatch({ records: [{ key: null, value: Buffer.alloc(1_000), timestampMs: 1 }] })

const pending = (
  partition: number,
  timestampType: "create" | "append" = "create",
  producerId = -1,
  baseSequence = -1
): PendingBatch => ({
  topicId: TOPIC,
  partition,
  timestampType,
  batch: BATCH,
  summary: { offsetCount: 1, maxTimestampMs: 1, producerId, producerEpoch: -1, baseSequence }
})

interface Write {
  readonly segmentId: string
  readonly bytes: number
  readonly released: () => void
  readonly done: Deferred.Deferred<SegmentWritten, QuorumNotReached>
}
interface Commit {
  readonly command: CommitSegment
  readonly done: Deferred.Deferred<void, CommitLogError>
}

interface SetUp {
  readonly segmentBytes?: number
  readonly flushIntervalMs?: number
  readonly segmentsInFlight?: number
  readonly verdict?: Verdict
}

const setUp = (options: SetUp) =>
  Effect.gen(function* () {
    const writes: Array<Write> = []
    const commits: Array<Commit> = []
    let ids = 0
    let nextOffset = 0
    const store = Layer.succeed(SegmentStore, {
      write: (address, chunks, released) =>
        Effect.suspend(() => {
          const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
          const done = Deferred.makeUnsafe<SegmentWritten, QuorumNotReached>()
          writes.push({ segmentId: address.segmentId, bytes, done, released: released! })
          return Deferred.await(done)
        }),
      read: () => Effect.die("not read")
    })
    const log = Layer.succeed(CommitLog, {
      submit: ((command: CommitSegment) =>
        Effect.suspend(() => {
          const done = Deferred.makeUnsafe<void, CommitLogError>()
          commits.push({ command, done })
          return Effect.as(Deferred.await(done), {
            runs: command.runs.map((run) =>
              run.batches.map(() => ({
                verdict: options.verdict ?? "accepted",
                baseOffset: nextOffset++,
                appendTimeMs: -1
              }))
            )
          })
        })) as never,
      fold: createFold(0),
      nowMs: () => LOG_TIME_MS,
      barrier: Effect.void,
      onFolded: () => () => {}
    })
    const entropy = Layer.succeed(Entropy, { uuid: () => (++ids).toString(16).padStart(32, "0") })
    const layer = SegmentBuffer.layer({
      segmentBytes: options.segmentBytes ?? 1_000_000,
      flushIntervalMs: options.flushIntervalMs ?? 250,
      segmentsInFlight: options.segmentsInFlight ?? 4,
      bucketSet: "quorum"
    }).pipe(Layer.provide([store, log, entropy, Metrics.layerNoop]))
    const buffer = yield* Effect.map(
      Layer.build(layer),
      (context) => context.mapUnsafe.get(SegmentBuffer.key) as SegmentBuffer["Service"]
    )
    const append = (...batches: ReadonlyArray<PendingBatch>) => {
      const outcome: { value?: ReadonlyArray<BatchOutcome>; isReleased: boolean } = { isReleased: false }
      buffer.append(batches, {
        settled: (outcomes) => (outcome.value = outcomes),
        released: () => (outcome.isReleased = true)
      })
      return outcome
    }
    /** Lets everything run that can run without time passing. */
    const settle = Effect.repeat(TestClock.adjust(0), { times: 10 })
    const written = (index: number) => Deferred.succeed(writes[index]!.done, { ackedBuckets: ["a", "b"] })
    return { append, writes, commits, settle, written }
  })

const quorumNotReached = ({ segmentId }: Write): QuorumNotReached =>
  new QuorumNotReached({ segmentId, needed: 2, acked: [], failures: [] })

describe("SegmentBuffer", () => {
  it.effect("writes at once when idle, and gathers for the flush interval when busy", () =>
    Effect.gen(function* () {
      const { append, writes, settle } = yield* setUp({ flushIntervalMs: 250 })
      yield* TestClock.adjust(10_000)
      append(pending(0))
      yield* settle
      assert.strictEqual(writes.length, 1)
      append(pending(0))
      append(pending(1))
      yield* TestClock.adjust(249)
      assert.strictEqual(writes.length, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(writes.length, 2)
      assert.isAbove(writes[1]!.bytes, 2 * BATCH.length)
    })
  )

  it.effect("waits no longer than the interval when the clock is set back", () =>
    Effect.gen(function* () {
      const { append, writes, settle } = yield* setUp({ flushIntervalMs: 250 })
      yield* TestClock.setTime(10_000_000)
      append(pending(0))
      yield* settle
      assert.strictEqual(writes.length, 1)
      yield* TestClock.setTime(1_000_000)
      append(pending(0))
      yield* settle
      yield* TestClock.adjust(250)
      yield* settle
      assert.strictEqual(writes.length, 2)
    })
  )

  it.effect("does not wait for the interval when the segment is full", () =>
    Effect.gen(function* () {
      const { append, writes, settle } = yield* setUp({ segmentBytes: 3 * BATCH.length, flushIntervalMs: 250 })
      yield* TestClock.adjust(10_000)
      append(pending(0))
      yield* settle
      append(pending(0), pending(1))
      yield* settle
      assert.strictEqual(writes.length, 1)
      append(pending(2))
      yield* settle
      assert.strictEqual(writes.length, 2)
    })
  )

  it.effect("keeps at most so many segments in flight", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0, segmentsInFlight: 2 })
      for (let index = 0; index < 5; index++) {
        append(pending(index))
        yield* settle
      }
      assert.strictEqual(writes.length, 2)
      yield* written(0)
      yield* settle
      assert.strictEqual(writes.length, 2, "it is in flight until its commit is settled")
      yield* Deferred.succeed(commits[0]!.done, undefined)
      yield* settle
      assert.strictEqual(writes.length, 3)
      assert.isAbove(writes[2]!.bytes, 3 * BATCH.length, "what came meanwhile shares the next segment")
    })
  )

  it.effect("commits in the order of sealing, whichever is written first", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      append(pending(0))
      yield* settle
      append(pending(0))
      yield* settle
      yield* written(1)
      yield* settle
      assert.strictEqual(commits.length, 0)
      yield* written(0)
      yield* settle
      assert.deepStrictEqual(
        commits.map(({ command }) => command.segmentId),
        writes.map(({ segmentId }) => segmentId)
      )
    })
  )

  it.effect("gives each append the answers of its own batches, in its own order", () =>
    Effect.gen(function* () {
      const { append, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      const first = append(pending(7), pending(3))
      const second = append(pending(3))
      yield* settle
      yield* written(0)
      yield* settle
      assert.isUndefined(first.value)
      yield* Deferred.succeed(commits[0]!.done, undefined)
      yield* settle
      // Sorted by partition: 3 (first), 3 (second), 7 (first).
      const offsets = (outcome: typeof first) =>
        outcome.value!.map((each) => ("baseOffset" in each ? each.baseOffset : each))
      assert.deepStrictEqual(offsets(first), [2, 0])
      assert.deepStrictEqual(offsets(second), [1])
    })
  )

  it.effect("never commits a segment without quorum, tells who waits, and goes on with the next", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      const lost = append(pending(0))
      yield* settle
      const kept = append(pending(0))
      yield* settle
      yield* written(1)
      const error = new QuorumNotReached({ segmentId: writes[0]!.segmentId, needed: 2, acked: [], failures: [] })
      yield* Deferred.fail(writes[0]!.done, error)
      yield* settle
      assert.deepStrictEqual(lost.value, [error])
      assert.strictEqual(commits.length, 1)
      assert.strictEqual(commits[0]!.command.segmentId, writes[1]!.segmentId)
      yield* Deferred.succeed(commits[0]!.done, undefined)
      yield* settle
      assert.strictEqual(kept.value!.length, 1)
    })
  )

  it.effect("tells of failed segments once a while, and how many it did not tell of", () => {
    const events: Array<unknown> = []
    const logger = Logger.layer([Logger.make<unknown, void>(({ message }) => void events.push(message))])
    return Effect.gen(function* () {
      const { append, writes, settle } = yield* setUp({ flushIntervalMs: 0 })
      const lose = Effect.fnUntraced(function* () {
        append(pending(0))
        yield* settle
        const { segmentId, done } = writes.at(-1)!
        yield* Deferred.fail(done, new QuorumNotReached({ segmentId, needed: 2, acked: [], failures: [] }))
        yield* settle
      })
      for (let index = 0; index < 4; index++) yield* lose()
      assert.strictEqual(events.length, 1)
      yield* TestClock.adjust(limits.segmentFailureToldMs)
      yield* lose()
      assert.strictEqual(events.length, 2)
      assert.deepInclude((events[1] as ReadonlyArray<unknown>)[1], { othersSinceLast: 3 })
    }).pipe(Effect.provide(logger))
  })

  for (const [verdict, message] of [
    ["tooLate", /too old; this agent stood still/],
    ["clockAhead", /created in the sequencer's future; the database has told/]
  ] as const) {
    it.effect(`tells what may be wrong when a segment is refused: ${verdict}`, () => {
      const events: Array<unknown> = []
      const logger = Logger.layer([Logger.make<unknown, void>(({ message: said }) => void events.push(said))])
      return Effect.gen(function* () {
        const { append, commits, settle, written } = yield* setUp({ flushIntervalMs: 0, verdict })
        const refused = append(pending(0))
        yield* settle
        yield* written(0)
        yield* settle
        yield* Deferred.succeed(commits[0]!.done, undefined)
        yield* settle
        assert.deepInclude(refused.value![0], { verdict })
        assert.strictEqual(events.length, 1)
        assert.match(String((events[0] as ReadonlyArray<unknown>)[0]), message)
      }).pipe(Effect.provide(logger))
    })
  }

  it.effect("loses what a producer handed in behind a refused segment as well, where it is not committed yet", () =>
    Effect.gen(function* () {
      const { append, commits, settle, written } = yield* setUp({ flushIntervalMs: 0, verdict: "tooLate" })
      append(pending(0, "create", 7))
      yield* settle
      const behind = append(pending(0, "create", 7))
      yield* settle
      yield* written(0)
      yield* settle
      yield* Deferred.succeed(commits[0]!.done, undefined)
      yield* settle
      yield* written(1)
      yield* settle
      assert.strictEqual(commits.length, 1)
      assert.instanceOf(behind.value![0], CommitLogError)
    })
  )

  it.effect("loses what a producer handed in behind a lost batch as well, and nobody else's", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0, segmentsInFlight: 3 })
      const lost = append(pending(0, "create", 7))
      yield* settle
      const sameProducer = append(pending(0, "create", 7))
      yield* settle
      const otherProducer = append(pending(0, "create", 8))
      yield* settle
      const stillOpen = append(pending(0, "create", 7))
      yield* written(1)
      yield* written(2)
      yield* Deferred.fail(
        writes[0]!.done,
        new QuorumNotReached({ segmentId: writes[0]!.segmentId, needed: 2, acked: [], failures: [] })
      )
      yield* settle
      assert.strictEqual(lost.value!.length, 1)
      for (const outcome of [sameProducer, stillOpen]) {
        const error = outcome.value![0]!
        assert.instanceOf(error, CommitLogError)
        assert.strictEqual(error.outcome, "definite")
      }
      assert.deepStrictEqual(
        commits.map(({ command }) => command.segmentId),
        [writes[2]!.segmentId]
      )
      yield* Deferred.succeed(commits[0]!.done, undefined)
      const again = append(pending(0, "create", 7))
      yield* settle
      assert.isDefined(otherProducer.value)
      yield* written(3)
      yield* settle
      yield* Deferred.succeed(commits[1]!.done, undefined)
      yield* settle
      assert.notInstanceOf(again.value![0], CommitLogError, "what comes again is committed")
    })
  )

  it.effect("loses what a producer sent before it could hear that an earlier batch was lost", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      append(pending(0, "create", 7, 0))
      yield* settle
      yield* Deferred.fail(
        writes[0]!.done,
        new QuorumNotReached({ segmentId: writes[0]!.segmentId, needed: 2, acked: [], failures: [] })
      )
      yield* settle
      const mixed = append(pending(0, "create", 7, 1), pending(0, "create", 8, 0))
      const late = append(pending(0, "create", 7, 2))
      assert.instanceOf(late.value![0], CommitLogError)
      assert.isTrue(late.isReleased)
      yield* settle
      yield* written(1)
      yield* settle
      yield* Deferred.succeed(commits[0]!.done, undefined)
      yield* settle
      assert.instanceOf(mixed.value![0], CommitLogError)
      assert.notInstanceOf(mixed.value![1], CommitLogError)
      const again = append(pending(0, "create", 7, 0), pending(0, "create", 7, 1))
      yield* settle
      yield* written(2)
      yield* settle
      yield* Deferred.succeed(commits[1]!.done, undefined)
      yield* settle
      for (const outcome of again.value!) assert.notInstanceOf(outcome, CommitLogError)
    })
  )

  it.effect(
    "loses what is behind once for all: what comes again is not lost with a doomed segment that ends late",
    () =>
      Effect.gen(function* () {
        const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
        append(pending(0, "create", 7, 0))
        yield* settle
        const doomed = append(pending(0, "create", 7, 1))
        yield* settle
        yield* Deferred.fail(writes[0]!.done, quorumNotReached(writes[0]!))
        yield* settle
        assert.isUndefined(doomed.value, "its write goes on")
        const again = append(pending(0, "create", 7, 0), pending(0, "create", 7, 1))
        yield* settle
        yield* written(1)
        yield* settle
        assert.instanceOf(doomed.value![0], CommitLogError)
        yield* written(2)
        yield* settle
        assert.strictEqual(commits.length, 1)
        yield* Deferred.succeed(commits[0]!.done, undefined)
        yield* settle
        for (const outcome of again.value!) assert.notInstanceOf(outcome, CommitLogError)
      })
  )

  it.effect("loses what is behind a doomed segment at once, though that has not ended", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      append(pending(0, "create", 7, 0))
      yield* settle
      const doomed = append(pending(0, "create", 7, 1), pending(0, "create", 8, 0))
      yield* settle
      const behindDoomed = append(pending(0, "create", 8, 1))
      yield* settle
      yield* Deferred.fail(writes[0]!.done, quorumNotReached(writes[0]!))
      yield* settle
      assert.isUndefined(doomed.value, "its write goes on")
      const late = append(pending(0, "create", 8, 2))
      assert.instanceOf(late.value![0], CommitLogError, "an earlier one of its producer will be lost")
      yield* written(2)
      yield* written(1)
      yield* settle
      for (const outcome of [...doomed.value!, ...behindDoomed.value!]) assert.instanceOf(outcome, CommitLogError)
      assert.strictEqual(commits.length, 0)
    })
  )

  it.effect("keeps at most so many turns behind one that hangs, also where they have failed", () =>
    Effect.gen(function* () {
      const { append, writes, settle, written } = yield* setUp({ flushIntervalMs: 0, segmentsInFlight: 2 })
      append(pending(0))
      yield* settle
      const failed = append(pending(0))
      yield* settle
      yield* Deferred.fail(writes[1]!.done, quorumNotReached(writes[1]!))
      yield* settle
      assert.isDefined(failed.value, "it is answered at once")
      append(pending(0))
      yield* settle
      assert.strictEqual(writes.length, 2)
      yield* written(0)
      yield* settle
      assert.strictEqual(writes.length, 3, "the one in front had its turn")
    })
  )

  it.effect("closes a segment at its size, also while none can be written", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({
        segmentBytes: 2 * BATCH.length,
        flushIntervalMs: 0,
        segmentsInFlight: 1
      })
      append(pending(0))
      yield* settle
      for (let index = 0; index < 7; index++) append(pending(0))
      for (let index = 0; index < 4; index++) {
        yield* written(index)
        yield* settle
        yield* Deferred.succeed(commits[index]!.done, undefined)
        yield* settle
      }
      assert.deepStrictEqual(
        commits.map(({ command }) => command.runs[0]!.batches.length),
        [1, 2, 2, 2]
      )
      assert.strictEqual(writes.length, 5)
    })
  )

  it.effect("hands on the error of a commit that was not settled", () =>
    Effect.gen(function* () {
      const { append, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      const outcome = append(pending(0))
      yield* settle
      yield* written(0)
      yield* settle
      const error = new CommitLogError({ reason: "Unavailable", outcome: "indefinite", cause: "test" })
      yield* Deferred.fail(commits[0]!.done, error)
      yield* settle
      assert.deepStrictEqual(outcome.value, [error])
    })
  )

  it.effect("splits an append whose topic changed its timestamp type, and keeps the order", () =>
    Effect.gen(function* () {
      const { append, writes, commits, settle, written } = yield* setUp({ flushIntervalMs: 0 })
      const outcome = append(pending(0, "create"), pending(0, "append"), pending(1))
      yield* settle
      assert.strictEqual(writes.length, 2)
      yield* written(0)
      yield* written(1)
      yield* settle
      for (const { done } of commits) yield* Deferred.succeed(done, undefined)
      yield* settle
      assert.deepStrictEqual(
        commits.map(({ command }) => command.runs.map((run) => run.timestampType)),
        [["create"], ["append", "create"]]
      )
      assert.strictEqual(outcome.value!.length, 3)
      writes[0]!.released()
      assert.isFalse(outcome.isReleased, "another segment still reads its bytes")
      writes[1]!.released()
      assert.isTrue(outcome.isReleased)
    })
  )
})
