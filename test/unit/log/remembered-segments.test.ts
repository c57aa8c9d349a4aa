/**
 * Goal: a segment is committed once, however late and often its command comes, and one that is not committed within the
 * orphan horizon never is; for ever, whoever's clock is wrong, and whatever is forgotten.
 * Method: commands come again at all times of a long log, on folds that hold the answers in memory, that restored them
 * from a checkpoint, and that forgot; the caps are pushed over; clocks of authors and sequencers are ahead and behind.
 */
import { assert, describe, it } from "vitest"
import { type BatchAnswer, type Command, type CommitSegment, type CommitSegmentAnswer } from "#core/log/command.ts"
import { encodeCheckpoint, restoreFold } from "#core/log/checkpoint.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { entriesNeeded, judge } from "#core/log/judge.ts"
import { limits } from "#core/model/limits.ts"
import { batchOf, commitOf, foldWithTopic, idOf, NOW_MS, randomOf, rowAfter, runOf, TOPIC } from "./log-builders.ts"

const HORIZON_MS = limits.orphanHorizonMs
const AHEAD_MS = limits.segmentAheadMaxMs

/** A fold, and its log's entries by seq, as whoever judges would read them. */
class Log {
  fold: Fold = foldWithTopic()
  readonly entries = new Map<number, Uint8Array>()
  reads = 0

  submit(commands: ReadonlyArray<Command>, nowMs: number): ReadonlyArray<unknown> {
    const needed = entriesNeeded(this.fold, commands)
    this.reads += needed.length
    const entries = new Map(needed.map((seq) => [seq, this.entries.get(seq)!]))
    const { effects, answers } = judge(this.fold, commands, { nowMs, entries })
    const row = rowAfter(this.fold, effects)
    this.entries.set(row.seq, row.entry)
    applyRow(this.fold, row)
    return answers
  }

  commit(command: CommitSegment, nowMs: number): BatchAnswer {
    return (this.submit([command], nowMs)[0] as CommitSegmentAnswer).runs[0]![0]!
  }

  /** As another agent that starts now: it has the ids, and no entry in memory. */
  restart(): void {
    const fold = createFold(0)
    restoreFold(fold, encodeCheckpoint(this.fold))
    this.fold = fold
  }

  get highWatermark(): number {
    return this.fold.topicById(TOPIC)!.partitions[0]!.highWatermark
  }
}

const segment = (n: number, createdAtMs: number): CommitSegment => commitOf(n, [runOf([batchOf()])], { createdAtMs })

const accepted = (baseOffset: number): BatchAnswer => ({ verdict: "accepted", baseOffset, appendTimeMs: -1 })
const TOO_LATE: BatchAnswer = { verdict: "tooLate", baseOffset: -1, appendTimeMs: -1 }

describe("a command that comes again", () => {
  it("has the first answer or is too late, at any time, and never takes an offset twice", () => {
    for (const seed of [1, 2, 3]) {
      const random = randomOf(seed)
      const log = new Log()
      const sent: Array<{ readonly command: CommitSegment; readonly first: BatchAnswer }> = []
      let nowMs = NOW_MS
      let tooLate = 0
      let again = 0
      for (let n = 1; n <= 600; n += 1) {
        nowMs += Math.floor(random() * 20_000)
        const command = segment(n, nowMs - Math.floor(random() * 5_000))
        sent.push({ command, first: log.commit(command, nowMs) })
        assert.equal(sent.at(-1)!.first.verdict, "accepted")
        if (random() < 0.05) log.restart()
        const old = sent[Math.floor(random() * sent.length)]!
        const before = log.highWatermark
        const answer = log.commit(old.command, nowMs)
        assert.equal(log.highWatermark, before, "nothing is appended a second time")
        if (answer.verdict === "tooLate") {
          tooLate += 1
          assert.isAbove(nowMs - old.command.createdAtMs, HORIZON_MS)
        } else {
          again += 1
          assert.deepEqual(answer, old.first)
        }
      }
      assert.isAbove(tooLate, 100)
      assert.isAbove(again, 20)
      assert.equal(log.highWatermark, 600)
    }
  })

  it("is answered from the log where its entry is not in memory, and only then is that read", () => {
    const log = new Log()
    log.commit(segment(1, NOW_MS), NOW_MS)
    assert.deepEqual(entriesNeeded(log.fold, [segment(1, NOW_MS)]), [])
    log.restart()
    assert.deepEqual(entriesNeeded(log.fold, [segment(2, NOW_MS), segment(1, NOW_MS), segment(1, NOW_MS)]), [3])
    assert.deepEqual(log.commit(segment(1, NOW_MS), NOW_MS), accepted(0))
    assert.equal(log.reads, 1)
  })

  it("is never answered from another entry, or from none", () => {
    const log = new Log()
    log.commit(segment(1, NOW_MS), NOW_MS)
    log.commit(segment(2, NOW_MS), NOW_MS)
    log.restart()
    const judged = (entries: ReadonlyMap<number, Uint8Array>) => () =>
      judge(log.fold, [segment(1, NOW_MS)], { nowMs: NOW_MS, entries })
    assert.throws(judged(new Map()), /entry 3 is needed for the answer to segment/)
    assert.throws(judged(new Map([[3, log.entries.get(4)!]])), /entry 3 does not hold segment/)
  })

  it("keeps so many bytes of entries in memory, those of the newest", () => {
    const log = new Log()
    const batches = Array.from({ length: limits.segmentBatchesMax }, () => batchOf())
    const large = (n: number): CommitSegment => commitOf(n, [runOf(batches)], { createdAtMs: NOW_MS })
    log.submit([large(1)], NOW_MS)
    const entryBytes = log.entries.get(log.fold.seq)!.length
    const fits = Math.floor(limits.entriesRememberedBytes / entryBytes)
    for (let n = 2; n <= fits + 10; n += 1) log.submit([large(n)], NOW_MS)
    const missing = Array.from({ length: fits + 10 }, (_, index) => index + 1).filter(
      (n) => entriesNeeded(log.fold, [large(n)]).length > 0
    )
    assert.deepEqual(missing, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "the oldest")
  })
})

describe("a segment that was not committed within the orphan horizon", () => {
  it("never is, also where a sequencer with a slower clock takes over", () => {
    const log = new Log()
    log.commit(segment(1, NOW_MS), NOW_MS)
    log.commit(segment(2, NOW_MS + HORIZON_MS + 5_000), NOW_MS + HORIZON_MS + 5_000)
    // The next one's clock says that no time has passed.
    assert.deepEqual(log.commit(segment(3, NOW_MS + 1), NOW_MS + 2), TOO_LATE)
    log.restart()
    assert.deepEqual(log.commit(segment(3, NOW_MS + 1), NOW_MS + 2), TOO_LATE)
    assert.isAtLeast(log.fold.segments.forgottenMs, NOW_MS + 1)
  })

  it("can be told by the fold alone: what was created by `forgottenMs` and is not remembered can no longer be", () => {
    const random = randomOf(4)
    const log = new Log()
    let nowMs = NOW_MS
    for (let n = 1; n <= 300; n += 1) {
      nowMs += Math.floor(random() * 10_000)
      log.commit(segment(n, nowMs), nowMs)
      const { forgottenMs } = log.fold.segments
      assert.isAtLeast(forgottenMs, log.fold.timeMs - HORIZON_MS - 1, "the horizon passes, whatever was committed then")
      const orphan = segment(100_000 + n, Math.max(0, forgottenMs))
      assert.deepEqual(log.commit(orphan, nowMs - Math.floor(random() * 100_000)), TOO_LATE)
      assert.isAtLeast(log.fold.segments.forgottenMs, forgottenMs)
    }
  })

  it("stops a fold whose sequencer commits it all the same", () => {
    const log = new Log()
    log.commit(segment(1, NOW_MS), NOW_MS)
    log.commit(segment(2, NOW_MS + HORIZON_MS * 2), NOW_MS + HORIZON_MS * 2)
    const { kind: _kind, ...rest } = segment(3, NOW_MS)
    const runs = [{ ...runOf([batchOf()]), baseOffset: 2, excluded: [] }]
    const effect = { ...rest, kind: "segment-committed" as const, appendTimeMs: NOW_MS + HORIZON_MS * 2, runs }
    assert.throws(() => applyRow(log.fold, rowAfter(log.fold, [effect])), /may have been forgotten/)
  })
})

describe("clocks that are wrong", () => {
  it("of an author far ahead: its segments are refused, told as such, and settle nothing", () => {
    const log = new Log()
    const ahead = segment(1, NOW_MS + AHEAD_MS + 1)
    assert.deepEqual(log.commit(ahead, NOW_MS), { verdict: "clockAhead", baseOffset: -1, appendTimeMs: -1 })
    assert.isFalse(log.fold.segments.has(idOf("segment", 1)))
    assert.deepEqual(log.commit(segment(2, NOW_MS + AHEAD_MS), NOW_MS), accepted(0))
  })

  it("of an author ahead make nobody else's segments too late, however many it sends", () => {
    const log = new Log()
    const others: Array<CommitSegment> = []
    let nowMs = NOW_MS
    for (let n = 1; n <= 1_000; n += 1) {
      nowMs += 1_000
      log.commit(segment(2 * n, nowMs + AHEAD_MS), nowMs)
      others.push(segment(2 * n + 1, nowMs))
      assert.equal(log.commit(others.at(-1)!, nowMs).verdict, "accepted", `at ${n}`)
    }
    for (const recent of others.slice(-Math.floor(HORIZON_MS / 1_000) + 1)) {
      assert.equal(log.commit(recent, nowMs).verdict, "accepted", "and it is remembered")
    }
    assert.equal(log.highWatermark, 2_000)
  })

  it("never let the time of appends go back", () => {
    const log = new Log()
    const commit = (n: number, nowMs: number): BatchAnswer =>
      (
        log.submit(
          [commitOf(n, [runOf([batchOf()], { timestampType: "append" })], { createdAtMs: NOW_MS })],
          nowMs
        )[0] as CommitSegmentAnswer
      ).runs[0]![0]!
    assert.equal(commit(1, NOW_MS + 500).appendTimeMs, NOW_MS + 500)
    assert.equal(commit(2, NOW_MS).appendTimeMs, NOW_MS + 500)
  })
})

describe("more segments than can be remembered", () => {
  /** So many commits in one entry as fit, each of a millisecond of its own. */
  const fill = (log: Log, count: number, at: (n: number) => number): void => {
    for (let n = 0; n < count; n += limits.commandsPerEntry) {
      const size = Math.min(limits.commandsPerEntry, count - n)
      const commands = Array.from({ length: size }, (_, index) => segment(10 + n + index, at(n + index)))
      log.submit(commands, at(n + size - 1))
    }
  }

  it("make those created first too late, committed or not, and no others", () => {
    const log = new Log()
    const count = limits.segmentsRemembered + 5_000
    fill(log, count, (n) => NOW_MS + n)
    const { size, forgottenMs } = log.fold.segments
    assert.isAtMost(size, limits.segmentsRemembered)
    assert.isAtLeast(size, limits.segmentsRemembered - 1_000)
    const nowMs = NOW_MS + count
    assert.deepEqual(log.commit(segment(10, NOW_MS), nowMs), TOO_LATE, "its first answer is forgotten")
    assert.deepEqual(log.commit(segment(5_000_000, forgottenMs), nowMs), TOO_LATE, "one that never came")
    const before = log.highWatermark
    assert.deepEqual(log.commit(segment(10 + count - 1, NOW_MS + count - 1), nowMs), accepted(before - 1))
    assert.equal(log.commit(segment(5_000_001, forgottenMs + 1), nowMs).verdict, "accepted")
  })

  it("does not make the present too late where an author's clock is ahead", () => {
    const log = new Log()
    for (let n = 0; n < 3_000; n += 1) log.commit(segment(1_000_000 + n, NOW_MS + AHEAD_MS), NOW_MS)
    const count = limits.segmentsRemembered
    fill(log, count, (n) => NOW_MS + n)
    assert.isBelow(log.fold.segments.forgottenMs, NOW_MS + count / 2)
    assert.equal(log.commit(segment(5_000_000, NOW_MS + count), NOW_MS + count).verdict, "accepted")
  })
})
