/**
 * Goal: verdicts follow Kafka's rules, whoever asks again gets the first answer, and commands of one entry see each other.
 * Method: commands are judged on a fold and folded; the same history is judged both in one entry and in many, which must
 * give the same answers.
 */
import { assert, describe, it } from "vitest"
import { type BatchAnswer, type Command, type CommitSegmentAnswer } from "#core/log/command.ts"
import { digest } from "#core/log/digest.ts"
import { createFold, type Fold } from "#core/log/fold.ts"
import { judge } from "#core/log/judge.ts"
import { limits } from "#core/model/limits.ts"
import {
  batchOf,
  commitOf,
  createTopicOf,
  foldWithTopic,
  idempotent,
  idOf,
  NOW_MS,
  runOf,
  settle,
  TOPIC
} from "./log-builders.ts"

const firstBatch = (answer: unknown): BatchAnswer => (answer as CommitSegmentAnswer).runs[0]![0]!

/** Commits one batch in a segment of its own; its verdict and offset. */
const commitBatch = (fold: Fold, segment: number, batch: ReturnType<typeof batchOf>): BatchAnswer =>
  firstBatch(settle(fold, [commitOf(segment, [runOf([batch])])])[0])

const accepted = (baseOffset: number): BatchAnswer => ({ verdict: "accepted", baseOffset, appendTimeMs: -1 })
const refused = (verdict: BatchAnswer["verdict"]): BatchAnswer => ({ verdict, baseOffset: -1, appendTimeMs: -1 })

describe("refusals", () => {
  it("refuses records for a topic or a partition that is not there, and takes the others of the segment", () => {
    const fold = foldWithTopic()
    const runs = [
      runOf([batchOf()], { topicId: idOf("topic", 9) }),
      runOf([batchOf(), batchOf()], { partition: 2 }),
      runOf([batchOf({ offsetCount: 4 })], { partition: 1 })
    ]
    const [answer] = settle(fold, [commitOf(1, runs)])
    assert.deepEqual(answer, {
      runs: [[refused("unknownTopic")], [refused("unknownPartition"), refused("unknownPartition")], [accepted(0)]]
    })
    assert.equal(fold.topicByName("orders")!.partitions[1]!.highWatermark, 4)
  })

  it("refuses a segment that is older than the orphan horizon", () => {
    const fold = foldWithTopic()
    const commit = (segment: number, ageMs: number): BatchAnswer =>
      firstBatch(settle(fold, [commitOf(segment, [runOf([batchOf()])], { createdAtMs: NOW_MS - ageMs })])[0])
    assert.deepEqual(commit(1, limits.orphanHorizonMs + 1), refused("tooLate"))
    assert.deepEqual(commit(2, limits.orphanHorizonMs), accepted(0))
  })

  it("refuses a lower epoch, and a higher one that does not begin at sequence 0", () => {
    const fold = foldWithTopic()
    assert.deepEqual(commitBatch(fold, 1, idempotent(7, 2, 100)), accepted(0))
    assert.deepEqual(commitBatch(fold, 2, idempotent(7, 1, 0)), refused("invalidProducerEpoch"))
    assert.deepEqual(commitBatch(fold, 3, idempotent(7, 1, 100)), refused("invalidProducerEpoch"))
    assert.deepEqual(commitBatch(fold, 4, idempotent(7, 3, 101)), refused("outOfOrderSequence"))
    assert.deepEqual(commitBatch(fold, 5, idempotent(7, 3, 0)), accepted(1))
    assert.deepEqual(commitBatch(fold, 6, idempotent(7, 2, 101)), refused("invalidProducerEpoch"))
  })

  it("refuses a sequence after a gap, and one that was partly seen", () => {
    const fold = foldWithTopic()
    assert.deepEqual(commitBatch(fold, 1, idempotent(7, 0, 0, 10)), accepted(0))
    assert.deepEqual(commitBatch(fold, 2, idempotent(7, 0, 11)), refused("outOfOrderSequence"))
    assert.deepEqual(commitBatch(fold, 3, idempotent(7, 0, 5, 10)), refused("outOfOrderSequence"))
    assert.deepEqual(commitBatch(fold, 4, idempotent(7, 0, 0, 11)), refused("outOfOrderSequence"))
    assert.deepEqual(commitBatch(fold, 5, idempotent(7, 0, 10)), accepted(10))
  })

  it("refuses a topic id that was ever used", () => {
    const fold = foldWithTopic()
    settle(fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
    const answers = settle(fold, [createTopicOf("orders"), createTopicOf("other"), createTopicOf("orders", 2)])
    assert.deepEqual(answers, [
      { result: "exists", topicId: TOPIC },
      { result: "exists", topicId: TOPIC },
      { result: "created", topicId: idOf("topic", 2) }
    ])
  })

  it("refuses names that differ only in . and _, but not those of deleted topics", () => {
    const fold = createFold(0)
    const answers = settle(fold, [
      createTopicOf("a.b_c", 1),
      createTopicOf("a_b.c", 2),
      createTopicOf("a.b_c", 3),
      { kind: "delete-topic", topicId: idOf("topic", 1), mayBeDone: false },
      createTopicOf("a_b.c", 4)
    ])
    assert.deepEqual(answers, [
      { result: "created", topicId: idOf("topic", 1) },
      { result: "collides", topicId: idOf("topic", 1) },
      { result: "exists", topicId: idOf("topic", 1) },
      { result: "deleted" },
      { result: "created", topicId: idOf("topic", 4) }
    ])
  })

  it("refuses what is not settled yet, or was known, as materialized, also within one entry", () => {
    const fold = foldWithTopic()
    assert.equal(fold.seq, 2)
    const mark = (throughSeq: number): Command => ({ kind: "materialized", throughSeq })
    const before = digest(fold)
    const { answers, effects } = judge(fold, [mark(0), mark(3)], { nowMs: NOW_MS })
    assert.deepEqual([answers, effects], [[{ result: "behind" }, { result: "behind" }], []])
    assert.equal(digest(fold), before)
    assert.deepEqual(settle(fold, [mark(1), mark(1), mark(2), mark(1), mark(2)]), [
      { result: "materialized" },
      { result: "behind" },
      { result: "materialized" },
      { result: "behind" },
      { result: "behind" }
    ])
    assert.deepEqual([fold.seq, fold.materializedSeq], [3, 2])
    assert.deepEqual(settle(fold, [mark(2), mark(4), mark(3)]), [
      { result: "behind" },
      { result: "behind" },
      { result: "materialized" }
    ])
    assert.equal(fold.materializedSeq, 3)
  })

  it("refuses fewer partitions, and what is asked of a topic that is not there", () => {
    const fold = foldWithTopic()
    const unknown = idOf("topic", 9)
    const answers = settle(fold, [
      { kind: "create-partitions", topicId: TOPIC, partitions: 2, mayBeDone: false },
      { kind: "create-partitions", topicId: TOPIC, partitions: 5, mayBeDone: false },
      { kind: "create-partitions", topicId: TOPIC, partitions: 4, mayBeDone: false },
      { kind: "create-partitions", topicId: unknown, partitions: 4, mayBeDone: false },
      { kind: "delete-topic", topicId: unknown, mayBeDone: false }
    ])
    assert.deepEqual(answers, [
      { result: "not-more", partitions: 2 },
      { result: "created", partitions: 5 },
      { result: "not-more", partitions: 5 },
      { result: "unknown", partitions: 0 },
      { result: "unknown" }
    ])
    assert.equal(fold.topicById(TOPIC)!.partitions.length, 5)
  })
})

describe("duplicates", () => {
  it("answers the last five batches with their first offsets and times, and an older one without", () => {
    const fold = foldWithTopic()
    const commit = (segment: number, sequence: number, nowMs: number): BatchAnswer => {
      const run = runOf([idempotent(7, 0, sequence, 2)], { timestampType: "append" })
      return firstBatch(settle(fold, [commitOf(segment, [run], { createdAtMs: nowMs })], nowMs)[0])
    }
    for (let n = 0; n < 6; n += 1) {
      assert.deepEqual(commit(n, n * 2, NOW_MS + n), {
        verdict: "accepted",
        baseOffset: n * 2,
        appendTimeMs: NOW_MS + n
      })
    }
    for (let n = 1; n < 6; n += 1) {
      const again = commit(100 + n, n * 2, NOW_MS + 1_000)
      assert.deepEqual(again, { verdict: "duplicate", baseOffset: n * 2, appendTimeMs: NOW_MS + n })
    }
    assert.deepEqual(commit(200, 0, NOW_MS + 1_000), refused("duplicateWithoutOffset"))
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 12)
  })

  it("answers what was accepted long ago, and never what was not: before the first, over an edge, after a gap", () => {
    const fold = foldWithTopic()
    for (let n = 0; n < 8; n += 1) assert.equal(commitBatch(fold, n, idempotent(7, 0, 100 + n)).baseOffset, n)
    const again = refused("duplicateWithoutOffset")
    assert.deepEqual(commitBatch(fold, 20, idempotent(7, 0, 100)), again)
    assert.deepEqual(commitBatch(fold, 21, idempotent(7, 0, 100, 8)), again)
    for (const [base, count] of [
      [99, 1],
      [99, 2],
      [99, 10],
      [107, 2],
      [109, 1],
      [0, 1]
    ] as const) {
      assert.deepEqual(
        commitBatch(fold, 30 + base + count, idempotent(7, 0, base, count)),
        refused("outOfOrderSequence")
      )
    }
    assert.deepEqual(commitBatch(fold, 40, idempotent(7, 0, 108)), accepted(8))
    assert.deepEqual(commitBatch(fold, 41, idempotent(7, 1, 0)), accepted(9))
    assert.deepEqual(commitBatch(fold, 42, idempotent(7, 1, 100)), refused("outOfOrderSequence"), "of the epoch before")
    assert.deepEqual(commitBatch(fold, 43, idempotent(7, 0, 100)), refused("invalidProducerEpoch"))
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 10)
  })

  it("knows an old one also over the wrap, and where all of them came in one entry", () => {
    const sequences = Array.from({ length: 8 }, (_, n) => (2_147_483_645 + n) % 2 ** 31)
    const batches = [...sequences.map((sequence) => idempotent(7, 0, sequence)), idempotent(7, 0, 2_147_483_645, 3)]
    const expected = [...sequences.map((_, n) => accepted(n)), refused("duplicateWithoutOffset")]
    const fold = foldWithTopic()
    assert.deepEqual(settle(fold, [commitOf(1, [runOf(batches)])]), [{ runs: [expected] }])
    assert.deepEqual(commitBatch(fold, 2, idempotent(7, 0, 2_147_483_647, 3)), refused("duplicateWithoutOffset"))
    assert.deepEqual(commitBatch(fold, 3, idempotent(7, 0, 2_147_483_644)), refused("outOfOrderSequence"))
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 8)
  })

  it("wraps sequences from 2^31 - 1 to 0, within a batch and between two", () => {
    const fold = foldWithTopic()
    assert.deepEqual(commitBatch(fold, 1, idempotent(7, 0, 2_147_483_646, 2)), accepted(0))
    assert.deepEqual(commitBatch(fold, 2, idempotent(7, 0, 0, 3)), accepted(2))
    assert.deepEqual(commitBatch(fold, 3, idempotent(8, 0, 2_147_483_647, 3)), accepted(5))
    assert.deepEqual(commitBatch(fold, 4, idempotent(8, 0, 2)), accepted(8))
    assert.equal(commitBatch(fold, 5, idempotent(8, 0, 2_147_483_647, 3)).verdict, "duplicate")
  })

  it("takes any first sequence of a producer that it does not know", () => {
    assert.deepEqual(commitBatch(foldWithTopic(), 1, idempotent(7, 4, 1_234)), accepted(0))
  })

  it("gives a retried segment its first answer, whatever happened since", () => {
    const fold = foldWithTopic()
    const runs = [
      runOf([batchOf({ offsetCount: 2 }), idempotent(7, 0, 0), idempotent(7, 0, 9), idempotent(7, 0, 0)]),
      runOf([batchOf()], { topicId: idOf("topic", 9) }),
      runOf([batchOf()], { partition: 1, timestampType: "append" })
    ]
    const [first] = settle(fold, [commitOf(1, runs)])
    assert.deepEqual(first, {
      runs: [
        [
          accepted(0),
          accepted(2),
          refused("outOfOrderSequence"),
          { verdict: "duplicate", baseOffset: 2, appendTimeMs: -1 }
        ],
        [refused("unknownTopic")],
        [{ verdict: "accepted", baseOffset: 0, appendTimeMs: NOW_MS }]
      ]
    })
    commitBatch(fold, 2, batchOf({ offsetCount: 50 }))
    settle(fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
    const again = judge(fold, [commitOf(1, runs)], { nowMs: NOW_MS + limits.orphanHorizonMs * 2 })
    assert.deepEqual(again.answers, [first!])
    assert.deepEqual(again.effects, [])
  })

  it("gives a segment that comes twice in one entry one effect and one answer", () => {
    const fold = foldWithTopic()
    const commit = commitOf(1, [runOf([batchOf({ offsetCount: 5 })])])
    const { effects, answers } = judge(fold, [commit, commit], { nowMs: NOW_MS })
    assert.equal(effects.length, 1)
    assert.deepEqual(answers[0], answers[1])
  })

  it("answers a deletion that may be done already with deleted, and any other with unknown", () => {
    const deletion = (topic: number, mayBeDone: boolean): Command => ({
      kind: "delete-topic",
      topicId: idOf("topic", topic),
      mayBeDone
    })
    const fold = foldWithTopic()
    const inOneEntry = [deletion(1, true), deletion(1, false), deletion(1, true), deletion(9, true)]
    const expected = ["deleted", "unknown", "deleted", "unknown"].map((result) => ({ result }))
    const { answers, effects } = judge(fold, inOneEntry, { nowMs: NOW_MS })
    assert.deepEqual(answers as ReadonlyArray<unknown>, expected)
    assert.deepEqual(effects, [{ kind: "topic-deleted", topicId: TOPIC }])
    settle(fold, [deletion(1, false)])
    assert.deepEqual(settle(fold, inOneEntry) as ReadonlyArray<unknown>, [
      { result: "deleted" },
      { result: "unknown" },
      { result: "deleted" },
      { result: "unknown" }
    ])
    settle(fold, [createTopicOf("orders", 2)])
    assert.deepEqual(
      settle(fold, [deletion(1, true)]),
      [{ result: "deleted" }],
      "it was another topic of the same name"
    )
    assert.equal(fold.topicByName("orders")!.topicId, idOf("topic", 2))
  })

  it("answers partitions that may be there already with created where there are just so many", () => {
    const grow = (partitions: number, mayBeDone: boolean, topic = 1): Command => ({
      kind: "create-partitions",
      topicId: idOf("topic", topic),
      partitions,
      mayBeDone
    })
    const fold = foldWithTopic()
    const commands = [grow(5, true), grow(5, true), grow(5, false), grow(4, true), grow(5, true, 9), grow(6, true)]
    assert.deepEqual(settle(fold, commands), [
      { result: "created", partitions: 5 },
      { result: "created", partitions: 5 },
      { result: "not-more", partitions: 5 },
      { result: "not-more", partitions: 5 },
      { result: "unknown", partitions: 0 },
      { result: "created", partitions: 6 }
    ])
    const again = judge(fold, [grow(6, true)], { nowMs: NOW_MS })
    assert.deepEqual([again.answers, again.effects], [[{ result: "created", partitions: 6 }], []])
  })

  it("answers a created topic's own command again with created", () => {
    const fold = foldWithTopic()
    assert.deepEqual(settle(fold, [createTopicOf("orders")]), [{ result: "created", topicId: TOPIC }])
    assert.deepEqual(settle(fold, [createTopicOf("orders", 2)]), [{ result: "exists", topicId: TOPIC }])
    assert.deepEqual(settle(fold, [createTopicOf("renamed")]), [{ result: "exists", topicId: TOPIC }])
  })
})

describe("commands of one entry", () => {
  const history: ReadonlyArray<Command> = [
    createTopicOf("second", 2, 1),
    commitOf(1, [runOf([idempotent(7, 0, 0, 3)]), runOf([batchOf()], { topicId: idOf("topic", 2) })]),
    commitOf(2, [runOf([idempotent(7, 0, 3), idempotent(7, 0, 0, 3), batchOf({ offsetCount: 2 })])]),
    { kind: "create-partitions", topicId: idOf("topic", 2), partitions: 2, mayBeDone: false },
    commitOf(3, [runOf([batchOf()], { topicId: idOf("topic", 2), partition: 1 })]),
    { kind: "allocate-producer-ids" },
    { kind: "delete-topic", topicId: idOf("topic", 2), mayBeDone: false },
    commitOf(4, [runOf([batchOf()], { topicId: idOf("topic", 2) }), runOf([idempotent(7, 0, 4)])]),
    commitOf(5, [runOf([5, 6, 7, 8, 0, 9, 3].map((sequence) => idempotent(7, 0, sequence)))]),
    createTopicOf("second", 3, 4),
    commitOf(1, [runOf([idempotent(7, 0, 0, 3)]), runOf([batchOf()], { topicId: idOf("topic", 2) })]),
    { kind: "allocate-producer-ids" },
    { kind: "materialized", throughSeq: 2 },
    { kind: "materialized", throughSeq: 1 },
    { kind: "delete-topic", topicId: idOf("topic", 2), mayBeDone: true },
    { kind: "create-partitions", topicId: idOf("topic", 3), partitions: 4, mayBeDone: true }
  ]

  it("see each other as if each had an entry of its own", () => {
    const together = settle(foldWithTopic(), history)
    const fold = foldWithTopic()
    const alone = history.flatMap((command) => settle(fold, [command]))
    assert.deepEqual(together, alone)
    assert.deepEqual(together[5], { first: 0, count: limits.producerIdBlock })
    assert.deepInclude((together[8] as CommitSegmentAnswer).runs[0]![6], { verdict: "duplicateWithoutOffset" })
    assert.deepEqual(together[11], { first: limits.producerIdBlock, count: limits.producerIdBlock })
  })

  it("leave the fold as it is until their entry is folded", () => {
    const fold = foldWithTopic()
    const before = JSON.stringify(judge(fold, history, { nowMs: NOW_MS }))
    assert.equal(JSON.stringify(judge(fold, history, { nowMs: NOW_MS })), before)
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 0)
    assert.isUndefined(fold.topicByName("second"))
  })
})
