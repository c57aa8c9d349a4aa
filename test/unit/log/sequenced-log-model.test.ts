/**
 * Goal: whatever the database does to three agents of one log, who take over from each other, nothing acknowledged is lost, nothing of
 * an idempotent producer is doubled, offsets have no gaps, a retried segment gets its first answer, and all folds are equal.
 * Method: seeded random producers over three agents of one log on one memory store whose calls fail before, fail after, hang, come
 * twice or late. What was answered is compared with a naive model: plain arrays, filled from the rows of the store, with
 * Kafka's rules written down a second time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Random, Scope } from "effect"
import { type Fault, type FaultPlan } from "#backends/metadata/faulty.ts"
import { type BatchAnswer, type BatchSummary, type CommitSegment } from "#core/log/command.ts"
import { type CommitLog } from "#core/log/commit-log.ts"
import { digest } from "#core/log/digest.ts"
import { type CommittedRun } from "#core/log/effect.ts"
import { decodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { batchOf, commitOf, createTopicOf, idempotent, randomOf, runOf } from "./log-builders.ts"
import { agentOf, allRows, inTime, makeWorld, setClock } from "./log-harness.ts"

type Log = CommitLog["Service"]
const AGENTS = 3
const PARTITIONS = 2
const PRODUCERS_PER_AGENT = 4
const BATCHES_PER_PRODUCER = 12

const faultPlanOf = (random: () => number): FaultPlan => {
  const kinds: ReadonlyArray<Fault> = [
    { kind: "fail-before", reason: "Unavailable", outcome: "definite" },
    { kind: "fail-before", reason: "Unavailable", outcome: "indefinite" },
    { kind: "fail-after", reason: "TimedOut" },
    { kind: "hang-before" },
    { kind: "hang-after" },
    { kind: "duplicate" },
    { kind: "delay", delayMs: 60 }
  ]
  return ({ operation }) => {
    if (random() > (operation === "append" ? 0.4 : 0.2)) return undefined
    // A hang costs twelve seconds: rare, but often enough that commands run out of time.
    const index = Math.floor(random() * kinds.length)
    return kinds[index]!.kind.startsWith("hang") && random() < 0.8 ? kinds[0] : kinds[index]
  }
}

interface Acknowledged {
  readonly segmentId: string
  readonly partition: number
  readonly batch: BatchSummary
  readonly answer: BatchAnswer
}

interface World {
  readonly random: () => number
  readonly acknowledged: Array<Acknowledged>
  nextSegment: number
  gaveUp: number
}

/** A producer as a Kafka client is one: one batch after the other, each sent until it is acknowledged. */
const produce = Effect.fnUntraced(function* (world: World, logs: ReadonlyArray<Log>, producerId: number) {
  const isIdempotent = producerId % 2 === 0
  const partition = producerId % PARTITIONS
  let sequence = 0
  let log = logs[producerId % AGENTS]!
  for (let n = 0; n < BATCHES_PER_PRODUCER; n += 1) {
    const offsetCount = 1 + Math.floor(world.random() * 5)
    const batch = isIdempotent ? idempotent(producerId, 0, sequence, offsetCount) : batchOf({ offsetCount })
    let command: CommitSegment | undefined
    for (let attempt = 0; ; attempt += 1) {
      assert.isBelow(attempt, 1_000, "the log never settled the batch")
      const createdAtMs = yield* Effect.clockWith((clock) => Effect.map(clock.currentTimeMillis, Math.floor))
      // An idempotent client may come to another agent, with a new segment. Without a producer id only the same command,
      // with the same segment id, may be tried again.
      if (command === undefined || (isIdempotent && world.random() < 0.7)) {
        if (isIdempotent) log = logs[Math.floor(world.random() * AGENTS)]!
        world.nextSegment += 1
        command = commitOf(world.nextSegment, [runOf([batch], { partition })], { createdAtMs })
      } else if (world.random() < 0.5) log = logs[Math.floor(world.random() * AGENTS)]!
      // An impatient client: what it gave up may still take effect, before or after it asks again.
      const patienceMs = 20 + Math.floor(world.random() * 400)
      const result = yield* Effect.timeoutOption(
        Effect.orElseSucceed(log.submit(command), () => undefined),
        patienceMs
      )
      if (result._tag === "None" || result.value === undefined) {
        world.gaveUp += 1
        continue
      }
      const answer = result.value.runs[0]![0]!
      world.acknowledged.push({ segmentId: command.segmentId, partition, batch, answer })
      assert.include(["accepted", "duplicate"], answer.verdict)
      break
    }
    sequence += offsetCount
    yield* Effect.sleep(Math.floor(world.random() * 30))
  }
})

/** Plain arrays, and Kafka's rules once more. */
class NaiveLog {
  readonly records: Array<Array<string>> = Array.from({ length: PARTITIONS }, () => [])
  readonly accepted: Array<Map<number, Array<{ batch: BatchSummary; baseOffset: number }>>> = Array.from(
    { length: PARTITIONS },
    () => new Map()
  )
  readonly segmentIds = new Set<string>()

  apply(rows: ReadonlyArray<LogRow>): void {
    for (const row of rows) {
      for (const effect of decodeEntry(row.entry)) {
        if (effect.kind !== "segment-committed") continue
        assert.isFalse(this.segmentIds.has(effect.segmentId), `segment ${effect.segmentId} was committed twice`)
        this.segmentIds.add(effect.segmentId)
        for (const run of effect.runs) this.applyRun(effect.segmentId, run)
      }
    }
  }

  private applyRun(segmentId: string, run: CommittedRun): void {
    const records = this.records[run.partition]!
    const [batch] = run.batches
    assert.isDefined(batch)
    const [excluded] = run.excluded
    assert.equal(excluded?.verdict ?? "accepted", this.verdictOf(run.partition, batch))
    if (excluded !== undefined) return
    assert.equal(run.baseOffset, records.length, "offsets have no gaps")
    if (batch.producerId >= 0) {
      const known = this.accepted[run.partition]!.get(batch.producerId) ?? []
      known.push({ batch, baseOffset: run.baseOffset })
      this.accepted[run.partition]!.set(batch.producerId, known)
    }
    const name = batch.producerId < 0 ? segmentId : `${batch.producerId} from ${batch.baseSequence}`
    for (let n = 0; n < batch.offsetCount; n += 1) records.push(`${name} #${n}`)
  }

  private verdictOf(partition: number, batch: BatchSummary): string {
    const known = this.accepted[partition]!.get(batch.producerId)
    if (batch.producerId < 0 || known === undefined) return "accepted"
    const isSame = (other: BatchSummary): boolean =>
      other.baseSequence === batch.baseSequence && other.offsetCount === batch.offsetCount
    if (known.slice(-5).some((one) => isSame(one.batch))) return "duplicate"
    const [first, last] = [known[0]!.batch, known.at(-1)!.batch]
    const next = last.baseSequence + last.offsetCount
    if (batch.baseSequence === next) return "accepted"
    const isOld = batch.baseSequence >= first.baseSequence && batch.baseSequence + batch.offsetCount <= next
    return isOld ? "duplicateWithoutOffset" : "outOfOrderSequence"
  }
}

const checkAcknowledged = (naive: NaiveLog, { segmentId, partition, batch, answer }: Acknowledged): void => {
  const name = batch.producerId < 0 ? segmentId : `${batch.producerId} from ${batch.baseSequence}`
  for (let n = 0; n < batch.offsetCount; n += 1) {
    assert.equal(naive.records[partition]![answer.baseOffset + n], `${name} #${n}`, "an acknowledged record is missing")
  }
}

const runSeed = Effect.fnUntraced(function* (seed: number) {
  yield* setClock
  const random = randomOf(seed)
  const logWorld = yield* makeWorld
  const world: World = { random, acknowledged: [], nextSegment: 0, gaveUp: 0 }
  const logs: Array<Log> = []
  const scope = yield* Scope.make()
  let isFaulty = false
  for (let agent = 0; agent < AGENTS; agent += 1) {
    const plan = faultPlanOf(random)
    const region = ["east", "west", "south"][agent]!
    const faulty: FaultPlan = (call) => (isFaulty ? plan(call) : undefined)
    const made = agentOf(logWorld, { seed: seed * 10 + agent, region, plan: faulty })
    logs.push((yield* Scope.provide(made, scope)).log)
  }
  yield* inTime(logs[0]!.submit(createTopicOf("orders", 1, PARTITIONS)))
  yield* inTime(Effect.forEach(logs, (log) => log.barrier, { discard: true }))
  isFaulty = true
  const producers = Array.from({ length: AGENTS * PRODUCERS_PER_AGENT }, (_, producerId) => producerId)
  yield* inTime(
    Effect.forEach(producers, (producerId) => produce(world, logs, producerId), { concurrency: "unbounded" })
  )
  isFaulty = false
  // One more append each settles what is still in doubt; then all are at the same tail.
  yield* inTime(
    Effect.forEach(logs, (log) => Effect.retry(log.submit({ kind: "allocate-producer-ids" }), { times: 5 }), {
      concurrency: "unbounded"
    })
  )
  yield* inTime(Effect.forEach(logs, (log) => log.barrier, { concurrency: "unbounded" }))
  const rows = yield* allRows(logWorld.store)
  const digests = logs.map(({ fold }) => digest(fold as Fold))
  // An append that hangs is waited for before its sequencer hands over.
  yield* inTime(Scope.close(scope, Exit.void))
  return { world, digests, rows }
})

describe("three agents on a faulty database", () => {
  for (const seed of Array.from({ length: 25 }, (_, index) => index + 1)) {
    it.effect(`keep every promise of the log, seed ${seed}`, () =>
      Effect.gen(function* () {
        const { world, digests, rows } = yield* Random.withSeed(runSeed(seed), seed)
        const naive = new NaiveLog()
        naive.apply(rows)
        assert.isAbove(world.gaveUp, 0, "the seed is too kind: nobody had to ask again")
        assert.equal(world.acknowledged.length, AGENTS * PRODUCERS_PER_AGENT * BATCHES_PER_PRODUCER)
        for (const one of world.acknowledged) checkAcknowledged(naive, one)
        for (const records of naive.records) {
          assert.equal(new Set(records).size, records.length, "a record is there twice")
        }
        const idempotentCount = naive.records.flat().filter((name) => name.includes("from")).length
        const sent = world.acknowledged.filter((one) => one.batch.producerId >= 0)
        assert.equal(
          idempotentCount,
          sent.reduce((sum, one) => sum + one.batch.offsetCount, 0),
          "idempotent producers have exactly what they sent"
        )
        const replayed = createFold(0)
        for (const row of rows) applyRow(replayed, row)
        for (const one of digests) assert.equal(one, digest(replayed))
      })
    )
  }

  it.effect("do the same twice for the same seed", () =>
    Effect.gen(function* () {
      const first = yield* Random.withSeed(runSeed(77), 77)
      const second = yield* Random.withSeed(runSeed(77), 77)
      const nonces = (run: { readonly rows: ReadonlyArray<LogRow> }): ReadonlyArray<string> =>
        run.rows.map((row) => row.nonce)
      assert.deepEqual(nonces(first), nonces(second))
    })
  )
})
