/**
 * Goal: whether a batch was accepted before is told exactly: never of a sequence that was not, also over the wrap, and never
 * forgotten of one that was, within half of all sequences.
 * Method: states that are set to the edges by hand; random streams of batches beside a plain list of accepted sequences.
 */
import { assert, describe, it } from "vitest"
import { type BatchSummary } from "#core/log/command.ts"
import {
  ACCEPTED_COUNT_MAX,
  copyOfProducerState,
  duplicateIndexOf,
  newProducerState,
  nextSequenceOf,
  type ProducerState,
  ProducerStates,
  rememberBatch,
  SEQUENCE_MAX,
  sequenceCountOf,
  sequenceVerdict
} from "#core/log/producer-states.ts"
import { limits } from "#core/model/limits.ts"
import { idempotent, randomOf } from "./log-builders.ts"

const SEQUENCES = 2 ** 31

const accept = (state: ProducerState, { producerEpoch, baseSequence, offsetCount }: BatchSummary): void =>
  rememberBatch(state, { producerEpoch, baseSequence, offsetCount, baseOffset: 0, appendTimeMs: -1 }, 0)

/** After batches of one record each, from this sequence on. */
const stateOf = (first: number, count: number, epoch = 0): ProducerState => {
  const state = newProducerState(epoch)
  for (let n = 0; n < count; n += 1) accept(state, idempotent(1, epoch, (first + n) % SEQUENCES))
  return state
}

const verdict = (state: ProducerState, baseSequence: number, offsetCount = 1, epoch = state.epoch): string => {
  const batch = idempotent(1, epoch, (baseSequence + SEQUENCES) % SEQUENCES, offsetCount)
  return duplicateIndexOf(state, batch) >= 0 ? "duplicate" : sequenceVerdict(state, batch)
}

describe("sequences", () => {
  it("go on from 0 after the largest, and are counted over that", () => {
    assert.deepEqual([0, 7, SEQUENCE_MAX].map(nextSequenceOf), [1, 8, 0])
    assert.equal(sequenceCountOf(5, 5), 1)
    assert.equal(sequenceCountOf(5, 9), 5)
    assert.equal(sequenceCountOf(SEQUENCE_MAX, 1), 3)
    assert.equal(sequenceCountOf(0, SEQUENCE_MAX - 1), SEQUENCE_MAX)
  })
})

describe("a batch that is not remembered any more", () => {
  for (const first of [0, 100, SEQUENCE_MAX - 7, SEQUENCE_MAX]) {
    it(`is a duplicate where all of it was accepted, and out of order where a part was not, from ${first} on`, () => {
      const state = stateOf(first, 20)
      assert.equal(verdict(state, first), "duplicateWithoutOffset")
      assert.equal(verdict(state, first, 15), "duplicateWithoutOffset")
      assert.equal(verdict(state, first, 20), "duplicateWithoutOffset")
      assert.equal(verdict(state, first + 14), "duplicateWithoutOffset", "the last that was forgotten")
      assert.equal(verdict(state, first + 15), "duplicate", "the first that is remembered")
      assert.equal(verdict(state, first - 1), "outOfOrderSequence", "before the first")
      assert.equal(verdict(state, first - 1, 2), "outOfOrderSequence", "over the first")
      assert.equal(verdict(state, first - 1, 22), "outOfOrderSequence", "over all")
      assert.equal(verdict(state, first + 19, 2), "outOfOrderSequence", "over the last")
      assert.equal(verdict(state, first, 21), "outOfOrderSequence", "from the first over the last")
      assert.equal(verdict(state, first + 20), "accepted")
      assert.equal(verdict(state, first + 20, 1_000), "accepted")
      assert.equal(verdict(state, first + 21), "outOfOrderSequence", "behind a gap")
      assert.equal(verdict(state, first + 2 ** 30), "outOfOrderSequence", "behind a large gap")
    })
  }

  it("is a duplicate also as a part of a remembered one, and of several", () => {
    const state = newProducerState(0)
    for (let n = 0; n < 3; n += 1) accept(state, idempotent(1, 0, n * 10, 10))
    assert.equal(verdict(state, 10, 10), "duplicate")
    assert.equal(verdict(state, 10, 9), "duplicateWithoutOffset")
    assert.equal(verdict(state, 5, 20), "duplicateWithoutOffset")
    assert.equal(verdict(state, 25, 6), "outOfOrderSequence")
  })

  it("is nothing of another epoch", () => {
    const state = stateOf(0, 20)
    accept(state, idempotent(1, 1, 0, 3))
    assert.equal(state.acceptedCount, 3)
    assert.equal(verdict(state, 1, 1, 1), "duplicateWithoutOffset")
    assert.equal(verdict(state, 5, 1, 1), "outOfOrderSequence")
    assert.equal(verdict(state, SEQUENCE_MAX, 1, 1), "outOfOrderSequence")
    assert.equal(verdict(state, 5, 1, 0), "invalidProducerEpoch")
    assert.equal(verdict(state, 5, 1, 2), "outOfOrderSequence")
  })

  it("is told from what is yet to come, however much was accepted", () => {
    const state = stateOf(0, 1)
    for (let n = 1; n < 5; n += 1) accept(state, idempotent(1, 0, (2 ** 29 * n + 1) % SEQUENCES, 2 ** 29))
    // The first was of 1, so that there is a gap before the second: only counts are of interest here.
    assert.equal(state.acceptedCount, ACCEPTED_COUNT_MAX)
    const last = state.batches[state.batches.length - 3]!
    for (const ahead of [2, 3, 1_000, 2 ** 29, 2 ** 30 - 1]) {
      assert.equal(verdict(state, last + ahead), "outOfOrderSequence", `${ahead} ahead`)
    }
    for (const behind of [1, 1_000, 2 ** 30 - 1]) {
      assert.equal(verdict(state, last - behind), "duplicateWithoutOffset", `${behind} behind`)
    }
    assert.equal(verdict(state, last - 2 ** 30), "outOfOrderSequence")
    assert.equal(verdict(state, last + 1), "accepted")
    assert.equal(verdict(state, last + 1, SEQUENCE_MAX), "accepted", "the largest batch there can be")
    accept(state, idempotent(1, 0, (last + 1) % SEQUENCES))
    assert.equal(state.acceptedCount, ACCEPTED_COUNT_MAX)
  })

  for (const seed of [1, 2, 3, 4]) {
    it(`is judged as a list of all accepted sequences says, seed ${seed}`, () => {
      const random = randomOf(seed)
      const whole = (max: number): number => Math.floor(random() * max)
      const first = (SEQUENCES - whole(60)) % SEQUENCES
      const state = newProducerState(0)
      const accepted = new Set<number>()
      let next = first
      const seen = new Set<string>()
      for (let n = 0; n < 2_000; n += 1) {
        const count = 1 + whole(6)
        const base = random() < 0.05 ? next : (first - 10 + whole(accepted.size + 20) + SEQUENCES) % SEQUENCES
        const isAll = Array.from({ length: count }, (_, at) => (base + at) % SEQUENCES).every((at) => accepted.has(at))
        const found = n === 0 ? "accepted" : verdict(state, base, count)
        seen.add(found)
        if (n === 0 || base === next) {
          assert.equal(found, "accepted")
          const start = n === 0 ? first : base
          accept(state, idempotent(1, 0, start, count))
          for (let at = 0; at < count; at += 1) accepted.add((start + at) % SEQUENCES)
          next = (start + count) % SEQUENCES
        } else if (isAll) assert.include(["duplicate", "duplicateWithoutOffset"], found)
        else assert.equal(found, "outOfOrderSequence")
      }
      assert.deepEqual([...seen].sort(), ["accepted", "duplicate", "duplicateWithoutOffset", "outOfOrderSequence"])
      assert.equal(state.acceptedCount, accepted.size)
    })
  }
})

describe("the count of accepted sequences", () => {
  it("goes with the state: copied with it, and begun anew after it was forgotten", () => {
    const states = new ProducerStates()
    const take = (sequence: number, seenMs: number): void =>
      states.accept(
        7,
        { producerEpoch: 0, baseSequence: sequence, offsetCount: 2, baseOffset: 0, appendTimeMs: -1 },
        seenMs
      )
    for (let n = 0; n < 8; n += 1) take(n * 2, n)
    const snapshot = states.snapshot()
    const copy = copyOfProducerState(states.get(7)!)
    take(16, 8)
    assert.equal(snapshot.get(7)!.acceptedCount, 16)
    assert.equal(copy.acceptedCount, 16)
    assert.equal(states.get(7)!.acceptedCount, 18)
    states.expire(9 + limits.producerIdExpirationMs)
    assert.isUndefined(states.get(7))
    take(18, 9 + limits.producerIdExpirationMs)
    assert.equal(states.get(7)!.acceptedCount, 2)
    assert.equal(verdict(states.get(7)!, 0, 2), "outOfOrderSequence", "of that nothing is known any more")
  })
})
