/**
 * Goal: a command that the check lets pass can be judged, written and folded; one that could not is refused by itself.
 * Method: each number of a command at its largest and smallest, through the check, the judge, the entry and the fold.
 */
import { assert, describe, it } from "vitest"
import { assertCommand } from "#core/log/command-check.ts"
import { type Command } from "#core/log/command.ts"
import { limits } from "#core/model/limits.ts"
import { batchOf, commitOf, foldWithTopic, idempotent, NOW_MS, runOf, settle, TOPIC } from "./log-builders.ts"

const largest = Number.MAX_SAFE_INTEGER

describe("the check of commands", () => {
  const unsound: ReadonlyArray<readonly [what: string, command: Command, message: RegExp]> = [
    [
      "a producer id that an entry cannot hold",
      commitOf(1, [runOf([idempotent(largest, 0, 0)])]),
      /producerId must be at most/
    ],
    ["an epoch above an int16", commitOf(1, [runOf([idempotent(1, 0x8000, 0)])]), /epoch is an int16/],
    [
      "a timestamp too far from 1970",
      commitOf(1, [runOf([batchOf({ maxTimestampMs: -limits.timestampMsMax - 1 })])]),
      /within 2\^51/
    ],
    ["a materialized seq below 0", { kind: "materialized", throughSeq: -1 }, /throughSeq/],
    ["a materialized seq that is no whole number", { kind: "materialized", throughSeq: 1.5 }, /throughSeq/],
    [
      "no partitions",
      { kind: "create-partitions", topicId: TOPIC, partitions: 0, mayBeDone: true },
      /partitions must be 1 to/
    ]
  ]
  for (const [what, command, message] of unsound) {
    it(`refuses ${what}`, () => assert.throws(() => assertCommand(command), message))
  }

  it("lets pass what an entry can hold, at its largest and smallest", () => {
    const times = [0, NOW_MS, limits.timestampMsMax]
    const fold = foldWithTopic()
    let segment = 0
    for (const createdAtMs of times) {
      for (const maxTimestampMs of [-limits.timestampMsMax, -1, 0, limits.timestampMsMax]) {
        for (const batch of [
          batchOf({ maxTimestampMs }),
          { ...idempotent(largest - 1, 0x7fff, 0x7fffffff), maxTimestampMs }
        ]) {
          segment += 1
          const run = runOf([batch], { byteOffset: 0xffffffff, byteLength: 0xffffffff, crc: 0xffffffff })
          const command = commitOf(segment, [run, run], {
            createdAtMs,
            segmentBytes: largest,
            blockOffsets: [0, largest]
          })
          assertCommand(command)
          settle(fold, [command], limits.timestampMsMax)
        }
      }
    }
    settle(fold, [{ kind: "materialized", throughSeq: largest }])
    assert.equal(fold.seq, 2 + segment + 1)
  })
})
