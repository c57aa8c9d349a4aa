/** The mutations, by the promise that they break. */
import { type Edit, type Mutation } from "./mutation.ts"

const SEQUENCER = "core/log/sequencer.ts"
const SLOT_WRITER = "core/log/slot-writer.ts"
const SUBMITTER = "core/log/submitter.ts"
const JUDGE = "core/log/judge.ts"
const LOG_TAIL = "core/log/log-tail.ts"
const SEGMENT_BUFFER = "core/agent/segment-buffer.ts"
const SEGMENT_WRITER = "replication/quorum/segment-writer.ts"
const LIMITS = "core/model/limits.ts"
const PRODUCER_STATES = "core/log/producer-states.ts"
const TRUTH = "test/simulation/checkers/truth.ts"
const PRODUCER = "test/simulation/workload/producer.ts"

/** The second opinion accepts whatever is no repetition that it remembers. */
const ACCEPTED_BY_TRUTH: Edit = {
  file: TRUTH,
  find: '  return isAllAccepted(ofEpoch, batch) ? "duplicateWithoutOffset" : "outOfOrderSequence"\n',
  replace: '  return ofEpoch.length > 0 ? "accepted" : "duplicateWithoutOffset"\n'
}

export const MUTATIONS: ReadonlyArray<Mutation> = [
  {
    name: "answer-before-settled",
    doc: "a command is answered when its row is issued, not when it is settled",
    edits: [
      {
        file: SEQUENCER,
        find: "      const judgedFor = this.current\n",
        replace:
          '      const judgedFor = this.current\n      judgedFor.forEach((submission, index) => submission.end({ kind: "answer", answer: judged.answers[index]!, seq: this.tail.fold.seq }))\n'
      }
    ],
    scenario: "calm",
    caughtBy: ["acknowledged-before-log"]
  },
  {
    name: "nonce-not-compared",
    doc: "whoever has the slot, its row counts as one's own",
    edits: [
      {
        file: LOG_TAIL,
        find: 'slot.nonce !== row.nonce ? "lost" : folded.standing',
        replace: "folded.standing"
      }
    ],
    scenario: "kills",
    caughtBy: ["acknowledged-before-log", "healthy"]
  },
  {
    name: "indefinite-append-fails",
    doc: "an append of which nobody knows whether it took effect is given up as if it had failed",
    edits: [
      {
        file: SLOT_WRITER,
        find: 'if (attempt === 1 && inserted.failure.outcome === "definite") return inserted.failure',
        replace: "if (attempt === 1) return inserted.failure"
      }
    ],
    scenario: "database",
    caughtBy: ["healthy", "liveness", "doubled", "verdicts", "visible-at-once"]
  },
  {
    name: "uncertain-is-told-as-failure",
    doc: "a producer is told that its records surely were not appended, where nobody knows",
    edits: [
      {
        file: "core/agent/kafka-error.ts",
        find: "KAFKA.NOT_ENOUGH_REPLICAS : KAFKA.NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        replace: "KAFKA.NOT_ENOUGH_REPLICAS : KAFKA.NOT_ENOUGH_REPLICAS"
      }
    ],
    scenario: "database",
    caughtBy: ["definite-failure"]
  },
  {
    name: "quorum-of-one",
    doc: "one bucket is enough",
    edits: [
      {
        file: SEGMENT_WRITER,
        find: '  if (domainsOf(work, "acknowledged").size < work.needed) return\n',
        replace: '  if (domainsOf(work, "acknowledged").size < 1) return\n'
      }
    ],
    scenario: "calm",
    caughtBy: ["durable-before-log"]
  },
  {
    name: "duplicates-accepted",
    doc: "a batch that comes again is appended again",
    edits: [{ file: JUDGE, find: "      if (at >= 0)\n", replace: "      if (at >= 1_000)\n" }],
    scenario: "default",
    caughtBy: ["verdicts"]
  },
  {
    name: "duplicates-accepted-by-both",
    doc: "the same, and the second opinion thinks so too",
    edits: [
      { file: JUDGE, find: "      if (at >= 0)\n", replace: "      if (at >= 1_000)\n" },
      { file: JUDGE, find: '      if (verdict !== "accepted") return refusal(verdict)\n', replace: "" },
      { file: TRUTH, find: '  if (isRepeated) return "duplicate"\n', replace: "" },
      ACCEPTED_BY_TRUTH
    ],
    scenario: "default",
    caughtBy: ["doubled"]
  },
  {
    name: "old-duplicates-refused",
    doc: "a batch that comes again after five others is refused, as by Kafka; the second opinion agrees",
    edits: [
      {
        file: PRODUCER_STATES,
        find: '? "duplicateWithoutOffset" : "outOfOrderSequence"\n',
        replace: '? "outOfOrderSequence" : "outOfOrderSequence"\n'
      },
      {
        file: TRUTH,
        find: '? "duplicateWithoutOffset" : "outOfOrderSequence"\n',
        replace: '? "outOfOrderSequence" : "outOfOrderSequence"\n'
      }
    ],
    scenario: "default",
    caughtBy: ["fenced"]
  },
  {
    name: "old-duplicates-before-the-first",
    doc: "what lies before a producer's first accepted sequence is claimed to be there",
    edits: [
      {
        file: PRODUCER_STATES,
        find: "  return steps + batch.offsetCount <= state.acceptedCount\n",
        replace: "  return steps < ACCEPTED_COUNT_MAX && state.acceptedCount > 0\n"
      }
    ],
    scenario: "default",
    caughtBy: ["verdicts"]
  },
  {
    name: "old-duplicates-before-the-first-by-both",
    doc: "the same, and the second opinion thinks so too",
    edits: [
      {
        file: PRODUCER_STATES,
        find: "  return steps + batch.offsetCount <= state.acceptedCount\n",
        replace: "  return steps < ACCEPTED_COUNT_MAX && state.acceptedCount > 0\n"
      },
      {
        file: TRUTH,
        find: "  return isAllAccepted(ofEpoch, batch) ?",
        replace:
          "  const end = (batch.baseSequence + batch.offsetCount - 1) % SEQUENCES\n" +
          "  return (next - 1 - end + 2 * SEQUENCES) % SEQUENCES < SEQUENCES / 2 || isAllAccepted(ofEpoch, batch) ?"
      }
    ],
    scenario: "default",
    caughtBy: ["acknowledged-lost"]
  },
  {
    name: "order-ignored-by-both",
    doc: "batches may come in any order, and segments are committed as buckets answer; the second opinion agrees",
    edits: [
      { file: JUDGE, find: '      if (verdict !== "accepted") return refusal(verdict)\n', replace: "" },
      { file: SEGMENT_BUFFER, find: "  yield* Deferred.await(before.submitted)\n", replace: "" },
      ACCEPTED_BY_TRUTH,
      // What comes again is known, so that nothing is doubled before anything is out of order.
      { file: LIMITS, find: "  producerBatchesRemembered: 5,\n", replace: "  producerBatchesRemembered: 500,\n" },
      {
        file: LIMITS,
        find: "limits.producerBatchesRemembered === 5,",
        replace: "limits.producerBatchesRemembered === 500,"
      },
      { file: PRODUCER, find: "const OLD_BATCH_CHANCE = 0.08\n", replace: "const OLD_BATCH_CHANCE = 0\n" }
    ],
    scenario: "buckets",
    caughtBy: ["order"]
  },
  {
    name: "followers-not-doomed",
    doc: "what was handed in behind a lost batch of the same producer is committed",
    edits: [
      {
        file: SEGMENT_BUFFER,
        find: "  doomFollowers(state, segment)\n  yield* tellFailure",
        replace: "  yield* tellFailure"
      }
    ],
    scenario: "buckets",
    caughtBy: ["fenced"]
  },
  {
    name: "commit-order",
    doc: "segments are committed in the order in which buckets answer",
    edits: [{ file: SEGMENT_BUFFER, find: "  yield* Deferred.await(before.submitted)\n", replace: "" }],
    scenario: "buckets",
    caughtBy: ["fenced"]
  },
  {
    name: "lost-first-batch-forgotten",
    doc: "what arrives behind a new producer's lost first batch is taken for its first one",
    edits: [
      {
        file: "core/agent/lost-batches.ts",
        find: "    this.#lost.set(key, isEarlier ? { producerEpoch, baseSequence, atMs } : { ...known, atMs })\n",
        replace: ""
      }
    ],
    scenario: "buckets",
    caughtBy: ["fenced"]
  },
  {
    name: "memory-used-again-too-early",
    doc: "a request's memory is lent again while a slow bucket still reads it",
    edits: [
      {
        file: SEGMENT_WRITER,
        find: '  if (work.readers > 0 || work.phase === "open"',
        replace: '  if (work.phase === "open"'
      }
    ],
    scenario: "buckets",
    caughtBy: ["written-once", "content"]
  },
  {
    name: "out-of-range-from-memory",
    doc: "a reader that is ahead of an agent's fold is told that its offset does not exist",
    edits: [
      {
        file: "core/agent/handlers/01-fetch.ts",
        find: '      if (resolved.every(({ wanted }) => typeof wanted !== "number")) return',
        replace: "      if (resolved.length > 0) return"
      }
    ],
    scenario: "calm",
    caughtBy: ["visible-at-once"]
  },
  {
    name: "time-by-own-clock",
    doc: "agents go by their own wall clocks instead of the database's",
    edits: [
      {
        file: "core/log/log-clock.ts",
        find: "Math.floor(monotonicMs + this.differenceMs)",
        replace: "this.clock.currentTimeMillisUnsafe()"
      }
    ],
    scenario: "skew",
    caughtBy: ["verdicts", "healthy"]
  },
  {
    name: "barrier-from-memory",
    doc: "a linearizable question is answered from what is folded already",
    edits: [
      {
        file: LOG_TAIL,
        find: "    if (this.barriers.size >= limits.barriersWaiting) return Effect.fail(tooManyBarriers())\n",
        replace: "    if (this.fold.seq > 0) return Effect.void\n"
      }
    ],
    scenario: "calm",
    caughtBy: ["visible-at-once"]
  },
  {
    name: "offsets-with-a-gap",
    doc: "a run begins one offset too late",
    edits: [
      {
        file: JUDGE,
        find: "  return committed(run, isAnyAccepted ? baseOffset : -1, excluded ?? NOTHING_EXCLUDED)\n",
        replace: "  return committed(run, isAnyAccepted ? baseOffset + 1 : -1, excluded ?? NOTHING_EXCLUDED)\n"
      }
    ],
    scenario: "calm",
    caughtBy: ["offsets"]
  },
  {
    name: "bytes-not-checked",
    doc: "what a bucket answers is served without a look at its checksum",
    edits: [
      {
        file: "core/agent/run-bytes.ts",
        find: "  bytes.length === run.byteLength && crc32c(bytes) === run.crc && isContinuous(bytes, run)\n",
        replace: "  bytes.length === run.byteLength && isContinuous(bytes, run)\n"
      }
    ],
    scenario: "buckets",
    caughtBy: ["content"]
  },
  {
    name: "copies-differ",
    doc: "one bucket is sent other bytes than the others",
    edits: [
      {
        file: "replication/quorum/copy-put.ts",
        find: "copy.store.put(copy.key, copy.chunks)",
        replace: 'copy.store.put(copy.key, copy.store.bucket === "us-east-1" ? copy.chunks.toReversed() : copy.chunks)'
      }
    ],
    scenario: "calm",
    caughtBy: ["written-once"]
  },
  {
    name: "high-watermark-ahead",
    doc: "a fetch shows a high watermark that is not reached yet",
    edits: [
      {
        file: "core/agent/handlers/01-fetch.ts",
        find: "    highWatermark: read.highWatermarks.get(each.wanted) ?? state.highWatermark,\n",
        replace: "    highWatermark: state.highWatermark + 1,\n"
      }
    ],
    scenario: "calm",
    caughtBy: ["high-watermark"]
  },
  {
    name: "chain-broken",
    doc: "a row names a predecessor that is not its own",
    edits: [
      { file: SLOT_WRITER, find: "      prevNonce: fold.nonce,\n", replace: "      prevNonce: this.entropy.uuid(),\n" }
    ],
    scenario: "calm",
    caughtBy: ["chain"]
  },
  {
    name: "slot-skipped",
    doc: "a row leaves a gap in the log",
    edits: [{ file: SLOT_WRITER, find: "      seq: fold.seq + 1,\n", replace: "      seq: fold.seq + 2,\n" }],
    scenario: "calm",
    caughtBy: ["contract"]
  },
  {
    name: "fold-reads-a-clock",
    doc: "the fold takes something from elsewhere than the log",
    edits: [
      {
        file: "core/log/fold.ts",
        find: "    this.createdAtMs = created.createdAtMs\n",
        replace: "    this.createdAtMs = performance.now()\n"
      }
    ],
    scenario: "calm",
    caughtBy: ["folds-agree"]
  },
  {
    name: "producer-id-twice",
    doc: "an agent gives one producer id to two clients",
    edits: [{ file: "core/agent/producer-ids.ts", find: "      return next++\n", replace: "      return next\n" }],
    scenario: "calm",
    caughtBy: ["producer-ids"]
  },
  {
    name: "other-buckets-not-asked",
    doc: "a segment that the nearest bucket lacks is not read elsewhere",
    edits: [
      {
        file: "replication/quorum/segment-reader.ts",
        find: "    .map((candidate) => candidate.state)\n",
        replace: "    .map((candidate) => candidate.state)\n    .slice(0, 1)\n"
      }
    ],
    scenario: "buckets",
    caughtBy: ["acknowledged-lost"]
  },
  {
    name: "barrier-dies",
    doc: "the first failed read of the log's tail ends the loop that serves linearizable questions",
    edits: [
      {
        file: LOG_TAIL,
        find: "        for (const wait of asked) Deferred.doneUnsafe(wait.done, exit)\n        continue\n",
        replace: "        for (const wait of asked) Deferred.doneUnsafe(wait.done, exit)\n        return\n"
      }
    ],
    scenario: "database",
    caughtBy: ["liveness", "acknowledged-lost"]
  },
  {
    name: "handler-throws",
    doc: "a request hits a defect",
    edits: [
      {
        file: "core/agent/handlers/22-init-producer-id.ts",
        find: '  if (request.transactionalId === "") return',
        replace:
          '  if (request.transactionalId === null) throw new Error("a defect")\n  if (request.transactionalId === "") return'
      }
    ],
    scenario: "calm",
    caughtBy: ["healthy"]
  },
  {
    name: "budget-not-given-back",
    doc: "the memory of a produce request stays reserved",
    edits: [{ file: "core/agent/handlers/00-produce.ts", find: "        giveBudgetBack()\n", replace: "" }],
    scenario: "calm",
    caughtBy: ["bounded"]
  },
  {
    name: "memory-without-a-gate",
    doc: "segments are taken however many runs are in memory",
    edits: [
      {
        file: "core/log/segment-gate.ts",
        find: "return this.fold.residentRuns > this.residentRunsRefuse",
        replace: "return this.fold.residentRuns < 0"
      }
    ],
    scenario: "long",
    caughtBy: ["bounded"]
  },
  {
    name: "epoch-of-yesterday",
    doc: "a sequencer appends in the first epoch for ever",
    edits: [
      {
        file: SEQUENCER,
        find: "{ epoch: this.tail.fold.epoch, isKept: false }",
        replace: "{ epoch: Math.min(1, this.tail.fold.epoch), isKept: false }"
      }
    ],
    scenario: "kills",
    caughtBy: ["chain", "healthy"]
  },
  {
    name: "sent-again-in-any-order",
    doc: "what a lost stream took is sent again, the last first",
    edits: [
      {
        file: SUBMITTER,
        find: "for (const pending of this.unsettled.slice())",
        replace: "for (const pending of this.unsettled.toReversed())"
      }
    ],
    scenario: "kills",
    caughtBy: ["fenced"]
  },
  {
    name: "pages-not-written",
    doc: "the log is said to be in index pages that nobody wrote",
    edits: [
      {
        file: "core/log/materializer.ts",
        find: '  yield* guarded("writeIndexPages", state.store.writeIndexPages(batch))',
        replace: ""
      }
    ],
    scenario: "calm",
    caughtBy: ["acknowledged-lost", "liveness", "healthy"]
  }
]
