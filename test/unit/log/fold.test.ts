/**
 * Goal: the fold follows exactly the log, gives every agent the same state, and stops for what it cannot follow.
 * Method: rows that break one rule each must stop it and change nothing; a long random history is folded in different
 * portions and compared by digest; what is kept for long is pushed over its bounds.
 */
import { assert, describe, it } from "vitest"
import { digest } from "#core/log/digest.ts"
import { type LogEffect, type SegmentCommitted } from "#core/log/effect.ts"
import { encodeEntry } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold, FoldStopped } from "#core/log/fold.ts"
import { judge } from "#core/log/judge.ts"
import { limits } from "#core/model/limits.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import {
  batchOf,
  commitOf,
  createTopicOf,
  foldEffects,
  foldWithTopic,
  idempotent,
  idOf,
  NOW_MS,
  randomOf,
  rowAfter,
  runOf,
  settle,
  TOPIC
} from "./log-builders.ts"

const segmentEffect = (segment: number, run: Partial<SegmentCommitted["runs"][number]>): LogEffect => {
  const { kind: _kind, ...rest } = commitOf(segment, [])
  const runs = [{ ...runOf([batchOf({ offsetCount: 5 })]), baseOffset: 0, excluded: [], ...run }]
  return { ...rest, kind: "segment-committed", appendTimeMs: NOW_MS, runs }
}

const assertStops = (fold: Fold, row: LogRow, message: RegExp): void => {
  const before = digest(fold)
  assert.throws(() => applyRow(fold, row), FoldStopped, message)
  assert.equal(digest(fold), before, "a refused row changes nothing")
  const sound = rowAfter(fold, [])
  assert.throws(() => applyRow(fold, sound), FoldStopped, message, "a stopped fold stays stopped")
}

const begun = (name: string) =>
  ({ kind: "epoch-begun", holder: { name, session: idOf("segment", 1), region: "east" } }) as const

describe("rows that do not fit", () => {
  const refused: ReadonlyArray<readonly [why: string, row: (fold: Fold) => LogRow, message: RegExp]> = [
    ["a gap", (fold) => rowAfter(fold, [], { seq: fold.seq + 2 }), /shard 0 stopped at seq 4: expected seq 3/],
    ["a row again", (fold) => rowAfter(fold, [], { seq: fold.seq }), /expected seq 3/],
    ["another shard", (fold) => rowAfter(fold, [], { shard: 1 }), /a row of shard 1/],
    ["a broken chain", (fold) => rowAfter(fold, [], { prevNonce: idOf("nonce", 99) }), /its predecessor is/],
    ["bytes that are no entry", (fold) => rowAfter(fold, [], { entry: new Uint8Array(20) }), /version 0 is unknown/],
    ["a second genesis", (fold) => rowAfter(fold, [{ kind: "genesis", clusterId: idOf("cluster", 2) }]), /genesis/],
    ["an unknown topic", (fold) => rowAfter(fold, [segmentEffect(1, { topicId: idOf("topic", 9) })]), /not there/],
    [
      "an unknown partition",
      (fold) => rowAfter(fold, [segmentEffect(1, { partition: 2 })]),
      /partition 2 .* not there/
    ],
    ["offsets used again or left out", (fold) => rowAfter(fold, [segmentEffect(1, { baseOffset: 1 })]), /expected 0/],
    [
      "offsets used again within the entry",
      (fold) => rowAfter(fold, [segmentEffect(1, {}), segmentEffect(2, { baseOffset: 0 })]),
      /offset 0 .* expected 5/
    ],
    ["a segment twice", (fold) => rowAfter(fold, [segmentEffect(1, {}), segmentEffect(1, { baseOffset: 5 })]), /again/],
    ["accepted batches without offsets", (fold) => rowAfter(fold, [segmentEffect(1, { baseOffset: -1 })]), /without/],
    [
      "a topic id that was used",
      (fold) =>
        rowAfter(fold, [
          { kind: "topic-deleted", topicId: TOPIC },
          { ...createTopicOf("new"), kind: "topic-created", createdAtMs: NOW_MS }
        ]),
      /used again/
    ],
    [
      "a name that is taken",
      (fold) => rowAfter(fold, [{ ...createTopicOf("orders", 2), kind: "topic-created", createdAtMs: NOW_MS }]),
      /is taken/
    ],
    [
      "the deletion of no topic",
      (fold) => rowAfter(fold, [{ kind: "topic-deleted", topicId: idOf("topic", 9) }]),
      /not/
    ],
    [
      "fewer partitions",
      (fold) => rowAfter(fold, [{ kind: "partitions-created", topicId: TOPIC, partitions: 2 }]),
      /fewer/
    ],
    [
      "producer ids with a gap",
      (fold) => rowAfter(fold, [{ kind: "producer-ids-allocated", first: 1, count: 9 }]),
      /gap/
    ]
  ]
  for (const [why, row, message] of refused) {
    it(`stops for ${why}, and changes nothing`, () => {
      const fold = foldWithTopic()
      assertStops(fold, row(fold), message)
    })
  }

  it("passes over a row of an epoch that is over", () => {
    const fold = foldWithTopic()
    applyRow(fold, rowAfter(fold, [begun("a")], { epoch: 1 }))
    applyRow(fold, rowAfter(fold, [begun("b")], { epoch: 2 }))
    const deposed = rowAfter(fold, [{ kind: "topic-deleted", topicId: TOPIC }], { epoch: 1 })
    const folded = applyRow(fold, deposed)
    assert.deepEqual([folded.standing, folded.effects.length], ["void", 0])
    assert.isDefined(fold.topicById(TOPIC))
    assert.deepEqual([fold.seq, fold.epoch, fold.nonce], [deposed.seq, 2, deposed.nonce])
    applyRow(fold, rowAfter(fold, [{ kind: "topic-deleted", topicId: TOPIC }], { epoch: 2 }))
    assert.isUndefined(fold.topicById(TOPIC), "what follows on the void row counts")
  })

  it("stops for an epoch that nobody began, one that is left out, and one that begins in the middle", () => {
    const inEpoch = (): Fold => {
      const fold = foldWithTopic()
      applyRow(fold, rowAfter(fold, [begun("a")], { epoch: 1 }))
      return fold
    }
    const created = { kind: "producer-ids-allocated", first: 0, count: 1 } as const
    for (const [effects, epoch, why] of [
      [[created], 2, /epoch 2, expected 1/],
      [[begun("b")], 3, /epoch 3, expected 2/],
      [[begun("b")], 1, /epoch 1, expected 2/],
      [[created, begun("b")], 1, /middle/]
    ] as const) {
      const fold = inEpoch()
      assertStops(fold, rowAfter(fold, effects, { epoch }), why)
    }
  })

  it("applies nothing of an entry whose last effect does not fit", () => {
    const fold = foldWithTopic()
    const effects = [segmentEffect(1, {}), { kind: "topic-deleted", topicId: idOf("topic", 9) }] as const
    assertStops(fold, rowAfter(fold, effects), /not there/)
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 0)
  })
})

describe("state", () => {
  it("finds the run of every offset, over many chunks", () => {
    const fold = foldWithTopic()
    const counts = Array.from({ length: 1_700 }, (_, n) => 1 + (n % 7))
    counts.forEach((offsetCount, n) => settle(fold, [commitOf(n, [runOf([batchOf({ offsetCount })])])]))
    const partition = fold.topicById(TOPIC)!.partitions[0]!
    assert.equal(partition.runCount, counts.length)
    let offset = 0
    counts.forEach((offsetCount, index) => {
      for (let within = 0; within < offsetCount; within += 1) assert.equal(partition.runIndexOf(offset + within), index)
      const run = partition.run(index)
      assert.deepEqual([run.baseOffset, run.nextOffset], [offset, offset + offsetCount])
      assert.equal(run.segment.segmentId, idOf("segment", index))
      offset += offsetCount
    })
    assert.equal(partition.highWatermark, offset)
    assert.throws(() => partition.runIndexOf(offset), /offset/)
    assert.throws(() => partition.run(counts.length), /run/)
  })

  it("says of a run what a fetch needs: where it is, what is not served, its largest time", () => {
    const fold = foldWithTopic()
    const batches = [
      idempotent(7, 0, 0, 2),
      idempotent(7, 0, 0, 2),
      batchOf({ maxTimestampMs: NOW_MS + 9 }),
      { ...idempotent(7, 0, 5), maxTimestampMs: NOW_MS + 99 }
    ]
    const run = runOf(batches, { byteOffset: 77, byteLength: 4_096, crc: 0xffffffff })
    settle(fold, [commitOf(1, [run, runOf([batchOf()], { partition: 1, timestampType: "append" })])])
    const [first, second] = fold.topicById(TOPIC)!.partitions
    assert.deepEqual(first!.run(0), {
      segment: {
        segmentId: idOf("segment", 1),
        seq: fold.seq,
        createdAtMs: NOW_MS - 100,
        bucketSet: "quorum",
        ackedBuckets: ["east", "west"],
        segmentBytes: 1_100,
        blockOffsets: [0, 1_000],
        appendTimeMs: NOW_MS
      },
      byteOffset: 77,
      byteLength: 4_096,
      crc: 0xffffffff,
      baseOffset: 0,
      nextOffset: 3,
      maxTimestampMs: NOW_MS + 9,
      timestampType: "create",
      excluded: [1, 3]
    })
    assert.equal(second!.run(0).maxTimestampMs, NOW_MS)
    assert.equal(second!.run(0).segment, first!.run(0).segment, "runs share their segment")
  })

  it("names the partitions that an entry gave records, each once", () => {
    const fold = foldWithTopic()
    const commits = [
      commitOf(1, [runOf([batchOf()]), runOf([batchOf()], { partition: 1 })]),
      commitOf(2, [runOf([batchOf()], { partition: 1 }), runOf([batchOf()], { topicId: idOf("topic", 9) })])
    ]
    const folded = foldEffects(fold, judge(fold, commits, { nowMs: NOW_MS }).effects)
    assert.deepEqual(
      folded.grown.map((partition) => partition.partition),
      [0, 1]
    )
  })

  it("lists live topics in order of their names", () => {
    const fold = foldWithTopic()
    settle(fold, [createTopicOf("zebra", 2), createTopicOf("aardvark", 3)])
    settle(fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
    assert.deepEqual(
      fold.topics().map((topic) => topic.name),
      ["aardvark", "zebra"]
    )
    assert.isUndefined(fold.topicById(TOPIC))
  })
})

describe("what is remembered of producers", () => {
  const produce = (fold: Fold, segment: number, batch: ReturnType<typeof batchOf>, nowMs: number): void => {
    settle(fold, [commitOf(segment, [runOf([batch])], { createdAtMs: nowMs })], nowMs)
  }
  const producersOf = (fold: Fold, partition = 0) => fold.topicById(TOPIC)!.partitions[partition]!.producers

  it("forgets producers that were silent for a day by the log's time, and no others", () => {
    const fold = foldWithTopic()
    produce(fold, 1, idempotent(1, 0, 0), NOW_MS)
    produce(fold, 2, idempotent(2, 0, 0), NOW_MS)
    produce(fold, 3, idempotent(1, 0, 1), NOW_MS + 1)
    produce(fold, 4, idempotent(3, 0, 0), NOW_MS + limits.producerIdExpirationMs)
    assert.equal(producersOf(fold)!.size, 3)
    produce(fold, 5, idempotent(3, 0, 1), NOW_MS + limits.producerIdExpirationMs + 1)
    assert.isUndefined(producersOf(fold)!.get(2))
    assert.equal(producersOf(fold)!.get(1)?.epoch, 0)
  })

  it("counts the sequences that were accepted, anew in each epoch and after the producer was forgotten", () => {
    const fold = foldWithTopic()
    const countOf = (): number | undefined => producersOf(fold)!.get(1)?.acceptedCount
    for (let n = 0; n < 7; n += 1) produce(fold, n, idempotent(1, 0, n * 3, 3), NOW_MS)
    assert.equal(countOf(), 21)
    produce(fold, 10, idempotent(1, 0, 0, 3), NOW_MS)
    produce(fold, 11, idempotent(1, 0, 50), NOW_MS)
    assert.equal(countOf(), 21, "refused batches do not count")
    produce(fold, 12, idempotent(1, 1, 0, 2), NOW_MS)
    assert.equal(countOf(), 2)
    produce(fold, 13, idempotent(1, 1, 2, 2), NOW_MS + 1)
    assert.equal(countOf(), 4)
    const laterMs = NOW_MS + limits.producerIdExpirationMs + 2
    produce(fold, 14, batchOf(), laterMs)
    assert.isUndefined(producersOf(fold))
    produce(fold, 15, idempotent(1, 1, 9, 5), laterMs)
    assert.equal(countOf(), 5)
  })

  it("takes an entry that says of a batch that it is an old duplicate, without an offset for it", () => {
    const fold = foldWithTopic()
    const excluded = [{ index: 0, verdict: "duplicateWithoutOffset", baseOffset: -1, appendTimeMs: -1 }] as const
    foldEffects(fold, [segmentEffect(1, { batches: [idempotent(1, 0, 4), batchOf({ offsetCount: 5 })], excluded })])
    const partition = fold.topicById(TOPIC)!.partitions[0]!
    assert.deepEqual([partition.highWatermark, partition.run(0).excluded], [5, [0]])
    assert.strictEqual(partition.expectedSequence(1, 0), undefined)
  })

  it("forgets silent producers also of a partition that gets no records any more", () => {
    const fold = foldWithTopic()
    settle(fold, [commitOf(1, [runOf([idempotent(1, 0, 0)], { partition: 1 })])])
    produce(fold, 2, batchOf(), NOW_MS + limits.producerIdExpirationMs + 1)
    while (fold.seq % 1_024 !== 1_023) foldEffects(fold, [])
    assert.equal(producersOf(fold, 1)!.size, 1)
    foldEffects(fold, [])
    assert.isUndefined(producersOf(fold, 1))
  })

  it("keeps the cap of producers per partition, forgetting who was silent longest", () => {
    const fold = foldWithTopic()
    const batches = Array.from({ length: limits.producersPerPartition }, (_, id) => idempotent(id, 0, 0))
    settle(fold, [commitOf(1, [runOf(batches)])])
    produce(fold, 2, idempotent(0, 0, 1), NOW_MS)
    produce(fold, 3, idempotent(99_999, 0, 0), NOW_MS)
    assert.equal(producersOf(fold)!.size, limits.producersPerPartition)
    assert.isUndefined(producersOf(fold)!.get(1))
    assert.isDefined(producersOf(fold)!.get(0))
  })
})

describe("determinism", () => {
  /** A history of rows that uses everything, and its own fold's digest. */
  const historyOf = (seed: number): { readonly rows: ReadonlyArray<LogRow>; readonly expected: string } => {
    const random = randomOf(seed)
    const whole = (max: number): number => Math.floor(random() * max)
    const fold = foldWithTopic()
    const rows: Array<LogRow> = []
    const add = (effects: ReadonlyArray<LogEffect>): void => {
      const row = rowAfter(fold, effects)
      rows.push(row)
      applyRow(fold, row)
    }
    for (let n = 0; n < 400; n += 1) {
      const nowMs = NOW_MS + n * 500_000 + whole(1_000)
      const batches = Array.from({ length: 1 + whole(4) }, () =>
        random() < 0.3 ? batchOf() : idempotent(whole(20), whole(2), whole(4), 1 + whole(2))
      )
      const topicId = idOf("topic", 1 + whole(4))
      const commands = [
        commitOf(random() < 0.1 ? whole(n + 1) : n, [runOf(batches, { topicId, partition: whole(3) })], {
          createdAtMs: nowMs
        }),
        ...(random() < 0.05 ? [createTopicOf(`topic-${whole(5)}`, whole(40))] : []),
        ...(random() < 0.02 ? [{ kind: "delete-topic", topicId, mayBeDone: false } as const] : []),
        ...(random() < 0.02
          ? [{ kind: "create-partitions", topicId, partitions: 1 + whole(4), mayBeDone: false } as const]
          : []),
        ...(random() < 0.05 ? [{ kind: "allocate-producer-ids" } as const] : [])
      ]
      add(judge(fold, commands, { nowMs }).effects)
    }
    return { rows, expected: digest(fold) }
  }

  const replay = (rows: ReadonlyArray<LogRow>): string => {
    const fold = foldWithTopic()
    for (const row of rows) applyRow(fold, row)
    return digest(fold)
  }

  for (const seed of [1, 2, 3, 4, 5]) {
    it(`gives the same digest however the rows come, seed ${seed}`, () => {
      const { rows, expected } = historyOf(seed)
      assert.equal(replay(rows), expected, "as one")
      const around = rows.map(({ entry, ...row }) => {
        const larger = Buffer.concat([Buffer.alloc(5), entry])
        return { ...row, entry: new Uint8Array(larger.buffer, larger.byteOffset + 5, entry.length) }
      })
      const [first, second] = [foldWithTopic(), foldWithTopic()]
      const random = randomOf(seed + 100)
      // Two agents that read the same log in portions of their own, in turns.
      for (let [a, b] = [0, 0]; a < rows.length || b < rows.length;) {
        for (const end = Math.min(rows.length, a + Math.floor(random() * 9)); a < end; a += 1) applyRow(first, rows[a]!)
        for (const end = Math.min(rows.length, b + Math.floor(random() * 9)); b < end; b += 1)
          applyRow(second, around[b]!)
      }
      assert.deepEqual([digest(first), digest(second)], [expected, expected])
    })
  }

  it("has a digest that tells folds apart", () => {
    const { rows, expected } = historyOf(1)
    assert.notEqual(replay(rows.slice(0, -1)), expected)
    assert.notEqual(digest(createFold(0)), digest(createFold(1)))
    const [one, other] = [foldWithTopic(), foldWithTopic()]
    settle(one, [commitOf(1, [runOf([idempotent(1, 0, 0)])])])
    settle(other, [commitOf(1, [runOf([idempotent(1, 0, 1)])])])
    assert.notEqual(digest(one), digest(other))
  })

  it("folds entries that are written by hand as it folds its own", () => {
    const fold = foldWithTopic()
    applyRow(fold, { ...rowAfter(fold, []), entry: encodeEntry([segmentEffect(1, {})]) })
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.highWatermark, 5)
  })
})
