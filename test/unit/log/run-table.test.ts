/**
 * Goal: a table of runs finds every run by index and offset, whatever has left from the front, and a snapshot stays as it is.
 * Method: random additions and departures beside a plain array of the same runs.
 */
import { assert, describe, it } from "vitest"
import { type RunRef, type SegmentRef } from "#core/log/fold.ts"
import { RunTable } from "#core/log/run-table.ts"
import { idOf, NOW_MS, randomOf } from "./log-builders.ts"

const segmentOf = (seq: number): SegmentRef => ({
  segmentId: idOf("segment", seq),
  seq,
  createdAtMs: NOW_MS + seq,
  bucketSet: "quorum",
  ackedBuckets: ["east"],
  segmentBytes: 1_000,
  blockOffsets: [0, 1_000],
  appendTimeMs: NOW_MS + seq
})

const runAfter = (runs: ReadonlyArray<RunRef>, start: number, seq: number, random: () => number): RunRef => {
  const baseOffset = runs.at(-1)?.nextOffset ?? start
  return {
    segment: segmentOf(seq),
    byteOffset: Math.floor(random() * 2 ** 32),
    byteLength: Math.floor(random() * 2 ** 32),
    crc: Math.floor(random() * 2 ** 32),
    baseOffset,
    nextOffset: baseOffset + 1 + Math.floor(random() * 5),
    maxTimestampMs: NOW_MS - Math.floor(random() * 1_000),
    timestampType: random() < 0.3 ? "append" : "create",
    excluded: random() < 0.1 ? [1, 4] : []
  }
}

const assertEqual = (table: RunTable, runs: ReadonlyArray<RunRef>): void => {
  assert.equal(table.runCount, runs.length)
  for (const [index, run] of runs.entries()) assert.deepEqual(table.run(index), run)
  if (runs.length === 0) return
  assert.deepEqual([table.baseOffset, table.nextOffset], [runs[0]!.baseOffset, runs.at(-1)!.nextOffset])
  for (const [index, run] of runs.entries()) {
    assert.equal(table.runIndexOf(run.baseOffset), index)
    assert.equal(table.runIndexOf(run.nextOffset - 1), index)
    assert.equal(
      table.countThrough(run.segment.seq),
      runs.findLastIndex((each) => each.segment.seq <= run.segment.seq) + 1
    )
  }
  assert.equal(table.countThrough(runs[0]!.segment.seq - 1), 0)
  for (const outside of [runs[0]!.baseOffset - 1, runs.at(-1)!.nextOffset]) {
    assert.throws(() => table.runIndexOf(outside), /is in no run/)
  }
}

describe("a table of runs", () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`is the runs that came and have not left, over many chunks, seed ${seed}`, () => {
      const random = randomOf(seed)
      const table = new RunTable()
      let runs: Array<RunRef> = []
      let end = 1_000
      let seq = 1
      for (let round = 0; round < 60; round += 1) {
        for (let left = Math.floor(random() * (round % 9 === 0 ? 1_500 : 60)); left > 0; left -= 1) {
          if (random() < 0.4) seq += 1
          const run = runAfter(runs, end, seq, random)
          runs.push(run)
          table.add(run)
          end = run.nextOffset
        }
        if (round % 5 === 0) assertEqual(table, runs)
        const leaving = random() < 0.15 ? runs.length : Math.floor(random() * runs.length)
        table.dropFirst(leaving)
        runs = runs.slice(leaving)
        if (round % 5 === 1) assertEqual(table, runs)
      }
    })

    it(`has snapshots that stay as they were, seed ${seed}`, () => {
      const random = randomOf(seed + 100)
      const table = new RunTable()
      let runs: Array<RunRef> = []
      let end = 0
      const snapshots: Array<readonly [RunTable, ReadonlyArray<RunRef>]> = []
      for (let round = 0; round < 25; round += 1) {
        for (let left = 1 + Math.floor(random() * 400); left > 0; left -= 1) {
          const run = runAfter(runs, end, round + 1, random)
          runs.push(run)
          table.add(run)
          end = run.nextOffset
        }
        snapshots.push([table.snapshot(), [...runs]])
        const leaving = Math.floor(random() * runs.length)
        table.dropFirst(leaving)
        runs = runs.slice(leaving)
      }
      for (const [snapshot, expected] of snapshots) assertEqual(snapshot, expected)
      assertEqual(table, runs)
    })
  }

  it("refuses gaps, empty runs, and runs of entries that came before", () => {
    const table = new RunTable()
    const random = randomOf(1)
    const run = runAfter([], 0, 5, random)
    table.add(run)
    assert.throws(
      () => table.add({ ...run, baseOffset: run.nextOffset + 1, nextOffset: run.nextOffset + 2 }),
      /begins where/
    )
    assert.throws(() => table.add({ ...run, baseOffset: run.nextOffset, nextOffset: run.nextOffset }), /has records/)
    const early = { ...run, segment: segmentOf(4), baseOffset: run.nextOffset, nextOffset: run.nextOffset + 1 }
    assert.throws(() => table.add(early), /order of their entries/)
    assert.throws(() => table.dropFirst(2), /2 of 1 runs/)
  })

  it("lets go of the segments of runs that left", () => {
    const table = new RunTable()
    const random = randomOf(9)
    const runs: Array<RunRef> = []
    for (let n = 0; n < 1_200; n += 1) {
      runs.push(runAfter(runs, 0, n + 1, random))
      table.add(runs.at(-1)!)
    }
    table.dropFirst(700)
    const kept = new Set<unknown>()
    for (const chunk of (table as unknown as { chunks: ReadonlyArray<{ segments: ReadonlyArray<unknown> }> }).chunks) {
      for (const segment of chunk.segments) if (segment !== undefined) kept.add(segment)
    }
    assert.equal(kept.size, 500)
  })
})
