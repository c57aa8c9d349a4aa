/**
 * Goal: nothing is answered before it is settled, nothing is done twice, everyone who waits is told, whatever the database
 * does.
 * Method: commit logs on a memory store behind planned faults, in virtual time. Each fault that the port allows is put at
 * the append, and the rows that lie in the store afterwards are counted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type Fault, type FaultPlan } from "#backends/metadata/faulty.ts"
import { type CommitSegmentAnswer } from "#core/log/command.ts"
import { type CommitLog, type CommitLogError } from "#core/log/commit-log.ts"
import { digest } from "#core/log/digest.ts"
import { encodeCommand } from "#core/log/command-bytes.ts"
import { type IncomingStream } from "#core/log/sequenced-log.ts"
import { type Fold } from "#core/log/fold.ts"
import { limits } from "#core/model/limits.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import { batchOf, commitOf, createTopicOf, idOf, NOW_MS, runOf, TOPIC } from "./log-builders.ts"
import {
  agentOf,
  type AgentOptions,
  allRows,
  inTime,
  type LogWorld,
  makeWorld,
  nowMs,
  setClock,
  type Store
} from "./log-harness.ts"

type Log = CommitLog["Service"]

/** The fault at the n-th append after the genesis, the epoch and the topic; none elsewhere. */
const atAppend =
  (fault: Fault, calls: ReadonlyArray<number> = [0]): FaultPlan =>
  ({ operation, index }) =>
    operation === "append" && calls.includes(index - 3) ? fault : undefined

const failing: Fault = { kind: "fail-before", reason: "Unavailable", outcome: "indefinite" }

const commit = (log: Log, segment: number, offsetCount = 1): Effect.Effect<number, CommitLogError> =>
  Effect.map(
    log.submit(commitOf(segment, [runOf([batchOf({ offsetCount })])])),
    (answer: CommitSegmentAnswer) => answer.runs[0]![0]!.baseOffset
  )

/** A log with the topic "orders", and the store beneath. */
const withTopic = Effect.fnUntraced(function* (plan?: FaultPlan) {
  yield* setClock
  const world = yield* makeWorld
  const { log } = yield* agentOf(world, plan === undefined ? {} : { plan })
  yield* inTime(log.submit(createTopicOf("orders")))
  return { world, store: world.store, log }
})

const agentLog = (world: LogWorld, options: AgentOptions = {}) => Effect.map(agentOf(world, options), ({ log }) => log)

const highWatermark = (log: Log): number => log.fold.topicById(TOPIC)!.partitions[0]!.highWatermark

describe("an append that goes wrong", () => {
  const faults: ReadonlyArray<readonly [symptom: string, fault: Fault]> = [
    ["that surely did not happen", { kind: "fail-before", reason: "Unavailable", outcome: "definite" }],
    ["that did not happen, which nobody can know", failing],
    ["that happened and whose answer is lost", { kind: "fail-after", reason: "TimedOut" }],
    ["that hangs and did not happen", { kind: "hang-before" }],
    ["that hangs and happened", { kind: "hang-after" }],
    ["that is delivered twice", { kind: "duplicate" }],
    ["that is slow", { kind: "delay", delayMs: 700 }]
  ]
  for (const [symptom, fault] of faults) {
    it.effect(`${symptom} is settled to one row, and answered then`, () =>
      Effect.gen(function* () {
        const { store, log } = yield* withTopic(atAppend(fault, [0, 1]))
        assert.equal(yield* inTime(commit(log, 1, 3)), 0)
        assert.equal(yield* inTime(commit(log, 2)), 3)
        const rows = yield* allRows(store)
        assert.equal(rows.length, 5)
        assert.equal(log.fold.seq, 5)
        assert.equal(highWatermark(log), 4)
      })
    )
  }

  it.effect("is issued again with the same nonce while nobody can know whether it happened", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const nonces: Array<string> = []
      const spying: Store = {
        ...world.store,
        append: (row) => Effect.suspend(() => (nonces.push(`${row.seq} ${row.nonce}`), world.store.append(row)))
      }
      const plan: FaultPlan = ({ operation, index }) =>
        operation !== "append" || index > 6
          ? undefined
          : index % 2 === 0
            ? failing
            : { kind: "fail-after", reason: "Unavailable" }
      const log = yield* inTime(agentLog(world, { store: spying, plan }))
      yield* inTime(log.submit(createTopicOf("orders")))
      assert.isAbove(nonces.length, 2)
      const bySeq = new Map<string, string>()
      for (const line of nonces) {
        const [seq, nonce] = line.split(" ") as [string, string]
        assert.equal(bySeq.get(seq) ?? nonce, nonce, `slot ${seq} was tried with two nonces`)
        bySeq.set(seq, nonce)
      }
      assert.equal((yield* allRows(world.store)).length, 3)
    })
  )

  it.effect("is told as not settled when the time of its command is over, and settled later all the same", () =>
    Effect.gen(function* () {
      let isDark = false
      const dark: FaultPlan = ({ operation }) => (isDark && operation !== "tail" ? failing : undefined)
      const { store, log } = yield* withTopic(dark)
      isDark = true
      const [first, queued] = yield* inTime(
        Effect.all([Effect.flip(commit(log, 1)), Effect.flip(Effect.andThen(Effect.sleep(50), commit(log, 2)))], {
          concurrency: "unbounded"
        })
      )
      assert.deepEqual([first.reason, first.outcome], ["Unavailable", "indefinite"])
      assert.deepEqual([queued.reason, queued.outcome], ["Unavailable", "indefinite"])
      isDark = false
      assert.equal(yield* inTime(commit(log, 3)), 1, "the first took effect before anything else was appended")
      assert.equal(yield* inTime(commit(log, 1)), 0, "asked again, it gets its first answer")
      assert.equal(yield* inTime(commit(log, 2)), 2)
      assert.equal((yield* allRows(store)).length, 7)
    })
  )

  it.effect("for rights or a schema that an operator must mend is told at once", () =>
    Effect.gen(function* () {
      const { log } = yield* withTopic(atAppend({ kind: "fail-before", reason: "Misconfigured", outcome: "definite" }))
      const before = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const error = yield* inTime(Effect.flip(commit(log, 1)))
      assert.deepEqual([error.reason, error.outcome], ["Unavailable", "definite"])
      assert.equal((error.cause as MetadataError).reason, "Misconfigured")
      assert.isBelow((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - before, 1_000)
      assert.equal(yield* inTime(commit(log, 2)), 0)
    })
  )
})

describe("those who wait", () => {
  it.effect("are judged together into one entry while an append is under way", () =>
    Effect.gen(function* () {
      const { store, log } = yield* withTopic(atAppend({ kind: "delay", delayMs: 20 }))
      const answers = yield* inTime(
        Effect.forEach([1, 2, 3, 4, 5], (segment) => commit(log, segment, segment), { concurrency: "unbounded" })
      )
      assert.deepEqual(answers, [0, 1, 3, 6, 10])
      assert.isAtMost((yield* allRows(store)).length, 5)
    })
  )

  it.effect("are refused when too many do", () =>
    Effect.gen(function* () {
      const { log } = yield* withTopic(atAppend({ kind: "hang-before" }, [0, 1, 2, 3, 4, 5]))
      const command = { kind: "allocate-producer-ids" } as const
      yield* Effect.forEach(Array.from({ length: limits.commandsUnsettled }), () =>
        Effect.forkChild(log.submit(command), { startImmediately: true })
      )
      const refused = yield* Effect.flip(log.submit(command))
      assert.deepEqual([refused.reason, refused.outcome], ["Overloaded", "definite"])
    })
  )

  it.effect("are told when the log is closed: what was sent may be in the log", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const scope = yield* Scope.make()
      const plan = atAppend({ kind: "hang-after" })
      const log = yield* Scope.provide(agentLog(world, { plan }), scope)
      yield* inTime(log.submit(createTopicOf("orders")))
      const inFlight = yield* Effect.forkChild(Effect.flip(commit(log, 1)), { startImmediately: true })
      yield* Effect.yieldNow
      yield* inTime(Scope.close(scope, Exit.void))
      assert.equal((yield* Fiber.join(inFlight)).outcome, "indefinite")
      assert.equal((yield* Effect.flip(commit(log, 3))).reason, "Unavailable")
      assert.equal((yield* Effect.flip(log.barrier)).reason, "Unavailable")
    })
  )

  it.effect("get their own defect for an unsound command, and the others their answers", () =>
    Effect.gen(function* () {
      const { log } = yield* withTopic()
      const unsound = runOf([batchOf({ offsetCount: 0 })])
      const [exit, offset] = yield* inTime(
        Effect.all([Effect.exit(log.submit(commitOf(1, [unsound]))), commit(log, 2)], { concurrency: "unbounded" })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.equal(offset, 0)
    })
  )
})

describe("the time of commands", () => {
  it.effect("is over for all of them at once, however many there are", () =>
    Effect.gen(function* () {
      let isDark = false
      const { log } = yield* withTopic(({ operation }) => (isDark && operation !== "tail" ? failing : undefined))
      isDark = true
      const startedMs = yield* nowMs
      const errors = yield* inTime(
        Effect.forEach(Array.from({ length: 100 }), () => Effect.flip(log.submit({ kind: "allocate-producer-ids" })), {
          concurrency: "unbounded"
        })
      )
      const tookMs = (yield* nowMs) - startedMs
      assert.isTrue(errors.every(({ reason, outcome }) => reason === "Unavailable" && outcome === "indefinite"))
      assert.isAtLeast(tookMs, limits.commandSettleMs)
      assert.isBelow(tookMs, limits.commandSettleMs + 500)
    })
  )
})

describe("the stream of another agent", () => {
  /** A stream whose listeners are counted. */
  const streamOf = () => {
    const listeners = new Set<() => void>()
    const stream: IncomingStream = {
      isRefused: false,
      onClose: (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      }
    }
    return { listeners, stream }
  }
  const command = encodeCommand({ kind: "allocate-producer-ids" })
  const slow: Fault = { kind: "delay", delayMs: 20 }

  it.effect("keeps nothing of commands that are answered", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const { log, door } = yield* agentOf(world, { plan: atAppend(slow, [20, 21]) })
      yield* inTime(log.submit(createTopicOf("orders")))
      const { listeners, stream } = streamOf()
      const submit = door.submit({ command, epoch: 1 }, stream)
      for (let count = 0; count < 20; count += 1) assert.equal((yield* inTime(submit)).kind, "answer")
      assert.equal(listeners.size, 0)
      const two = yield* Effect.forEach([1, 2], () => Effect.forkChild(submit, { startImmediately: true }))
      assert.equal(listeners.size, 2, "these wait")
      for (const waiting of two) yield* inTime(Fiber.join(waiting))
      assert.equal(listeners.size, 0)
    })
  )

  it.effect("keeps nothing of a command that is refused at once, and withdraws what waits when it is over", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const { log, door, view } = yield* agentOf(world, { plan: atAppend(slow) })
      yield* inTime(log.submit(createTopicOf("orders")))
      const other = yield* agentOf(world, { region: "west" })
      const refused = streamOf()
      assert.equal((yield* inTime(other.door.submit({ command, epoch: 1 }, refused.stream))).kind, "refused")
      assert.equal(refused.listeners.size, 0)
      const { seq } = log.fold
      const { listeners, stream } = streamOf()
      const own = yield* Effect.forkChild(log.submit({ kind: "allocate-producer-ids" }), { startImmediately: true })
      yield* inTime(Effect.sleep(5))
      const waiting = yield* Effect.forkChild(door.submit({ command, epoch: 1 }, stream), { startImmediately: true })
      assert.equal(view.waiting(), 2)
      for (const listener of listeners) listener()
      yield* inTime(Fiber.join(own))
      yield* inTime(Effect.sleep(1_000))
      assert.equal(log.fold.seq, seq + 1, "it was not judged")
      yield* Fiber.interrupt(waiting)
    })
  )
})

describe("the fold's end", () => {
  it.effect("tells everyone, for ever, when an entry cannot be followed", () =>
    Effect.gen(function* () {
      const { world, store, log } = yield* withTopic()
      const { seq, nonce } = yield* store.tail(0)
      const poison = { shard: 0, seq: seq + 1, epoch: 1, nonce: idOf("nonce", 7), prevNonce: nonce, isKept: false }
      yield* store.append({ ...poison, entry: new Uint8Array([99, 0, 0, 0, 0]) })
      const told = yield* inTime(Effect.flip(log.barrier))
      assert.equal(told.reason, "FoldStopped")
      assert.isFalse(told.isRetryable)
      assert.match(String(told.cause), /shard 0 stopped at seq 4: .*version 99/)
      assert.equal((yield* Effect.flip(commit(log, 1))).reason, "FoldStopped")
      assert.equal((yield* Effect.flip(log.barrier)).reason, "FoldStopped")
      const late = yield* Effect.flip(agentLog(world))
      assert.equal(late.reason, "FoldStopped")
    })
  )

  it.effect("comes when the database has lost rows that were folded", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      let isRestored = false
      const standby: Store = {
        ...world.store,
        tail: (shard) => (isRestored ? Effect.succeed({ seq: 2, nonce: idOf("nonce", 2) }) : world.store.tail(shard))
      }
      const log = yield* agentLog(world, { store: standby })
      yield* inTime(log.submit(createTopicOf("orders")))
      isRestored = true
      const error = yield* inTime(Effect.flip(log.barrier))
      assert.equal(error.reason, "FoldStopped")
      assert.match(String(error.cause), /lost rows: it ends at 2/)
    })
  )
})

describe("barriers and listeners", () => {
  it.effect("see what another agent was acknowledged before they were asked", () =>
    Effect.gen(function* () {
      const { world, log } = yield* withTopic()
      const reader = yield* agentLog(world)
      for (let segment = 1; segment <= 20; segment += 1) {
        const offset = yield* inTime(commit(log, segment))
        yield* inTime(reader.barrier)
        assert.isAbove(highWatermark(reader), offset)
      }
    })
  )

  it.effect("are not answered by a read of the tail that began before", () =>
    Effect.gen(function* () {
      const { world, store, log } = yield* withTopic()
      const gate = yield* Deferred.make<void>()
      let reads = 0
      const gated: Store = {
        ...store,
        tail: (shard) =>
          Effect.suspend(() => {
            reads += 1
            const answer = store.tail(shard)
            return reads > 1 ? answer : Effect.tap(answer, () => Deferred.await(gate))
          })
      }
      const reader = yield* agentLog(world, { store: gated })
      const early = yield* Effect.forkChild(reader.barrier, { startImmediately: true })
      yield* Effect.yieldNow
      assert.equal(reads, 1)
      yield* inTime(commit(log, 1))
      const lateCalls = [1, 2, 3].map(() => Effect.map(reader.barrier, () => highWatermark(reader)))
      const late = yield* Effect.forkChild(Effect.all(lateCalls, { concurrency: "unbounded" }), {
        startImmediately: true
      })
      yield* Deferred.succeed(gate, undefined)
      yield* inTime(Fiber.join(early))
      assert.deepEqual(yield* inTime(Fiber.join(late)), [1, 1, 1])
      assert.equal(reads, 2, "those who ask together share one read")
    })
  )

  it.effect("fail when the tail cannot be read, and when it is not reached in time", () =>
    Effect.gen(function* () {
      const { world, store } = yield* withTopic()
      const tailless = yield* agentLog(world, { plan: ({ operation }) => (operation === "tail" ? failing : undefined) })
      const error = yield* inTime(Effect.flip(tailless.barrier))
      assert.deepEqual([error.reason, error.outcome], ["Unavailable", "definite"])
      const ahead: Store = { ...store, tail: () => Effect.succeed({ seq: 99, nonce: idOf("nonce", 99) }) }
      const blind = yield* agentLog(world, { store: ahead })
      assert.match(String((yield* inTime(Effect.flip(blind.barrier))).cause), /not reached within/)
    })
  )

  it.effect("hear of an entry before its commands are answered, and one that throws harms nobody", () =>
    Effect.gen(function* () {
      const { log } = yield* withTopic()
      const heard: Array<number> = []
      log.onFolded(() => {
        throw new Error("a listener's own error")
      })
      const end = log.onFolded((folded) => heard.push(folded.seq))
      yield* inTime(commit(log, 1))
      assert.deepEqual(heard, [4])
      end()
      yield* inTime(commit(log, 2))
      assert.deepEqual(heard, [4])
    })
  )
})

describe("the start", () => {
  it.effect("begins the cluster once, however many agents start at once", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      const plans: ReadonlyArray<Fault | undefined> = [
        undefined,
        { kind: "fail-after", reason: "TimedOut" },
        failing,
        { kind: "duplicate" },
        { kind: "delay", delayMs: 30 }
      ]
      const logs = yield* inTime(
        Effect.forEach(
          plans,
          (fault, seed) =>
            agentLog(world, { seed, plan: ({ operation }) => (operation === "append" ? fault : undefined) }).pipe(
              Effect.timeoutOption(20_000)
            ),
          { concurrency: "unbounded" }
        )
      )
      const ids = new Set(logs.map((log) => (log._tag === "Some" ? log.value.fold.clusterId : "not started")))
      assert.equal(ids.size, 1)
      const rows = yield* allRows(world.store)
      assert.equal(rows.filter(({ epoch }) => epoch === 0).length, 1)
    })
  )

  it.effect("reads a long log in pages", () =>
    Effect.gen(function* () {
      const { world, log } = yield* withTopic()
      for (let segment = 1; segment <= limits.logRowsPerRead * 2; segment += 1) yield* inTime(commit(log, segment))
      const late = yield* agentLog(world)
      assert.equal(late.fold.seq, limits.logRowsPerRead * 2 + 3)
      assert.equal(digest(late.fold as Fold), digest(log.fold as Fold))
    })
  )

  it.effect("takes as long as the log is long, as long as it gets further", () =>
    Effect.gen(function* () {
      const { world, store, log } = yield* withTopic()
      for (let segment = 1; segment <= 20; segment += 1) yield* inTime(commit(log, segment))
      const slow: Store = {
        ...store,
        read: (range) => Effect.delay(store.read({ ...range, limit: 1 }), limits.metadataHungMs / 2)
      }
      const startedMs = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const late = yield* inTime(agentLog(world, { store: slow }))
      const tookMs = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - startedMs
      assert.isAbove(tookMs, 2 * limits.logStartMs)
      assert.equal(digest(late.fold as Fold), digest(log.fold as Fold))
    })
  )

  it.effect("is given up where rows come that do not follow on what was folded", () =>
    Effect.gen(function* () {
      const { world, store, log } = yield* withTopic()
      for (let segment = 1; segment <= 3; segment += 1) yield* inTime(commit(log, segment))
      const gap: Store = {
        ...store,
        read: (range) => Effect.map(store.read(range), (rows) => rows.filter((row) => row.seq !== 4))
      }
      const error = yield* inTime(Effect.flip(agentLog(world, { store: gap })))
      assert.equal(error.reason, "Unavailable")
      assert.match(String(error.cause), /up to seq 3 and no further/)
    })
  )

  it.effect("waits for a database that is not there yet, but not for ever, and not for an operator", () =>
    Effect.gen(function* () {
      yield* setClock
      const world = yield* makeWorld
      yield* inTime(agentLog(world, { plan: ({ index }) => (index < 5 ? failing : undefined) }))
      const dark = yield* inTime(Effect.flip(agentLog(world, { plan: () => failing })))
      assert.equal(dark.reason, "Unavailable")
      assert.isAtLeast((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - NOW_MS, limits.logStartMs)
      const misconfigured: Fault = { kind: "fail-before", reason: "Misconfigured", outcome: "definite" }
      const error = yield* Effect.flip(agentLog(world, { plan: () => misconfigured }))
      assert.equal((error.cause as MetadataError).reason, "Misconfigured")
      yield* TestClock.adjust(0)
    })
  )
})
