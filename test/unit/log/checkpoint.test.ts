/**
 * Goal: a fold restored from a checkpoint is the fold that went through the whole log, also in place under readers that hold
 * its partitions; and bytes that are not exactly one sound checkpoint change nothing.
 * Method: seeded histories of everything are cut at many seqs, restored, and folded on beside a fold that never was;
 * chunks are cut short at every byte, changed bit by bit, mixed up, and lied to behind right checksums.
 */
import { assert, describe, it } from "vitest"
import { CheckpointError, checkpointSlices, checkSlices, encodeCheckpoint, restoreFold } from "#core/log/checkpoint.ts"
import { decodeBody, encodeBody, imageOfFold } from "#core/log/checkpoint-body.ts"
import { cutChunks, joinChunks } from "#core/log/checkpoint-chunks.ts"
import { digest } from "#core/log/digest.ts"
import { EntryError } from "#core/log/entry.ts"
import { applyRow, createFold, type Fold } from "#core/log/fold.ts"
import { type LogEffect } from "#core/log/effect.ts"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { crc32c } from "#core/records/crc32c.ts"
import {
  commitOf,
  createTopicOf,
  foldWithTopic,
  idOf,
  batchOf,
  NOW_MS,
  randomOf,
  rowAfter,
  runOf,
  settle,
  TOPIC
} from "./log-builders.ts"
import { assertSound, bodyOf, goldenOf, hexOf, rememberedOf, restored } from "./checkpoint-builders.ts"
import { foldOf, historyOf } from "./log-history.ts"

const foldOn = (fold: Fold, rows: ReadonlyArray<LogRow>): Fold => {
  for (const row of rows) if (row.seq > fold.seq) applyRow(fold, row)
  return fold
}

describe("the histories of these tests", () => {
  it("hold everything that a checkpoint tells of", () => {
    const folds = [1, 2, 3, 4, 5].map((seed) => historyOf(seed, { isSteady: true }).fold)
    const partitions = folds.flatMap((fold) => fold.topics().flatMap((topic) => topic.partitions))
    const runs = partitions.flatMap((each) => Array.from({ length: each.runCount }, (_, index) => each.run(index)))
    const isAny = {
      topics: folds.every((fold) => fold.topics().length > 1),
      deletedTopics: folds.some((fold) => fold.deletedTopicIds.size > 0),
      epochs: folds.some((fold) => fold.epoch > 1 && fold.holder !== undefined),
      droppedRuns: partitions.some((each) => each.residentOffset > 0 && each.residentOffset < each.highWatermark),
      idlePartitions: partitions.some((each) => each.highWatermark > 0 && each.runCount === 0),
      excluded: runs.some((run) => run.excluded.length > 0),
      appendTimes: runs.some((run) => run.timestampType === "append"),
      sharedSegments: runs.some((run) => runs.some((other) => other !== run && other.segment === run.segment)),
      producers: partitions.some((each) => (each.producers?.size ?? 0) > 1),
      forgottenBatches: partitions.some((each) =>
        [...(each.producers?.entries() ?? [])].some(([, state]) => state.acceptedCount > rememberedOf(state))
      ),
      remembered: folds.every((fold) => fold.segments.size > 0 && fold.segments.forgottenMs > 0)
    }
    for (const [what, holds] of Object.entries(isAny)) assert.isTrue(holds, what)
  })
})

describe("a restored fold", () => {
  for (const [seed, stepMs] of [
    [1, 5_000],
    [2, 5_000],
    [3, 100],
    [4, 60_000],
    [5, 500_000]
  ] as const) {
    it(`is the fold that folded everything, at any seq and from there on, seed ${seed}`, () => {
      const { rows, fold: whole } = historyOf(seed, { stepMs, isSteady: true })
      for (let count = 1; count <= rows.length; count += 23) {
        const before = foldOf(rows, count)
        const chunks = encodeCheckpoint(before)
        const again = restored(chunks)
        assert.equal(digest(again), digest(before), `at seq ${count}`)
        assert.deepEqual(hexOf(encodeCheckpoint(again)), hexOf(chunks), "equal folds have equal bytes")
        assert.equal(digest(foldOn(again, rows)), digest(whole), `from seq ${count} on`)
      }
    })

    it(`is the same in place, from however far behind, seed ${seed}`, () => {
      const { rows, fold: whole } = historyOf(seed + 50, { stepMs, isSteady: true })
      const chunks = encodeCheckpoint(foldOf(rows, 250))
      for (let behind = 0; behind < 250; behind += 31) {
        const fold = restored(chunks, foldOf(rows, behind))
        assert.equal(digest(foldOn(fold, rows)), digest(whole), `from seq ${behind}`)
      }
    })
  }

  it("keeps the topics and partitions that readers hold, and tells what they wait for", () => {
    const early = foldWithTopic()
    settle(early, [createTopicOf("doomed", 2, 1), createTopicOf("quiet", 3, 1)])
    const late = restored(encodeCheckpoint(early))
    settle(late, [commitOf(1, [runOf([batchOf({ offsetCount: 7 })], { partition: 1 })])])
    settle(late, [{ kind: "delete-topic", topicId: idOf("topic", 2), mayBeDone: false }])
    settle(late, [{ kind: "create-partitions", topicId: TOPIC, partitions: 5, mayBeDone: false }])
    const topic = early.topicById(TOPIC)!
    const [first, second] = topic.partitions
    const folded = restoreFold(early, encodeCheckpoint(late))
    assert.equal(early.topicById(TOPIC), topic)
    assert.equal(topic.partitions[0], first)
    assert.equal(topic.partitions[1], second)
    assert.equal(topic.partitions.length, 5)
    assert.equal(second!.highWatermark, 7)
    assert.equal(second!.run(0).segment.segmentId, idOf("segment", 1))
    assert.isUndefined(early.topicByName("doomed"))
    assert.deepEqual(folded.grown, [second!])
    assert.deepEqual(folded.effects, [{ kind: "topic-deleted", topicId: idOf("topic", 2) }])
    assert.equal(digest(early), digest(late))
  })

  it("goes on from the chain's last nonce, and refuses a row that does not follow", () => {
    const { rows } = historyOf(9)
    const again = restored(encodeCheckpoint(foldOf(rows, 100)))
    assert.throws(() => applyRow(again, { ...rows[100]!, prevNonce: idOf("nonce", 77) }), /its predecessor is/)
  })
})

describe("a checkpoint that is made in slices", () => {
  it("is of the fold as it was when it was begun, whatever is folded, dropped or deleted meanwhile", () => {
    const { rows } = historyOf(11, { entries: 400, isMaterialized: false })
    const fold = foldOf(rows, 200)
    const runs = Array.from({ length: 3_000 }, (_, n) => runOf([batchOf()], { byteOffset: n * 10 }))
    settle(fold, [createTopicOf("large", 90, 2)], NOW_MS + 10_000_000)
    for (let n = 0; n < 8; n += 1) {
      const ofTopic = runs.map((run) => ({ ...run, topicId: idOf("topic", 90), partition: n % 2 }))
      settle(fold, [commitOf(100_000 + n, ofTopic, { createdAtMs: NOW_MS + 10_000_000 })], NOW_MS + 10_000_000)
    }
    const expected = hexOf(encodeCheckpoint(fold))
    const before = digest(fold)
    const slices = checkpointSlices(fold)
    let count = 0
    let slice = slices.next()
    while (slice.done !== true) {
      count += 1
      const nowMs = NOW_MS + 10_000_000 + count
      const more = runs.slice(0, 700).map((run) => ({ ...run, topicId: idOf("topic", 90) }))
      settle(fold, [commitOf(200_000 + count, more, { createdAtMs: nowMs })], nowMs)
      if (count === 1) settle(fold, [{ kind: "materialized", throughSeq: fold.seq - 3 }], nowMs)
      if (count === 2) settle(fold, [{ kind: "delete-topic", topicId: idOf("topic", 90), mayBeDone: false }], nowMs)
      slice = slices.next()
    }
    assert.isAbove(count, 3)
    assert.deepEqual(hexOf(slice.value.chunks), expected)
    assert.isAbove([...checkSlices(slice.value.chunks, { shard: 0, seq: slice.value.seq })].length, 3, "to check")
    assert.equal(digest(restored(slice.value.chunks)), before)
  })
})

/** With another bound of deleted topics that are remembered. */
const keepingDeleted = (count: number, use: () => void): void => {
  const bounds = limits as { deletedTopicIdsKept: number }
  const before = bounds.deletedTopicIdsKept
  bounds.deletedTopicIdsKept = count
  try {
    use()
  } finally {
    bounds.deletedTopicIdsKept = before
  }
}

/** Topics come and go, one after the other; every tenth entry says that the entries before the last nine are in pages. */
const historyOfDeletions = (entries: number): ReadonlyArray<LogRow> => {
  const fold = createFold(0)
  const rows: Array<LogRow> = []
  const add = (effects: ReadonlyArray<LogEffect>): void => {
    const row = rowAfter(fold, effects)
    rows.push(row)
    applyRow(fold, row)
  }
  add([{ kind: "genesis", clusterId: idOf("cluster", 1) }])
  const live: Array<Uuid> = []
  for (let n = 1; n <= entries; n += 1) {
    const topicId = idOf("topic", n)
    if (n % 10 === 0) add([{ kind: "materialized", throughSeq: fold.seq - 9 }])
    else if (n % 10 > 6) add(live.splice(0, 2).map((gone) => ({ kind: "topic-deleted", topicId: gone })))
    else {
      live.push(topicId)
      add([{ kind: "topic-created", topicId, name: `topic-${n}`, partitions: 1, configs: [], createdAtMs: NOW_MS }])
    }
  }
  return rows
}

describe("deleted topics", () => {
  for (const kept of [0, 1, 4, 1_000]) {
    it(`are forgotten beyond ${kept}, the oldest first, once their pages are gone`, () =>
      keepingDeleted(kept, () => {
        const rows = historyOfDeletions(120)
        const fold = createFold(0)
        const all = new Map<Uuid, number>()
        for (const row of rows) {
          for (const effect of applyRow(fold, row).effects) {
            if (effect.kind === "topic-deleted") all.set(effect.topicId, row.seq)
          }
          const young = [...all].filter(([, seq]) => seq > fold.materializedSeq)
          const old = [...all].filter(([, seq]) => seq <= fold.materializedSeq)
          assert.deepEqual([...fold.deletedTopicIds], [...old.slice(Math.max(0, old.length - kept)), ...young])
        }
        assert.isAbove(all.size, 50)
      }))

    it(`are the same in a fold that is restored from however far behind, where ${kept} are kept`, () =>
      keepingDeleted(kept, () => {
        const rows = historyOfDeletions(120)
        const whole = foldOf(rows)
        for (let count = 3; count <= rows.length; count += 7) {
          const chunks = encodeCheckpoint(foldOf(rows, count))
          for (let behind = 0; behind < count; behind += 3) {
            const fold = foldOf(rows, behind)
            const { effects } = restoreFold(fold, chunks)
            assert.equal(digest(foldOn(fold, rows)), digest(whole), `from seq ${behind} to ${count}`)
            const gone = foldOf(rows, behind)
              .topics()
              .map(({ topicId }) => topicId)
              .filter((topicId) => foldOf(rows, count).topicById(topicId) === undefined)
            assert.deepEqual(
              effects,
              gone.map((topicId) => ({ kind: "topic-deleted", topicId }))
            )
          }
        }
      }))
  }

  it("are refused in a checkpoint where they are more than any fold keeps, or not in their order", () => {
    const rows = historyOfDeletions(120)
    const fold = foldOf(rows)
    const image = imageOfFold(fold)
    const old = [...fold.deletedTopicIds].filter(([, seq]) => seq <= fold.materializedSeq)
    const body = bodyOf(fold)
    keepingDeleted(old.length, () =>
      assert.equal(decodeBody(body, fold.seq).deletedTopicIds.size, fold.deletedTopicIds.size)
    )
    keepingDeleted(old.length - 1, () => assert.throws(() => decodeBody(body, fold.seq), EntryError, /more than/))
    const slices = encodeBody({ ...image, deletedTopicIds: new Map([...fold.deletedTopicIds].toReversed()) })
    const reversed = slices.next().value as Buffer
    assert.throws(() => decodeBody(reversed, fold.seq), EntryError, /deleted at seq/)
  })
})

describe("topics in order", () => {
  it("are those of the checkpoint, also where it has none", () => {
    const early = foldWithTopic()
    const late = foldWithTopic()
    settle(late, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
    assert.equal(early.topics().length, 1)
    restoreFold(early, encodeCheckpoint(late))
    assert.deepEqual(early.topics(), [])
  })
})

describe("a checkpoint that does not fit the fold", () => {
  const refused: ReadonlyArray<readonly [why: string, fold: () => Fold, late: () => Fold, message: RegExp]> = [
    ["of an earlier seq", () => foldOf(historyOf(1).rows, 50), () => foldOf(historyOf(1).rows, 50), /seq 50 already/],
    ["of another shard", () => createFold(1), () => foldWithTopic(), /shard 1 at seq 2: this is one of shard 0/],
    [
      "of a log where topics are missing",
      () => foldWithTopic(),
      () => {
        const fold = createFold(0)
        settle(fold, [])
        for (let n = 0; n < 5; n += 1) settle(fold, [createTopicOf(`other-${n}`, 10 + n)])
        fold.clusterId = idOf("cluster", 1)
        return fold
      },
      /topic 70.* is missing/
    ],
    [
      "of another cluster",
      () => foldWithTopic(),
      () => {
        const fold = foldWithTopic()
        settle(fold, [])
        fold.clusterId = idOf("cluster", 2)
        return fold
      },
      /another cluster/
    ],
    [
      "where a topic lives that was deleted",
      () => {
        const fold = foldWithTopic()
        settle(fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
        return fold
      },
      () => {
        const fold = foldWithTopic()
        settle(fold, [])
        settle(fold, [])
        return fold
      },
      /topic 70.* was deleted, and lives in it/
    ],
    [
      "where nothing is known of a topic that was deleted, though none can have been forgotten",
      () => {
        const fold = foldWithTopic()
        settle(fold, [{ kind: "delete-topic", topicId: TOPIC, mayBeDone: false }])
        return fold
      },
      () => {
        const fold = createFold(0)
        for (let n = 0; n < 5; n += 1) settle(fold, [createTopicOf(`other-${n}`, 10 + n)])
        fold.clusterId = idOf("cluster", 1)
        return fold
      },
      /topic 70.* was deleted, and never was in it/
    ],
    [
      "where a high watermark retreats",
      () => {
        const fold = foldWithTopic()
        settle(fold, [commitOf(1, [runOf([batchOf({ offsetCount: 9 })])])])
        return fold
      },
      () => {
        const fold = foldWithTopic()
        settle(fold, [commitOf(1, [runOf([batchOf()])])])
        settle(fold, [])
        return fold
      },
      /partition 0 of topic .* retreats to 1/
    ]
  ]
  for (const [why, fold, late, message] of refused) {
    it(`is refused: ${why}`, () => {
      const target = fold()
      const before = digest(target)
      assert.throws(() => restoreFold(target, encodeCheckpoint(late())), CheckpointError, message)
      assert.equal(digest(target), before)
    })
  }
})

describe("damaged checkpoints", () => {
  const { fold } = historyOf(21, { entries: 120, isSteady: true })
  /** In many small chunks. */
  const chunks = cutChunks({ shard: 0, seq: fold.seq, body: bodyOf(fold) }, 600)

  const assertRefused = (damaged: ReadonlyArray<Uint8Array>, message = /./): void => {
    const target = createFold(0)
    const before = digest(target)
    assert.throws(() => restoreFold(target, damaged), CheckpointError, message)
    assert.equal(digest(target), before, "nothing was applied")
  }
  const changed = (index: number, chunk: Uint8Array): ReadonlyArray<Uint8Array> => chunks.with(index, chunk)

  it("are whole to begin with", () => {
    assert.isAbove(chunks.length, 4)
    assert.equal(digest(restored(chunks)), digest(fold))
  })

  it("are refused wherever a chunk is cut, or is longer", () => {
    for (const [index, chunk] of chunks.entries()) {
      for (let length = 0; length < chunk.length; length += 1) {
        assertRefused(changed(index, chunk.subarray(0, length)), /shard 0 at seq/)
      }
      assertRefused(changed(index, Buffer.concat([chunk, Buffer.alloc(1)])))
    }
  })

  it("are refused whichever bit is changed", () => {
    for (const [index, chunk] of chunks.entries()) {
      for (let at = 0; at < chunk.length; at += 1) {
        const damaged = Buffer.from(chunk)
        damaged[at] = damaged[at]! ^ (1 << (at & 7))
        assertRefused(changed(index, damaged))
      }
    }
  })

  it("are refused when chunks are missing, doubled, in another order, or of another checkpoint", () => {
    const other = foldOf(historyOf(22, { entries: 120 }).rows)
    const others = cutChunks({ shard: 0, seq: fold.seq, body: bodyOf(other) }, 600)
    assertRefused([], /no chunks/)
    assertRefused(chunks.slice(0, -1), /of \d+ chunks/)
    assertRefused(chunks.slice(1))
    assertRefused([...chunks, chunks[0]!])
    assertRefused(changed(1, chunks[2]!), /chunk 1 is chunk 2/)
    assertRefused(chunks.toReversed())
    assertRefused(changed(1, others[1]!), /another checkpoint|of \d+ chunks/)
  })

  it("of a newer program are told as such", () => {
    const newer = Buffer.from(chunks[0]!)
    newer[4] = 3
    assertRefused(changed(0, newer), /at seq \d+|version 3 is unknown to this program/)
    assertRefused(chunks.with(1, newer), /chunk 1: version 3 is unknown to this program/)
  })

  it("are refused where one is of another version than the others", () => {
    const older = Buffer.from(chunks[1]!)
    older[4] = 1
    older.writeUInt32BE(crc32c(older.subarray(0, -4)), older.length - 4)
    assertRefused(changed(1, older), /chunk 1 is one of another checkpoint/)
    const oldest = chunks.map((chunk) => {
      const changedChunk = Buffer.from(chunk)
      changedChunk[4] = 1
      changedChunk.writeUInt32BE(crc32c(changedChunk.subarray(0, -4)), changedChunk.length - 4)
      return changedChunk
    })
    assertRefused(oldest, /./)
  })

  it("are an error of theirs, never of this program, behind right checksums as well", () => {
    const random = randomOf(7)
    const old = joinChunks(goldenOf(1), { shard: 0 })
    for (const { body, seq, version } of [{ body: bodyOf(fold), seq: fold.seq, version: 2 as const }, old]) {
      let refusals = 0
      for (let at = 0; at < body.length; at += 1) {
        const lying = Buffer.from(body)
        lying[at] = lying[at]! ^ (1 + Math.floor(random() * 255))
        try {
          for (const { producers } of decodeBody(lying, seq, version).topics.flatMap((topic) => topic.partitions)) {
            for (const [, state] of producers?.entries() ?? []) assertSound(state)
          }
        } catch (error) {
          assert.instanceOf(error, EntryError)
          refusals += 1
        }
      }
      assert.isAbove(refusals, body.length / 10)
      for (let length = 0; length < body.length; length += 1) {
        assert.throws(() => decodeBody(body.subarray(0, length), seq, version), EntryError)
      }
    }
  })

  it("do not make anyone reserve memory for a false count", () => {
    const body = bodyOf(createFold(0))
    for (let at = 0; at < body.length; at += 1) {
      const lying = Buffer.concat([body.subarray(0, at), Buffer.from([0xff, 0xff, 0xff, 0x7f]), body.subarray(at + 1)])
      try {
        decodeBody(lying, 0)
      } catch (error) {
        assert.instanceOf(error, EntryError)
      }
    }
  })
})

describe("the format", () => {
  it("keeps seqs above 2^32", () => {
    const body = Buffer.from("body")
    const seq = 2 ** 45 + 7
    const joined = joinChunks(cutChunks({ shard: 3, seq, body }), { shard: 3 })
    assert.deepEqual({ ...joined, body: Buffer.from(joined.body) }, { shard: 3, seq, body, version: 2 })
  })

  it("takes few bytes for a partition that nothing happens in", () => {
    const fold = createFold(0)
    settle(fold, [createTopicOf("orders", 1, 1)])
    const small = encodeCheckpoint(fold)[0]!.length
    settle(fold, [{ kind: "create-partitions", topicId: TOPIC, partitions: 10_000, mayBeDone: false }])
    assert.isAtMost(encodeCheckpoint(fold)[0]!.length - small, 2 * 10_000)
  })
})
