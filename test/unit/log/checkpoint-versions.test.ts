/**
 * Goal: checkpoints of both versions are read for what they say, version 2 is written for ever as it is now, and what either
 * says of producers is checked.
 * Method: golden files; a checkpoint of version 2 is made one of version 1; states are changed before they are written.
 */
import { assert, describe, it } from "vitest"
import { encodeCheckpoint } from "#core/log/checkpoint.ts"
import { decodeBody, encodeBody, imageOfFold } from "#core/log/checkpoint-body.ts"
import { cutChunks } from "#core/log/checkpoint-chunks.ts"
import { type CommitSegmentAnswer } from "#core/log/command.ts"
import { digest } from "#core/log/digest.ts"
import { EntryError } from "#core/log/entry.ts"
import { type Fold } from "#core/log/fold.ts"
import { ACCEPTED_COUNT_MAX, NUMBERS_PER_BATCH, type ProducerState } from "#core/log/producer-states.ts"
import { crc32c } from "#core/records/crc32c.ts"
import { bodyOf, goldenOf, hexOf, rememberedOf, restored } from "./checkpoint-builders.ts"
import { commitOf, foldWithTopic, idempotent, idOf, runOf, settle, TOPIC } from "./log-builders.ts"

/** What the golden file holds. */
const GOLDEN_STATE = {
  seq: 81,
  epoch: 1,
  holder: { name: "agent-1", session: "400000000000000000000000000f4278", region: "region-2" },
  materializedSeq: 39,
  materializedAtSeq: 62,
  nextProducerId: 2_000,
  residentRuns: 25
}
const GOLDEN_DIGEST = "8504a0fa785057ce1f6f4dc04310ce48fb62f5ddaf3d78f4f680eabf3ab30037"

const GOLDEN_PRODUCER = 424_242
const GOLDEN_TOPIC = idOf("topic", 3)

/** What the golden of version 2 holds: that of version 1, and then a producer of whom batches are forgotten. */
const goldenFold = (): Fold => {
  const fold = restored(goldenOf(1))
  for (let n = 0; n < 7; n += 1) {
    const batch = idempotent(GOLDEN_PRODUCER, 3, (2 ** 31 - 5 + n * 2) % 2 ** 31, 2)
    const createdAtMs = fold.timeMs
    settle(fold, [commitOf(900_000 + n, [runOf([batch], { topicId: GOLDEN_TOPIC })], { createdAtMs })], fold.timeMs + 1)
  }
  return fold
}

/** As a program of version 1 wrote it: a fold of one topic, where one producer produced to partition 0. */
const asVersion1 = (fold: Fold): ReadonlyArray<Uint8Array> => {
  const image = imageOfFold(fold)
  const state = image.topics[0]!.partitions[0]!.producers!.get(7)!
  state.acceptedCount = rememberedOf(state)
  const body = (encodeBody(image).next().value as Buffer).toString("hex")
  // What is of version 2 alone: the count behind the last batch, which was appended last and has no time of its own.
  const lastBatch = Buffer.from([...state.batches.slice(-NUMBERS_PER_BATCH, -2), 2, 0]).toString("hex")
  const count = Buffer.from([state.acceptedCount]).toString("hex")
  assert.equal(body.split(lastBatch + count).length, 2)
  const old = Buffer.from(body.replace(lastBatch + count, lastBatch), "hex")
  return cutChunks({ shard: fold.shard, seq: fold.seq, body: old }).map((chunk) => {
    const changed = Buffer.from(chunk)
    changed[4] = 1
    changed.writeUInt32BE(crc32c(changed.subarray(0, -4)), changed.length - 4)
    return changed
  })
}

describe("the versions", () => {
  it("reads the golden checkpoint of version 1", () => {
    const fold = restored(goldenOf(1))
    const { seq, epoch, holder, materializedSeq, materializedAtSeq, nextProducerId, residentRuns } = fold
    const expected = GOLDEN_STATE
    assert.deepEqual({ seq, epoch, holder, materializedSeq, materializedAtSeq, nextProducerId, residentRuns }, expected)
    assert.equal(digest(fold), GOLDEN_DIGEST)
    const states = fold
      .topics()
      .flatMap((topic) => topic.partitions.flatMap(({ producers }) => [...(producers?.entries() ?? [])]))
    assert.isAbove(states.length, 3)
    for (const [, state] of states) assert.equal(state.acceptedCount, rememberedOf(state), "all that it tells of")
    assert.equal(digest(restored(encodeCheckpoint(fold))), GOLDEN_DIGEST, "and is the same as one of version 2")
  })

  it("reads the golden checkpoint of version 2, and writes it still", () => {
    const fold = restored(goldenOf(2))
    assert.deepEqual(hexOf(cutChunks({ shard: 0, seq: fold.seq, body: bodyOf(fold) }, 1_000)), hexOf(goldenOf(2)))
    assert.equal(digest(fold), digest(goldenFold()))
    assert.equal(fold.topicById(GOLDEN_TOPIC)!.partitions[0]!.producers!.get(GOLDEN_PRODUCER)!.acceptedCount, 14)
  })

  it("of version 1 tells of what was forgotten by then as out of order, and goes on counting", () => {
    const before = foldWithTopic()
    for (let n = 0; n < 7; n += 1) settle(before, [commitOf(n, [runOf([idempotent(7, 0, n * 2, 2)])])])
    const fold = restored(asVersion1(before))
    const commit = (segment: number, sequence: number): string => {
      const [answer] = settle(fold, [commitOf(segment, [runOf([idempotent(7, 0, sequence, 2)])])])
      return (answer as CommitSegmentAnswer).runs[0]![0]!.verdict
    }
    assert.equal(commit(10, 4), "duplicate")
    assert.equal(commit(11, 2), "outOfOrderSequence")
    assert.equal(commit(12, 14), "accepted")
    assert.equal(commit(13, 4), "duplicateWithoutOffset")
    assert.equal(commit(14, 2), "outOfOrderSequence")
    assert.equal(fold.topicById(TOPIC)!.partitions[0]!.producers!.get(7)!.acceptedCount, 12)
    assert.equal(digest(restored(encodeCheckpoint(fold))), digest(fold))
  })
})

describe("what a checkpoint says of producers", () => {
  it("is refused where a count or sequences cannot be", () => {
    const five = foldWithTopic()
    for (let n = 0; n < 7; n += 1) settle(five, [commitOf(n, [runOf([idempotent(7, 0, n * 2, 2)])])])
    const two = foldWithTopic()
    for (let n = 0; n < 2; n += 1) settle(two, [commitOf(n, [runOf([idempotent(7, 0, n * 2, 2)])])])
    const changedState = (of: Fold, change: (state: ProducerState) => void): (() => void) => {
      const image = imageOfFold(of)
      const topic = image.topics[0]!
      change(topic.partitions[0]!.producers!.get(7)!)
      const slices = encodeBody(image)
      const body = slices.next().value as Buffer
      return () => decodeBody(body, of.seq)
    }
    const withCount = (of: Fold, count: number): (() => void) =>
      changedState(of, (state) => {
        state.acceptedCount = count
      })
    for (const count of [10, 14, 1_000, ACCEPTED_COUNT_MAX]) withCount(five, count)()
    for (const count of [0, 9, ACCEPTED_COUNT_MAX + 1, 2 ** 40]) {
      assert.throws(withCount(five, count), EntryError, /sequences accepted, 10 of them in 5 batches/)
    }
    withCount(two, 4)()
    for (const count of [0, 3, 5]) assert.throws(withCount(two, count), EntryError, /4 of them in 2 batches/)
    const withBatch = (index: number, value: number): (() => void) =>
      changedState(two, (state) => {
        state.batches[index] = value
      })
    assert.throws(withBatch(4, 3), EntryError, /sequence 3 where 2 follows/)
    assert.throws(withBatch(1, 2 ** 31), EntryError, /a sequence is above/)
    assert.throws(withBatch(0, 2 ** 31), EntryError, /a sequence is above/)
  })
})
