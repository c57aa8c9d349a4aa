/**
 * Goal: where index pages cannot be written, memory has a bound on every agent, nobody is told anything wrong, and all goes on
 * as soon as pages can be written.
 * Method: agents on a store in memory that takes the log's rows and no pages for a while; a small bound, in virtual time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger } from "effect"
import { CommandQueue, Submission } from "#core/log/command-queue.ts"
import { type CommitSegmentAnswer } from "#core/log/command.ts"
import { digest } from "#core/log/digest.ts"
import { type Fold } from "#core/log/fold.ts"
import { SegmentGate } from "#core/log/segment-gate.ts"
import { limits } from "#core/model/limits.ts"
import { MetadataError } from "#core/ports/metadata-store.ts"
import { batchOf, commitOf, createTopicOf, foldWithTopic, idOf, runOf, settle } from "./log-builders.ts"
import { agentOf, inTime, type LogAgent, makeWorld, nowMs, setClock, type Store, withLimits } from "./log-harness.ts"

const BOUND = 20
const OPTIONS = {
  materializer: { keepEntries: 5, keepMs: 0, residentRunsMax: BOUND / 2, intervalMs: 100 },
  residentRunsRefuse: BOUND
}

const commit = Effect.fnUntraced(function* ({ log }: LogAgent, n: number) {
  const createdAtMs = yield* nowMs
  const answer: CommitSegmentAnswer = yield* log.submit(commitOf(n, [runOf([batchOf()])], { createdAtMs }))
  return answer.runs[0]![0]!.baseOffset
})

/** Two agents on a store that takes no pages while `isClosed`. */
const withoutPages = Effect.gen(function* () {
  yield* setClock
  const world = yield* makeWorld
  const state = { isClosed: true }
  const away = new MetadataError({ reason: "Unavailable", outcome: "definite", operation: "x", cause: "no room" })
  const store: Store = {
    ...world.store,
    writeIndexPages: (pages) =>
      Effect.suspend(() => (state.isClosed ? Effect.fail(away) : world.store.writeIndexPages(pages)))
  }
  const first = yield* agentOf(world, { ...OPTIONS, store })
  yield* inTime(first.log.submit(createTopicOf("orders")))
  const second = yield* agentOf(world, { ...OPTIONS, store })
  yield* inTime(Effect.sleep(500))
  assert.isTrue(first.view.isActing())
  return { world, state, first, second }
})

/** Messages of level error or info of the gate, as they come. */
const logged = (lines: Array<string>) =>
  Effect.provide(
    Logger.layer([
      Logger.make(({ message, logLevel }) => {
        const [text] = Array.isArray(message) ? (message as Array<unknown>) : [message]
        if (String(text).startsWith("segments ")) lines.push(`${logLevel}: ${String(text)}`)
      })
    ])
  )

const residentRuns = ({ log }: LogAgent): number => (log.fold as Fold).residentRuns

describe("segments", () => {
  it.effect("wait while memory is full of runs, here and at other agents, and all are taken in the end, in order", () =>
    Effect.gen(function* () {
      const { state, first, second } = yield* withoutPages
      const answers: Array<string> = []
      const produce = (agent: LogAgent, from: number, count: number) =>
        Effect.forEach(
          Array.from({ length: count }, (_, index) => from + index),
          (n) => Effect.map(commit(agent, n), (offset) => answers.push(`${n}@${offset}`)),
          { discard: true, concurrency: "unbounded" }
        )
      for (let n = 1; n <= BOUND; n += 1) yield* inTime(commit(n % 2 === 0 ? first : second, n))
      const producing = yield* Effect.forkChild(
        Effect.all([produce(first, 1_000, 60), produce(second, 2_000, 60)], {
          concurrency: "unbounded",
          discard: true
        })
      )
      let most = 0
      const watched = Effect.gen(function* () {
        for (let tick = 0; tick < 100; tick += 1) {
          yield* Effect.sleep(100)
          most = Math.max(most, residentRuns(first), residentRuns(second))
        }
      })
      yield* inTime(watched)
      assert.isAbove(most, BOUND)
      assert.isAtMost(most, BOUND + 120, "one entry more at most")
      const { seq } = first.log.fold as Fold
      yield* inTime(Effect.sleep(5_000))
      assert.equal((first.log.fold as Fold).seq, seq, "nothing is appended")
      // What is not a segment passes, also where segments were asked before it.
      const beforeMs = yield* nowMs
      yield* inTime(first.log.submit(createTopicOf("others", 7)))
      yield* inTime(second.log.submit(createTopicOf("more", 8)))
      assert.isBelow((yield* nowMs) - beforeMs, 500)
      assert.isAtLeast(first.view.waiting(), 110)
      state.isClosed = false
      yield* inTime(Fiber.join(producing))
      assert.equal(new Set(answers.map((line) => line.split("@")[1])).size, 120, "each once")
      for (const agent of [1, 2]) {
        const offsets = answers
          .filter((line) => line.startsWith(String(agent)))
          .map((line) => Number(line.split("@")[1]))
        assert.deepEqual(
          offsets,
          [...offsets].sort((left, right) => left - right),
          "in the order in which they were asked"
        )
      }
      yield* inTime(Effect.sleep(3_000))
      assert.isAtMost(residentRuns(first), BOUND)
      assert.equal(digest(first.log.fold as Fold), digest(second.log.fold as Fold))
    })
  )

  it.effect("that are more than may wait do not hold up what makes room for them", () =>
    Effect.gen(function* () {
      yield* withLimits({ commandsQueued: 3 })
      const { state, first, second } = yield* withoutPages
      for (let n = 1; n <= BOUND + 1; n += 1) yield* inTime(commit(n % 2 === 0 ? first : second, n))
      const numbers = Array.from({ length: 10 }, (_, index) => index)
      const producing = yield* Effect.forkChild(
        Effect.forEach(
          numbers,
          (n) => Effect.all([commit(first, 1_000 + n), commit(second, 2_000 + n)], { concurrency: 2 }),
          {
            concurrency: "unbounded"
          }
        )
      )
      yield* inTime(Effect.sleep(5_000))
      assert.equal(residentRuns(first), BOUND + 1)
      state.isClosed = false
      const openedMs = yield* nowMs
      const offsets = (yield* inTime(Fiber.join(producing))).flat()
      assert.equal(new Set(offsets).size, 20)
      assert.isBelow((yield* nowMs) - openedMs, 8_000)
    })
  )

  it.effect("that wait for too long are told as not settled, and people are told once", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      yield* Effect.gen(function* () {
        const { state, first } = yield* withoutPages
        for (let n = 1; n <= BOUND + 1; n += 1) yield* inTime(commit(first, n))
        assert.equal(residentRuns(first), BOUND + 1)
        const error = yield* inTime(Effect.flip(commit(first, 500)))
        assert.isTrue(error.isRetryable)
        assert.equal(residentRuns(first), BOUND + 1)
        assert.equal(yield* inTime(commit(first, 3)), 2, "one that is committed gets its first answer")
        assert.deepEqual(lines, [
          "Warn: segments wait or are refused: index pages cannot be written, and memory is full of runs"
        ])
        state.isClosed = false
        assert.equal(yield* inTime(commit(first, 501)), BOUND + 1)
        yield* inTime(Effect.sleep(1_000))
        assert.equal(lines[1], "Info: segments are taken again")
      }).pipe(logged(lines))
    })
  )
})

describe("the queue at a closed gate", () => {
  const closed = () => {
    const fold = foldWithTopic()
    settle(fold, [commitOf(1, [runOf([batchOf()]), runOf([batchOf()], { partition: 1, byteOffset: 1_000 })])])
    const gate = new SegmentGate(fold, 1)
    assert.isTrue(gate.isClosed)
    const queue = new CommandQueue(gate)
    const outcomes: Array<string> = []
    const offer = (name: string, command: Submission["command"]): Submission | undefined => {
      const submission = new Submission(command, (outcome) => void outcomes.push(`${name} ${outcome.kind}`))
      return queue.offer(submission) ? submission : undefined
    }
    const open = () => settle(fold, [{ kind: "materialized", throughSeq: fold.seq }])
    return { queue, outcomes, offer, open }
  }
  const segment = (n: number) => commitOf(n, [runOf([batchOf()])])
  const takenFrom = (queue: CommandQueue) =>
    queue.take().map(({ command }) => (command.kind === "commit-segment" ? command.segmentId : command.kind))

  it("keeps new segments back, in their order, and lets pass what else waits, and what is committed", () => {
    const { queue, outcomes, offer, open } = closed()
    offer("a", segment(2))
    offer("topic", createTopicOf("t", 9))
    offer("committed", segment(1))
    const withdrawn = offer("b", segment(3))!
    offer("c", segment(4))
    offer("materialized", { kind: "materialized", throughSeq: 2 })
    assert.deepEqual(takenFrom(queue), ["create-topic", idOf("segment", 1), "materialized"])
    assert.deepEqual(takenFrom(queue), [])
    assert.equal(queue.size, 3)
    withdrawn.withdraw()
    takenFrom(queue)
    assert.equal(queue.size, 2, "who gave up does not wait")
    open()
    offer("d", segment(5))
    assert.deepEqual(
      takenFrom(queue),
      [2, 4, 5].map((n) => idOf("segment", n)),
      "there is room again"
    )
    assert.deepEqual(outcomes, [])
  })

  it("closed behind segments that were queued keeps them before those that come", () => {
    const fold = foldWithTopic()
    const queue = new CommandQueue(new SegmentGate(fold, 0))
    for (const n of [2, 3]) queue.offer(new Submission(segment(n), () => {}))
    settle(fold, [segment(1)])
    queue.offer(new Submission(segment(4), () => {}))
    assert.deepEqual(takenFrom(queue), [])
    settle(fold, [{ kind: "materialized", throughSeq: fold.seq }])
    assert.deepEqual(
      takenFrom(queue),
      [2, 3, 4].map((n) => idOf("segment", n))
    )
  })

  it("refuses segments when as many wait as may, and nothing else; and tells all of the end", () => {
    const { queue, outcomes, offer } = closed()
    for (let n = 0; n < limits.commandsQueued; n += 1) offer(`${n}`, segment(2 + n))
    assert.isUndefined(offer("more", segment(99_999)))
    assert.isDefined(offer("materialized", { kind: "materialized", throughSeq: 2 }))
    assert.deepEqual(takenFrom(queue), ["materialized"])
    queue.endAll({ kind: "refused", why: "not-sequencer" })
    assert.equal(outcomes.length, limits.commandsQueued)
    assert.equal(queue.size, 0)
  })
})
